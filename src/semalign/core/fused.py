"""The search on a CPU, one heatmap at a time: from its window to its label without leaving the processor's cache.

`semalign.core.search` writes the search as operations on all maps at once. Each of them reads and writes all windows, and
on a CPU that traffic is most of the time. Here the same arithmetic runs map by map, as machine code that numba compiles
when it is first called (the extra `fast`) and keeps beside this file. Without numba the same text is Python: right, and
very slow.

A window, and what is computed from it, lies row after row in one line, so that both directions of a correlation are sums
of shifted lines, long enough for vector instructions. What a shift beyond the end of a row computes has no meaning and is
not read. Windows lie far apart in memory; while one is worked on, the next is fetched a few rows at a time.

Shape legend: m maps, h w heatmap, r side of the region, k = r + 2·radius side of the window, q = radius + 1 values of half
a profile from its middle on; s, l, f lengths of lines (`_lines`). Points are (x, y) in the heatmap frame, pixel centres at
integers.
"""

from __future__ import annotations

import inspect
import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from semalign.core.likelihood import gaussian_profile

try:
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    AVAILABLE = True
except ImportError:
    AVAILABLE = False  # the search in whole tensors is faster then

FARTHEST = 1e6  # pixels from the map's origin to which observations are followed
PARTS = 4  # of the maps for each thread, so that all end together
CACHE_LINE = 16  # float32 values
LANES = 32  # lengths of lines are multiples of it, which spares the loops a remainder

Real = float | np.float32
P = ParamSpec("P")
R = TypeVar("R")


class Terms(NamedTuple):
    """What all maps of a search share."""

    reach: int  # of the region, in pixels
    weight: float  # on χ²
    empty: float  # ΣE: χ² of an empty patch
    guard: bool  # move only if the label's patch, or one farther that way, shows a peak
    evidence: float  # χ² below which a patch shows one
    newton_steps: int  # 0 = whole pixels


class Lines(NamedTuple):
    """Working memory for one map: each a square's rows of k, one after the other."""

    window: np.ndarray  # (s,) Φ on the window
    square: np.ndarray  # (s,) Φ² there
    inner: np.ndarray  # (l,) Φ summed over the template's rows, for each row of the region
    outer: np.ndarray  # (l,) Φ² summed likewise, weighted with 1/E's profile
    box: np.ndarray  # (f,) box(Φ), then nothing of use
    chi: np.ndarray  # (f,) χ²: pixel (x, y) of the region at y·k + x


class Ahead(NamedTuple):
    """The window of the next map, which is not worked on yet."""

    image: np.ndarray  # (h, w)
    left: int
    top: int
    side: int


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code that lets other threads of Python run; where numba is missing, as it is."""
    if not AVAILABLE:
        return function
    plain = inspect.unwrap(function)
    # Of fast-math's liberties only the fused multiplication and addition: the order of sums stays as written.
    compiler = njit(nogil=True, error_model="numpy", fastmath={"contract"})(plain)
    with suppress(RuntimeError):  # no folder may be written: compiled anew by every process
        compiler.enable_caching()
    return compiler


def _prefetch(image: np.ndarray, position: int) -> None:
    """Ask the processor for the image's pixel at this position of its memory, without waiting; Python cannot."""


if AVAILABLE:

    def _instruction(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        """LLVM's prefetch: for reading (0), to be kept in all caches (3), data (1)."""
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        function = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
        builder.call(prefetch, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    @intrinsic
    def _prefetch(context: Any, image: Any, position: Any) -> Any:
        return types.void(image, types.intp), _instruction


def search_maps(
    maps: Float32[Tensor, "m h w"],
    observations: Float32[Tensor, "m 2"],
    radius: int,
    sigma: float,
    terms: Terms,
) -> tuple[Float32[Tensor, "m 2"], Float32[Tensor, " m"], Float32[Tensor, " m"]]:
    """Labels, their squared distances to the observations, and their χ² (Eq. 8), on as many threads as torch uses.

    Args:
        maps: contiguous, on the CPU.
        observations: in the heatmap frame; one that is not finite is its own label.
        radius: of the template, in pixels.
        sigma: of the template, in pixels.
        terms: region, weight and rules.
    """
    half = (1.0 / gaussian_profile(radius, sigma))[radius:].numpy().astype(np.float32)
    images, o = maps.detach().numpy(), observations.detach().contiguous().numpy()
    points, prior, chi = np.empty_like(o), np.empty(len(o), np.float32), np.empty(len(o), np.float32)

    def search(first: int, end: int) -> None:
        part = slice(first, end)
        _search_maps(images[part], o[part], half, terms, points[part], prior[part], chi[part])

    threads = torch.get_num_threads()
    if threads > 1 and len(o) > 1:
        ends = np.linspace(0, len(o), min(PARTS * threads, len(o)) + 1).astype(int).tolist()
        list(_pool(threads, os.getpid()).map(search, ends[:-1], ends[1:]))
    else:
        search(0, len(o))
    return torch.from_numpy(points), torch.from_numpy(prior), torch.from_numpy(chi)


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that live on, each on a processor of its own.

    A system wakes threads where their waker runs, or starts them where their maker does, and parts them only after
    milliseconds, which is as long as a search takes.

    Args:
        threads: how many.
        process: whose they are; a forked process has none of its parent's.
    """
    places = itertools.cycle(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_setaffinity") else None

    def settle() -> None:
        if places is not None:
            with suppress(OSError):  # a processor that is no longer to be had
                os.sched_setaffinity(0, {next(places)})  # of this thread alone

    return ThreadPoolExecutor(threads, "search", settle)


@compiled
def _search_maps(
    images: Float32[np.ndarray, "m h w"],
    observations: Float32[np.ndarray, "m 2"],
    half: Float32[np.ndarray, " q"],
    terms: Terms,
    points: Float32[np.ndarray, "m 2"],
    prior: Float32[np.ndarray, " m"],
    chi: Float32[np.ndarray, " m"],
) -> None:
    """Search every map and write its label, the squared distance to the observation, and χ²."""
    reach, radius = terms.reach, len(half) - 1
    side = 2 * (reach + radius) + 1
    lines, ones = _lines(reach, radius), np.ones_like(half)
    for index in range(len(images)):
        ox, oy = observations[index, 0], observations[index, 1]
        x, y = _nearest(ox), _nearest(oy)
        _copy_window(images[index], x - reach - radius, y - reach - radius, side, lines.window, lines.square)
        after = min(index + 1, len(images) - 1)
        left, top = _nearest(observations[after, 0]) - reach - radius, _nearest(observations[after, 1]) - reach - radius
        _chi_square(lines, side, ones, half, np.float32(terms.empty), Ahead(images[after], left, top, side))
        points[index, 0], points[index, 1] = ox, oy
        prior[index], chi[index] = 0.0, lines.chi[reach * side + reach]
        if not (math.isfinite(ox) and math.isfinite(oy)) or terms.weight <= 0:
            continue
        row, column = _least(lines.chi, side, reach, np.float32(x) - ox, np.float32(y) - oy, np.float32(terms.weight))
        if terms.guard and not _shows_peak(lines.chi, side, reach, row, column, np.float32(terms.evidence)):
            continue
        px, py = np.float32(x + column - reach), np.float32(y + row - reach)
        chi[index] = lines.chi[row * side + column]
        if terms.newton_steps and reach:
            sx, sy, chi[index] = _refine(lines.chi, side, row, column, px - ox, py - oy, terms)
            px, py = px + np.float32(sx), py + np.float32(sy)
        points[index, 0], points[index, 1] = px, py
        prior[index] = (px - ox) * (px - ox) + (py - oy) * (py - oy)


@compiled
def _lines(reach: int, radius: int) -> Lines:
    """Working memory, zeros: as long as what is read, and on to a multiple of `LANES`."""
    region = 2 * reach + 1
    side = region + 2 * radius
    field = -(-region * side // LANES) * LANES
    halfway = -(-(field + 2 * radius) // LANES) * LANES
    whole = halfway + 2 * radius * side
    return Lines(
        np.zeros(whole, np.float32),
        np.zeros(whole, np.float32),
        np.zeros(halfway, np.float32),
        np.zeros(halfway, np.float32),
        np.zeros(field, np.float32),
        np.zeros(field, np.float32),
    )


@compiled
def _nearest(coordinate: float) -> int:
    """The nearest whole pixel; far outside any map for what is no number."""
    if math.isnan(coordinate):
        return -int(FARTHEST)
    return int(np.rint(_between(coordinate, -FARTHEST, FARTHEST)))


@compiled
def _between(value: float, low: float, high: float) -> float:
    """The value, or the limit that it is beyond; what is no number stays that."""
    if value < low:
        return low
    if value > high:
        return high
    return value


@compiled
def _copy_window(
    image: Float32[np.ndarray, "h w"],
    left: int,
    top: int,
    side: int,
    window: Float32[np.ndarray, " s"],
    square: Float32[np.ndarray, " s"],
) -> None:
    """The pixels of the image from (left, top) on, zero beyond the border and where they are negative; and squared."""
    first_x, first_y = max(left, 0), max(top, 0)
    columns = max(min(left + side, image.shape[1]) - first_x, 0)
    rows = max(min(top + side, image.shape[0]) - first_y, 0) if columns else 0
    if rows < side or columns < side:
        window[:] = 0
    for i in range(rows):
        source = image[first_y + i, first_x : first_x + columns]
        target = window[(first_y + i - top) * side + first_x - left :]
        for j in range(columns):
            target[j] = np.float32(0) if source[j] < 0 else source[j]
    for j in range(len(window)):
        square[j] = window[j] * window[j]


@compiled
def _chi_square(
    lines: Lines,
    side: int,
    ones: Float32[np.ndarray, " q"],
    half: Float32[np.ndarray, " q"],
    empty: Real,
    ahead: Ahead,
) -> None:
    """χ² = ΣE - 2·box(Φ) + (1/E) ⋆ Φ² (Eq. 4) over the region; meanwhile, a quarter of the next window by correlation."""
    quarter = side // 4 + 1
    _correlate(lines.window, side, ones, lines.inner, ahead, 0, quarter)
    _correlate(lines.square, side, half, lines.outer, ahead, quarter, 2 * quarter)
    _correlate(lines.inner, 1, ones, lines.box, ahead, 2 * quarter, 3 * quarter)
    _correlate(lines.outer, 1, half, lines.chi, ahead, 3 * quarter, side)
    for j in range(len(lines.chi)):
        lines.chi[j] = empty - np.float32(2) * lines.box[j] + lines.chi[j]


@compiled
def _correlate(
    source: Float32[np.ndarray, " s"],
    step: int,
    half: Float32[np.ndarray, " q"],
    target: Float32[np.ndarray, " l"],
    ahead: Ahead,
    row: int,
    end: int,
) -> None:
    """target[j] = Σ_d half[|d|] · source[j + (radius + d)·step], d from -radius to radius; the next window's rows meanwhile.

    Three distances are added at a time, which spares two thirds of the reading and writing of the target. Few rows are
    fetched at a time, because a processor drops what it is asked beyond what it can wait for.
    """
    radius = len(half) - 1
    rows = (end - row) // (radius // 3 + 1) + 1
    middle = source[radius * step :]
    for j in range(len(target)):
        target[j] = half[0] * middle[j]
    for d in range(1, radius + 1, 3):
        _fetch(ahead, row, min(row + rows, end))
        row += rows
        e, g = min(d + 1, radius), min(d + 2, radius)
        p = half[d]
        q = half[e] if e > d else np.float32(0)
        r = half[g] if g > e else np.float32(0)
        before_d, after_d = source[(radius - d) * step :], source[(radius + d) * step :]
        before_e, after_e = source[(radius - e) * step :], source[(radius + e) * step :]
        before_g, after_g = source[(radius - g) * step :], source[(radius + g) * step :]
        for j in range(len(target)):
            target[j] += (
                p * (before_d[j] + after_d[j]) + q * (before_e[j] + after_e[j]) + r * (before_g[j] + after_g[j])
            )


@compiled
def _fetch(ahead: Ahead, row: int, end: int) -> None:
    """Rows of a window, as far as they lie in the image."""
    h, w = ahead.image.shape
    first, last = max(ahead.left, 0), min(ahead.left + ahead.side, w) - 1
    for y in range(max(ahead.top + row, 0), min(ahead.top + end, h)):
        for x in range(first, last, CACHE_LINE):
            _prefetch(ahead.image, y * w + x)
        if first <= last:
            _prefetch(ahead.image, y * w + last)


@compiled
def _least(chi: Float32[np.ndarray, " f"], side: int, reach: int, dx: Real, dy: Real, weight: Real) -> tuple[int, int]:
    """Row and column of the first least cost (Eq. 8), or of the first that is no number, as NumPy's argmin.

    (dx, dy) leads from the observation to the region's middle.
    """
    least, row, column = np.float32(np.inf), 0, 0
    for i in range(2 * reach + 1):
        y = dy + np.float32(i - reach)
        for j in range(2 * reach + 1):
            x = dx + np.float32(j - reach)
            cost = y * y + x * x + weight * chi[i * side + j]
            if not cost >= least:
                least, row, column = cost, i, j
                if math.isnan(cost):
                    return row, column
    return row, column


@compiled
def _shows_peak(chi: Float32[np.ndarray, " f"], side: int, reach: int, row: int, column: int, evidence: Real) -> bool:
    """Whether a patch at the label, or farther in the move's direction, shows a peak."""
    if chi[row * side + column] < evidence:
        return True
    dx, dy = column - reach, row - reach
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            if dx * (j - reach) + dy * (i - reach) >= dx * dx + dy * dy and chi[i * side + j] < evidence:
                return True
    return False


@compiled
def _refine(
    chi: Float32[np.ndarray, " f"], side: int, row: int, column: int, from_x: float, from_y: float, terms: Terms
) -> tuple[float, float, float]:
    """The shift from the best pixel to the minimum between pixels, and χ² there: `semalign.core.search` says how."""
    r = min(max(row, 1), 2 * terms.reach - 1)
    c = min(max(column, 1), 2 * terms.reach - 1)
    fit = _fit(chi, side, r, c, terms.empty)
    xx, yy, xy = fit[3], fit[4], fit[5]
    x0, y0 = float(column - c), float(row - r)
    x, y = x0, y0
    for _ in range(terms.newton_steps):
        fitted, gx, gy = _logarithm(fit, x, y)
        level = terms.weight * terms.empty * math.exp(fitted)
        lx, ly = level * gx, level * gy
        fx, fy = 2 * (from_x - x0 + x) + lx, 2 * (from_y - y0 + y) + ly
        hxx, hyy, hxy = 2 + level * xx + lx * gx, 2 + level * yy + ly * gy, level * xy + lx * gy
        determinant = hxx * hyy - hxy * hxy
        x = _between(x - (hyy * fx - hxy * fy) / determinant, max(x0 - 1, -1.0), min(x0 + 1, 1.0))
        y = _between(y - (hxx * fy - hxy * fx) / determinant, max(y0 - 1, -1.0), min(y0 + 1, 1.0))
    return x - x0, y - y0, terms.empty * math.expm1(_logarithm(fit, x, y)[0])


@compiled
def _fit(
    chi: Float32[np.ndarray, " f"], side: int, row: int, column: int, empty: float
) -> tuple[float, float, float, float, float, float]:
    """log(1 + χ²/ΣE) around a pixel as value, slopes sx and sy, and curvatures xx, yy and xy of a convex quadratic form.

    Least squares over the 3×3 pixels p = (x, y) have a closed form for value + s·p + p·C·p/2.
    """
    value, sx, sy, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(-1, 2):
        for x in range(-1, 2):
            g = math.log1p(_between(float(chi[(row + y) * side + column + x]), 0.0, math.inf) / empty)
            value += g * (5 - 3 * x * x - 3 * y * y) / 9
            sx += g * x / 6
            sy += g * y / 6
            xx += g * (3 * x * x - 2) / 3
            yy += g * (3 * y * y - 2) / 3
            xy += g * x * y / 4
    xx, yy = _between(xx, 0.0, math.inf), _between(yy, 0.0, math.inf)
    limit = 0.99 * math.sqrt(xx * yy)
    return value, sx, sy, xx, yy, _between(xy, -limit, limit)


@compiled
def _logarithm(fit: tuple[float, float, float, float, float, float], x: float, y: float) -> tuple[float, float, float]:
    """The quadratic form at (x, y), at most 30, and its gradient."""
    value, sx, sy, xx, yy, xy = fit
    gx, gy = sx + xx * x + xy * y, sy + xy * x + yy * y
    return _between(value + 0.5 * (x * (sx + gx) + y * (sy + gy)), -math.inf, 30.0), gx, gy
