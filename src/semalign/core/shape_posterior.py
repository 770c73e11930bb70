"""The most probable shape of a face, given landmarks of which some are surer than others.

Shapes are turned, scaled and shifted onto a mean shape, where those of many faces are normal with covariance Σ. What a network
finds there is z = shape + error, each landmark's error normal and independent with a variance of its own, D. Then

    mean + Σ (Σ + D)⁻¹ (z - mean)

is the most probable shape: a sure landmark stays where it is, and an unsure one goes where the sure ones say that it is in
faces like this. Turn, scale and shift, which a face behind a hand does not show exactly, are four more directions of Σ that
cost next to nothing. Faces are arrays of NumPy or, while it
is learned, tensors of PyTorch (`semalign.core.arrays`).

Shape legend: b faces, n landmarks, m = 2n coordinates (x, y of the first landmark, then of the next).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from semalign.core.arrays import Array, double, library, like
from semalign.shapes import Float

ROUNDS = 5  # of finding the mean shape
LOOSE = 0.03  # variance of turn, scale and shift, in squared sizes of the mean shape
LEAST = 1e-5  # variance of a shape in any direction, the same unit


@dataclass(frozen=True, eq=False)
class ShapePrior:
    """How the shapes of faces vary; lengths in sizes of the mean shape (the root mean square distance from its middle).

    Attributes:
        mean: around 0, of size 1.
        covariance: Σ, without turn, scale and shift.
    """

    mean: Float[np.ndarray, "n 2"]
    covariance: Float[np.ndarray, "m m"]

    @property
    def loose(self) -> Float[np.ndarray, "m m"]:
        """Σ with turn, scale and shift."""
        mean = self.mean.flatten()
        turned = np.stack([-self.mean[:, 1], self.mean[:, 0]], axis=1).flatten()
        across = np.tile([1.0, 0.0], len(self.mean))
        free = np.stack([mean, turned, across, 1 - across])
        return self.covariance + LOOSE * free.T @ free + LEAST * np.eye(len(mean))


class Frames(NamedTuple):
    """Where the mean shape lies in each picture: point = linear · (point of the mean's frame) + offset."""

    linear: Float[Any, "b 2 2"]
    offset: Float[Any, "b 1 2"]

    @property
    def size(self) -> Float[Any, " b"]:
        """Pixels of one size of the mean shape."""
        return (self.linear[:, 0] ** 2).sum(axis=1) ** 0.5

    def to_mean(self, points: Float[Array, "b n 2"]) -> Float[Array, "b n 2"]:
        """Points of the pictures in the mean shape's frame."""
        return (points - self.offset) @ (self.linear / self.size[:, None, None] ** 2)

    def to_picture(self, points: Float[Array, "b n 2"]) -> Float[Array, "b n 2"]:
        """The inverse of `to_mean`."""
        return points @ library(points).swapaxes(self.linear, 1, 2) + self.offset


def frames_of(points: Float[Array, "b n 2"], mean: Float[Array, "n 2"], weights: Float[Array, "b n"]) -> Frames:
    """The turn, scale and shift that bring the mean shape nearest to each shape, by weighted least squares."""
    xp = library(points)
    share = weights / xp.clip(xp.sum(weights, axis=1, keepdims=True), 1e-12, None)
    middle, own = ((share[..., None] * p).sum(axis=1, keepdims=True) for p in (points, mean))
    around, apart = mean - own, points - middle
    total = xp.clip((share * (around**2).sum(-1)).sum(1), 1e-12, None)
    cosine = (share * (around * apart).sum(-1)).sum(1) / total
    sine = (share * (around[..., 0] * apart[..., 1] - around[..., 1] * apart[..., 0])).sum(1) / total
    nothing = cosine**2 + sine**2 < 1e-12  # all points at one place
    cosine = xp.where(nothing, 1e-6, cosine)
    linear = xp.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)
    return Frames(linear, middle - own @ xp.swapaxes(linear, 1, 2))


def fit_shape_prior(shapes: Float[np.ndarray, "b n 2"], flip_index: tuple[int, ...] = ()) -> ShapePrior:
    """The prior of shapes whose landmarks are all there, and of their mirror images if the scheme has such; float64.

    Σ is the covariance of the shapes, drawn towards its diagonal as if each landmark had been seen once more with a deviation
    of its own.
    """
    shapes = double(shapes)
    if flip_index:
        shapes = np.concatenate([shapes, shapes[:, list(flip_index)] * [-1.0, 1.0]])
    mean, one = _normal(shapes[0]), np.ones(shapes.shape[:2])
    for _ in range(ROUNDS):
        aligned = frames_of(shapes, mean, one).to_mean(shapes)
        mean = _normal(aligned.mean(axis=0))
    count, landmarks = shapes.shape[:2]
    apart = (frames_of(shapes, mean, one).to_mean(shapes) - mean).reshape(count, -1)
    covariance = apart.T @ apart / count
    own = np.diag(np.diag(covariance))
    return ShapePrior(mean, (count * covariance + landmarks * own) / (count + landmarks))


def _normal(shape: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    centred = shape - shape.mean(axis=0)
    return centred / max(np.sqrt((centred**2).sum(axis=1).mean()), 1e-12)


def posterior(prior: ShapePrior, seen: Float[Array, "b n 2"], variance: Float[Array, "b n"]) -> Float[Array, "b n 2"]:
    """The most probable shapes in the mean's frame; gradients flow through.

    Args:
        prior: of the same landmarks.
        seen: what a network finds, in the mean's frame.
        variance: of each landmark's error along x, and along y.
    """
    loose, mean = like(prior.loose, seen), like(prior.mean, seen)
    count, errors = len(prior.mean), library(seen).stack([variance, variance], axis=-1)
    apart = most_probable(loose, (seen - mean).reshape(-1, 2 * count), errors.reshape(-1, 2 * count))
    return mean + apart.reshape(-1, count, 2)


def most_probable(
    covariance: Float[Array, "m m"], apart: Float[Array, "b m"], variance: Float[Array, "b m"]
) -> Float[Array, "b m"]:
    """Σ (Σ + D)⁻¹ z, of coordinates in any order; gradients flow through.

    Args:
        covariance: Σ.
        apart: z, what is seen, from the mean.
        variance: of each coordinate's error, the diagonal of D.
    """
    together = covariance + variance[..., None] * like(np.eye(len(covariance)), apart)
    return (covariance @ library(apart).linalg.solve(together, apart[..., None]))[..., 0]
