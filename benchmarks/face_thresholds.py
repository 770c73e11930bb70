"""The default finder's thresholds, each varied on its own, on training faces of 300W alone.

    python benchmarks/face_thresholds.py --data 300w --photos unlabelled_faces --faceless FOLDER

One dated CSV, face-thresholds, with a row for each setting of `semalign.detect.centerface`. All pictures come from a seeded
sample of afw, helen/trainset and lfpw/trainset:

- upright: as they are; tilted: each turned by an angle of its own from -45° to 45°; turned: from -180° to 180°; of both also
  the share whose angle is right within 30°;
- groups: 96 of the faces in one picture of 2688 × 1792 pixels, twice, once with the faces tilted;
- photographs: faces found in a seeded sample of photographs without annotations, and the time;
- false: faces found in pictures without one (`false_faces.py --faceless`), of which every second is taken.

Milliseconds are the processor's, a mean over a picture, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from harness import DataFolder, Row, finish, run, track
from shots import Shot, enlarged, on_face, turned

from semalign.data import open_dataset, read_image
from semalign.detect import CenterFaceFinder, FoundFaces, centerface

SEED = 18
SETTINGS: dict[str, tuple[Any, ...]] = {
    "SURE": (0.5, 0.65, 0.75, 0.85, 0.95),
    "UPRIGHT": tuple(np.radians([15.0, 25.0, 40.0])),
    "CROWD": (2, 4, 8, 16, 1000),
    "ENOUGH": (256 * 512, 512 * 1024, 1024 * 2048),
    "LOOKS": (4, 8, 16),
}


def main(
    data: DataFolder,
    photos: Annotated[Path, typer.Option(help="Folder of photographs without annotations.")],
    faceless: Annotated[Path, typer.Option(help="Folder of pictures without a face.")],
    faces: Annotated[int, typer.Option(help="Size of the sample of training faces.")] = 192,
    only: Annotated[str, typer.Option(help="Vary this setting alone.")] = "",
    photographs: Annotated[int, typer.Option(help="Size of the sample of photographs.")] = 40,
) -> None:
    """Measure, print and write the table."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(SEED)
    samples = open_dataset(data).select(split="train").samples
    chosen = [samples[row] for row in sorted(random.choice(len(samples), min(faces, len(samples)), replace=False))]
    upright = [(read_image(sample.image), sample.points) for sample in chosen]
    angles = random.uniform(-1, 1, len(upright))
    tilted = [turned(*shot, 45 * angle) for shot, angle in zip(upright, angles, strict=True)]
    whole = [turned(*shot, 180 * angle) for shot, angle in zip(upright, angles, strict=True)]
    groups = [group(upright[:96]), group(tilted[-96:])]
    some = random.permutation(np.array(sorted(photos.iterdir()), object))[:photographs].tolist()
    pictures = [read_image(path) for path in some]
    empty = [read_image(path) for path in sorted(faceless.iterdir())[::2]]
    rows: list[Row] = []
    eyes = [list(members) for members in open_dataset(data).scheme.pupils]
    settings = [(name, value) for name, values in SETTINGS.items() if only in name for value in values]
    for name, value in track([("as shipped", None), *settings], "settings"):
        before = getattr(centerface, name, None)
        if before == value and name != "as shipped":
            rows.append(
                {
                    "setting": name,
                    "value": shown(name, value),
                    **{k: v for k, v in rows[0].items() if k not in ("setting", "value")},
                }
            )
            continue
        if value is not None:
            setattr(centerface, name, value)
        rows.append(
            {
                "setting": name,
                "value": shown(name, value),
                "faces": len(upright),
                **on_faces("upright", upright, eyes),
                **on_faces("tilted", tilted, eyes),
                **on_faces("turned", whole, eyes),
                **on_groups(groups),
                "photographs": len(pictures),
                **counted("in photographs", pictures),
                "without faces": len(empty),
                **counted("false", empty),
            }
        )
        if value is not None:
            setattr(centerface, name, before)
    finish("face-thresholds", rows)


def shown(name: str, value: Any) -> str:
    return "" if value is None else f"{np.degrees(value):.0f}°" if name == "UPRIGHT" else str(value)


def timed(pictures: Sequence[np.ndarray]) -> tuple[list[FoundFaces], float]:
    """What is found in the pictures, and milliseconds of the processor for each."""
    finder = CenterFaceFinder()
    start = time.process_time()
    found = [finder(picture) for picture in pictures]
    return found, 1e3 * (time.process_time() - start) / len(pictures)


def on_faces(name: str, shots: Sequence[Shot], eyes: Sequence[Sequence[int]]) -> Row:
    found, spent = timed([picture for picture, _ in shots])
    hits = right = other = 0
    for faces, (_, points) in zip(found, shots, strict=True):
        on = on_face(faces.boxes, points)
        across = points[eyes[1]].mean(axis=0) - points[eyes[0]].mean(axis=0)
        away = np.abs((faces.angles - np.arctan2(across[1], across[0]) + np.pi) % (2 * np.pi) - np.pi)
        hits, right, other = hits + bool(on.any()), right + bool((on & (away < np.pi / 6)).any()), other + int(sum(~on))
    return {name: hits, f"{name}, angle": right, f"{name}, other": other, f"{name}, ms": spent}


def group(shots: Sequence[Shot]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Faces in one picture, twelve in a row, and their points there."""
    cells = [enlarged(*shot, 224) for shot in shots]
    rows = [np.concatenate([picture for picture, _ in cells[k : k + 12]], axis=1) for k in range(0, len(cells), 12)]
    return np.concatenate(rows), [points + [k % 12 * 224, k // 12 * 224] for k, (_, points) in enumerate(cells)]


def on_groups(groups: Sequence[tuple[np.ndarray, list[np.ndarray]]]) -> Row:
    found, spent = timed([picture for picture, _ in groups])
    hits = sum(
        bool(on_face(f.boxes, points).any()) for f, (_, all_) in zip(found, groups, strict=True) for points in all_
    )
    return {"in groups": hits, "of": sum(len(all_) for _, all_ in groups), "groups, ms": spent}


def counted(name: str, pictures: Sequence[np.ndarray]) -> Row:
    found, spent = timed(pictures)
    return {name: sum(len(faces) for faces in found), f"{name}, ms": spent}


if __name__ == "__main__":
    run(main)
