"""Corrections for hidden landmarks: where they probably lie, given those that a network is sure of, and which are visible.

A correction works on what every runtime gives: points, the heights of the heatmaps' peaks and, where there are heatmaps, the
spread of the peaks. `ShapeCorrection` is the one that ships. A small network looks at the heights and spreads of all landmarks
at once, for things in front of a face hide neighbours together, and says how far each landmark probably errs and how probably
it is visible; the shape posterior (`semalign.core.shape_posterior`) weighs the landmarks by that.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semalign.core.shape_posterior import Frames, ShapePrior, frames_of, posterior
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_kind, save_tensors, weights_of
from semalign.schemes import LandmarkScheme

FORMAT = 1
KIND = "shape-correction"
PRIOR = "prior."  # begins the names of the prior's tensors
SUFFIX = ".correction.safetensors"  # of a correction that lies beside a model file
HIDDEN = 64  # values between what is seen and what it means
FARTHEST = 6.0  # standard deviations: what is seen beyond counts as this
DROPPED = 0.1  # of the hidden values, while it learns
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


class CorrectionNetwork(nn.Module):
    """From heights and spreads of all peaks to the logarithm of each landmark's variance and the logit of its visibility.

    Args:
        landmarks: n.
    """

    usual: Float[Tensor, "n 2"]
    deviation: Float[Tensor, "n 2"]

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(landmarks, 2))
        self.register_buffer("deviation", torch.ones(landmarks, 2))
        self.own = nn.Parameter(torch.zeros(landmarks, 2, 2))
        self.bias = nn.Parameter(torch.zeros(landmarks, 2))
        self.hidden = nn.Linear(2 * landmarks, HIDDEN)
        self.dropout = nn.Dropout(DROPPED)
        self.output = nn.Linear(HIDDEN, 2 * landmarks)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, seen: Float[Tensor, "b n 2"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Log-variances in squared sizes of the mean shape, float64, and logits.

        Args:
            seen: as `what_is_seen`; NaN is taken for what is usual.
        """
        normal = ((seen - self.usual) / self.deviation).clamp(-FARTHEST, FARTHEST).nan_to_num()
        alone = torch.einsum("bnk,nkj->bnj", normal, self.own) + self.bias
        together = self.output(self.dropout(functional.gelu(self.hidden(normal.flatten(1))))).unflatten(1, (-1, 2))
        variance, logit = (alone + together).unbind(-1)
        return variance.double().clamp(LOG_LEAST, LOG_MOST), logit


def what_is_seen(
    confidence: Float[Tensor, "b n"], spread: Float[Tensor, "b n 2"] | None, size: Float[Tensor, " b"]
) -> Float[Tensor, "b n 2"]:
    """1 - each peak's height, and the logarithm of its spread in sizes of the mean shape; NaN for a spread not known."""
    low = 1 - confidence
    if spread is None:
        return torch.stack([low, torch.full_like(low, torch.nan)], dim=-1).float()
    width = spread.square().mean(dim=-1).sqrt() / size[:, None]
    return torch.stack([low, width.clamp(min=LEAST_SPREAD).log()], dim=-1).float()


def first_frames(prior: ShapePrior, points: Float[Tensor, "b n 2"], confidence: Float[Tensor, "b n"]) -> Frames:
    """Where the mean shape lies by the landmarks with high peaks."""
    return frames_of(points, prior.mean, confidence.clamp(min=0.02) ** SURENESS)


def weighed_shapes(
    prior: ShapePrior, points: Float[Tensor, "b n 2"], log_variance: Float[Tensor, "b n"]
) -> tuple[Frames, Float[Tensor, "b n 2"]]:
    """The most probable shapes in the mean's frame, and where that lies; gradients flow through the former."""
    frames = frames_of(points, prior.mean, (-log_variance.detach()).exp())
    return frames, posterior(prior, frames.to_mean(points), log_variance.exp())


@dataclass(frozen=True, eq=False)
class ShapeCorrection:
    """A shape prior and the network that says how far each landmark errs, both learned from annotated faces.

    Attributes:
        network: in evaluation mode, on the CPU.
        base: `about` of the landmark network whose peaks it has learned to read.
        about: where it comes from, JSON values only.
    """

    prior: ShapePrior
    network: CorrectionNetwork
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
        found, sure = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)) for a in (points, confidence))
        wide = None if spread is None else torch.from_numpy(np.ascontiguousarray(spread, dtype=np.float64))
        with torch.inference_mode():
            size = first_frames(self.prior, found, sure).size
            variance, logit = self.network(what_is_seen(sure, wide, size))
            visibility = logit.double().sigmoid().numpy()
            if not move:
                return Judged(points, visibility)
            frames, shapes = weighed_shapes(self.prior, found, variance)
            return Judged(frames.to_picture(shapes).numpy(), visibility)


def save_correction(path: Path, correction: ShapeCorrection) -> None:
    """Write a correction's file atomically; the prior as float32."""
    prior = {PRIOR + name: value.float().contiguous() for name, value in vars(correction.prior).items()}
    description = {
        "format": FORMAT,
        "kind": KIND,
        "scheme": correction.scheme.to_dict(),
        "base": dict(correction.base),
        "about": dict(correction.about),
    }
    save_tensors(path, {**weights_of(correction.network), **prior}, description)


def load_correction(path: Path, scheme: LandmarkScheme | None = None) -> ShapeCorrection:
    """Read a correction's file.

    Args:
        path: the file.
        scheme: the landmarks of the network that is to be corrected.

    Raises:
        SemalignError: no such file, none of a correction, a damaged one, or one of another landmark scheme.
    """

    def build(tensors: dict[str, Tensor], description: dict[str, Any]) -> ShapeCorrection:
        own = LandmarkScheme.from_dict(description["scheme"])
        prior = ShapePrior(*(tensors.pop(PRIOR + name).double() for name in ("mean", "covariance")))
        network = CorrectionNetwork(own.count)
        network.load_state_dict(tensors)
        network.float()  # whatever the program's default type is
        return ShapeCorrection(prior, network.eval(), own, description["base"], description["about"])

    correction = load_kind(path, "correction for hidden landmarks", KIND, FORMAT, build)
    if scheme is not None and correction.scheme != scheme:
        raise SemalignError(
            f"{path}: corrects the landmark scheme {correction.scheme.name!r} ({correction.scheme.count} points), but the "
            f"network has {scheme.name!r} ({scheme.count} points); fit one for that network."
        )
    return correction
