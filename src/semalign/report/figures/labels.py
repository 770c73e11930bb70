"""Labels by iteration: their error against the truth, by region and direction, and how far they moved.

All lengths are in % of the outer-eye distance; iteration 0 is the annotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from semalign.report.figures.axes import SIZE, Name, chart, count_along_x, from_zero, logarithmic, name_lines
from semalign.report.theme import Theme

GROUP_SIZE = (204.0, 160.0)  # CSS pixels of one group's chart


def error_by_iteration(curves: Mapping[str, Sequence[float]], theme: Theme, size: tuple[float, float] = SIZE) -> Figure:
    """Lines of the labels' error, one for each named set of points, the first in bold."""
    figure, axes = chart(theme, size, right=118)
    draw_errors(axes, curves, theme, bold=next(iter(curves)))
    axes.set_xlabel("search iteration (0: annotations)")
    return figure


def draw_errors(axes: Axes, curves: Mapping[str, Sequence[float]], theme: Theme, bold: str) -> None:
    """Draw and name lines of the labels' error; the annotation's point has the annotation's colour."""
    for name, values in curves.items():
        _progress(axes, values, theme, width=2.6 if name == bold else 1.5)
    count_along_x(axes, 0, max(1, *(len(values) - 1 for values in curves.values())), "search iteration", theme)
    from_zero(axes, max(float(np.nanmax(values)) for values in curves.values()))
    name_lines(axes, [Name(name, values[-1], theme.found, name == bold) for name, values in curves.items()])


def group_error(along: Sequence[float], across: Sequence[float], theme: Theme) -> Figure:
    """The error of one region of the face along its curve (solid) and across it (dashed)."""
    figure, axes = chart(theme, GROUP_SIZE, right=12, left=38)
    axes.set_position((38 / GROUP_SIZE[0], 30 / GROUP_SIZE[1], 1 - 50 / GROUP_SIZE[0], 1 - 42 / GROUP_SIZE[1]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    _progress(axes, along, theme, width=2.2)
    _progress(axes, across, theme, width=1.6, color=theme.contrast, dashed=True)
    count_along_x(axes, 0, max(1, len(along) - 1), "", theme)
    from_zero(axes, float(np.nanmax([along, across])))
    return figure


def movement_by_iteration(records: Sequence[Mapping[str, Any]], theme: Theme) -> Figure:
    """How far labels moved in each search, the mean in bold; logarithmic where movement dies away."""
    figure, axes = chart(theme, right=92)
    iterations = [record["iteration"] for record in records]
    names, everything = [], []
    groups = list(records[-1].get("by_region", {}))
    for name in (*groups, "all points"):
        mean = name == "all points"
        values = [record["mean"] if mean else record.get("by_region", {}).get(name, np.nan) for record in records]
        color = theme.found if mean else theme.muted
        marker = "o" if mean or len(values) == 1 else ""
        width = 2.6 if mean else 1.2
        axes.plot(iterations, values, color=color, linewidth=width, marker=marker, markersize=5, clip_on=False)
        names.append(Name(name, values[-1], color, bold=mean))
        everything += [value for value in values if np.isfinite(value)]
    count_along_x(axes, min(iterations), max(max(iterations), min(iterations) + 1), "search iteration", theme)
    if min(everything) > 0 and max(everything) / min(everything) > 4:
        logarithmic(axes, np.array(everything))
    else:
        from_zero(axes, max(everything))
    name_lines(axes, names)
    return figure


def _progress(
    axes: Axes, values: Sequence[float], theme: Theme, width: float, color: str | None = None, dashed: bool = False
) -> None:
    """Draw a line over iterations whose first point, the annotation, has the annotation's colour."""
    color = color or theme.found
    style = (0, (1.6, 2.2)) if dashed else "-"
    axes.plot(range(len(values)), values, color=color, linewidth=width, linestyle=style, zorder=3, clip_on=False)
    axes.plot(range(1, len(values)), values[1:], "o", color=color, markersize=width + 2.2, zorder=4, clip_on=False)
    axes.plot([0], values[:1], "D", color=theme.annotation, markersize=width + 2.6, zorder=5, clip_on=False)
