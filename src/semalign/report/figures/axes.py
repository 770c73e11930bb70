"""Plain axes for line charts: hairlines to read values by, names written at the lines' ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from semalign.report.theme import FONT_SIZE, Theme

SIZE = (440.0, 270.0)  # CSS pixels of a chart
GAP = 1.28 * FONT_SIZE  # least distance of two names, pixels


@dataclass(frozen=True)
class Name:
    """A line's name beside its last point."""

    text: str
    y: float
    color: str
    bold: bool = False


def chart(
    theme: Theme, size: tuple[float, float] = SIZE, right: float = 14.0, left: float = 44.0
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; `left` and `right` are the margins for numbers and names in pixels."""
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    axes = figure.add_axes((left / width, 42 / height, 1 - (left + right) / width, 1 - 54 / height))
    style(axes, theme)
    return figure, axes


def style(axes: Axes, theme: Theme) -> None:
    """Hairlines across, one line below, no frame."""
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=theme.rule, linewidth=0.8, alpha=1.0)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, pad=6, labelcolor=theme.muted, labelsize=FONT_SIZE)
    axes.patch.set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))


def count_along_x(axes: Axes, first: float, last: float, title: str, theme: Theme) -> None:
    """Whole numbers from `first` to `last` along x, titled."""
    spare = 0.03 * max(last - first, 1.0)
    axes.set_xlim(first - spare, last + spare)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel(title, color=theme.muted, fontsize=FONT_SIZE, labelpad=4)


def from_zero(axes: Axes, highest: float) -> None:
    """A y axis from zero to a little above the highest value."""
    axes.set_ylim(0.0, 1.08 * highest if highest > 0 else 1.0)


def logarithmic(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic y axis around positive values, labelled at 1, 2 and 5 times powers of ten."""
    low, high = float(values.min()), float(values.max())
    low, high = low / 1.1, high * 1.1
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    steps = (factor * 10.0**power for power in range(-8, 6) for factor in (1, 2, 5))
    ticks = [step for step in steps if low <= step <= high]
    if len(ticks) > 7:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1")]
    axes.set_yticks(ticks)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def name_lines(axes: Axes, names: Sequence[Name]) -> None:
    """Write names right of the axes at their heights, moved apart as far as needed; call it when the limits are set."""
    if not names:
        return
    order = sorted(names, key=lambda name: name.y)
    heights = axes.transData.transform([(0.0, name.y) for name in order])[:, 1]
    low, high = axes.bbox.y0, axes.bbox.y1
    edge = axes.bbox.x1
    for name, height in zip(order, spread(heights, GAP, low, high), strict=True):
        axes.annotate(
            name.text,
            (edge + 6, height),
            xycoords="figure points",
            color=name.color,
            fontsize=FONT_SIZE,
            fontweight="bold" if name.bold else "normal",
            va="center_baseline",
            annotation_clip=False,
        )


def spread(heights: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Ascending heights moved as little as needed to be `gap` apart and within [low, high].

    Least squares: less their places in the row, heights that are apart ascend, so it is an isotonic regression. Where
    they do not fit between the bounds they reach beyond `high`.
    """
    places = gap * np.arange(len(heights))
    blocks: list[tuple[float, int]] = []  # mean and size of runs that stand as close as they may
    for height in np.asarray(heights, float) - places:
        mean, size = float(height), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    level = np.concatenate([np.full(size, mean) for mean, size in blocks])
    return np.clip(level, low, max(low, high - places[-1])) + places
