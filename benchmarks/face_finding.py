"""How many faces the finders find, by set, angle and size, how many boxes lie elsewhere, and how long they take.

    python benchmarks/face_finding.py --data 300w [--every 8] [--no-alone] [--no-cascades] [--yunet FILE]

One dated CSV, face-finding, with a row for each finder and each kind of picture:

- each subset of 300W as it is; `other` counts boxes that are not on the annotated face: most of them are real faces that
  nobody annotated, often cut off by the border;
- training pictures turned in the plane, with black corners; `upright` counts faces whose angle is right within 30°;
- training pictures with the annotated face shrunk to so many pixels in a grey picture of 640 × 480, or 1920 × 1080;
- training pictures cut to the face alone, grey, with a tenth of the light (and the noise of a camera), both, and blurred;
- 12 × 8 test faces in one picture of 2688 × 1792 pixels; and one face in a picture of 640 × 640.

Finders: centerface (the default, in the last row with OpenCV instead of ONNX Runtime); its network alone on the whole
picture, as other packages use it; the cascades of OpenCV; and YuNet if its file is given. `face_candidates.py` compares those
of other packages. One thread (OMP_NUM_THREADS=1). A face is found by a box whose middle is within 0.35 sides and whose side
is within a factor of 1.8 of the annotated landmarks' box.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import cv2
import numpy as np
import typer
from harness import DataFolder, finish, run
from shots import Shot, blurred, dark, enlarged, filled, grey, on_face, shrunk, turned

from semalign.data import open_dataset, read_image
from semalign.detect import CascadeFinder, CenterFaceFinder, FoundFaces, YuNetFinder, centerface_network
from semalign.detect.centerface import angles_of, landmarks_boxes
from semalign.detect.centerface_network import look
from semalign.detect.detector import as_found

ANGLES = (-135, -90, -60, -45, -30, -15, 15, 30, 45, 60, 90, 135, 180)
SIZES = (12, 16, 20, 30, 40, 60, 120, 240, 440)
LARGE, LARGE_SIZES = (1920, 1080), (20, 40)  # and a fourth of the faces
Finder = Callable[[np.ndarray], Any]


def plain(picture: np.ndarray) -> FoundFaces:
    """The network alone, once, on the picture as it is, at most 640 pixels long."""
    scale = min(1.0, 640 / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    seen = look(small, 0.5).mapped(np.array([[1 / scale, 0.0, 0.0], [0.0, 1 / scale, 0.0]]))
    angles = angles_of(seen.points)
    return FoundFaces(landmarks_boxes(seen, angles), angles, seen.score)


def in_opencv(picture: np.ndarray) -> FoundFaces:
    """The default finder where ONNX Runtime is not installed."""
    with patch.object(centerface_network, "_session", lambda process: None):
        return CenterFaceFinder()(picture)


def main(
    data: DataFolder,
    every: Annotated[int, typer.Option(help="Of each subset, every so many faces are turned and shrunk.")] = 8,
    every_upright: Annotated[int, typer.Option(help="Of each subset, every so many faces are taken as they are.")] = 1,
    alone: Annotated[bool, typer.Option(help="Measure the network alone, too.")] = True,
    cascades: Annotated[bool, typer.Option(help="Measure the cascades too, which takes longest.")] = True,
    yunet: Annotated[Path | None, typer.Option(help="YuNet's ONNX file.")] = None,
) -> None:
    """Measure, print and write the table."""
    cv2.setNumThreads(1)
    finders: dict[str, Finder] = {"centerface": CenterFaceFinder()}
    if alone:
        finders["network alone"] = plain
    if cascades:
        finders["cascades"] = CascadeFinder()
    if yunet is not None:
        finders["yunet"] = YuNetFinder(yunet)
    dataset = open_dataset(data)
    eyes = [list(members) for members in dataset.scheme.pupils]
    sets: dict[str, list[Shot]] = {}
    for sample in dataset.samples:
        sets.setdefault(sample.subset, []).append((sample.image, sample.points))
    upright = {name: read(shots[::every_upright]) for name, shots in sets.items()}
    train = {sample.subset for sample in dataset.samples if sample.split == "train"}
    some = [shot for name, shots in sets.items() if name in train for shot in read(shots[::every])]
    rows = []
    for title, finder in finders.items():
        rows += [row(title, name, finder, shots, eyes) for name, shots in upright.items()]
        rows += [row(title, f"turned by {a}°", finder, [turned(*s, a) for s in some], eyes) for a in ANGLES]
        rows += [row(title, f"{size} pixels", finder, [shrunk(*s, size) for s in some], eyes) for size in SIZES]
        for size in LARGE_SIZES:
            shots = [shrunk(*s, size, LARGE) for s in some[::4]]
            rows.append(row(title, f"{size} pixels of {LARGE[0]} × {LARGE[1]}", finder, shots, eyes))
        for name, change in CHANGES.items():
            rows.append(row(title, name, finder, [change(*shot) for shot in some], eyes))
        rows.append(row(title, "one of 640 × 640", finder, [enlarged(*s, 640) for s in some[::4]], eyes))
        rows.append(mosaic(title, finder, read(sets["lfpw/testset"][:96])))
    rows.append(
        row("centerface in OpenCV", "one of 640 × 640", in_opencv, [enlarged(*s, 640) for s in some[::4]], eyes)
    )
    finish("face-finding", rows, digits=4)


def read(shots: Sequence[Any]) -> list[Shot]:
    return [(read_image(path), points) for path, points in shots]


def row(title: str, name: str, finder: Finder, shots: Sequence[Shot], eyes: list[list[int]]) -> dict[str, Any]:
    """How one finder does on pictures with one annotated face each."""
    found = right = other = 0
    times = []
    spent = 0.0
    for picture, points in shots:
        spent -= time.process_time()
        start = time.perf_counter()
        faces = as_found(finder(picture))
        times.append(time.perf_counter() - start)
        spent += time.process_time()
        on = on_face(faces.boxes, points)
        across = points[eyes[1]].mean(axis=0) - points[eyes[0]].mean(axis=0)
        away = np.abs((faces.angles - np.arctan2(across[1], across[0]) + np.pi) % (2 * np.pi) - np.pi)
        found, right, other = found + bool(on.any()), right + bool((on & (away < np.pi / 6)).any()), other + sum(~on)
    count = len(shots)
    return {
        "finder": title,
        "pictures": name,
        "count": count,
        "found": found / count,
        "upright": right / count,
        "other": int(other),
        "ms (median)": 1e3 * float(np.median(times)),
        "ms (mean)": 1e3 * float(np.mean(times)),
        "processor ms (mean)": 1e3 * spent / count,
    }


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], Shot]] = {
    "the face alone": filled,
    "grey": grey,
    "dark": dark,
    "grey and dark": lambda picture, points: dark(*grey(picture, points)),
    "blurred": blurred,
}


def mosaic(title: str, finder: Finder, shots: Sequence[Shot]) -> dict[str, Any]:
    """96 faces in one picture."""
    cells = [enlarged(*shot, 224) for shot in shots]
    picture = np.concatenate([np.concatenate([p for p, _ in cells[k : k + 12]], axis=1) for k in range(0, 96, 12)])
    finder(picture)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        boxes = as_found(finder(picture)).boxes
        times.append(time.perf_counter() - start)
    hits = [on_face(boxes, points + [k % 12 * 224, k // 12 * 224]) for k, (_, points) in enumerate(cells)]
    return {
        "finder": title,
        "pictures": "96 faces in one",
        "count": len(cells),
        "found": sum(bool(hit.any()) for hit in hits) / len(cells),
        "other": int((~np.any(hits, axis=0)).sum()),
        "ms (median)": 1e3 * float(np.median(times)),
    }


if __name__ == "__main__":
    run(main)
