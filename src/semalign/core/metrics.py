"""Errors of landmarks under every normalisation, each by its own name, and what is computed from errors.

Distances are in pixels, errors in % of a normaliser, AUC and shares between 0 and 1. A landmark whose reference is NaN
is absent: its distance is NaN and does not count. A face whose normaliser does not exist has the error NaN.

Shape legend: b faces, n landmarks, k steps of a curve.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme


def distances(a: Float[np.ndarray, "b n 2"], b: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n"]:
    """The distance between corresponding points of two sets."""
    return _length(a - b)


def interpupil(points: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme) -> Float[np.ndarray, " b"]:
    """The distance between the pupils, each being the mean of its eye's points; the usual normaliser on 300W.

    Raises:
        SemalignError: the scheme names no points of the eyes.
    """
    if not scheme.pupils[0]:
        raise SemalignError(f"scheme {scheme.name!r}: there are no pupils; add the points of each eye.")
    left, right = (points[:, list(eye)].mean(axis=1) for eye in scheme.pupils)
    return _length(right - left)


def interocular(points: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme) -> Float[np.ndarray, " b"]:
    """The distance between the outer corners of the eyes.

    Raises:
        SemalignError: the scheme names no outer corners of the eyes.
    """
    if scheme.outer_eyes is None:
        raise SemalignError(f"scheme {scheme.name!r}: there are no outer_eyes; add the outer corners of the eyes.")
    left, right = scheme.outer_eyes
    return _length(points[:, right] - points[:, left])


def box_size(boxes: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, " b"]:
    """√(w·h) of boxes (x0, y0, x1, y1); the normaliser of AFLW. A box without area has none (NaN)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.sqrt(np.where((sides > 0).all(axis=1), sides.prod(axis=1), np.nan))


def landmark_boxes(points: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b 4"]:
    """The smallest upright boxes (x0, y0, x1, y1) around the points that are there; NaN for a face without any."""
    absent = np.isnan(points)
    low = np.where(absent, np.inf, points).min(axis=1)
    high = np.where(absent, -np.inf, points).max(axis=1)
    return np.where(np.concatenate([low <= high, low <= high], axis=1), np.concatenate([low, high], axis=1), np.nan)


def nme_interpupil(
    points: Float[np.ndarray, "b n 2"], reference: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme
) -> Float[np.ndarray, " b"]:
    """Each face's mean distance to the reference by that between the reference's pupils, in %: what papers give on 300W.

    Raises:
        SemalignError: the scheme names no points of the eyes.
    """
    return nme(distances(points, reference), interpupil(reference, scheme))


def nme_interocular(
    points: Float[np.ndarray, "b n 2"], reference: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme
) -> Float[np.ndarray, " b"]:
    """Each face's mean distance to the reference by that between the reference's outer eye corners, in %.

    What the evaluation code of the 300-VW challenge computes, and its papers call RMSE.

    Raises:
        SemalignError: the scheme names no outer corners of the eyes.
    """
    return nme(distances(points, reference), interocular(reference, scheme))


def nme_box(
    points: Float[np.ndarray, "b n 2"], reference: Float[np.ndarray, "b n 2"], boxes: Float[np.ndarray, "b 4"]
) -> Float[np.ndarray, " b"]:
    """Each face's mean distance to the reference by √(w·h) of its box (x0, y0, x1, y1), in %: AFLW's."""
    return nme(distances(points, reference), box_size(boxes))


def mean_errors(
    points: Float[np.ndarray, "b n 2"], reference: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme
) -> dict[str, float]:
    """The means over faces of `nme_interocular` and `nme_interpupil`, as far as the scheme has the points for them.

    A face that lacks the points for a normaliser does not count in its mean. Where no face counts in either, as with a scheme
    that names no such points, it is the mean of `nme_box`, by the box around the reference's points.
    """
    kinds = {"nme_interocular": nme_interocular} if scheme.outer_eyes is not None else {}
    kinds |= {"nme_interpupil": nme_interpupil} if all(scheme.pupils) else {}
    errors = {name: error(points, reference, scheme) for name, error in kinds.items()}
    means = {name: _mean(values) for name, values in errors.items() if not np.isnan(values).all()}
    return means or {"nme_box": _mean(nme_box(points, reference, landmark_boxes(reference)))}


def nme(distances: Float[np.ndarray, "b n"], normalizer: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Each face's normalised mean error in %: the mean distance over its landmarks by its normaliser."""
    return _percent(_mean_present(distances), normalizer)


def rmse(distances: Float[np.ndarray, "b n"], normalizer: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Each face's root of the mean squared distance over its landmarks by its normaliser, in %.

    The evaluation code of the 300-VW challenge computes the plain mean distance and papers call that RMSE, too: compare
    their figures with `nme`. This one is never smaller.
    """
    return _percent(np.sqrt(_mean_present(distances**2)), normalizer)


def auc(errors: Float[np.ndarray, " b"], threshold: float) -> float:
    """The area under the cumulative error curve from 0 to the threshold, by the threshold: 1 if all errors are 0.

    It is the exact area under the step curve, mean(max(0, 1 - error / threshold)), not a sum over bins. NaN counts as
    a failure.

    Raises:
        ValueError: there are no errors.
    """
    errors = _sorted(errors)
    return float(np.maximum(0.0, 1.0 - errors / threshold).mean())


def failure_rate(errors: Float[np.ndarray, " b"], threshold: float) -> float:
    """The share of faces, in %, whose error is above the threshold. NaN counts as a failure.

    Raises:
        ValueError: there are no errors.
    """
    return 100.0 * float((_sorted(errors) > threshold).mean())


def cumulative_curve(
    errors: Float[np.ndarray, " b"], threshold: float, steps: int = 201
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The cumulative error curve: `steps` errors from 0 to the threshold, and the share of faces up to each.

    Raises:
        ValueError: there are no errors.
    """
    errors = _sorted(errors)
    x = np.linspace(0.0, threshold, steps)
    return x, np.searchsorted(errors, x, side="right") / len(errors)


def _mean(values: Float[np.ndarray, " b"]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _length(vectors: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b"]:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _percent(pixels: Float[np.ndarray, " b"], normalizer: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Pixels in % of the normaliser, NaN where that is not positive."""
    return 100.0 * pixels / np.where(normalizer > 0, normalizer, np.nan)


def _mean_present(values: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """The mean over what is not NaN; NaN where everything is."""
    present = ~np.isnan(values)
    count = present.sum(axis=1)
    return np.where(count > 0, np.where(present, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _sorted(errors: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    if not len(errors):
        raise ValueError("there are no errors to summarise")
    return np.sort(np.where(np.isnan(errors), np.inf, errors))
