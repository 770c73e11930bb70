"""Fusing a predicted shape with the peaks of heatmaps: the most probable shape given both.

The gate of a correction unit takes each landmark either from the unit or from the heatmap. Both are measurements of one face,
and the unit's errors go together: where it has a whole cheek too low, the sure peaks of that cheek say so, and the unsure ones
gain. With errors in shares of the face's size, of the unit normal with covariance C (along x and along y, between landmarks)
and of the peaks normal and independent with variance D, the most probable shape is

    unit + C (C + D)⁻¹ (peaks - unit)

D depends on what tells of a failed peak (`semalign.core.gate.measures`); its logarithm is linear in them. A lost peak thus
counts for nothing and a sharp one at its place for nearly everything. C and D are fitted to faces whose points are known.

Shape legend: b images, n landmarks, m faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.gate import face_sizes

NEWTON_STEPS = 50
LOG_SPAN = 30.0  # beyond this the logarithm of a variance is as good as infinite
LEAST = 1e-10  # variance, (shares of the face's size)²


@dataclass(frozen=True, eq=False)
class Fusion:
    """How sure a unit and a network's peaks are; lengths in shares of the face's size.

    Attributes:
        covariance: (2, n, n) float64: of the unit's errors along x and along y.
        low: the logarithm of a peak's variance grows by this with 1 - its height,
        distance: and by this with the logarithm of its distance to the unit's point;
        offset: what it is where both are 0.
    """

    covariance: Float[Tensor, "2 n n"]
    low: float
    distance: float
    offset: float


def fuse(
    fusion: Fusion, unit: Float[Tensor, "b n 2"], peaks: Float[Tensor, "b n 2"], measured: Float[Tensor, "b n 2"]
) -> Float[Tensor, "b n 2"]:
    """The most probable shapes.

    Args:
        fusion: fitted on such units and peaks.
        unit: shapes that the correction unit gives, in any frame whose axes are those of the fit.
        peaks: where the heatmaps peak, the same frame.
        measured: of the peaks, see `semalign.core.gate.measures`.
    """
    covariance = fusion.covariance.to(unit.device)
    spread = measured[..., 0] * fusion.low + measured[..., 1] * fusion.distance + fusion.offset
    variance = spread.double().clamp(-LOG_SPAN, LOG_SPAN).exp() + LEAST
    together = covariance[None] + torch.diag_embed(variance)[:, None]  # (b, 2, n, n)
    apart = (peaks - unit).double().transpose(1, 2)[..., None]  # (b, 2, n, 1)
    moved = covariance[None] @ torch.cholesky_solve(apart, torch.linalg.cholesky(together))
    return unit + moved[..., 0].transpose(1, 2).to(unit.dtype)


def fit_fusion(
    unit: Float[Tensor, "m n 2"],
    peaks: Float[Tensor, "m n 2"],
    measured: Float[Tensor, "m n 2"],
    truth: Float[Tensor, "m n 2"],
) -> Fusion:
    """Fit both variances to faces whose points are known; landmarks without one (NaN) do not count.

    C is the second moment of the unit's errors, drawn towards its diagonal as if each landmark had been seen once more with
    errors of its own. The peaks' variance is the most probable log-linear one (a convex problem, solved by Newton's method).
    """
    sizes = face_sizes(unit).double()[:, None, None]
    missed = ((unit - truth).double() / sizes).nan_to_num().numpy()
    known = truth.isfinite().all(dim=-1)
    pairs = np.einsum("bi,bj->ij", *(known.double().numpy(),) * 2).clip(min=1)
    moments = np.stack([missed[..., axis].T @ missed[..., axis] / pairs for axis in (0, 1)])
    count, landmarks = missed.shape[:2]
    own = np.stack([np.diag(np.diag(moment)) for moment in moments])
    covariance = (count * moments + landmarks * own) / (count + landmarks)
    if not known.all():  # moments of different faces need not be those of any
        covariance = _positive(covariance)
    squares = ((peaks - truth).double() / sizes).square().mean(dim=-1)[known].numpy()
    design = np.column_stack([measured[known].double().numpy(), np.ones(len(squares))])
    low, distance, offset = _log_variance(design, squares + LEAST)
    return Fusion(torch.from_numpy(covariance), float(low), float(distance), float(offset))


def _positive(matrices: Float[np.ndarray, "2 n n"]) -> Float[np.ndarray, "2 n n"]:
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * values.clip(min=0)[:, None, :]) @ vectors.transpose(0, 2, 1)


def _log_variance(design: Float[np.ndarray, "m p"], squares: Float[np.ndarray, " m"]) -> Float[np.ndarray, " p"]:
    """The w that minimises the mean of d·w + square·exp(-d·w), by Newton's method with halved steps.

    The last column of the design is 1. Columns that do not vary are left alone by a small ridge.
    """

    def cost(weights: np.ndarray) -> float:
        exponent = design @ weights
        return float((exponent + squares * np.exp(-exponent.clip(-LOG_SPAN, LOG_SPAN))).mean())

    weights = np.zeros(design.shape[1])
    weights[-1] = np.log(squares.mean())
    ridge = 1e-6 * np.eye(len(weights))
    for _ in range(NEWTON_STEPS):
        ratio = squares * np.exp(-(design @ weights).clip(-LOG_SPAN, LOG_SPAN))
        slope = design.T @ (1 - ratio) / len(design)
        step = np.linalg.solve(design.T @ (ratio[:, None] * design) / len(design) + ridge, slope)
        before, share = cost(weights), 1.0
        while cost(weights - share * step) > before and share > 1e-6:
            share /= 2
        weights = weights - share * step
        if np.abs(share * step).max() < 1e-9:
            break
    return weights
