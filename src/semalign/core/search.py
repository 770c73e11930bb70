"""Search of the latent landmark ŷ: Gaussian prior, Pearson chi-square likelihood, minimum of their weighted sum (Eq. 3-8).

For each landmark, with observation o and predicted heatmap Φ, over the pixels y of a square region around o:

    cost(y) = ‖o - y‖² + likelihood_weight · χ²(y)

with χ² of `semalign.core.likelihood`. Here for all maps at once, on any device; on a CPU, `semalign.core.fused` does the
same for one map after the other, and faster.

Shape legend: b images, n landmarks, m = b·n maps, h w heatmap, r side of the region. Points are (x, y) in the heatmap frame,
pixel centres at integers. Everything is float32 (float64 stays) with autocast off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semalign.core.likelihood import chi_square, template_sum
from semalign.core.sizes import REFERENCE

EVIDENCE = 0.95  # a patch that costs less than this share of an empty one shows a peak
FAR = 1e6  # pixels from the map's origin to which observations are followed
NEWTON_STEPS = 4
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
    guard: bool = True  # move only if the label's patch, or one farther that way, shows a peak
    method: Literal["semantic-alignment"] = "semantic-alignment"  # the paper's; the others are in semalign.searches

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


_Form = Callable[[Tensor, Tensor, int, int, float, SearchSettings], tuple[Tensor, Tensor, Tensor]]


def scaled_radius(side: int, heatmap_size: int) -> int:
    """Radius in heatmap pixels of a square whose side is given in pixels of a 256×256 heatmap: 17 → 8 at 256, 2 at 64."""
    return round((side - 1) / 2 * heatmap_size / REFERENCE)


def search_labels(
    heatmaps: Float[Tensor, "b n h w"],
    observations: Float[Tensor, "b n 2"],
    sigma: float,
    settings: SearchSettings,
    heatmap_size: int | None = None,
) -> Found:
    """The label of least cost in the region around each observation (Eq. 8).

    With numba, contiguous float32 heatmaps on a CPU are searched by `semalign.core.fused`, all others by
    `search_labels_torch`: the results differ by rounding.

    Args:
        heatmaps: predicted, any float type; computed in float32 (float64 stays).
        observations: o, in the heatmap frame; NaN or far outside the map: the label is kept as it is.
        sigma: of the Gaussian the network was trained on, in heatmap pixels.
        settings: weight and sizes.
        heatmap_size: side of the whole heatmaps, by which the sizes are scaled, where `heatmaps` are windows of them.

    Returns:
        Labels, both parts of their cost, and which of them moved.
    """
    heatmaps = _floats(heatmaps)
    plain = heatmaps.device.type == "cpu" and heatmaps.dtype == torch.float32 and heatmaps.is_contiguous()
    form = _search_fused if plain and _has_numba() else _search_tensors
    return _search(heatmaps, observations, sigma, settings, form, heatmap_size)


def search_labels_torch(
    heatmaps: Float[Tensor, "b n h w"],
    observations: Float[Tensor, "b n 2"],
    sigma: float,
    settings: SearchSettings,
) -> Found:
    """`search_labels` as operations on whole tensors, also where numba is installed."""
    return _search(_floats(heatmaps), observations, sigma, settings, _search_tensors)


def nearest_pixels(points: Float[Tensor, "*k 2"]) -> Int[Tensor, "*k 2"]:
    """The pixel in whose middle a region lies; for what is not finite or out of all bounds, one far outside the map."""
    return torch.nan_to_num(points, nan=-FAR).clamp(-FAR, FAR).round().long()


def _floats(heatmaps: Tensor) -> Tensor:
    return heatmaps if heatmaps.dtype in (torch.float32, torch.float64) else heatmaps.float()


@lru_cache(maxsize=1)
def _has_numba() -> bool:
    from semalign.core import fused  # here, because numba takes a second to import

    return fused.AVAILABLE


def _search(
    heatmaps: Tensor,
    observations: Tensor,
    sigma: float,
    settings: SearchSettings,
    form: _Form,
    heatmap_size: int | None = None,
) -> Found:
    b, n, h, w = heatmaps.shape
    size = max(h, w) if heatmap_size is None else heatmap_size
    reach, radius = scaled_radius(settings.region, size), scaled_radius(settings.template, size)
    if radius / sigma > STEEP:
        warnings.warn(
            f"template radius {radius} is {radius / sigma:.1f} times sigma: its corners drown the rest; "
            "choose a smaller template",
            stacklevel=3,
        )
    with torch.autocast(heatmaps.device.type, enabled=False):
        maps, o = heatmaps.reshape(b * n, h, w), observations.to(heatmaps).reshape(b * n, 2)
        points, distance, chi = form(maps, o, reach, radius, sigma, settings)
    return Found(points.view(b, n, 2), distance.view(b, n), chi.view(b, n), (distance > 0).view(b, n))


def _search_fused(
    maps: Float[Tensor, "m h w"],
    o: Float[Tensor, "m 2"],
    reach: int,
    radius: int,
    sigma: float,
    settings: SearchSettings,
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Labels, their squared distances to the observations, and their χ²: one map after the other, in machine code."""
    from semalign.core import fused

    empty = float(template_sum(radius, sigma, maps))
    terms = fused.Terms(
        reach=reach,
        weight=float(settings.likelihood_weight),
        empty=empty,
        guard=settings.guard,
        evidence=EVIDENCE * empty,
        newton_steps=NEWTON_STEPS if settings.precision == "subpixel" else 0,
    )
    return fused.search_maps(maps, o, radius, sigma, terms)


def _search_tensors(
    maps: Float[Tensor, "m h w"],
    o: Float[Tensor, "m 2"],
    reach: int,
    radius: int,
    sigma: float,
    settings: SearchSettings,
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """The same, for all maps at once by operations on tensors."""
    start = nearest_pixels(o)
    cost = chi_square(maps, start, reach, radius, sigma)
    empty = template_sum(radius, sigma, cost)
    steps = torch.arange(-reach, reach + 1, device=o.device, dtype=o.dtype)
    offset = start.to(o) - o
    prior = ((steps + offset[:, 1:]) ** 2)[:, :, None] + ((steps + offset[:, :1]) ** 2)[:, None, :]
    best = _argmin(prior.add_(cost, alpha=settings.likelihood_weight))
    row, column = best // len(steps), best % len(steps)
    move = torch.stack([column, row], 1) - reach
    free = torch.isfinite(o).all(1) & (settings.likelihood_weight > 0)
    if settings.guard:
        free &= _shows_peak(cost, best, move, empty)
    found, chi = (start + move).to(o), cost.flatten(1).gather(1, best[:, None])[:, 0]
    if settings.precision == "subpixel" and reach:
        shift, chi = _refine(cost, row, column, found - o, empty, settings.likelihood_weight)
        found = found + shift
    points = torch.where(free[:, None], found, o)
    distance = torch.where(free, (points - o).square().sum(1), torch.zeros_like(chi))
    chi = torch.where(free, chi, cost[:, reach, reach])
    return points, distance, chi


def _shows_peak(
    cost: Float[Tensor, "m r r"], best: Int[Tensor, " m"], move: Int[Tensor, "m 2"], empty: Tensor
) -> Bool[Tensor, " m"]:
    """Which moves a peak is behind: some patch shows one, at the label or farther in the move's direction.

    An empty patch costs ΣE, a peak at the template's edge far more, so χ² is not monotone: it can drive a label away from a
    peak, into nothing.
    """
    peak = cost < EVIDENCE * empty
    shown = peak.flatten(1).gather(1, best[:, None])[:, 0]
    doubtful = (~shown).nonzero().flatten()
    reach = cost.shape[1] // 2
    steps = torch.arange(-reach, reach + 1, device=cost.device)
    dx, dy = move[doubtful, 0, None, None], move[doubtful, 1, None, None]
    ahead = dy * steps[:, None] + dx * steps >= dx.square() + dy.square()
    shown[doubtful] = (ahead & peak[doubtful]).flatten(1).any(1)
    return shown


def _argmin(cost: Float[Tensor, "m r r"]) -> Int[Tensor, " m"]:
    """Flat index of each map's minimum; on the CPU through NumPy, whose argmin is vectorised."""
    if cost.device.type == "cpu":
        return torch.from_numpy(cost.flatten(1).numpy().argmin(1))
    return cost.flatten(1).argmin(1)


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
    value, sx, sy, xx, yy, xy = (g.flatten(1) @ _quadratic_fit(g.dtype, g.device)).unbind(
        1
    )  # value, slopes, curvatures
    xx, yy = xx.clamp(min=0), yy.clamp(min=0)
    limit = 0.99 * (xx * yy).sqrt()
    xy = xy.maximum(-limit).minimum(limit)
    x0, y0 = (column - c).to(cost), (row - r).to(cost)  # not zero only where the best pixel is on the region's edge
    left, right, top, bottom = (
        (x0 - 1).clamp(min=-1),
        (x0 + 1).clamp(max=1),
        (y0 - 1).clamp(min=-1),
        (y0 + 1).clamp(max=1),
    )
    bx, by = from_observation[:, 0] - x0, from_observation[:, 1] - y0
    scale = weight * empty

    def form(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fitted logarithm and its gradient; coordinates as tensors of m, because 2×2 matrices cost more than they say."""
        gx, gy = sx + xx * x + xy * y, sy + xy * x + yy * y
        return (value + 0.5 * (x * (sx + gx) + y * (sy + gy))).clamp(max=30.0), gx, gy

    x, y = x0, y0
    for _ in range(NEWTON_STEPS):
        fitted, gx, gy = form(x, y)
        level = scale * torch.exp(fitted)
        lx, ly = level * gx, level * gy
        fx, fy = 2 * (bx + x) + lx, 2 * (by + y) + ly
        hxx, hyy, hxy = 2 + level * xx + lx * gx, 2 + level * yy + ly * gy, level * xy + lx * gy
        determinant = hxx * hyy - hxy * hxy
        x = (x - (hyy * fx - hxy * fy) / determinant).maximum(left).minimum(right)
        y = (y - (hxx * fy - hxy * fx) / determinant).maximum(top).minimum(bottom)
    return torch.stack([x - x0, y - y0], 1), empty * torch.expm1(form(x, y)[0])


@lru_cache(maxsize=4)
def _quadratic_fit(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(9, 6): least squares of v + s·p + p·C·p/2 on the 3×3 pixels p in row-major order."""
    y, x = torch.meshgrid(torch.arange(-1.0, 2.0), torch.arange(-1.0, 2.0), indexing="ij")
    x, y = x.flatten().double(), y.flatten().double()
    design = torch.stack([torch.ones_like(x), x, y, x * x / 2, y * y / 2, x * y], 1)
    return torch.linalg.pinv(design).T.contiguous().to(device=device, dtype=dtype)
