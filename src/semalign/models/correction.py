"""Corrections for hidden landmarks: where they probably lie, given those that a network is sure of, and which are visible.

A correction works on what every runtime gives: points, the heights of the heatmaps' peaks and, where there are heatmaps, the
spread of the peaks. `ShapeCorrection` is the one that ships. A small network looks at the heights and spreads of all landmarks
at once, for things in front of a face hide neighbours together, and says how far each landmark probably errs and how probably
it is visible; the shape posterior (`semalign.core.shape_posterior`) weighs the landmarks by that.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from semalign.core.arrays import Array, double, gelu, library, like, single
from semalign.core.shape_posterior import Frames, ShapePrior, frames_of, posterior
from semalign.errors import SemalignError
from semalign.models.arrays import load_kind, save_arrays
from semalign.models.described import about_in
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float

FORMAT = 1
KIND = "shape-correction"
PRIOR = "prior."  # begins the names of the prior's arrays
SUFFIX = ".correction.safetensors"  # of a correction that lies beside a model file
FARTHEST = 6.0  # standard deviations: what is seen beyond counts as this
LEAST_SPREAD = 1e-4  # sizes of the mean shape
LOG_LEAST, LOG_MOST = -14.0, 6.0  # of a variance, squared sizes of the mean shape
SURENESS = 4  # power of a height that weighs a landmark where nothing else is known yet


class Judged(NamedTuple):
    """What a correction makes of some faces: points in their own frames, and how probably each landmark is visible."""

    points: Float[np.ndarray, "b n 2"]
    visibility: Float[np.ndarray, "b n"]


@runtime_checkable
class Correction(Protocol):
    """What corrects landmarks. Nothing in it changes by use: threads may share one."""

    @property
    def scheme(self) -> LandmarkScheme:
        """What the landmarks are."""

    def __call__(
        self,
        points: Float[np.ndarray, "b n 2"],
        confidence: Float[np.ndarray, "b n"],
        spread: Float[np.ndarray, "b n 2"] | None,
        move: bool = True,
    ) -> Judged:
        """Judge the landmarks of faces; the points come back as they are unless they are to be moved.

        Args:
            points: pixels, of any upright or turned frame.
            confidence: heights of the heatmaps' peaks, 0 to 1.
            spread: standard deviations of the peaks along x and y, in the unit of the points; None where not known.
            move: whether the points are to be corrected.
        """


class PeakReader(NamedTuple):
    """The weights of the small network that reads peaks; `semalign.models.correction_network` is where it learns.

    Attributes:
        usual, deviation: of what is seen, by which it is made normal.
        own, bias: from a landmark's own peak to its log-variance and logit.
        hidden_weight, hidden_bias: from all peaks to what lies between.
        output_weight, output_bias: and from there to all landmarks, both values of each.
    """

    usual: Float[Any, "n 2"]
    deviation: Float[Any, "n 2"]
    own: Float[Any, "n 2 2"]
    bias: Float[Any, "n 2"]
    hidden_weight: Float[Any, "h m"]
    hidden_bias: Float[Any, " h"]
    output_weight: Float[Any, "m h"]
    output_bias: Float[Any, " m"]

    def __call__(
        self, seen: Float[Array, "b n 2"], dropped: Callable[[Array], Array] = lambda hidden: hidden
    ) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
        """Log-variances in squared sizes of the mean shape, float64, and logits of visibility.

        Args:
            seen: as `what_is_seen`; NaN is taken for what is usual.
            dropped: what becomes of the hidden values while it learns.
        """
        xp, count = library(seen), len(self.bias)
        normal = xp.nan_to_num(xp.clip((seen - self.usual) / self.deviation, -FARTHEST, FARTHEST))
        alone = xp.einsum("bnk,nkj->bnj", normal, self.own) + self.bias
        hidden = gelu(normal.reshape(-1, 2 * count) @ self.hidden_weight.T + self.hidden_bias)
        together = dropped(hidden) @ self.output_weight.T + self.output_bias
        both = alone + together.reshape(-1, count, 2)
        return xp.clip(double(both[..., 0]), LOG_LEAST, LOG_MOST), both[..., 1]


def what_is_seen(
    confidence: Float[Array, "b n"], spread: Float[Array, "b n 2"] | None, size: Float[Array, " b"]
) -> Float[Array, "b n 2"]:
    """1 - each peak's height, and the logarithm of its spread in sizes of the mean shape; NaN for a spread not known."""
    xp, low = library(confidence), 1 - confidence
    if spread is None:
        return single(xp.stack([low, xp.full_like(low, math.nan)], axis=-1))
    width = xp.mean(spread**2, axis=-1) ** 0.5 / size[:, None]
    return single(xp.stack([low, xp.log(xp.clip(width, LEAST_SPREAD, None))], axis=-1))


def first_frames(prior: ShapePrior, points: Float[Array, "b n 2"], confidence: Float[Array, "b n"]) -> Frames:
    """Where the mean shape lies by the landmarks with high peaks."""
    weights = library(confidence).clip(confidence, 0.02, None) ** SURENESS
    return frames_of(points, like(prior.mean, points), weights)


def weighed_shapes(
    prior: ShapePrior, points: Float[Array, "b n 2"], log_variance: Float[Array, "b n"]
) -> tuple[Frames, Float[Array, "b n 2"]]:
    """The most probable shapes in the mean's frame, and where that lies; gradients flow through the former."""
    xp = library(log_variance)
    known = log_variance if isinstance(log_variance, np.ndarray) else log_variance.detach()
    frames = frames_of(points, like(prior.mean, points), xp.exp(-known))
    return frames, posterior(prior, frames.to_mean(points), xp.exp(log_variance))


@dataclass(frozen=True, eq=False)
class ShapeCorrection:
    """A shape prior and the network that says how far each landmark errs, both learned from annotated faces.

    Attributes:
        reader: the network's weights.
        base: `about` of the landmark network whose peaks it has learned to read.
        about: where it comes from, JSON values only.
    """

    prior: ShapePrior
    reader: PeakReader
    scheme: LandmarkScheme
    base: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        points: Float[np.ndarray, "b n 2"],
        confidence: Float[np.ndarray, "b n"],
        spread: Float[np.ndarray, "b n 2"] | None,
        move: bool = True,
    ) -> Judged:
        """As `Correction`."""
        found, sure = (np.asarray(values, dtype=np.float64) for values in (points, confidence))
        wide = None if spread is None else np.asarray(spread, dtype=np.float64)
        size = first_frames(self.prior, found, sure).size
        variance, logit = self.reader(what_is_seen(sure, wide, size))
        visibility = 1 / (1 + np.exp(-double(logit)))
        if not move:
            return Judged(points, visibility)
        frames, shapes = weighed_shapes(self.prior, found, variance)
        return Judged(frames.to_picture(shapes), visibility)


def save_correction(path: Path, correction: ShapeCorrection) -> None:
    """Write a correction's file atomically; the prior as float32."""
    prior = {PRIOR + name: value.astype(np.float32) for name, value in vars(correction.prior).items()}
    reader = {_in_file(name): value for name, value in correction.reader._asdict().items()}
    description = {
        "format": FORMAT,
        "kind": KIND,
        "scheme": correction.scheme.to_dict(),
        "base": dict(correction.base),
        "about": dict(correction.about),
    }
    save_arrays(path, {**reader, **prior}, description)


def _in_file(name: str) -> str:
    """A weight's name in the file, which is that of PyTorch's layers."""
    return name.replace("_", ".")


def load_correction(path: Path, scheme: LandmarkScheme | None = None) -> ShapeCorrection:
    """Read a correction's file.

    Args:
        path: the file.
        scheme: the landmarks of the network that is to be corrected.

    Raises:
        SemalignError: no such file, none of a correction, a damaged one, or one of another landmark scheme.
    """

    def build(arrays: dict[str, np.ndarray], description: dict[str, Any]) -> ShapeCorrection:
        own = LandmarkScheme.from_dict(description["scheme"])
        prior = ShapePrior(*(arrays[PRIOR + name].astype(np.float64) for name in ("mean", "covariance")))
        reader = PeakReader(*(arrays[_in_file(name)] for name in PeakReader._fields))
        if reader.bias.shape != (own.count, 2):
            raise ValueError("weights of another number of landmarks")
        if not isinstance(description["base"], dict):
            raise TypeError("base must be an object")
        correction = ShapeCorrection(prior, reader, own, description["base"], about_in(description))
        somewhere = np.arange(2.0 * own.count).reshape(1, own.count, 2)
        correction(somewhere, np.ones((1, own.count)), None)  # a ValueError where its parts do not fit each other
        return correction

    correction = load_kind(path, "correction for hidden landmarks", KIND, FORMAT, build)
    if scheme is not None and correction.scheme != scheme:
        raise SemalignError(
            f"{path}: corrects the landmark scheme {correction.scheme.name!r} ({correction.scheme.count} points), but the "
            f"network has {scheme.name!r} ({scheme.count} points); fit one for that network."
        )
    return correction
