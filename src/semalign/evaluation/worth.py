"""How many independent people is a label set worth? LFPW's workers against labels of its faces.

Each difference label - mean of the workers is turned into the face's own frame and divided by the outer-eye distance of the
annotations; each point's median over the faces is removed. What then depends on the shape of the face, as a ridge regression
on ten shape components tells (ten folds, cross-validated), is what two marking schemes do differently and no error of one
face's label. The length of the rest is `adapted`, in %. Of a workers, one against the mean of the others tells one worker's
own error s; their mean errs by s/√a, which is `floor`. So

    error = √(adapted² - floor²),    worth = (s / error)²:

the mean of so many workers would be as near to the truth. A region's figures are those of its own points throughout.

Shape legend: b faces given, f of them that the workers marked, a workers, s shape components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semalign.errors import SemalignError
from semalign.evaluation.annotators import LANDMARKS, OUTER_EYES, AnnotatorMarks, by_region

COMPONENTS, FOLDS, RIDGE = 10, 10, 1.0
LEAST = 1e-9  # squared error of labels that are nearer to the workers than the workers' own mean can be told


@dataclass(frozen=True)
class Worth:
    """Of one label set, by region ("all", "brows", "nose", "eyes", "mouth", "contour", which is the chin); lengths in %."""

    plain: dict[str, float]
    adapted: dict[str, float]
    error: dict[str, float]
    worth: dict[str, float]


@dataclass(frozen=True, eq=False)
class Workers:
    """The workers' marks as a yardstick for labels of the same faces.

    Attributes:
        rows: the faces that are measured, of those given.
        marks: what the workers marked in them.
        frame: the annotations whose outer eye corners give the faces' frames.
        components: 1 and the shape components, of variance 1.
        own_error: one worker's, in %, by region.
    """

    rows: list[int]
    marks: Float[np.ndarray, "f a 19 2"]
    frame: Float[np.ndarray, "f 68 2"]
    components: Float[np.ndarray, "f s"]
    own_error: dict[str, float]

    @property
    def floor(self) -> dict[str, float]:
        """The error of the workers' mean, in %, by region."""
        return {name: error / np.sqrt(self.marks.shape[1]) for name, error in self.own_error.items()}

    def worth(self, points: Float[np.ndarray, "b 68 2"]) -> Worth:
        """What labels of the given faces are worth, NaN where one of them has an absent point."""
        difference = self.from_mean(points)
        plain, adapted = (by_region(_lengths(d)) for d in (difference, _adapted(difference, self.components)))
        error = {name: float(np.sqrt(max(adapted[name] ** 2 - self.floor[name] ** 2, LEAST))) for name in adapted}
        worth = {name: float((self.own_error[name] / error[name]) ** 2) for name in error}
        return Worth(plain, adapted, error, worth)

    def within(self, points: Float[np.ndarray, "b 68 2"], spread: Float[np.ndarray, "b 68 2"]) -> float:
        """Does a label set know how sure it is? The share that lies within the radius that is to hold 90 % of the labels.

        What is held against the workers' mean errs by the label's stated variance and by that mean's own, so that the radius
        is that of the sum, taken as round.

        Args:
            points: labels of the given faces.
            spread: their stated standard deviations along x and y, likewise.
        """
        stated, count = spread[self.rows][:, LANDMARKS], self.marks.shape[1]
        rest = _adapted(self.from_mean(points), self.components)
        squares = np.mean([(one**2).sum(axis=-1).mean() for one in _against_others(self.marks, self.frame)])
        own = squares / (1 + 1 / (count - 1)) / count
        unit = np.linalg.norm(self.frame[:, OUTER_EYES[1]] - self.frame[:, OUTER_EYES[0]], axis=-1) / 100.0
        variance = ((stated / unit[:, None, None]) ** 2).sum(axis=-1) + own
        return float((_lengths(rest) <= np.sqrt(variance * np.log(10.0))).mean())

    def from_mean(self, points: Float[np.ndarray, "b 68 2"]) -> Float[np.ndarray, "f 19 2"]:
        """Labels of the given faces against the workers' mean, each point's offset taken off."""
        labels = points[self.rows][:, LANDMARKS]
        return _centred(_own_frame(labels - self.marks.mean(axis=1), self.frame))


def workers_of(ids: Sequence[str], annotations: Float[np.ndarray, "b 68 2"], marks: AnnotatorMarks) -> Workers:
    """The yardstick for faces that both name, but for those with an absent point.

    Args:
        ids: the faces' names, as in the workers' file ("lfpw/trainset/image_0001.jpg").
        annotations: give each face its frame, and the shapes on which the differences of two schemes depend.
        marks: what the workers marked.

    Raises:
        SemalignError: fewer such faces than folds.
    """
    row_of = {name: row for row, name in enumerate(marks.ids)}
    rows = [row for row, name in enumerate(ids) if name in row_of and np.isfinite(annotations[row]).all()]
    if len(rows) < FOLDS:
        raise SemalignError(
            f"{len(rows)} of these faces were marked by the annotators, which is too few; give all of lfpw/trainset."
        )
    points, frame = marks.points[[row_of[ids[row]] for row in rows]], annotations[rows]
    count = points.shape[1]
    found = [by_region(_lengths(one)) for one in _against_others(points, frame)]
    own = {name: float(np.mean([f[name] for f in found]) / np.sqrt(1 + 1 / (count - 1))) for name in found[0]}
    return Workers(rows, points, frame, _components(frame), own)


def _against_others(
    marks: Float[np.ndarray, "f a 19 2"], frame: Float[np.ndarray, "f 68 2"]
) -> list[Float[np.ndarray, "f 19 2"]]:
    """Each worker against the mean of the others, each point's offset taken off."""
    rest = [marks[:, k] - np.delete(marks, k, axis=1).mean(axis=1) for k in range(marks.shape[1])]
    return [_centred(_own_frame(one, frame)) for one in rest]


def _components(frame: Float[np.ndarray, "f 68 2"]) -> Float[np.ndarray, "f s"]:
    shapes = _own_frame(frame - frame.mean(axis=1, keepdims=True), frame).reshape(len(frame), -1)
    left = np.linalg.svd(shapes - shapes.mean(axis=0), full_matrices=False)[0][:, :COMPONENTS]
    return np.concatenate([np.ones((len(frame), 1)), left * np.sqrt(len(frame))], axis=1)


def _own_frame(
    difference: Float[np.ndarray, "f n 2"], frame: Float[np.ndarray, "f 68 2"]
) -> Float[np.ndarray, "f n 2"]:
    """Differences along and across the line between the outer eye corners, in % of their distance."""
    left, right = OUTER_EYES
    way = frame[:, right] - frame[:, left]
    along = way / (way**2).sum(axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    return 100.0 * np.stack([(difference * axis[:, None]).sum(axis=-1) for axis in (along, across)], axis=-1)


def _centred(difference: Float[np.ndarray, "f n 2"]) -> Float[np.ndarray, "f n 2"]:
    return difference - np.median(difference, axis=0)


def _lengths(difference: Float[np.ndarray, "f n 2"]) -> Float[np.ndarray, "f n"]:
    return np.linalg.norm(difference, axis=-1)


def _adapted(
    difference: Float[np.ndarray, "f n 2"], components: Float[np.ndarray, "f s"]
) -> Float[np.ndarray, "f n 2"]:
    """What is left of the differences after a ridge regression on the components, learned from the other folds."""
    fold, flat = np.arange(len(difference)) % FOLDS, difference.reshape(len(difference), -1)
    rest = np.empty_like(flat)
    ridge = RIDGE * np.eye(components.shape[1])
    for index in range(FOLDS):
        own, others = components[fold == index], components[fold != index]
        learned = np.linalg.solve(others.T @ others + ridge, others.T @ flat[fold != index])
        rest[fold == index] = flat[fold == index] - own @ learned
    return rest.reshape(difference.shape)
