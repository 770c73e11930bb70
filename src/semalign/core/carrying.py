"""How landmarks are learned from few faces: points carried over by a smooth warp, and ridge regression with faces held out.

Fifty faces do not teach a network. They teach what lies between the points that a network knows and the landmarks that are
wanted, if what is already known is not learned again: a smooth warp (thin plate splines) that takes the mean of the known
points to a face's takes the mean of the landmarks along. It is a fixed linear map of the known points; what it misses, a ridge
regression learns.

Shape legend: b faces, k known points, n landmarks, f features, m values, l penalties.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

STIFF = 1e-3  # of the warp: points of the source that nearly coincide do not fold it


def warp_weights(known: Float[np.ndarray, "k 2"], wanted: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n k"]:
    """Each landmark as a weighted sum of known points, so that it goes along when these are warped.

    The weights of a landmark sum to 1, and where the known points are moved by an affine map, so are the landmarks.

    Args:
        known: mean of the known points, in units of about a face's half side; at least three that are not on one line.
        wanted: mean of the landmarks in the same frame.
    """
    count = len(known)
    middle = known.mean(axis=0)  # the weights are the same about any point, and better conditioned about this one
    known, wanted = known - middle, wanted - middle
    affine = np.column_stack([np.ones(count), known])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bending(known, known) + STIFF * np.eye(count)
    system[:count, count:], system[count:, :count] = affine, affine.T
    rows = np.column_stack([_bending(wanted, known), np.ones(len(wanted)), wanted])
    weights: np.ndarray = np.linalg.solve(system, rows.T)[:count].T
    return weights


def _bending(a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "n k"]:
    """r² log r of all pairs."""
    square = ((a[:, None] - b) ** 2).sum(axis=2)
    return np.where(square > 0, 0.5 * square * np.log(np.maximum(square, 1e-300)), 0.0)


def held_out(
    features: Float[Tensor, "*n b f"],
    wanted: Float[Tensor, "*n b m"],
    folds: Int[np.ndarray, " b"],
    penalties: Sequence[float],
) -> Float[Tensor, "l *n b m"]:
    """What ridge regression says of each face, learned from the faces of the other folds, for each penalty.

    Args:
        features: of several regressions at once, or of one.
        wanted: what each learns.
        folds: the fold of each face; there are two at least.
        penalties: of the squared weights.
    """
    found = wanted.new_empty(len(penalties), *wanted.shape)
    for fold in np.unique(folds):
        own, others = (torch.from_numpy(np.flatnonzero(rows)) for rows in (folds == fold, folds != fold))
        known, middle = _centred(features[..., others, :])
        values, mean = _centred(wanted[..., others, :])
        square, seen = known @ known.mT, (features[..., own, :] - middle) @ known.mT
        for index, penalty in enumerate(penalties):
            found[index][..., own, :] = seen @ _solved(square, penalty, values) + mean
    return found


def ridge(
    features: Float[Tensor, "*n b f"], wanted: Float[Tensor, "*n b m"], penalty: float
) -> tuple[Float[Tensor, "*n f m"], Float[Tensor, "*n m"]]:
    """Weights and bias of the regression from all faces."""
    known, middle = _centred(features)
    values, mean = _centred(wanted)
    weights = known.mT @ _solved(known @ known.mT, penalty, values)
    return weights, (mean - middle @ weights)[..., 0, :]


def _solved(
    square: Float[Tensor, "*n b b"], penalty: float, values: Float[Tensor, "*n b m"]
) -> Float[Tensor, "*n b m"]:
    root = torch.linalg.cholesky(square + penalty * torch.eye(square.shape[-1], dtype=square.dtype))
    solved: Tensor = torch.cholesky_solve(values, root)
    return solved


def _centred(values: Float[Tensor, "*n b f"]) -> tuple[Float[Tensor, "*n b f"], Float[Tensor, "*n 1 f"]]:
    mean = values.mean(dim=-2, keepdim=True)
    return values - mean, mean


def alike(there: Bool[np.ndarray, "b n"]) -> Iterator[tuple[Int[np.ndarray, " c"], Int[np.ndarray, " r"]]]:
    """Landmarks that are there in the same faces, and these faces: what can be learned in one regression."""
    patterns, group = np.unique(there, axis=1, return_inverse=True)
    for index, pattern in enumerate(patterns.T):
        yield np.flatnonzero(group.ravel() == index), np.flatnonzero(pattern)
