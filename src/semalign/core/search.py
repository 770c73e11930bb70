"""Search of the latent landmark ŷ: Gaussian prior, Pearson chi-square likelihood, minimum of their weighted sum (Eq. 3-8).

For each landmark, with observation o and predicted heatmap Φ, over the pixels y of a square region around o:

    cost(y) = ‖o - y‖² + likelihood_weight · χ²(y),        χ²(y) = Σ_i (E_i - Φ_i(y))² / E_i

E is the Gaussian of peak 1 on which the network was trained, cut to a square template; Φ(y) is the patch of the heatmap of
the same size centred on y, zero beyond the border, clamped at 0 from below. The sums factorise, because 1/E of an isotropic
Gaussian does:

    χ²(y) = ΣE - 2·box(Φ)(y) + ((1/E) ⋆ Φ²)(y)

and on the small window around o that the region and the template span, each of the two correlations is two products with a
banded matrix. `chi_square_loop` is the definition, kept as the oracle; `chi_square_unfold` the usual vectorised form, kept to
be measured against.

Shape legend: b images, n landmarks, m = b·n maps, h w heatmap, r side of the region, t side of the template,
k = r + t - 1 side of the window. Points are (x, y) in the heatmap frame, pixel centres at integers. Everything is float32
(float64 stays) with autocast off: 1/E at the template's corner is exp(radius²/σ²), which overflows float16 from
radius/σ = 3.33 on.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

REFERENCE = 256  # the heatmap size in whose pixels region and template are given
NEWTON_STEPS = 5
STEEP = 3.2  # radius/σ from which the template's corners drown the rest


@dataclass(frozen=True)
class SearchSettings:
    """Where and how to search. Sizes are in pixels of a 256×256 heatmap and scaled with the heatmap."""

    likelihood_weight: float = (
        0.1  # on χ² against the squared distance to the observation; the σ₁²/σ₂² of Eq. 8, 0 = annotations
    )
    region: int = 17  # side of the square around the observation
    template: int = 19  # side of the Gaussian template; 1 = the heatmap value itself
    precision: Literal["integer", "subpixel"] = "subpixel"  # 'integer' is the paper's
    guard: bool = True  # stay at the observation unless a patch beats an empty one, and never go away from the best

    def __post_init__(self) -> None:
        if self.likelihood_weight < 0:
            raise ValueError("likelihood_weight must not be negative")
        if self.region < 1 or self.template < 1:
            raise ValueError("region and template must be at least 1")


class Found(NamedTuple):
    """What a search returns; points in the heatmap frame, costs in pixels² of the heatmap."""

    points: Float[Tensor, "b n 2"]
    prior: Float[Tensor, "b n"]  # ‖o - ŷ‖²
    chi_square: Float[Tensor, "b n"]  # χ² at ŷ, not weighted
    moved: Tensor  # (b, n) bool: False where the label was kept (guard, or the minimum is the observation)


def scaled_radius(side: int, heatmap_size: int) -> int:
    """Radius in heatmap pixels of a square whose side is given in pixels of a 256×256 heatmap: 17 → 8 at 256, 2 at 64."""
    return round((side - 1) / 2 * heatmap_size / REFERENCE)


def search_labels(
    heatmaps: Float[Tensor, "b n h w"],
    observations: Float[Tensor, "b n 2"],
    sigma: float,
    settings: SearchSettings,
) -> Found:
    """The label of least cost in the region around each observation (Eq. 8).

    Args:
        heatmaps: predicted, any float type; computed in float32 (float64 stays).
        observations: o, in the heatmap frame; NaN or far outside the map: the label is kept as it is.
        sigma: of the Gaussian the network was trained on, in heatmap pixels.
        settings: weight and sizes.

    Returns:
        Labels, both parts of their cost, and which of them moved.
    """
    if heatmaps.dtype not in (torch.float32, torch.float64):
        heatmaps = heatmaps.float()
    with torch.autocast(heatmaps.device.type, enabled=False):
        return _search(heatmaps, observations.to(heatmaps), sigma, settings)


def _search(heatmaps: Tensor, observations: Tensor, sigma: float, settings: SearchSettings) -> Found:
    b, n, h, w = heatmaps.shape
    reach = scaled_radius(settings.region, max(h, w))
    radius = scaled_radius(settings.template, max(h, w))
    if radius / sigma > STEEP:
        warnings.warn(
            f"template radius {radius} is {radius / sigma:.1f} times sigma: its corners drown the rest; "
            "choose a smaller template",
            stacklevel=3,
        )
    o = observations.reshape(b * n, 2)
    start = torch.nan_to_num(o, nan=-1e6).clamp(-1e6, 1e6).round().long()
    cost = chi_square(heatmaps.reshape(b * n, h, w), start, reach, radius, sigma)
    steps = torch.arange(-reach, reach + 1, device=o.device, dtype=o.dtype)
    offset = start.to(o) - o
    prior = ((steps + offset[:, 1:]) ** 2)[:, :, None] + ((steps + offset[:, :1]) ** 2)[:, None, :]
    total = prior + settings.likelihood_weight * cost
    best = total.flatten(1).argmin(1)
    row, column = best // len(steps), best % len(steps)
    every = torch.arange(b * n, device=o.device)
    chi, near = cost[every, row, column], torch.stack([column, row], 1) - reach
    empty = template_sum(radius, sigma, cost)
    found = (start + near).to(o)
    keep = ~torch.isfinite(o).all(1) | (settings.likelihood_weight == 0)
    if settings.guard:
        keep |= _misled(cost, start, found, o, empty)
    if settings.precision == "subpixel" and reach:
        shift, chi = _refine(cost, row, column, found - o, empty, settings.likelihood_weight)
        found = found + shift
    points = torch.where(keep[:, None], o, found)
    distance = torch.where(keep, torch.zeros_like(chi), (points - o).square().sum(1))
    chi = torch.where(keep, cost[:, reach, reach], chi)
    return Found(points.view(b, n, 2), distance.view(b, n), chi.view(b, n), (~keep & (distance > 0)).view(b, n))


def _misled(
    cost: Float[Tensor, "m r r"],
    start: Int[Tensor, "m 2"],
    found: Float[Tensor, "m 2"],
    o: Float[Tensor, "m 2"],
    empty: Tensor,
) -> Tensor:
    """(m,) bool: labels that no peak has moved.

    An empty patch costs ΣE, a peak at the template's edge far more, so χ² is not monotone: a label can be driven away from a
    peak. It counts only where some patch of the region beats the empty one, and only if it goes towards the best of them.
    """
    lowest, at = cost.flatten(1).min(1)
    side, reach = cost.shape[1], cost.shape[1] // 2
    best = start + torch.stack([at % side, at // side], 1) - reach
    towards = ((found - o) * (best.to(o) - o)).sum(1)
    return (lowest >= empty) | (towards < 0)


def chi_square(
    maps: Float[Tensor, "m h w"], centres: Int[Tensor, "m 2"], reach: int, radius: int, sigma: float
) -> Float[Tensor, "m r r"]:
    """χ² at every pixel of the regions of the given reach around whole-pixel centres (x, y): rows are y, columns x.

    The separable form: 2·(k·k·r + k·r·r) multiplications a map instead of r²·t².
    """
    window = _windows(maps, centres, reach + radius).clamp_(min=0)
    band, steep = _bands(reach, radius, sigma, maps.dtype, maps.device)
    inner = _correlate(window, band)
    outer = _correlate(window.square_(), steep)
    return outer.sub_(inner, alpha=2).add_(template_sum(radius, sigma, maps))


def _correlate(window: Float[Tensor, "m k k"], band: Float[Tensor, "r k"]) -> Float[Tensor, "m r r"]:
    """Band · window · bandᵀ for every map, as two plain matrix products."""
    m, k, r = len(window), band.shape[1], band.shape[0]
    columns = (window.reshape(m * k, k) @ band.T).view(m, k, r)  # rows y, columns the region's x
    return (columns.transpose(1, 2).reshape(m * r, k) @ band.T).view(m, r, r).transpose(1, 2)


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
    window = _windows(maps, centres, reach + radius).clamp_(min=0)
    template = gaussian_template(radius, sigma, maps).reshape(1, -1, 1)
    patches = F.unfold(window[:, None], 2 * radius + 1)
    side = 2 * reach + 1
    return ((template - patches).square() / template).sum(1).view(-1, side, side)


def gaussian_template(radius: int, sigma: float, like: Tensor) -> Float[Tensor, "t t"]:
    """E: the Gaussian of peak 1, cut to a square."""
    line = _profile(radius, sigma).to(like)
    return line[:, None] * line


def template_sum(radius: int, sigma: float, like: Tensor) -> Tensor:
    """ΣE: what χ² is for an empty patch."""
    return _profile(radius, sigma).sum().square().to(like)


def _profile(radius: int, sigma: float) -> Tensor:
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.exp(-(steps**2) / (2 * sigma**2))


@lru_cache(maxsize=16)
def _bands(reach: int, radius: int, sigma: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Banded (r, k) matrices: ones, and 1/E's profile."""
    side, length = 2 * reach + 1, 2 * radius + 1
    profile = 1.0 / _profile(radius, sigma)
    band = torch.zeros(2, side, side + length - 1, dtype=torch.float64)
    for i in range(side):
        band[0, i, i : i + length] = 1.0
        band[1, i, i : i + length] = profile
    band = band.to(device=device, dtype=dtype)
    return band[0], band[1]


def _windows(maps: Float[Tensor, "m h w"], centres: Int[Tensor, "m 2"], reach: int) -> Float[Tensor, "m k k"]:
    """The (2·reach + 1)² pixels around each centre, zeros beyond the border, as a new tensor."""
    m, h, w = maps.shape
    side = 2 * reach + 1
    corner = centres - reach
    inside = (corner >= 0).all(1) & (corner[:, 0] + side <= w) & (corner[:, 1] + side <= h)
    safe = torch.where(inside[:, None], corner, torch.zeros_like(corner))
    windows = maps.new_zeros(m, side, side) if side > min(h, w) else _blocks(maps.contiguous(), safe, side)
    for index in (~inside).nonzero().flatten().tolist():
        x, y = corner[index].tolist()
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, w), min(y + side, h)
        windows[index] = 0
        if left < right and top < bottom:
            windows[index, top - y : bottom - y, left - x : right - x] = maps[index, top:bottom, left:right]
    return windows


def _blocks(maps: Tensor, corner: Tensor, side: int) -> Tensor:
    """Copies of the blocks with the given upper left corners, row by row from a view of all runs of `side` pixels."""
    m, h, w = maps.shape
    runs = maps.as_strided((maps.numel() - side + 1, side), (1, 1), maps.storage_offset())
    first = (torch.arange(m, device=maps.device) * h + corner[:, 1]) * w + corner[:, 0]
    rows = first[:, None] + w * torch.arange(side, device=maps.device)
    return torch.index_select(runs, 0, rows.flatten()).view(m, side, side)


def _refine(
    cost: Float[Tensor, "m r r"],
    row: Tensor,
    column: Tensor,
    from_observation: Float[Tensor, "m 2"],
    empty: Tensor,
    weight: float,
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, " m"]]:
    """The minimum of the cost between pixels: a shift of at most one pixel from the best one, and χ² there.

    For a Gaussian shifted by d, χ² = ΣE·(exp(d²/σ²) - 1) (untruncated), which no parabola fits from whole pixels unless
    σ is large; but log(1 + χ²/ΣE) = d²/σ² is one, whatever σ. So a quadratic form is fitted to that logarithm on the 3×3
    pixels around the best, made convex, and ‖o - y‖² + weight·ΣE·(exp(fit) - 1) is minimised by Newton's method.
    """
    reach = cost.shape[1] // 2
    r, c = row.clamp(1, 2 * reach - 1), column.clamp(1, 2 * reach - 1)
    around = torch.arange(-1, 2, device=cost.device)
    every = torch.arange(len(cost), device=cost.device)
    patch = cost[every[:, None, None], (r[:, None] + around)[:, :, None], (c[:, None] + around)[:, None, :]]
    g = torch.log1p(patch.clamp(min=0) / empty)
    fit = g.flatten(1) @ _quadratic_fit(g.dtype, g.device)  # value, slope x, slope y, curvature xx, yy, xy
    value, slope = fit[:, 0], fit[:, 1:3]
    xx, yy = fit[:, 3].clamp(min=0), fit[:, 4].clamp(min=0)
    limit = 0.99 * (xx * yy).sqrt()
    xy = fit[:, 5].maximum(-limit).minimum(limit)
    curvature = torch.stack([torch.stack([xx, xy], 1), torch.stack([xy, yy], 1)], 2)
    start = torch.stack([column - c, row - r], 1).to(cost)  # not zero only where the best pixel is on the region's edge
    base = from_observation - start
    low, high = (start - 1).clamp(min=-1), (start + 1).clamp(max=1)
    identity = torch.eye(2, dtype=cost.dtype, device=cost.device)
    z = start
    for _ in range(NEWTON_STEPS):
        bent = (curvature @ z[..., None])[..., 0]
        gradient = slope + bent
        level = weight * empty * torch.exp((value + (z * (slope + bent / 2)).sum(1)).clamp(max=30.0))
        first = 2 * (base + z) + level[:, None] * gradient
        second = 2 * identity + level[:, None, None] * (curvature + gradient[:, :, None] * gradient[:, None, :])
        z = (z - _solve(second, first)).maximum(low).minimum(high)
    fitted = value + (z * (slope + (curvature @ z[..., None])[..., 0] / 2)).sum(1)
    return z - start, empty * torch.expm1(fitted.clamp(max=30.0))


def _solve(matrix: Float[Tensor, "m 2 2"], vector: Float[Tensor, "m 2"]) -> Float[Tensor, "m 2"]:
    """Solutions of symmetric positive 2×2 systems, in closed form."""
    a, b, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1]
    x, y = vector[:, 0], vector[:, 1]
    return torch.stack([d * x - b * y, a * y - b * x], 1) / (a * d - b * b)[:, None]


@lru_cache(maxsize=4)
def _quadratic_fit(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(9, 6): least squares of v + s·p + p·C·p/2 on the 3×3 pixels p in row-major order."""
    y, x = torch.meshgrid(torch.arange(-1.0, 2.0), torch.arange(-1.0, 2.0), indexing="ij")
    x, y = x.flatten().double(), y.flatten().double()
    design = torch.stack([torch.ones_like(x), x, y, x * x / 2, y * y / 2, x * y], 1)
    return torch.linalg.pinv(design).T.contiguous().to(device=device, dtype=dtype)
