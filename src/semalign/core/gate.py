"""Which peaks have failed: a measure of each landmark's confidence, and the gate that is calibrated on it.

A correction unit sees all heatmaps and gives a whole shape. A peak is the less to be trusted, the lower it is and the farther
it lies from where the unit expects it. How the two add up is fitted to faces whose points are known, by what replacing peaks
with the unit's points would have gained there.

Shape legend: b images, n landmarks, m landmarks of many faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEAREST = 1e-3  # smallest distance between peak and unit that counts, in shares of the face's size
RIDGE = 1e-3  # of the regression
REGRESSION_STEPS = 25


@dataclass(frozen=True)
class Gate:
    """Which landmarks are taken from the unit: those at which a weighted sum of what tells of a failed peak is positive."""

    low: float  # weight of 1 - the peak's height
    distance: float  # weight of the logarithm of the distance between peak and unit, in shares of the face's size
    offset: float  # added to the sum


def face_sizes(points: Float[Tensor, "b n 2"]) -> Float[Tensor, " b"]:
    """√(w·h) of the box around a shape."""
    low, high = points.amin(dim=1), points.amax(dim=1)
    return (high - low).prod(dim=-1).clamp(min=1e-6).sqrt()


def measures(
    peaks: Float[Tensor, "b n 2"], confidence: Float[Tensor, "b n"], unit: Float[Tensor, "b n 2"]
) -> Float[Tensor, "b n 2"]:
    """What tells of a failed peak: 1 - its height, and ln of its distance to the unit's point by the face's size.

    The size is that of the unit's shape, which is a face's whatever the peaks are.
    """
    distance = (peaks - unit).norm(dim=-1) / face_sizes(unit)[:, None]
    return torch.stack([1 - confidence, distance.clamp(min=NEAREST).log()], dim=-1)


def unconfidence(gate: Gate, measured: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n"]:
    """The gate's weighted sum; a landmark is replaced where it is positive."""
    return measured[..., 0] * gate.low + measured[..., 1] * gate.distance + gate.offset


def fit_gate(measured: Float[np.ndarray, "m 2"], gain: Float[np.ndarray, " m"]) -> Gate:
    """The gate for given measures and gains (the peak's error minus the unit's, in any one unit).

    Logistic regression of 'the unit is better' on the measures, each landmark weighted by how much is at stake, gives the two
    weights. Then the offset is the one of all offsets for which the sum of the gains of what is replaced is largest.
    """
    mean, spread = measured.mean(axis=0), measured.std(axis=0) + 1e-9
    design = np.column_stack([(measured - mean) / spread, np.ones(len(measured))])
    weights = _logistic_regression(design, gain > 0, np.abs(gain) / max(np.abs(gain).mean(), 1e-12))[:2] / spread
    score = measured @ weights
    return Gate(float(weights[0]), float(weights[1]), -_best_threshold(score, gain))


def _logistic_regression(
    design: Float[np.ndarray, "m p"], positive: Bool[np.ndarray, " m"], weight: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " p"]:
    """Newton's method on the weighted likelihood with a small ridge, which keeps separable data finite."""
    coefficients = np.zeros(design.shape[1])
    ridge = RIDGE * weight.sum() * np.eye(design.shape[1])
    for _ in range(REGRESSION_STEPS):
        probability = 0.5 * (1 + np.tanh(design @ coefficients / 2))
        slope = design.T @ (weight * (positive - probability)) - ridge @ coefficients
        curvature = design.T @ ((weight * probability * (1 - probability))[:, None] * design) + ridge
        coefficients = coefficients + np.linalg.solve(curvature, slope)
    return coefficients


def _best_threshold(score: Float[np.ndarray, " m"], gain: Float[np.ndarray, " m"]) -> float:
    """The threshold above which the gains sum up to the most; above all scores if replacing never gains."""
    order = np.argsort(-score, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(gain[order])])
    score = score[order]
    possible = np.concatenate([[True], score[:-1] > score[1:], [True]])  # equal scores share their fate
    count = int(np.argmax(np.where(possible, total, -np.inf)))
    above = score[count - 1] if count else score[0] + 2.0
    below = score[count] if count < len(score) else score[-1] - 2.0
    return float((above + below) / 2)
