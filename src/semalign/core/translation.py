"""Landmarks of one kind from others of the same faces: a linear map between shapes, learned where both are known.

A network may mark other points than the annotators, or the same ones by other rules. What it knows of a face is in all its
points together: ridge regression from all of them to each landmark, in the face's own frame, turns it into what the annotators
would have marked. How much the regression is held back, leaving each face out in turn decides (in closed form).

Shape legend: b faces, k points known, d of their coordinates (2, or 3 with depth), n landmarks, f features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from semalign.core.adaptation import aligned_shapes, product
from semalign.core.similarity import similarity, to_complex, to_points

RIDGES = tuple(10.0**exponent for exponent in np.arange(-4, 4.1, 0.5))  # in squared sizes of the face
LEAST_FACES = 50  # from fewer nothing is learned


@dataclass(frozen=True, eq=False)
class Translation:
    """From the points of a face to its landmarks.

    Attributes:
        mean: shape of the known points that gives each face its frame.
        centre: mean features.
        coefficients: of the features; the last row is the mean landmarks.
        ridge: what was added to the squared singular values, in squared sizes of the face.
    """

    mean: Float[np.ndarray, "k 2"]
    centre: Float[np.ndarray, " f"]
    coefficients: Float[np.ndarray, "g n 2"]
    ridge: Float[np.ndarray, ""]

    def __call__(self, known: Float[np.ndarray, "b k d"]) -> Float[np.ndarray, "b n 2"]:
        """The landmarks, in the frame of the known points."""
        features, centres, frames = _own_frame(known, to_complex(self.mean))
        own = product(features - self.centre, self.coefficients[:-1].reshape(len(self.centre), -1))
        turned = to_complex(own.reshape(len(known), -1, 2) + self.coefficients[-1]) * frames
        return to_points(turned + centres)


def fit_translation(known: Float[np.ndarray, "b k d"], wanted: Float[np.ndarray, "b n 2"]) -> Translation:
    """Ridge regression from known points to landmarks.

    Args:
        known: points of any frames.
        wanted: landmarks of the same frames, NaN where absent; each is learned from the faces that have it.

    Raises:
        ValueError: there are fewer than 50 faces.
    """
    if len(known) < LEAST_FACES:
        raise ValueError(f"a translation is learned from {LEAST_FACES} faces at least")
    import torch

    mean = aligned_shapes(to_complex(known[..., :2]))[2]
    features, centres, frames = _own_frame(known, mean)
    target = (to_complex(wanted) - centres) / frames
    there = ~np.isnan(target)
    middle = np.array([column[own].mean() if own.any() else 0.0 for column, own in zip(target.T, there.T, strict=True)])
    rest = np.where(there, target - middle, 0.0)
    centre = features.mean(axis=0)
    left, values, right = (
        part.numpy() for part in torch.linalg.svd(torch.from_numpy(features - centre), full_matrices=False)
    )
    ridge = _ridge(left, values, rest, there)
    inner = (values / (values**2 + ridge))[:, None] * (left.T @ rest)
    for landmark in np.flatnonzero(~there.all(axis=0)):  # from the faces that have it alone
        scores = left[there[:, landmark]] * values
        square = scores.T @ scores + ridge * np.eye(len(values))
        inner[:, landmark] = np.linalg.solve(square, scores.T @ rest[there[:, landmark], landmark])
    coefficients = to_points(np.concatenate([right.T @ inner, middle[None]]))
    return Translation(to_points(mean), centre, coefficients, np.array(ridge))


def translated(
    known: Float[np.ndarray, "b k d"], wanted: Float[np.ndarray, "b n 2"], folds: Int[np.ndarray, " b"]
) -> Float[np.ndarray, "b n 2"]:
    """The landmarks of each face, by what was learned from the faces of the other folds.

    Raises:
        ValueError: there are fewer than 50 faces beside a fold.
    """
    found = np.empty(wanted.shape)
    for fold in np.unique(folds):
        own = folds == fold
        found[own] = fit_translation(known[~own], wanted[~own])(known[own])
    return found


def fewest_others(folds: Int[np.ndarray, " b"]) -> int:
    """From how many faces of other folds `translated` learns at least."""
    return len(folds) - int(np.bincount(folds).max(initial=0))


def _own_frame(
    known: Float[np.ndarray, "b k d"], mean: Complex[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "b f"], Complex[np.ndarray, "b 1"], Complex[np.ndarray, "b 1"]]:
    """Each face's points in its own frame, all coordinates in a row; and the middle, turn and size of that frame."""
    shapes = to_complex(known[..., :2])
    centres = shapes.mean(axis=1, keepdims=True)
    frames = similarity(shapes - centres, mean)
    own = (shapes - centres) / frames
    depth = (known[..., 2:] / np.abs(frames)[..., None]).reshape(len(known), -1)
    return np.concatenate([own.real, own.imag, depth], axis=1), centres, frames


def _ridge(
    left: Float[np.ndarray, "b r"],
    values: Float[np.ndarray, " r"],
    rest: Complex[np.ndarray, "b n"],
    there: np.ndarray,
) -> float:
    """The ridge whose predictions of left-out faces are nearest on average (distances, so that outliers do not decide)."""
    scores, squares = left.T @ rest, left**2
    best, least = RIDGES[-1], np.inf
    for ridge in RIDGES:
        kept = values**2 / (values**2 + ridge)
        leverage = squares @ kept + 1 / len(left)
        missed = np.abs(rest - left @ (kept[:, None] * scores)) / (1 - np.minimum(leverage, 0.999))[:, None]
        error = float(missed[there].mean())
        if error < least:
            best, least = ridge, error
    return best
