"""Less jitter in the landmarks of a video, without lag.

For files, *centred*: each landmark is fitted over the frames before and after it by a parabola in time. Its curvature is
taken only as far as it stands out from the noise, so that a still face is averaged over many frames, while a blink or a
turn keeps its course; frames count by their confidence. For cameras, *causal*: the face's common motion (shift, turn and
zoom, which all landmarks together give almost without noise) is followed at once; what each landmark does beyond it goes
through the One-Euro filter (Casiez et al., CHI 2012), a low-pass filter whose cutoff rises with the landmark's speed.

Shape legend: m frames, n landmarks. Times are seconds, points pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from semalign.shapes import Float


@dataclass(frozen=True)
class SmoothingSettings:
    """How strongly points are smoothed; cutoffs are for faces of any size, because speeds are in sides of the face."""

    reach: float = 0.16  # seconds to each side that the centred fit sees
    most_frames: int = 8  # to each side, for videos of very many frames a second
    curvature: float = 4.0  # times its own noise that a curvature must exceed to count in full by half
    min_cutoff: float = 1.5  # Hz, of the causal filter on a landmark at rest
    beta: float = 12.0  # Hz by which its cutoff rises for one side a second beyond the common motion
    derivative_cutoff: float = 2.0  # Hz, of the low-pass filter on the speed

    def __post_init__(self) -> None:
        if min(self.reach, self.min_cutoff, self.derivative_cutoff) <= 0 or self.most_frames < 1 or self.beta < 0:
            raise ValueError("reach and cutoffs must be positive, most_frames at least 1, beta not negative")


def smooth_centred(
    points: Float[np.ndarray, "m n 2"],
    confidence: Float[np.ndarray, "m n"],
    seconds: Float[np.ndarray, " m"],
    row: int,
    settings: SmoothingSettings,
) -> Float[np.ndarray, "n 2"]:
    """The points of frame `row`, fitted on all the frames given.

    Weighted least squares of 1, t, t² with t from the frame in units of the reach; weights are tricube in t times the squared
    confidence. With c the curvature's coefficient and s² its variance under the residuals of the whole face, c counts by
    max(0, 1 - curvature·s² / |c|²) (James and Stein). With fewer than four frames the points come back as they are.
    """
    if len(points) < 4:
        return np.array(points[row], dtype=np.float64)
    time = (seconds - seconds[row]) / (settings.reach * (1 + 1e-9) + np.ptp(seconds) * 1e-3)
    kernel = np.clip(1 - np.abs(time) ** 3, 0.0, None) ** 3
    weights = (kernel[:, None] * (confidence + 0.05) ** 2).T  # (n, m)
    line = _fit(time[:, None] ** np.arange(2), weights, points)
    curve = _fit(time[:, None] ** np.arange(3), weights, points)
    if curve is None or line is None:
        return np.array(points[row], dtype=np.float64)
    free = max(len(points) - 3, 1)
    relative = weights / weights.mean(axis=1, keepdims=True)
    noise = float((relative.T[..., None] * curve.residuals**2).mean()) * len(points) / free  # of one coordinate
    variance = curve.spread[:, 2, 2] * noise
    bend = (curve.coefficients[:, 2] ** 2).sum(axis=1)
    share = np.clip(1 - settings.curvature * variance / np.maximum(bend, 1e-12), 0.0, 1.0)[:, None]
    return share * curve.coefficients[:, 0] + (1 - share) * line.coefficients[:, 0]


class _Fit(NamedTuple):
    coefficients: np.ndarray  # (n, p, 2)
    residuals: np.ndarray  # (m, n, 2)
    spread: np.ndarray  # (n, p, p): covariance of the coefficients for noise of variance 1 at mean weight


def _fit(basis: np.ndarray, weights: np.ndarray, points: np.ndarray) -> _Fit | None:
    """Polynomials in time (basis (m, p)) for every landmark; None where the frames do not determine them."""
    relative = weights / weights.mean(axis=1, keepdims=True)
    normal = np.einsum("nm,mp,mq->npq", relative, basis, basis)
    if np.linalg.cond(normal).max() > 1e10:
        return None
    inverse = np.linalg.inv(normal)
    moments = np.einsum("nm,mp,mnc->npc", relative, basis, points)
    coefficients = inverse @ moments
    residuals = points - np.einsum("mp,npc->mnc", basis, coefficients)
    squared = np.einsum("nm,mp,mq->npq", relative**2, basis, basis)
    return _Fit(coefficients, residuals, inverse @ squared @ inverse)


class OneEuro(NamedTuple):
    """State of the causal filter after a frame."""

    points: Float[np.ndarray, "n 2"]  # smoothed
    speed: Float[np.ndarray, "n 2"]  # beyond the common motion, pixels a second, smoothed
    seconds: float


def smooth_causal(
    before: OneEuro | None,
    points: Float[np.ndarray, "n 2"],
    seconds: float,
    side: float,
    settings: SmoothingSettings,
) -> OneEuro:
    """One step of the One-Euro filter about the common motion; its `points` are the smoothed ones.

    Args:
        before: the state after the frame before, None at a face's first frame.
        points: as seen.
        seconds: time of the frame, later than the one before.
        side: larger side of the face's box, in pixels, the unit of speed.
        settings: cutoffs.
    """
    if before is None or seconds <= before.seconds:
        return OneEuro(np.array(points, dtype=np.float64), np.zeros(points.shape), seconds)
    step = seconds - before.seconds
    carried = _carried(before.points, points)
    speed = before.speed + _share(np.array([[settings.derivative_cutoff]]), step) * (
        (points - carried) / step - before.speed
    )
    cutoff = settings.min_cutoff + settings.beta * np.linalg.norm(speed, axis=1, keepdims=True) / max(side, 1.0)
    return OneEuro(carried + _share(cutoff, step) * (points - carried), speed, seconds)


def _carried(points: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """The points under the shift, turn and zoom that brings them nearest to the target (least squares)."""
    start, end = points @ np.array([1, 1j]), target @ np.array([1, 1j])
    centred = start - start.mean()
    factor = np.vdot(centred, end) / max(float(np.vdot(centred, centred).real), 1e-12) if len(points) > 1 else 1.0
    moved = factor * centred + end.mean()
    return np.stack([moved.real, moved.imag], axis=1)


def _share(cutoff: np.ndarray, step: float) -> np.ndarray:
    """By which share a first-order low-pass filter follows its input in a step of so many seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
