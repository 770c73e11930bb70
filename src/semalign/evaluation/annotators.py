"""Are labels of real faces nearer to what people agree on? LFPW's three workers against any label set of its faces.

The 29 points that three workers marked independently share 19 with the 68 (`SHARED`). A label set is measured so:

1. The differences label - worker, for each face, worker and point, are turned into the face's own frame, x along the
   line from the left outer eye corner to the right one, and divided by their distance.
2. Each point's offset, the median (of x and of y) over all faces and workers, is removed: the schemes define points
   a little differently.
3. What remains is averaged over the workers, which is the label against their mean; its length, in % of the outer-eye
   distance, is the residual. Figures are means over faces and points.

The frame comes from one set of points, the annotations, whichever labels are measured: none is its own yardstick.
So measured, the 300W annotations are 2.94 % (2.938) from the workers' mean, and one worker is 3.36 % (3.364) from the
mean of the other two. Offsets taken against the workers' mean instead would give 2.935 and 3.364. The frame matters
more: with the outer eye corners of the workers' mean it would be 2.79 and 3.21.

Shape legend: b faces given, f of them that the workers marked, a workers, m labels measured.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.errors import SemalignError
from semalign.evaluation.bootstrap import Difference, paired_bootstrap
from semalign.schemes import load_scheme

# LFPW's point -> iBUG's landmark
SHARED = {
    0: 17, 1: 26, 2: 21, 3: 22, 8: 36, 9: 45, 10: 39, 11: 42, 18: 31, 19: 35, 20: 30, 21: 33, 22: 48, 23: 54,
    24: 51, 25: 62, 26: 66, 27: 57, 28: 8,
}  # fmt: skip
LANDMARKS = tuple(SHARED.values())
OUTER_EYES = (36, 45)
WORKERS = "one worker against the others"
REGIONS = ("brows", "nose", "eyes", "mouth", "contour")  # of the contour, the chin alone is shared


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels of some faces, in the image frame, under the name by which they are listed."""

    name: str
    ids: tuple[str, ...]
    points: np.ndarray  # (b, 68, 2) float64


@dataclass(frozen=True, eq=False)
class AnnotatorMarks:
    """What the workers marked, in the image frame."""

    ids: tuple[str, ...]
    points: np.ndarray  # (f, a, 19, 2) float64, in the order of SHARED


def read_annotators(path: Path) -> AnnotatorMarks:
    """The shared points from a CSV file with the columns file, annotator, x0, y0 … x28, y28.

    Raises:
        SemalignError: the file cannot be read, a column is missing, a number is none, a face lacks a worker.
    """
    columns = [f"{axis}{point}" for point in SHARED for axis in "xy"]
    marks: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            for name in ("file", *columns):
                if name not in (reader.fieldnames or ()):
                    raise SemalignError(f"{path}: has no column {name!r}; give the file of LFPW's three annotators.")
            for line in reader:
                marks.setdefault(line["file"], []).append([_finite(line[column]) for column in columns])
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); give the CSV file of the annotators."
        ) from error
    except (TypeError, ValueError, csv.Error) as error:
        raise SemalignError(f"{path}: line {reader.line_num} holds no number where one is due; restore it.") from error
    workers = len(next(iter(marks.values()), ()))
    for name, rows in marks.items():
        if len(rows) != workers:
            raise SemalignError(f"{path}: {name} has {len(rows)} annotators and others {workers}; complete the file.")
    if workers < 2:
        raise SemalignError(
            f"{path}: holds no face marked by two annotators; give the file of LFPW's three annotators."
        )
    points = np.array(list(marks.values()), dtype=np.float64).reshape(len(marks), workers, len(SHARED), 2)
    return AnnotatorMarks(tuple(marks), points)


def residual_distances(
    points: Float[np.ndarray, "b 68 2"],
    ids: Sequence[str],
    marks: AnnotatorMarks,
    frame: Float[np.ndarray, "b 68 2"] | None = None,
) -> tuple[tuple[str, ...], Float[np.ndarray, "f 19"]]:
    """The faces that both name, in the order of `ids`, and the residual of each shared point in %.

    The module's head says how it is measured.

    Args:
        points: labels in the image frame.
        ids: the faces' names, as in the workers' file ("lfpw/trainset/image_0001.jpg").
        marks: what the workers marked.
        frame: points whose outer eye corners give the face's frame and the unit; `points` themselves if None. Pass the
            annotations when label sets are compared.

    Raises:
        SemalignError: no face is named by both.
    """
    rows, workers = _marked(ids, marks)
    residual = _residual(points[rows][:, LANDMARKS], workers, (points if frame is None else frame)[rows])
    return tuple(ids[row] for row in rows), residual


def worker_distances(
    ids: Sequence[str], marks: AnnotatorMarks, frame: Float[np.ndarray, "b 68 2"]
) -> Float[np.ndarray, "f 19"]:
    """The residual of one worker against the others in %, averaged over the workers; faces in the order of `ids`.

    A worker's number is not one person, so all workers are measured as one label set.

    Raises:
        SemalignError: no face is named by both.
    """
    rows, workers = _marked(ids, marks)
    count = workers.shape[1]
    one = np.concatenate([workers[:, worker] for worker in range(count)])
    others = np.concatenate([np.delete(workers, worker, axis=1) for worker in range(count)])
    residual = _residual(one, others, np.tile(frame[rows], (count, 1, 1)))
    return residual.reshape(count, len(rows), len(SHARED)).mean(axis=0)


def annotator_residual(
    points: Float[np.ndarray, "b 68 2"],
    ids: Sequence[str],
    csv_path: Path,
    frame: Float[np.ndarray, "b 68 2"] | None = None,
) -> dict[str, float | int]:
    """The mean residual of a label set: {"faces", "all", "brows", "nose", "eyes", "mouth", "contour"}, in %.

    See `residual_distances` for the arguments.

    Raises:
        SemalignError: the file is not as it should be, or no face is named by both.
    """
    names, distances = residual_distances(points, ids, read_annotators(csv_path), frame)
    return {"faces": len(names), **by_region(distances)}


def compare_label_sets(
    annotations: LabelSet, others: Sequence[LabelSet], marks: AnnotatorMarks, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """A row for the annotations, one for the workers among themselves, and one for each other label set.

    Each set is measured on those of its faces that are annotated and marked, and against the annotations on the same
    faces: `difference` is the set's mean residual less that of the annotations, `low` and `high` bound its 95 %
    interval over faces (the offsets held), and `verdict` says whether it is "lower", "higher" or "undecided". Negative
    is nearer to the workers. These four are None for the annotations, and for the workers, who are held against two
    others, not three.

    Returns:
        Rows with labels (the name), faces, all, brows, nose, eyes, mouth, contour, difference, low, high, verdict.

    Raises:
        SemalignError: a set has no face that is annotated and marked.
    """
    row_of = {name: row for row, name in enumerate(annotations.ids)}
    _, own = residual_distances(annotations.points, annotations.ids, marks)
    rows = [_row(annotations.name, own), _row(WORKERS, worker_distances(annotations.ids, marks, annotations.points))]
    for labels in others:
        known = [row for row, name in enumerate(labels.ids) if name in row_of]
        ids = [labels.ids[row] for row in known]
        annotated = annotations.points[[row_of[name] for name in ids]]
        _, found = residual_distances(labels.points[known], ids, marks, annotated)
        _, before = residual_distances(annotated, ids, marks)
        rows.append(_row(labels.name, found, paired_bootstrap(found.mean(axis=1), before.mean(axis=1), rng)))
    return rows


def _row(name: str, distances: Float[np.ndarray, "f 19"], against: Difference | None = None) -> dict[str, Any]:
    difference = {
        "difference": against.mean if against else None,
        "low": against.low if against else None,
        "high": against.high if against else None,
        "verdict": against.verdict if against else None,
    }
    return {"labels": name, "faces": len(distances), **by_region(distances), **difference}


def by_region(distances: Float[np.ndarray, "f 19"]) -> dict[str, float]:
    """Mean of the residuals over all shared points and over those of each region."""
    regions = load_scheme("ibug68").regions
    places = {name: [place for place, mark in enumerate(LANDMARKS) if mark in regions[name]] for name in REGIONS}
    return {"all": float(distances.mean()), **{name: float(distances[:, places[name]].mean()) for name in REGIONS}}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _marked(ids: Sequence[str], marks: AnnotatorMarks) -> tuple[list[int], Float[np.ndarray, "f a 19 2"]]:
    """The rows of `ids` that the workers marked, and their marks."""
    row_of = {name: row for row, name in enumerate(marks.ids)}
    rows = [row for row, name in enumerate(ids) if name in row_of]
    if not rows:
        raise SemalignError("none of these faces was marked by the annotators; give faces of lfpw/trainset.")
    return rows, marks.points[[row_of[ids[row]] for row in rows]]


def _residual(
    labels: Float[np.ndarray, "m 19 2"], workers: Float[np.ndarray, "m a 19 2"], frame: Float[np.ndarray, "m 68 2"]
) -> Float[np.ndarray, "m 19"]:
    """Residuals in % of labels against the mean of their workers."""
    left, right = OUTER_EYES
    axis = frame[:, right] - frame[:, left]
    x_axis = (axis / (axis**2).sum(axis=1, keepdims=True))[:, None, None]  # unit vector over the outer-eye distance
    y_axis = np.stack([-x_axis[..., 1], x_axis[..., 0]], axis=-1)
    difference = labels[:, None] - workers
    own = np.stack([(difference * x_axis).sum(axis=-1), (difference * y_axis).sum(axis=-1)], axis=-1)
    rest = own.mean(axis=1) - np.median(own, axis=(0, 1))
    return 100.0 * np.hypot(rest[..., 0], rest[..., 1])
