"""What `semalign predict` does with pictures that nobody trained on: faces found, errors, inexact boxes, confidences.

    python benchmarks/predict.py --data 300w --data video_frames [--model default] [--worst worst.png]

Three tables, or four, each a dated CSV:

- predict-path: every test picture goes through the detector as a user's would, with its own face detection. Which share of
  the annotated faces is found (a face whose box shares half of the union with the annotated landmarks' box), the error of
  those, and that of the same faces from the annotated box.
- predict-boxes: the annotated boxes, shifted in every direction and scaled, without refinement and with one.
- predict-confidence: landmarks by their confidence in ten equal groups, and how far off they are.
- predict-uncertainty, of a model that tells it: landmarks of all data sets by their stated uncertainty in ten equal groups, the
  error that is stated (root mean square), the one that is, and how many errors along x or y are within one and two stated
  standard deviations (68 and 95 % of normal ones).

Errors are in % of the distance of the outer eye corners (nme_interocular) and of the pupils (nme_interpupil).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import ModelName, Row, face_at, finish, run, track

from semalign.core.metrics import distances, interocular, landmark_boxes, mean_errors, nme
from semalign.data import open_dataset, read_image
from semalign.detect import Detector, Face
from semalign.models.pretrained import resolve

SHIFTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the box's side
SCALES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
DIRECTIONS = 8
GROUPS = 10
FAR = 10.0  # % of the outer eyes' distance beyond which a landmark is lost
WORST = 20


@dataclass(frozen=True)
class Pictures:
    """The test pictures of a data set."""

    name: str
    pictures: list[np.ndarray]
    points: np.ndarray  # (b, n, 2), annotated
    boxes: np.ndarray  # (b, 4), of the annotated landmarks


def main(
    data: Annotated[list[Path], typer.Option(help="Data set; its test faces are used, or all where it has none.")],
    model: ModelName = "default",
    worst: Annotated[Path | None, typer.Option(help="Write the worst twenty found faces of the last data set.")] = None,
) -> None:
    detector = Detector.from_pretrained(model, "cpu")
    name = {"model": resolve(model).name}
    sets = [open_pictures(folder, detector) for folder in data]
    given = [from_boxes(detector, pictures, list(pictures.boxes)) for pictures in sets]
    found = [through_predict(detector, pictures) for pictures in sets]
    path = [path_row(*one, detector) for one in zip(sets, given, found, strict=True)]
    finish("predict-path", [name | row for row in path])
    finish("predict-boxes", [name | row for row in sloppy_boxes(detector, sets[0])])
    finish("predict-confidence", [name | row for row in by_confidence(detector, sets[0], given[0])])
    rows = [row for one, faces in zip(sets, given, strict=True) for row in by_uncertainty(detector, one, faces)]
    if rows:
        finish("predict-uncertainty", [name | row for row in rows])
    if worst is not None:
        write_worst(worst, sets[-1], [face for face, _ in found[-1]], detector)


def open_pictures(folder: Path, detector: Detector) -> Pictures:
    dataset = open_dataset(folder, detector.scheme)
    test = dataset.select(split="test")
    dataset = test if len(test) else dataset
    points = dataset.points()
    pictures = [read_image(sample.image) for sample in track(dataset.samples, f"reading {dataset.name}")]
    return Pictures(dataset.name, pictures, points, landmark_boxes(points))


def from_boxes(detector: Detector, pictures: Pictures, boxes: Sequence[np.ndarray]) -> list[Face]:
    """The face in a box of each picture."""
    return [face for (face,) in detector.batch(pictures.pictures, [box[None] for box in boxes])]


def through_predict(detector: Detector, pictures: Pictures) -> list[tuple[Face | None, int]]:
    """Of each picture the found face, or None, and how many others."""
    found = []
    for picture, box in zip(track(pictures.pictures, "predict"), pictures.boxes, strict=True):
        faces = detector(picture)
        face = face_at(faces, box)
        found.append((face, len(faces) - (face is not None)))
    return found


def path_row(
    pictures: Pictures, given: Sequence[Face], found: Sequence[tuple[Face | None, int]], detector: Detector
) -> Row:
    """The row of one data set: faces from the annotated boxes, and those that were found."""
    hits = [row for row, (face, _) in enumerate(found) if face is not None]
    own = np.stack([face.points for face, _ in found if face is not None])
    whole = np.stack([face.points for face in given])
    cases = {
        "found": (own, hits),
        "the same from the annotated box": (whole[hits], hits),
        "all from the annotated box": (whole, list(range(len(whole)))),
    }
    errors = {
        f"{title}: {key}": value
        for title, (points, rows) in cases.items()
        for key, value in mean_errors(points, pictures.points[rows], detector.scheme).items()
    }
    return {
        "data": pictures.name,
        "faces": len(found),
        "found, %": 100 * len(hits) / len(found),
        "faces elsewhere, a picture": sum(others for _, others in found) / len(found),
        **errors,
    }


def sloppy_boxes(detector: Detector, pictures: Pictures) -> list[Row]:
    """Errors from boxes that are shifted or scaled, without refinement and with one."""
    unit = interocular(pictures.points, detector.scheme)
    changes = [(shift, 1.0) for shift in SHIFTS] + [(0.0, scale) for scale in SCALES if scale != 1]
    looking = {
        f"{count} refinements": Detector(
            detector.model, "cpu", detector.finder, replace(detector.settings, refinements=count)
        )
        for count in (0, 1)
    }
    rows = []
    for shift, scale in track(changes, "boxes"):
        row: Row = {"shift": shift, "scale": scale}
        boxes = [shifted(box, shift, scale, index) for index, box in enumerate(pictures.boxes)]
        for title, one in looking.items():
            points = np.stack([face.points for face in from_boxes(one, pictures, boxes)])
            error = nme(distances(points, pictures.points), unit)
            row |= {f"{title}: nme_interocular": float(error.mean())}
            row |= {f"{title}: failures beyond 8 %": 100 * float((error > 8).mean())}
        rows.append(row)
    return rows


def shifted(box: np.ndarray, shift: float, scale: float, index: int) -> np.ndarray:
    """The box scaled about its middle and shifted in one of eight directions, the next one for each face."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    angle = 2 * np.pi * index / DIRECTIONS
    centre = centre + shift * 2 * half.max() * np.array([np.cos(angle), np.sin(angle)])
    return np.concatenate([centre - scale * half, centre + scale * half])


def by_confidence(detector: Detector, pictures: Pictures, faces: Sequence[Face]) -> list[Row]:
    """Landmarks in groups of rising confidence, and their errors in % of the outer eyes' distance."""
    unit = interocular(pictures.points, detector.scheme)[:, None]
    apart = (100 * distances(np.stack([face.points for face in faces]), pictures.points) / unit).ravel()
    confidence = np.stack([face.confidence for face in faces]).ravel()
    groups: Sequence[np.ndarray] = np.array_split(np.argsort(confidence), GROUPS)
    return [
        {
            "confidence from": float(confidence[rows].min()),
            "to": float(confidence[rows].max()),
            "landmarks": len(rows),
            "median error": float(np.median(apart[rows])),
            "90 % within": float(np.quantile(apart[rows], 0.9)),
            f"beyond {FAR:.0f} %, %": 100 * float((apart[rows] > FAR).mean()),
        }
        for rows in groups
    ]


def by_uncertainty(detector: Detector, pictures: Pictures, faces: Sequence[Face]) -> list[Row]:
    """Landmarks in groups of rising stated uncertainty, then all; none where the model does not state it."""
    stated = [face.uncertainty for face in faces if face.uncertainty is not None]
    if not stated:
        return []
    unit = interocular(pictures.points, detector.scheme)[:, None, None] / 100
    deviation = (np.stack(stated) / unit).reshape(-1, 2)
    error = ((np.stack([face.points for face in faces]) - pictures.points) / unit).reshape(-1, 2)
    order = np.argsort((deviation**2).sum(axis=1))
    groups: list[tuple[str, np.ndarray]] = [
        (f"{index + 1} of {GROUPS}", rows) for index, rows in enumerate(np.array_split(order, GROUPS))
    ]
    return [
        {
            "data": pictures.name,
            "group": group,
            "landmarks": len(rows),
            "stated error": float(np.sqrt((deviation[rows] ** 2).sum(axis=1).mean())),
            "error": float(np.sqrt((error[rows] ** 2).sum(axis=1).mean())),
            "within 1 deviation, %": 100 * float((np.abs(error[rows]) < deviation[rows]).mean()),
            "within 2, %": 100 * float((np.abs(error[rows]) < 2 * deviation[rows]).mean()),
        }
        for group, rows in [*groups, ("all", order)]
    ]


def write_worst(path: Path, pictures: Pictures, found: Sequence[Face | None], detector: Detector) -> None:
    """A contact sheet of the faces with the largest errors, landmarks found (coloured by confidence) and annotated (white)."""
    rows = [row for row, face in enumerate(found) if face is not None]
    own = np.stack([face.points for face in found if face is not None])
    error = nme(distances(own, pictures.points[rows]), interocular(pictures.points[rows], detector.scheme))
    tiles = []
    for place in np.argsort(-error)[:WORST]:
        row, face = rows[place], found[rows[place]]
        assert face is not None
        canvas = face.draw(pictures.pictures[row])
        for x, y in pictures.points[row]:
            cv2.circle(canvas, (round(x), round(y)), 1, (255, 255, 255), -1)
        cv2.putText(canvas, f"{error[place]:.1f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
        tiles.append(cv2.resize(canvas, (240, 240)))
    while len(tiles) % 5:
        tiles.append(np.zeros_like(tiles[0]))
    sheet = np.concatenate([np.concatenate(tiles[start : start + 5], axis=1) for start in range(0, len(tiles), 5)])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    run(main)
