"""Landmarks from found boxes beside those from annotated ones: what the finder's box costs, with and without its map.

    python benchmarks/found_boxes.py --data 300w [--model default] [--train 200]

One dated CSV, found-boxes: for lfpw/testset, and for a seeded sample of the training faces of 300W, the mean errors of the
landmarks from annotated boxes and from those of the default finder, the latter as they are mapped to landmarks' boxes and
without the map; each with no refinement and with one, as `semalign predict` has. The map (`centerface.RELATION`) is learned on
training faces alone, by `face_boxes.py`. `default` has been trained on the training faces, so that their errors are small;
only the differences count there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import DataFolder, ModelName, Row, face_at, finish, run, track

from semalign.core.metrics import landmark_boxes, mean_errors
from semalign.data import Dataset, open_dataset, read_image
from semalign.detect import Detector, Face, centerface
from semalign.detect.faces import BoxRelation

SEED = 18


def main(
    data: DataFolder,
    model: ModelName = "default",
    train: Annotated[int, typer.Option(help="Size of the sample of training faces.")] = 200,
) -> None:
    """Measure, print and write the table."""
    cv2.setNumThreads(1)
    detector = Detector.from_pretrained(model, "cpu")
    dataset = open_dataset(data, detector.scheme)
    names = [sample.subset for sample in dataset.samples]
    test = np.array([row for row, name in enumerate(names) if name == "lfpw/testset"])
    training = np.array([row for row, sample in enumerate(dataset.samples) if sample.split == "train"])
    random = np.random.default_rng(SEED)
    some = np.sort(random.choice(training, min(train, len(training)), replace=False))
    rows = []
    for title, chosen in (("lfpw/testset", test), (f"training, seed {SEED}", some)):
        rows += rows_of(title, dataset, chosen, detector)
    finish("found-boxes", rows, digits=3)


def rows_of(title: str, dataset: Dataset, chosen: np.ndarray, detector: Detector) -> list[Row]:
    pictures = [read_image(dataset.samples[row].image) for row in track(chosen.tolist(), f"reading {title}")]
    truth = dataset.points()[chosen]
    boxes = landmark_boxes(truth)
    rows: list[Row] = []
    for refinements in (0, 1):
        looking = Detector(detector.model, "cpu", detector.finder, replace(detector.settings, refinements=refinements))
        own = np.stack([faces[0].points for faces in looking.batch(pictures, [box[None] for box in boxes])])
        for name, relation in (("found", centerface.RELATION), ("found, without the map", BoxRelation(0.0, 0.0, 1.0))):
            hits, points = from_found(looking, pictures, boxes, relation)
            annotated = mean_errors(own[hits], truth[hits], detector.scheme)
            found = mean_errors(points, truth[hits], detector.scheme)
            rows.append(
                {
                    "faces": title,
                    "count": len(pictures),
                    "refinements": refinements,
                    "boxes": name,
                    "found": len(hits),
                    **{
                        f"{key}, {what}": errors[key]
                        for key in ("nme_interocular", "nme_interpupil")
                        for what, errors in (("annotated", annotated), ("found", found))
                    },
                    "worse, %": 100 * (found["nme_interocular"] / annotated["nme_interocular"] - 1),
                    "worse, % inter-pupil": 100 * (found["nme_interpupil"] / annotated["nme_interpupil"] - 1),
                }
            )
    return rows


def from_found(
    detector: Detector, pictures: Sequence[np.ndarray], boxes: np.ndarray, relation: BoxRelation
) -> tuple[list[int], np.ndarray]:
    """Rows of the faces that are found, and their landmarks."""
    before, centerface.RELATION = centerface.RELATION, relation
    try:
        faces: list[Face | None] = [
            face_at(detector(picture), box) for picture, box in zip(track(pictures, "finding"), boxes, strict=True)
        ]
    finally:
        centerface.RELATION = before
    hits = [row for row, face in enumerate(faces) if face is not None]
    return hits, np.stack([face.points for face in faces if face is not None])


if __name__ == "__main__":
    run(main)
