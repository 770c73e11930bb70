"""Face finders that can be had offline, on the same pictures: recall, false faces, time, size and licence.

    python benchmarks/face_candidates.py --data 300w [--faceless FOLDER] [--faces 200]

`other_finders.py` says which they are and how to install them; those that are not installed are left out with a sentence.
One dated CSV, face-candidates, with a row for each finder. A seeded sample of the training faces of 300W (afw, helen/trainset,
lfpw/trainset) serves the choice:

- upright: the pictures as they are; other: boxes elsewhere, most of them faces that nobody annotated;
- turned: each by an angle of its own, anything from -180° to 180°; tilted: from -45° to 45°;
- 20 px, 30 px: the face so large in a grey picture of 640 × 480 (half of the sample);
- ms: median for one face in 640 × 640 pixels, of the processor (all threads), so that other work hardly counts;
- false faces in 100 pictures of a folder without faces (`false_faces.py --faceless`), of which every second is taken.

lfpw/testset is for the report alone. A box is first mapped to the landmarks' box by the median shift and scale of the finder's
own boxes on the upright training faces; a face is found as in `face_finding.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import DataFolder, Row, finish, run, track, write_results
from other_finders import Boxes, Other, installed
from shots import Shot, enlarged, matched, on_face, shrunk, turned

from semalign.core.metrics import landmark_boxes
from semalign.data import open_dataset, read_image
from semalign.data.crops import box_sides
from semalign.detect.faces import BoxRelation

SEED = 18


def main(
    data: DataFolder,
    faceless: Annotated[Path | None, typer.Option(help="Folder of pictures without a face.")] = None,
    faces: Annotated[int, typer.Option(help="Size of the sample of training faces.")] = 200,
    only: Annotated[str, typer.Option(help="Finders whose names contain this.")] = "",
) -> None:
    """Measure, print and write the table."""
    cv2.setNumThreads(1)
    finders, missing = installed()
    for sentence in missing:
        typer.echo(sentence)
    dataset = open_dataset(data)
    random = np.random.default_rng(SEED)
    samples = dataset.select(split="train").samples
    train = [samples[row] for row in sorted(random.choice(len(samples), min(faces, len(samples)), replace=False))]
    shots = [(read_image(sample.image), sample.points) for sample in train]
    test = [(read_image(s.image), s.points) for s in dataset.samples if s.subset == "lfpw/testset"]
    angles = random.uniform(-1, 1, len(shots))
    empty = [read_image(path) for path in sorted(faceless.iterdir())[::2]] if faceless else []
    rows = []
    for name, other in track([item for item in finders.items() if only in item[0]], "finders"):
        rows.append({"finder": name, **measured(other, shots, angles, test, empty)})
        write_results("face-candidates", rows)
    finish("face-candidates", rows)


def measured(
    other: Other, shots: Sequence[Shot], angles: np.ndarray, test: Sequence[Shot], empty: Sequence[np.ndarray]
) -> Row:
    """All figures of one finder."""
    boxes = [other.boxes(picture) for picture, _ in shots]
    relation = learned(boxes, landmark_boxes(np.stack([points for _, points in shots])))
    large = [enlarged(*shot, 640) for shot in shots[:40]]
    figures = {
        "package": other.package,
        "licence": other.licence,
        "MB": other.megabytes,
        "count": len(shots),
        "right": relation.right,
        "down": relation.down,
        "scale": relation.scale,
        "upright": share(other.boxes, shots, relation),
        "other": sum(int((~on_face(relation(b), shot[1])).sum()) for b, shot in zip(boxes, shots, strict=True)),
        "tilted": share(other.boxes, [turned(*s, 45 * a) for s, a in zip(shots, angles, strict=True)], relation),
        "turned": share(other.boxes, [turned(*s, 180 * a) for s, a in zip(shots, angles, strict=True)], relation),
        "20 px": share(other.boxes, [shrunk(*shot, 20) for shot in shots[::2]], relation),
        "30 px": share(other.boxes, [shrunk(*shot, 30) for shot in shots[::2]], relation),
        **dict(zip(("640 × 640", "ms"), timed(other.boxes, large, relation), strict=True)),
        "test count": len(test),
        "lfpw/testset": share(other.boxes, test, relation),
    }
    if empty:
        figures["without faces"] = len(empty)
        figures["false in 100"] = 100 * sum(len(other.boxes(picture)) for picture in empty) / len(empty)
    return figures


def learned(boxes: Sequence[np.ndarray], truth: np.ndarray) -> BoxRelation:
    """Median shift and scale from a finder's boxes to the landmarks' boxes."""
    own, wanted = np.swapaxes(matched(boxes, truth), 0, 1)
    side = (own[:, 2:] - own[:, :2]).max(axis=1)
    shift = ((wanted[:, :2] + wanted[:, 2:]) - (own[:, :2] + own[:, 2:])) / 2 / side[:, None]
    right, down = np.median(shift, axis=0)
    return BoxRelation(float(right), float(down), float(np.median(box_sides(wanted) / side)))


def share(finder: Boxes, shots: Sequence[Shot], relation: BoxRelation) -> float:
    """Share of the pictures whose annotated face is found, in %."""
    return 100 * float(np.mean([bool(on_face(relation(finder(p)), points).any()) for p, points in shots]))


def timed(finder: Boxes, shots: Sequence[Shot], relation: BoxRelation) -> tuple[float, float]:
    """As `share`, and the processor's milliseconds for a picture (median)."""
    times: list[float] = []

    def clocked(picture: np.ndarray) -> np.ndarray:
        start = time.process_time()
        boxes = finder(picture)
        times.append(time.process_time() - start)
        return boxes

    found = share(clocked, shots, relation)
    return found, 1e3 * float(np.median(times))


if __name__ == "__main__":
    run(main)
