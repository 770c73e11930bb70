"""Rendering Gaussian heatmaps and decoding them to sub-pixel points.

Shape legend: b images, n landmarks, h w heatmap. Points are in the heatmap frame: (x, y), pixel centres at integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

WIDEST = 4.0  # σ: a wider peak is told as this wide


class Decoded(NamedTuple):
    """Points of the heatmap frame and the heatmap's peak value at each of them."""

    points: Float[Tensor, "b n 2"]
    confidence: Float[Tensor, "b n"]


def render_gaussians(
    points: Float[Tensor, "b n 2"], size: int, sigma: float | Float[Tensor, "#b n 1"]
) -> Float[Tensor, "b n {size} {size}"]:
    """Gaussians of peak 1 centred on the sub-pixel points, of one σ or one each; a point outside leaves only its tail, NaN an
    empty map.
    """
    steps = torch.arange(size, dtype=points.dtype, device=points.device)
    columns = torch.exp(-((steps - points[..., :1]) ** 2) / (2 * sigma**2))
    rows = torch.exp(-((steps - points[..., 1:]) ** 2) / (2 * sigma**2))
    maps = rows[..., :, None] * columns[..., None, :]
    return torch.nan_to_num(maps, nan=0.0)


def under_doubt(sigma: float, variance: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    """Width (σ) and height of the mean of Gaussians of peak 1 whose centre is in doubt, which is a Gaussian, wider and lower.

    Args:
        sigma: of each of them.
        variance: of the centre along x, and along y, in the same unit squared.
    """
    together = sigma**2 + variance
    return together.sqrt(), sigma**2 / together


def decode_heatmaps(heatmaps: Float[Tensor, "b n h w"], sigma: float, iterations: int = 4) -> Decoded:
    """The sub-pixel position of each heatmap's peak.

    From the highest pixel, the position at which the heatmap, seen through a Gaussian window of width σ around it, has
    the mean that a Gaussian of width σ there would have. The comparison is made on the pixels that the map has, so that
    neither coarse sampling nor the border shifts the result; the whole neighbourhood counts, so that a flat or noisy
    top is averaged. Newton's steps use the variance that is seen, and so reach wider and narrower peaks as fast.

    Args:
        heatmaps: any float type; computed in float32 (float64 stays).
        sigma: σ of the Gaussians that the network was trained on, in heatmap pixels.
        iterations: Newton steps; four bring a clean Gaussian of σ ≥ 0.75 under 0.001 px of its centre.

    Returns:
        Points within the map's extent (-0.5 … w - 0.5), and the value of the highest pixel (clamped to [0, 1]). An
        empty map gives confidence 0 and its first pixel; a NaN in a map gives NaN.
    """
    heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    h, w = heatmaps.shape[-2:]
    values, peak = highest(heatmaps)
    patch, inside, steps = _around(heatmaps, peak, max(1, round(3 * sigma)))
    offset = torch.zeros_like(peak, dtype=heatmaps.dtype)
    for _ in range(iterations):
        step = _newton_step(patch, inside, offset, steps, sigma)
        offset = (offset + step.clamp(-1, 1)).clamp(-1.5, 1.5)
    offset = torch.where(values[..., None] <= 0, 0.0, offset)
    limit = torch.tensor([w, h], device=heatmaps.device)
    points = (peak + offset).clamp(min=-0.5).minimum(limit - 0.5)
    return Decoded(points, values.clamp(0, 1))


def highest(heatmaps: Float[Tensor, "b n h w"]) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b n 2"]]:
    """The highest value of each map, and the first pixel (x, y) that has it.

    Row by row first, for which processors have instructions; the place of a maximum is looked for in few values.
    """
    if heatmaps.is_contiguous(memory_format=torch.channels_last):
        rows = heatmaps.permute(0, 2, 3, 1).amax(dim=2).mT  # the same numbers, along the memory
    else:
        rows = heatmaps.amax(dim=-1)
    row = rows.argmax(dim=-1)
    index = row[..., None, None].expand(*row.shape, 1, heatmaps.shape[-1])
    values, column = heatmaps.gather(2, index)[:, :, 0].max(dim=-1)
    return values, torch.stack([column, row], dim=-1)


def peak_spread(
    heatmaps: Float[Tensor, "b n h w"], points: Float[Tensor, "b n 2"], sigma: float
) -> Float[Tensor, "b n 2"]:
    """How wide each heatmap's peak is along x and along y: the standard deviation, in heatmap pixels, of the Gaussian seen.

    Through a Gaussian window of width σ a Gaussian of width s shows the variance s²σ²/(s² + σ²), from which s follows, also
    of a peak wider than the window. Both are taken about the peak, and σ² itself is what a flat map would show there, so that
    the border, which cuts a peak, changes little.

    Args:
        heatmaps: any float type; computed in float32 (float64 stays).
        points: where the peaks are, as `decode_heatmaps` gives them.
        sigma: σ of the Gaussians that the network was trained on, in heatmap pixels.

    Returns:
        At most `WIDEST` σ; that, too, for an empty map. A NaN in a map gives NaN.
    """
    heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    pixel = points.round().long()
    patch, inside, steps = _around(heatmaps, pixel, max(1, round(3 * sigma)))
    square = (steps - (points - pixel)[..., None]).square()  # of the distance from the peak
    window = torch.exp(-square / (2 * sigma**2)) * inside
    flat, seen = _mean(window, square), _mean(_profiles(patch, window), square)
    variance = flat * seen / (flat - seen).clamp(min=1e-6 * sigma**2)
    empty = patch.flatten(2).amax(-1, keepdim=True) <= 0
    return torch.where(empty, WIDEST * sigma, variance.clamp(max=(WIDEST * sigma) ** 2).sqrt())


def _mean(weights: Float[Tensor, "b n 2 k"], values: Float[Tensor, "b n 2 k"]) -> Float[Tensor, "b n 2"]:
    """The mean of values under weights that need not sum to 1."""
    return (weights * values).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)


def _around(
    heatmaps: Float[Tensor, "b n h w"], pixel: Int[Tensor, "b n 2"], radius: int
) -> tuple[Float[Tensor, "b n k k"], Float[Tensor, "b n 2 k"], Float[Tensor, " k"]]:
    """The maps around whole pixels (x, y), negative values as 0; which of the columns and rows lie inside; their steps."""
    h, w = heatmaps.shape[-2:]
    steps = torch.arange(-radius, radius + 1, device=heatmaps.device)
    limit = torch.tensor([w, h], device=heatmaps.device)
    pixels = pixel[..., None] + steps  # (b, n, 2, k): columns, then rows
    inside = ((pixels >= 0) & (pixels < limit[:, None])).to(heatmaps.dtype)
    columns, rows = pixels.clamp(min=0).minimum(limit[:, None] - 1).unbind(2)
    index = rows[..., :, None] * w + columns[..., None, :]
    patch = heatmaps.flatten(2).gather(2, index.flatten(2)).view(index.shape).clamp(min=0)
    return patch, inside, steps.to(heatmaps.dtype)


def _profiles(patch: Float[Tensor, "b n k k"], window: Float[Tensor, "b n 2 k"]) -> Float[Tensor, "b n 2 k"]:
    """What a patch shows through a separable window along its columns and along its rows, the other axis summed."""
    columns, rows = window.unbind(2)
    by_column = (patch * rows[..., :, None]).sum(dim=-2) * columns
    by_row = (patch * columns[..., None, :]).sum(dim=-1) * rows
    return torch.stack([by_column, by_row], dim=2)


def _newton_step(
    patch: Float[Tensor, "b n k k"],
    inside: Float[Tensor, "b n 2 k"],
    offset: Float[Tensor, "b n 2"],
    steps: Float[Tensor, " k"],
    sigma: float,
) -> Float[Tensor, "b n 2"]:
    """The step from the offset (from the patch's centre) towards the one at which seen and expected mean agree.

    With a window of width σ around c, the mean of what is seen grows with c by (variance seen)/σ², the expected one by
    2·(variance expected)/σ².
    """
    window = torch.exp(-((steps - offset[..., None]) ** 2) / (2 * sigma**2)) * inside
    seen, seen_variance = _moments(_profiles(patch, window), steps)
    expected, expected_variance = _moments(window.square(), steps)
    slope = (2 * expected_variance - seen_variance).maximum(expected_variance / 4)
    return (seen - expected) * sigma**2 / slope.clamp(min=1e-6)


def _moments(
    weights: Float[Tensor, "b n 2 k"], steps: Float[Tensor, " k"]
) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n 2"]]:
    """Mean and variance of the steps under weights that need not sum to 1."""
    share = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    mean = (share * steps).sum(dim=-1)
    return mean, (share * (steps - mean[..., None]).square()).sum(dim=-1)


class _WeightedMse(torch.autograd.Function):
    """mean(weight · (predicted - target)²) in few passes over memory: maps are large, arithmetic is cheap."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        difference = predicted - target
        weighted = difference * weight
        ctx.save_for_backward(weighted)
        return torch.dot(difference.flatten(), weighted.flatten()) / predicted.numel()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weighted,) = ctx.saved_tensors
        return weighted.mul_(gradients[0] * (2 / weighted.numel())), None, None


def weighted_mse(
    predicted: Float[Tensor, "b n h w"], target: Float[Tensor, "b n h w"], weight: Float[Tensor, "b n h w"]
) -> Float[Tensor, ""]:
    """Mean over pixels of weight · (predicted - target)²; its gradient goes to `predicted` alone, once."""
    result: Tensor = _WeightedMse.apply(predicted.contiguous(), target, weight)
    return result


def foreground_weights(target: Float[Tensor, "b n h w"], foreground: float) -> Float[Tensor, "b n h w"]:
    """1 + foreground · target.

    The weight keeps a small network from collapsing to black maps, which plain MSE all but rewards: a Gaussian covers
    less than one per cent of its map.
    """
    return target.mul(foreground).add_(1.0)


def chi_square_loss(
    predicted: Float[Tensor, "b n h w"], target: Float[Tensor, "b n h w"], floor: float = 1e-2
) -> Float[Tensor, ""]:
    """Eq. 9 as a training loss: mean over pixels of (E - Φ)² / E, with E at least `floor`, which keeps it finite."""
    return ((predicted - target).square() / target.clamp(min=floor)).mean()
