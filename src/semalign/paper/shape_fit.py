"""Fitting the shape model to heatmaps iteratively: the PCA of Table 8, for comparison.

The paper compares its correction unit with 'the powerful PCA refinement method in LGCN' (Merget, Rock and Rigoll, CVPR
2018), which fits a PCA-based 2-D shape model to the network's heatmaps in order to filter outliers. LGCN's text and code were
not at hand. This is the published method for the same problem, regularised landmark mean shift (RLMS; Saragih, Lucey and
Cohn, IJCV 2011), with the heatmaps as response maps and a floor for landmarks that see nothing. For pose and coefficients z of
the model, with shape points x_i(z), it maximises

    Σ_i log(floor + Φ_i^ρ(x_i)) - noise² / (σ² + ρ) · ‖coefficients‖² / 2

where Φ^ρ is the heatmap blurred with a Gaussian of variance ρ and scaled so that a clean peak has height 1. By
expectation-maximisation the step is a weighted least-squares fit to x_i + v_i. Here v_i is the mean shift: the mean of the
heatmap seen through the Gaussian window around x_i, minus x_i. The weight is Φ^ρ / (floor + Φ^ρ): a landmark whose heatmap is
empty or peaks elsewhere does not count and is put where the others say. ρ goes down from coarse to fine; a clean peak of
width σ pulls as a Gaussian observation with standard deviation `noise` does, at every ρ.

Shape legend: b images, n landmarks, h w heatmap, s side of a window. Points are (x, y) in the heatmap frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semalign.core.heatmaps import decode_heatmaps
from semalign.core.sizes import REFERENCE
from semalign.paper.shape_model import ShapeFit, ShapeModel, spread_out

REACH = 3.0  # of a window, in standard deviations
PIXELS_PER_BLUR = 2.0  # heatmaps are halved as long as the blur stays this many of their pixels wide
TINY = 1e-30


@dataclass(frozen=True)
class ShapeFitSettings:
    """How to fit. Lengths are in pixels of a 256×256 heatmap and scaled with the heatmap."""

    blurs: tuple[float, ...] = (16.0, 8.0, 4.0)  # standard deviations √ρ from coarse to fine; none is below σ
    noise: float = 1.0  # standard deviation of peaks about the model's shapes; more trusts the model more
    floor: float = 0.3  # height of a peak that counts half; 0 trusts every peak, however far
    robust_steps: int = 15  # of the start, which is a robust fit to the peaks
    iterations: int = 40  # at most, for each blur
    tolerance: float = 0.01  # a blur is done once no point moves farther in an iteration

    def __post_init__(self) -> None:
        if not self.blurs or min(self.blurs) <= 0:
            raise ValueError("blurs must be one or more positive widths")
        if self.noise <= 0 or self.floor < 0 or self.tolerance < 0:
            raise ValueError("noise must be positive, floor and tolerance must not be negative")
        if self.robust_steps < 1 or self.iterations < 1:
            raise ValueError("robust_steps and iterations must be at least 1")


class _Level(NamedTuple):
    """Heatmaps for one blur. Reduced and bordered by zeros; lengths in pixels of the reduced map."""

    maps: Float[np.ndarray, "b n h w"]
    factor: int  # pixels of the heatmap for one of these
    border: int
    variance: float  # ρ
    sigma: float  # of a clean peak in the heatmap
    width: float  # of a clean peak in these maps: reducing widens it


def fit_to_heatmaps(
    model: ShapeModel, heatmaps: Float[Tensor, "b n h w"], sigma: float, settings: ShapeFitSettings
) -> Float[Tensor, "b n 2"]:
    """The shape of the model that the heatmaps support best, found from a robust fit to their peaks.

    Args:
        model: of the heatmaps' landmarks.
        heatmaps: any float type and device; read as float32, computed on the CPU in float64.
        sigma: σ of the Gaussians that the network was trained on, in heatmap pixels.
        settings: blurs, prior and when to stop.

    Returns:
        Points of the heatmap frame, float32 (float64 stays), on the heatmaps' device. An image whose maps are all empty, or
        have all their peaks in one place, says nothing about a face and keeps its peaks.
    """
    heatmaps = heatmaps.detach()
    decoded = decode_heatmaps(heatmaps, sigma)
    peaks, confidence = (value.double().cpu().numpy() for value in decoded)
    weights = np.where(np.isfinite(peaks).all(axis=2), np.nan_to_num(confidence), 0.0)
    points, peaks = peaks.copy(), np.where(weights[..., None] > 0, peaks, 0.0)
    usable = spread_out(peaks, weights)
    if usable.any():
        scale = max(heatmaps.shape[-2:]) / REFERENCE
        fit = _robust_fit(model, peaks[usable], weights[usable], settings.noise * scale, settings.robust_steps)
        maps = heatmaps if usable.all() else heatmaps[torch.from_numpy(usable).to(heatmaps.device)]
        blurs = tuple(max(blur * scale, sigma) for blur in settings.blurs)
        for level in _levels(maps.float().cpu(), blurs, sigma):
            fit = _climb(model, fit, level, settings, scale)
        points[usable] = fit.points
    return torch.from_numpy(points).to(decoded.points)


def _robust_fit(
    model: ShapeModel, peaks: Float[np.ndarray, "b n 2"], weights: Float[np.ndarray, "b n"], noise: float, steps: int
) -> ShapeFit:
    """The most probable shape given peaks of which some lie elsewhere: least squares with Geman-McClure weights, repeated.

    The scale beyond which a peak stops to count is that of the residuals (their weighted median) and at least three times the
    noise; it also is the prior's: as long as peaks do not agree, the shape is stiff and cannot bend towards a stray one.
    """
    fit = model.place(peaks, weights)
    for _ in range(steps):
        distance = np.linalg.norm(peaks - fit.points, axis=2)
        scale = np.maximum(_weighted_median(distance, weights), 3 * noise)
        robust = (1 + (distance / scale[:, None]) ** 2) ** -2
        fit = model.step(fit, peaks, weights * robust, scale / 3)
    return fit


def _weighted_median(values: Float[np.ndarray, "b n"], weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """The least value that, with all smaller ones, has half of the weight."""
    order = values.argsort(axis=1)
    share = np.take_along_axis(weights, order, axis=1).cumsum(axis=1)
    middle = (share >= share[:, -1:] / 2).argmax(axis=1)
    return np.take_along_axis(values, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]


def _levels(heatmaps: Float[Tensor, "b n h w"], blurs: tuple[float, ...], sigma: float) -> Iterator[_Level]:
    """For each blur the heatmaps, halved as often as the blur allows, so that every window has few pixels."""
    halved = [heatmaps.clamp(min=0)]
    for blur in blurs:
        times = max(0, math.floor(math.log2(blur / PIXELS_PER_BLUR)))
        while len(halved) <= times:
            finer = halved[-1]
            odd = (0, finer.shape[-1] % 2, 0, finer.shape[-2] % 2)
            halved.append(F.avg_pool2d(F.pad(finer, odd) if any(odd) else finer, 2))
        factor = 2**times
        border = _radius(blur / factor) + 1
        variance = (sigma**2 + (factor**2 - 1) / 12) / factor**2  # that of a square of pixels comes on top
        maps = F.pad(halved[times], (border,) * 4).numpy()
        yield _Level(maps, factor, border, (blur / factor) ** 2, sigma / factor, math.sqrt(variance))


def _radius(deviation: float) -> int:
    return math.ceil(REACH * deviation) + 1


def _climb(model: ShapeModel, fit: ShapeFit, level: _Level, settings: ShapeFitSettings, scale: float) -> ShapeFit:
    """Expectation-maximisation at one blur until nothing moves."""
    share = level.variance / (level.variance + level.width**2)
    noise = np.full(len(fit.points), settings.noise * scale * math.sqrt(share))
    for _ in range(settings.iterations):
        shift, height = _mean_shift(level, fit.points)
        weights = height / (settings.floor + height + TINY)
        new = model.step(fit, fit.points + shift, weights, noise)
        moved = np.abs(new.points - fit.points).max()
        fit = new
        if moved <= settings.tolerance * scale:
            break
    return fit


def _mean_shift(
    level: _Level, points: Float[np.ndarray, "b n 2"]
) -> tuple[Float[np.ndarray, "b n 2"], Float[np.ndarray, "b n"]]:
    """The mean shift at each point in heatmap pixels, and the blurred heatmap's value there; both 0 where it sees nothing."""
    place = (points + 0.5) / level.factor - 0.5
    patch, steps = _windows(level, place)
    offset = steps - place[..., None]  # (b, n, 2, s): columns, then rows
    window = np.exp(-(offset**2) / (2 * level.variance))
    by_column = (window[:, :, 1, None] @ patch)[:, :, 0] * window[:, :, 0]
    by_row = (patch @ window[:, :, 0, :, None])[..., 0] * window[:, :, 1]
    mass = by_column.sum(axis=2)
    moment = np.stack([(by_column * offset[:, :, 0]).sum(axis=2), (by_row * offset[:, :, 1]).sum(axis=2)], axis=2)
    area = 2 * math.pi * level.sigma**2 * level.variance / (level.width**2 + level.variance)
    return level.factor * moment / np.maximum(mass, TINY)[..., None], mass / area


def _windows(
    level: _Level, place: Float[np.ndarray, "b n 2"]
) -> tuple[Float[np.ndarray, "b n s s"], Float[np.ndarray, "b n 2 s"]]:
    """The window of the map around each place, rows first, and the coordinates of its columns and of its rows."""
    b, n, h, w = level.maps.shape
    radius = level.border - 1
    limit = np.array([w, h]) - 2 * level.border
    centre = np.rint(np.clip(place, -1, limit)).astype(np.int64)  # one beyond the map still lies in the border
    steps = centre[..., None] + np.arange(-radius, radius + 1)
    columns, rows = steps[:, :, 0] + level.border, steps[:, :, 1] + level.border
    index = (np.arange(b * n).reshape(b, n, 1, 1) * h + rows[..., None]) * w + columns[..., None, :]
    patch = np.fmax(level.maps.reshape(-1)[index].astype(np.float64), 0.0)  # NaN counts as nothing
    return patch, steps.astype(np.float64)
