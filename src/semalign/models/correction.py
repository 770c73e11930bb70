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
from semalign.core.error_scale import ErrorScale
from semalign.core.shape_posterior import Frames, ShapePrior, frames_of, posterior
from semalign.errors import SemalignError
from semalign.models.arrays import load_kind, save_arrays
from semalign.models.described import about_in
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float

FORMAT = 1
KIND = "shape-correction"
PRIOR = "prior."  # begins the names of the prior's arrays
ERRORS = "errors."  # begins the names of what tells how large errors are
SUFFIX = ".correction.safetensors"  # of a correction that lies beside a model file
PRESENCE = "presence"
SCALE = ("covariance", "usual", "slope")  # of an `ErrorScale`
FARTHEST = 6.0  # standard deviations: what is seen beyond counts as this
LEAST_SPREAD = 1e-4  # sizes of the mean shape
LOG_LEAST, LOG_MOST = -14.0, 6.0  # of a variance, squared sizes of the mean shape
SURENESS = 4  # power of a height that weighs a landmark where nothing else is known yet


class Judged(NamedTuple):
    """What a correction makes of some faces.

    Attributes:
        points: in their own frames.
        visibility: how probably each landmark is visible.
        uncertainty: standard deviation of the points' errors along x and along y, in the unit of the points; None where nobody
            has measured how large errors are.
        presence: how probably there is a face at all, were every other box without one; None as above.
    """

    points: Float[np.ndarray, "b n 2"]
    visibility: Float[np.ndarray, "b n"]
    uncertainty: Float[np.ndarray, "b n 2"] | None = None
    presence: Float[np.ndarray, " b"] | None = None


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


class Doubts(NamedTuple):
    """What a correction sees in some faces.

    Attributes:
        doubt: logarithm of the variance that each landmark's error seems to have, squared sizes of the mean shape.
        logit: of the probability that it is visible.
        frames: where the mean shape lies.
        points: corrected, or as they were found.
    """

    doubt: Float[np.ndarray, "b n"]
    logit: Float[np.ndarray, "b n"]
    frames: Frames
    points: Float[np.ndarray, "b n 2"]


class Presence(NamedTuple):
    """How probably a box holds a face, by the mean confidence of its landmarks and by their mean doubt.

    Attributes:
        weights: of these two.
        bias: the logit where both are 0.
    """

    weights: Float[np.ndarray, 2]
    bias: float

    def __call__(
        self, confidence: Float[np.ndarray, "b n"], doubt: Float[np.ndarray, "b n"]
    ) -> Float[np.ndarray, " b"]:
        """Probabilities, as if every other box were without a face."""
        logit = seen_of_boxes(confidence, doubt) @ self.weights + self.bias
        return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def seen_of_boxes(confidence: Float[np.ndarray, "b n"], doubt: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b 2"]:
    """What `Presence` weighs."""
    return np.stack([confidence.mean(axis=1), doubt.mean(axis=1)], axis=1)


class Errors(NamedTuple):
    """What a network's doubts come to, measured on faces that it has not seen.

    Attributes:
        found: how large the errors of its points are.
        corrected: and of the corrected points.
        presence: whether there is a face; None where no place without one was there to look at.
    """

    found: ErrorScale
    corrected: ErrorScale
    presence: Presence | None = None


@dataclass(frozen=True, eq=False)
class ShapeCorrection:
    """A shape prior and the network that says how far each landmark errs, both learned from annotated faces.

    Attributes:
        reader: the network's weights.
        errors: what the network's doubts come to; None where no faces were there to measure it on.
        base: `about` of the landmark network whose peaks it has learned to read.
        about: where it comes from, JSON values only.
    """

    prior: ShapePrior
    reader: PeakReader
    scheme: LandmarkScheme
    base: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    errors: Errors | None = None

    def __call__(
        self,
        points: Float[np.ndarray, "b n 2"],
        confidence: Float[np.ndarray, "b n"],
        spread: Float[np.ndarray, "b n 2"] | None,
        move: bool = True,
    ) -> Judged:
        """As `Correction`."""
        doubt, logit, frames, moved = self.doubts(points, confidence, spread, move)
        with np.errstate(over="ignore"):  # where it is 0
            visibility = 1 / (1 + np.exp(-double(logit)))
        if self.errors is None:
            return Judged(moved, visibility)
        scale = self.errors.corrected if move else self.errors.found
        told = self.errors.presence
        presence = None if told is None else told(np.asarray(confidence, dtype=np.float64), doubt)
        return Judged(moved, visibility, scale.deviations(doubt, frames.linear), presence)

    def doubts(
        self,
        points: Float[np.ndarray, "b n 2"],
        confidence: Float[np.ndarray, "b n"],
        spread: Float[np.ndarray, "b n 2"] | None,
        move: bool = True,
    ) -> Doubts:
        """What a judgement is made of; arguments as a call's."""
        found, sure = (np.asarray(values, dtype=np.float64) for values in (points, confidence))
        wide = None if spread is None else np.asarray(spread, dtype=np.float64)
        frames = first_frames(self.prior, found, sure)
        doubt, logit = self.reader(what_is_seen(sure, wide, frames.size))
        if not move:
            return Doubts(doubt, logit, frames, points)
        frames, shapes = weighed_shapes(self.prior, found, doubt)
        return Doubts(doubt, logit, frames, frames.to_picture(shapes))


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
    save_arrays(path, {**reader, **prior, **_scales(correction.errors)}, description)


def _scales(errors: Errors | None) -> dict[str, np.ndarray]:
    """What tells how large errors are, as arrays of the file."""
    if errors is None:
        return {}
    scales, presence = (errors.found, errors.corrected), errors.presence
    arrays = {
        name: np.stack([np.asarray(getattr(scale, name)) for scale in scales]).astype(np.float32) for name in SCALE
    }
    if presence is not None:
        arrays[PRESENCE] = np.array([*presence.weights, presence.bias])
    return {f"{ERRORS}{name}": array for name, array in arrays.items()}


def _errors(arrays: Mapping[str, np.ndarray], landmarks: int) -> Errors | None:
    """The same read; None from a file that does not tell it."""
    if f"{ERRORS}{SCALE[0]}" not in arrays:
        return None
    covariance, usual, slope = (arrays[f"{ERRORS}{name}"].astype(np.float64) for name in SCALE)
    if covariance.shape != (2, landmarks, 2, 2) or usual.shape != (2, landmarks) or slope.shape != (2,):
        raise ValueError("errors of another number of landmarks")
    found, corrected = (ErrorScale(c, u, float(s)) for c, u, s in zip(covariance, usual, slope, strict=True))
    if f"{ERRORS}{PRESENCE}" not in arrays:
        return Errors(found, corrected)
    one, other, bias = arrays[f"{ERRORS}{PRESENCE}"].astype(np.float64)
    return Errors(found, corrected, Presence(np.array([one, other]), float(bias)))


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
        if not (np.asarray(reader.deviation) > 0).all():
            raise ValueError("a deviation that is not above 0")
        if not isinstance(description["base"], dict):
            raise TypeError("base must be an object")
        errors = _errors(arrays, own.count)
        correction = ShapeCorrection(prior, reader, own, description["base"], about_in(description), errors)
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
