"""The likelihood's Pearson chi-square between a heatmap's patches and the Gaussian template (Eq. 4), three ways.

    χ²(y) = Σ_i (E_i - Φ_i(y))² / E_i

E is the Gaussian of peak 1 on which the network was trained, cut to a square template; Φ(y) is the patch of the heatmap of
the same size centred on y, zero beyond the border, clamped at 0 from below. The sums factorise, because 1/E of an isotropic
Gaussian does:

    χ²(y) = ΣE - 2·box(Φ)(y) + ((1/E) ⋆ Φ²)(y)

and on the small window around a centre that region and template span, each of the two correlations is two products with a
banded matrix: `chi_square`. `chi_square_loop` is the definition, kept as the oracle; `chi_square_unfold` the usual vectorised
form, kept to be measured against.

Shape legend: m maps, h w heatmap, r side of the region, t side of the template, k = r + t - 1 side of the window. Float32
or float64: 1/E at the template's corner is exp(radius²/σ²), which overflows float16 from radius/σ = 3.33 on.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def chi_square(
    maps: Float[Tensor, "m h w"], centres: Int[Tensor, "m 2"], reach: int, radius: int, sigma: float
) -> Float[Tensor, "m r r"]:
    """χ² at every pixel of the regions of the given reach around whole-pixel centres (x, y): rows are y, columns x.

    The separable form: 2·(k·k·r + k·r·r) multiplications a map instead of r²·t².
    """
    window = windows_around(maps, centres, reach + radius).clamp_(min=0)
    band, steep = _bands(reach, radius, sigma, maps.dtype, maps.device)
    inner = _correlate(window, band)
    outer = _correlate(window.square_(), steep)
    return outer.sub_(inner, alpha=2).add_(template_sum(radius, sigma, maps))


def _correlate(window: Float[Tensor, "m k k"], band: Float[Tensor, "r k"]) -> Float[Tensor, "m r r"]:
    """The product band · window · bandᵀ for every map: one plain matrix product, then a batched one."""
    m, k, r = len(window), band.shape[1], band.shape[0]
    columns = (window.reshape(m * k, k) @ band.T).view(m, k, r)
    return torch.bmm(band.expand(m, r, k), columns)


def chi_square_loop(
    heatmap: Float[Tensor, "h w"], centre: tuple[int, int], reach: int, radius: int, sigma: float
) -> Float[Tensor, "r r"]:
    """Eq. 4 as it is written, pixel by pixel: the oracle."""
    h, w = heatmap.shape
    side = 2 * reach + 1
    result = torch.zeros(side, side, dtype=heatmap.dtype)
    for i in range(side):
        for j in range(side):
            x, y = centre[0] + j - reach, centre[1] + i - reach
            total = 0.0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    expected = math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))
                    inside = 0 <= x + dx < w and 0 <= y + dy < h
                    predicted = max(float(heatmap[y + dy, x + dx]), 0.0) if inside else 0.0
                    total += (expected - predicted) ** 2 / expected
            result[i, j] = total
    return result


def chi_square_unfold(
    maps: Float[Tensor, "m h w"], centres: Int[Tensor, "m 2"], reach: int, radius: int, sigma: float
) -> Float[Tensor, "m r r"]:
    """The same through `unfold`: every patch is copied out, then compared with the template."""
    window = windows_around(maps, centres, reach + radius).clamp_(min=0)
    template = gaussian_template(radius, sigma, maps).reshape(1, -1, 1)
    patches = F.unfold(window[:, None], 2 * radius + 1)
    side = 2 * reach + 1
    return ((template - patches).square() / template).sum(1).view(-1, side, side)


def gaussian_template(radius: int, sigma: float, like: Tensor) -> Float[Tensor, "t t"]:
    """E: the Gaussian of peak 1, cut to a square."""
    line = gaussian_profile(radius, sigma).to(like)
    return line[:, None] * line


def template_sum(radius: int, sigma: float, like: Tensor) -> Tensor:
    """ΣE: what χ² is for an empty patch."""
    return torch.tensor(_template_sum(radius, sigma), dtype=like.dtype, device=like.device)


@lru_cache(maxsize=16)
def _template_sum(radius: int, sigma: float) -> float:
    return float(gaussian_profile(radius, sigma).sum() ** 2)


def gaussian_profile(radius: int, sigma: float) -> Float[Tensor, " t"]:
    """A line through the middle of the Gaussian of peak 1, in float64; E is its product with itself."""
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.exp(-(steps**2) / (2 * sigma**2))


@lru_cache(maxsize=16)
def _bands(reach: int, radius: int, sigma: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Banded (r, k) matrices: ones, and 1/E's profile."""
    side, length = 2 * reach + 1, 2 * radius + 1
    profile = 1.0 / gaussian_profile(radius, sigma)
    band = torch.zeros(2, side, side + length - 1, dtype=torch.float64)
    for i in range(side):
        band[0, i, i : i + length] = 1.0
        band[1, i, i : i + length] = profile
    band = band.to(device=device, dtype=dtype)
    return band[0], band[1]


def windows_in(
    heatmaps: Float[Tensor, "b n h w"], centres: Int[Tensor, "b n 2"], reach: int
) -> Float[Tensor, "b n k k"]:
    """As `windows_around`, of heatmaps that need not be contiguous: networks draw them channels last, and a copy of all costs
    more than the windows.
    """
    h, w = heatmaps.shape[-2:]
    if heatmaps.is_contiguous():
        windows = windows_around(heatmaps.flatten(0, 1), centres.flatten(0, 1), reach)
        return windows.view(*heatmaps.shape[:2], *windows.shape[1:])
    steps = torch.arange(-reach, reach + 1, device=heatmaps.device)
    x, y = (centres[..., None] + steps).unbind(2)  # (b, n, k)
    inside = ((y >= 0) & (y < h))[..., :, None] & ((x >= 0) & (x < w))[..., None, :]
    index = y.clamp(0, h - 1)[..., :, None] * w + x.clamp(0, w - 1)[..., None, :]
    windows = heatmaps.flatten(2).gather(2, index.flatten(2)).view(index.shape)
    return windows.masked_fill_(~inside, 0)


def windows_around(maps: Float[Tensor, "m h w"], centres: Int[Tensor, "m 2"], reach: int) -> Float[Tensor, "m k k"]:
    """The (2·reach + 1)² pixels around each centre (x, y), zeros beyond the border, as a new tensor."""
    m, h, w = maps.shape
    side = 2 * reach + 1
    corner = centres - reach
    inside = (corner >= 0).all(1) & (corner[:, 0] + side <= w) & (corner[:, 1] + side <= h)
    if side > min(h, w):
        windows = maps.new_zeros(m, side, side)
    else:
        windows = _blocks(maps.contiguous(), torch.where(inside[:, None], corner, torch.zeros_like(corner)), side)
    for index in (~inside).nonzero().flatten().tolist():
        x, y = corner[index].tolist()
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, w), min(y + side, h)
        windows[index] = 0
        if left < right and top < bottom:
            part = maps[index, top:bottom, left:right]
            windows[index, top - y : bottom - y, left - x : right - x] = part
    return windows


def _blocks(maps: Tensor, corner: Tensor, side: int) -> Tensor:
    """Copies of the blocks with the given upper left corners, row by row from a view of all runs of `side` pixels."""
    m, h, w = maps.shape
    runs = maps.as_strided((maps.numel() - side + 1, side), (1, 1), maps.storage_offset())
    first = (torch.arange(m, device=maps.device) * h + corner[:, 1]) * w + corner[:, 0]
    rows = first[:, None] + w * torch.arange(side, device=maps.device)
    return torch.index_select(runs, 0, rows.flatten()).view(m, side, side)
