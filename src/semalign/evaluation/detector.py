"""Figures of a detector's predictions on a data set: every normalisation by its name, by subset, region and landmark.

Errors and failure rates are in %, AUC and shares between 0 and 1. Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.core import metrics
from semalign.data.samples import HIDDEN, VISIBLE, Dataset
from semalign.errors import SemalignError
from semalign.evaluation.bootstrap import paired_bootstrap
from semalign.evaluation.labels import mean_or_none
from semalign.schemes import LandmarkScheme

INTEROCULAR_THRESHOLD = 8.0  # %
INTERPUPIL_THRESHOLD = 10.0  # %
CURVE_STEPS = 161  # points of the cumulative curve, every 0.05 %


@dataclass(frozen=True, eq=False)
class _Faces:
    """Predictions and what they are held against, in the image frame."""

    predicted: np.ndarray  # (b, n, 2)
    reference: np.ndarray  # (b, n, 2)
    boxes: np.ndarray  # (b, 4), NaN where the data set gives none
    visibility: np.ndarray  # (b, n) int8, see `Sample.visibility`

    def take(self, rows: list[int]) -> _Faces:
        return _Faces(self.predicted[rows], self.reference[rows], self.boxes[rows], self.visibility[rows])


def evaluate_predictions(
    predicted: Float[np.ndarray, "b n 2"], dataset: Dataset, truth: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """The figures of predictions (image frame) against the annotations, or against `truth` (id -> points) if given.

    Returns:
        {"subsets": {name: figures}}, ready for JSON. The names are the data set's subsets; "common", "challenging" and
        "frontal" if samples are of these groups; "full" if there are the first two; tags such as WFLW's attributes; and
        "all". Figures hold count, nme_interpupil, nme_interocular, rmse_interocular, nme_box (√(w·h) of the face box that the
        data set gives, else of the box around the reference's landmarks; `box` says which: "given", "landmarks" or "mixed"),
        auc_interocular_8, failure_rate_interocular_8, auc_interpupil_10, failure_rate_interpupil_10; by_region, by_landmark
        and by_visibility ("visible" and "hidden" points, None where the annotations do not say) (the error that `regions_by`
        names: nme_interocular, or nme_box where the scheme has no outer eye corners); landmarks (how many of all are
        annotated: absent ones count nowhere); cumulative_interocular ("error" from 0 to 8 %, "share" of faces). What the
        scheme or the reference does not allow is None. `undefined` counts the faces, by normalisation, that have no such
        normaliser: they are left out of the mean errors and count as failures.

    Raises:
        SemalignError: no samples, a prediction that is not finite, a face without truth.
        ValueError: the predictions are not one for each sample.
    """
    faces = _faces(predicted, dataset, truth)
    return {
        "subsets": {name: _figures(faces.take(members), dataset.scheme) for name, members in _subsets(dataset).items()}
    }


def compare_predictions(
    predicted: Float[np.ndarray, "b n 2"],
    other: Float[np.ndarray, "b n 2"],
    dataset: Dataset,
    truth: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Are predictions nearer than others on the same faces? Paired bootstrap over the faces.

    Args:
        predicted: of one detector, image frame.
        other: of the one that it is compared with.
        dataset: the faces.
        truth: as for `evaluate_predictions`.
        seed: of the bootstrap.

    Returns:
        {"subsets": {name: {error: comparison}}}, ready for JSON, with the subsets of `evaluate_predictions`; errors are
        nme_interpupil, nme_interocular, nme_box and "nme_interocular REGION" for each region (nme_box as above).
        A comparison holds `mean` and
        `other`, `difference` with its interval from `low` to `high` at `level`, and the `verdict` "lower", "higher" or
        "undecided"; None where no face has the normaliser.

    Raises:
        SemalignError: as for `evaluate_predictions`.
        ValueError: the same.
    """
    mine, others = (_faces(points, dataset, truth) for points in (predicted, other))
    result: dict[str, Any] = {}
    for name, members in _subsets(dataset).items():
        pair = [_named_errors(faces.take(members), dataset.scheme) for faces in (mine, others)]
        result[name] = {key: _comparison(pair[0][key], pair[1][key], seed) for key in pair[0]}
    return {"subsets": result}


def _named_errors(faces: _Faces, scheme: LandmarkScheme) -> dict[str, np.ndarray]:
    """(b,) of each kind of error that is compared, in %."""
    distances, normalizers = _normalizers(faces, scheme)
    errors = {f"nme_{name}": metrics.nme(distances, normalizer) for name, normalizer in normalizers.items()}
    for name, members in scheme.regions.items():
        errors[f"{_regions_by(scheme)} {name}"] = metrics.nme(
            distances[:, list(members)], _of_regions(normalizers, scheme)
        )
    return errors


def _comparison(errors: np.ndarray, others: np.ndarray, seed: int) -> dict[str, Any] | None:
    there = np.isfinite(errors) & np.isfinite(others)
    if not there.any():
        return None
    difference = paired_bootstrap(errors[there], others[there], np.random.default_rng(seed))
    return {
        "mean": float(errors[there].mean()),
        "other": float(others[there].mean()),
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "level": difference.level,
        "verdict": difference.verdict,
    }


def _subsets(dataset: Dataset) -> dict[str, list[int]]:
    """Rows of the samples by the names of `evaluate_predictions`."""
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(dataset.samples):
        rows.setdefault(sample.subset, []).append(row)
    groups = {
        group: [row for row, sample in enumerate(dataset.samples) if sample.group == group]
        for group in ("common", "challenging", "frontal")
    }
    rows.update({group: members for group, members in groups.items() if members})
    if groups["common"] and groups["challenging"]:
        rows["full"] = sorted(groups["common"] + groups["challenging"])
    for tag in sorted({tag for sample in dataset.samples for tag in sample.tags}):
        rows[tag] = [row for row, sample in enumerate(dataset.samples) if tag in sample.tags]
    rows["all"] = list(range(len(dataset)))
    return rows


def _faces(predicted: np.ndarray, dataset: Dataset, truth: Mapping[str, np.ndarray] | None) -> _Faces:
    if not len(dataset):
        raise SemalignError(f"{dataset.root}: there are no samples to evaluate; choose another split or subset.")
    reference = dataset.points()
    if predicted.shape != reference.shape:
        raise ValueError(f"predictions of shape {predicted.shape} for annotations of shape {reference.shape}")
    for sample, points in zip(dataset.samples, predicted, strict=True):
        if not np.isfinite(points).all():
            raise SemalignError(f"{sample.id}: the prediction is not finite; train the model again, it has diverged.")
        if truth is not None and sample.id not in truth:
            raise SemalignError(
                f"{sample.id}: the truth does not name this face; evaluate against annotations instead."
            )
    if truth is not None:
        reference = np.stack([truth[sample.id] for sample in dataset.samples])
    nowhere = (np.nan,) * 4
    boxes = np.array([nowhere if sample.box is None else sample.box for sample in dataset.samples])
    return _Faces(predicted.astype(np.float64), reference, boxes, dataset.visibility())


def _figures(faces: _Faces, scheme: LandmarkScheme) -> dict[str, Any]:
    """All figures of some faces."""
    distances, normalizers = _normalizers(faces, scheme)
    given = np.isfinite(faces.boxes).all(axis=1)
    errors = {name: metrics.nme(distances, normalizer) for name, normalizer in normalizers.items()}
    eyes, unit = normalizers["interocular"], _of_regions(normalizers, scheme)
    return {
        "count": len(distances),
        "undefined": {name: int(np.isnan(error).sum()) for name, error in errors.items()},
        "nme_interpupil": mean_or_none(errors["interpupil"]),
        "nme_interocular": mean_or_none(errors["interocular"]),
        "rmse_interocular": mean_or_none(metrics.rmse(distances, eyes)),
        "nme_box": mean_or_none(errors["box"]),
        "box": "given" if given.all() else "mixed" if given.any() else "landmarks",
        **_shares(errors["interocular"], "interocular", INTEROCULAR_THRESHOLD),
        **_shares(errors["interpupil"], "interpupil", INTERPUPIL_THRESHOLD),
        "regions_by": _regions_by(scheme),
        "by_region": {
            name: mean_or_none(metrics.nme(distances[:, list(members)], unit))
            for name, members in scheme.regions.items()
        },
        "by_visibility": {
            name: mean_or_none(metrics.nme(np.where(faces.visibility == value, distances, np.nan), unit))
            for name, value in (("visible", VISIBLE), ("hidden", HIDDEN))
        },
        "landmarks": int(np.isfinite(distances).sum()),
        "by_landmark": [mean_or_none(metrics.nme(distances[:, [index]], unit)) for index in range(scheme.count)],
        "cumulative_interocular": _curve(errors["interocular"]),
    }


def _regions_by(scheme: LandmarkScheme) -> str:
    """The error that regions and single landmarks are given in."""
    return "nme_interocular" if scheme.outer_eyes else "nme_box"


def _of_regions(normalizers: Mapping[str, np.ndarray], scheme: LandmarkScheme) -> np.ndarray:
    return normalizers["interocular" if scheme.outer_eyes else "box"]


def _normalizers(faces: _Faces, scheme: LandmarkScheme) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(b, n) distances and (b,) what they are divided by under each normalisation; NaN where a face has no such thing."""
    given = np.isfinite(faces.boxes).all(axis=1)
    absent = np.full(len(faces.reference), np.nan)
    boxes = np.where(given[:, None], faces.boxes, metrics.landmark_boxes(faces.reference))
    return metrics.distances(faces.predicted, faces.reference), {
        "interpupil": metrics.interpupil(faces.reference, scheme) if scheme.pupils[0] else absent,
        "interocular": metrics.interocular(faces.reference, scheme) if scheme.outer_eyes else absent,
        "box": metrics.box_size(boxes),
    }


def _shares(errors: np.ndarray, name: str, threshold: float) -> dict[str, float | None]:
    """AUC and failure rate under names that say the normalisation and the threshold."""
    known = not np.isnan(errors).all()
    return {
        f"auc_{name}_{threshold:g}": metrics.auc(errors, threshold) if known else None,
        f"failure_rate_{name}_{threshold:g}": metrics.failure_rate(errors, threshold) if known else None,
    }


def _curve(errors: np.ndarray) -> dict[str, list[float]] | None:
    if np.isnan(errors).all():
        return None
    x, share = metrics.cumulative_curve(errors, INTEROCULAR_THRESHOLD, CURVE_STEPS)
    return {"error": x.tolist(), "share": share.tolist()}
