"""How face finders' boxes relate to the landmarks' boxes on which networks are trained, on the training faces of 300W.

    python benchmarks/face_boxes.py --data 300w

prints the constants that `semalign.detect.faces` and `centerface` hold: for each of OpenCV's cascades the share of
faces found, boxes on no face,
and the shift and size of the landmarks' box in sides of the cascade's box (median, standard deviation); the same for the
five points of YuNet, taken from the annotations; and what remains after the correction, in sides of the landmarks' box.
Only training faces are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import cv2.data
import numpy as np
import typer
from harness import DataFolder, Row, finish, run, track
from shots import SAME, matched

from semalign.core.metrics import landmark_boxes
from semalign.data import Dataset, open_dataset, read_image
from semalign.data.crops import box_sides
from semalign.detect.centerface import RELATION, CenterFaceFinder
from semalign.detect.detector import overlap
from semalign.detect.faces import CASCADES, BoxRelation, Cascade, CascadeFinder, YuNetFinder


def main(
    data: DataFolder,
    every: Annotated[int, typer.Option(help="Take every so many faces.")] = 1,
    cascades: Annotated[bool, typer.Option(help="Measure the cascades too, which takes longest.")] = True,
) -> None:
    dataset = open_dataset(data).select(split="train")
    pictures = [read_image(sample.image) for sample in track(dataset.samples[::every], "reading")]
    points = dataset.points()[::every]
    truth = landmark_boxes(points)
    rows = [centerface_row(pictures, truth)]
    if cascades:
        rows += [cascade_row(cascade, pictures, truth) for group in CASCADES for cascade in group]
        rows += [finder_row(pictures, truth), yunet_row(dataset, points, truth)]
    finish("face_boxes", rows, digits=3)


def cascade_row(cascade: Cascade, pictures: Sequence[np.ndarray], truth: np.ndarray) -> Row:
    """One cascade alone, at the pictures' own size: its boxes as they come against the landmarks'."""
    classifier = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / f"{cascade.name}.xml"))
    greys = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures)
    boxes = [cascade.boxes(classifier, grey, 30) for grey in greys]
    name = cascade.name.removeprefix("haarcascade_") + (", mirrored" if cascade.mirrored else "")
    return {"finder": name, **found(boxes, truth), **relation(matched(boxes, truth), cascade.relation)}


def finder_row(pictures: Sequence[np.ndarray], truth: np.ndarray) -> Row:
    """All cascades, as they are used; its boxes are corrected already."""
    finder = CascadeFinder()
    boxes = [finder(picture) for picture in pictures]
    return {"finder": "all, corrected", **found(boxes, truth), **relation(matched(boxes, truth), BoxRelation(0, 0, 1))}


def centerface_row(pictures: Sequence[np.ndarray], truth: np.ndarray) -> Row:
    """The network's own squares (side: geometric mean of width and height) against the landmarks' boxes."""
    finder = CenterFaceFinder(any_angle=False)
    boxes = []
    for picture in pictures:
        seen = finder.sightings(picture)
        boxes.append(
            np.concatenate([seen.centre - seen.side[:, None] / 2, seen.centre + seen.side[:, None] / 2], axis=1)
        )
    return {"finder": "CenterFace", **found(boxes, truth), **relation(matched(boxes, truth), RELATION)}


def yunet_row(dataset: Dataset, points: np.ndarray, truth: np.ndarray) -> Row:
    """The five points of YuNet, were they exact."""
    eyes = [points[:, list(members)].mean(axis=1) for members in dataset.scheme.pupils]
    five = np.stack([*eyes, *(points[:, index] for index in (30, 48, 54))], axis=1)
    pairs = np.stack([YuNetFinder.landmarks_boxes(five), truth], axis=1)
    return {"finder": "YuNet's points, corrected", **relation(pairs, BoxRelation(0, 0, 1))}


def found(boxes: Sequence[np.ndarray], truth: np.ndarray) -> Row:
    """Share of faces with a box, and boxes on none for each picture."""
    others = sum(overlap(c, box) <= SAME for candidates, box in zip(boxes, truth, strict=True) for c in candidates)
    return {"found": round(len(matched(boxes, truth)) / len(truth), 3), "others": round(others / len(truth), 3)}


def relation(pairs: np.ndarray, correction: BoxRelation) -> Row:
    """Medians of shift and size in sides of the finder's box; deviations after the correction in sides of the landmarks'."""
    if not len(pairs):
        return {}
    own, truth = pairs[:, 0], pairs[:, 1]
    side, wanted = box_sides(own), box_sides(truth)
    shift = (centres(truth) - centres(own)) / side[:, None]
    corrected = correction(own)
    rest = (centres(corrected) - centres(truth)) / wanted[:, None]
    figures = {
        "right": np.median(shift[:, 0]),
        "down": np.median(shift[:, 1]),
        "scale": np.median(wanted / side),
        "±right": rest[:, 0].std(),
        "±down": rest[:, 1].std(),
        "±scale": np.log(box_sides(corrected) / wanted).std(),
    }
    return {name: round(float(value), 3) for name, value in figures.items()}


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


if __name__ == "__main__":
    run(main)
