"""The most probable shape of a face, given landmarks of which some are surer than others.

Shapes are turned, scaled and shifted onto a mean shape, where those of many faces are normal with covariance Σ. What a network
finds there is z = shape + error, each landmark's error normal and independent with a variance of its own, D. Then

    mean + Σ (Σ + D)⁻¹ (z - mean)

is the most probable shape: a sure landmark stays where it is, and an unsure one goes where the sure ones say that it is in
faces like this. Turn, scale and shift, which a face behind a hand does not show exactly, are four more directions of Σ that
cost next to nothing.

Shape legend: b faces, n landmarks, m = 2n coordinates (x, y of the first landmark, then of the next).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

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

    mean: Float[Tensor, "n 2"]
    covariance: Float[Tensor, "m m"]

    @property
    def loose(self) -> Float[Tensor, "m m"]:
        """Σ with turn, scale and shift."""
        count = len(self.mean)
        mean = self.mean.flatten()
        turned = torch.stack([-self.mean[:, 1], self.mean[:, 0]], dim=1).flatten()
        across = torch.tensor([1.0, 0.0], dtype=mean.dtype).repeat(count)
        free = torch.stack([mean, turned, across, 1 - across])
        least = LEAST * torch.eye(2 * count, dtype=mean.dtype)
        return self.covariance + LOOSE * free.T @ free + least


class Frames(NamedTuple):
    """Where the mean shape lies in each picture: point = linear · (point of the mean's frame) + offset."""

    linear: Float[Tensor, "b 2 2"]
    offset: Float[Tensor, "b 1 2"]

    @property
    def size(self) -> Float[Tensor, " b"]:
        """Pixels of one size of the mean shape."""
        return self.linear[:, 0].norm(dim=1)

    def to_mean(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
        """Points of the pictures in the mean shape's frame."""
        inverse = self.linear.mT / self.size.square()[:, None, None]
        return (points - self.offset) @ inverse.mT

    def to_picture(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
        """The inverse of `to_mean`."""
        return points @ self.linear.mT + self.offset


def frames_of(points: Float[Tensor, "b n 2"], mean: Float[Tensor, "n 2"], weights: Float[Tensor, "b n"]) -> Frames:
    """The turn, scale and shift that bring the mean shape nearest to each shape, by weighted least squares."""
    share = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    middle, own = ((share[..., None] * p).sum(dim=1, keepdim=True) for p in (points, mean.expand_as(points)))
    around, apart = mean - own, points - middle
    total = (share * around.square().sum(-1)).sum(1).clamp(min=1e-12)
    cosine = (share * (around * apart).sum(-1)).sum(1) / total
    sine = (share * (around[..., 0] * apart[..., 1] - around[..., 1] * apart[..., 0])).sum(1) / total
    nothing = cosine.square() + sine.square() < 1e-12  # all points at one place
    cosine = torch.where(nothing, 1e-6, cosine)
    linear = torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))
    return Frames(linear, middle - own @ linear.mT)


def fit_shape_prior(shapes: Float[Tensor, "b n 2"], flip_index: tuple[int, ...] = ()) -> ShapePrior:
    """The prior of shapes whose landmarks are all there, and of their mirror images if the scheme has such.

    Σ is the covariance of the shapes, drawn towards its diagonal as if each landmark had been seen once more with a deviation
    of its own.
    """
    shapes = shapes.double()
    if flip_index:
        shapes = torch.cat([shapes, shapes[:, list(flip_index)] * torch.tensor([-1.0, 1.0], dtype=torch.float64)])
    mean, one = _normal(shapes[0]), torch.ones(shapes.shape[:2], dtype=torch.float64)
    for _ in range(ROUNDS):
        aligned = frames_of(shapes, mean, one).to_mean(shapes)
        mean = _normal(aligned.mean(dim=0))
    apart = (frames_of(shapes, mean, one).to_mean(shapes) - mean).flatten(1)
    count, landmarks = shapes.shape[:2]
    covariance = apart.T @ apart / count
    own = torch.diag(covariance.diagonal())
    return ShapePrior(mean, (count * covariance + landmarks * own) / (count + landmarks))


def _normal(shape: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    centred = shape - shape.mean(dim=0)
    return centred / centred.square().sum(dim=1).mean().sqrt().clamp(min=1e-12)


def posterior(
    prior: ShapePrior, seen: Float[Tensor, "b n 2"], variance: Float[Tensor, "b n"]
) -> Float[Tensor, "b n 2"]:
    """The most probable shapes in the mean's frame; gradients flow through.

    Args:
        prior: of the same landmarks.
        seen: what a network finds, in the mean's frame.
        variance: of each landmark's error along x, and along y.
    """
    mean = prior.mean.to(seen)
    apart = most_probable(prior.loose.to(seen), (seen - mean).flatten(1), variance.repeat_interleave(2, dim=1))
    return mean + apart.unflatten(1, (-1, 2))


def most_probable(
    covariance: Float[Tensor, "m m"], apart: Float[Tensor, "b m"], variance: Float[Tensor, "b m"]
) -> Float[Tensor, "b m"]:
    """Σ (Σ + D)⁻¹ z, of coordinates in any order; gradients flow through.

    Args:
        covariance: Σ.
        apart: z, what is seen, from the mean.
        variance: of each coordinate's error, the diagonal of D.
    """
    together = covariance + torch.diag_embed(variance)
    weighed = torch.cholesky_solve(apart[..., None], torch.linalg.cholesky(together))
    return (covariance @ weighed)[..., 0]
