"""The bench as a picture: error by level of noise, a line for each method and for the bound, and what labels are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semalign.label_bench.cells import ONE_WORKER
from semalign.label_bench.methods import BOUND, BOUND_OF_MEAN
from semalign.report.theme import LIGHT, drawing

COLOURS = (LIGHT.start, LIGHT.found, LIGHT.contrast, "#2e8b57", "#c2185b", "#8d6e00", "#00838f")
PANEL = (3.6, 3.2)  # inches
ACROSS = 3  # panels in a row
DRAWN = ("truth", "planted", "annotators")


def draw(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG with a panel for each kind of noise, data and number of faces of which levels were measured, and one of what
    labels are worth; there must be a cell of the parts that are `DRAWN`.
    """
    panels: dict[tuple[str, str, str, int], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["part"] in ("truth", "planted"):
            panels.setdefault((cell["part"], cell["data"], cell["noise"], cell["faces"]), []).append(cell)
    worth = [cell for cell in cells if cell["part"] == "annotators"]
    count = len(panels) + len(worth)
    across = min(ACROSS, count)
    down = -(-count // across)
    methods = list(dict.fromkeys(row["method"] for group in panels.values() for row in group[0]["rows"]))
    with drawing():
        figure = Figure((PANEL[0] * across, PANEL[1] * down + 0.7), dpi=110, layout="constrained")
        figure.patch.set_facecolor(LIGHT.paper)
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[count:]:
            axes.set_visible(False)
        for axes, ((part, data, noise, faces), group) in zip(grid.flat, panels.items(), strict=False):
            _panel(axes, group, methods)
            planted = "planted, " if part == "planted" else ""
            axes.set_title(f"{data}, {planted}{noise}, {faces} faces", fontsize=9)
        lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        for axes, cell in zip(grid.flat[len(panels) : count], worth, strict=True):
            _worth(axes, cell)
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        figure.savefig(path, format="png")


def _worth(axes: Axes, cell: Mapping[str, Any]) -> None:
    rows = [row for row in cell["rows"] if row["method"] != ONE_WORKER]  # that is 1: a line
    names, values = [row["method"] for row in rows], [row["worth"] for row in rows]
    colours = [LIGHT.annotation if name == "annotation" else LIGHT.found for name in names]
    bars = axes.barh(names, values, color=colours, height=0.6)
    axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color=LIGHT.muted, linewidth=1)
    axes.set_xlim(0, 1.2 * max(values))
    axes.set_xlabel("as near to the truth as the mean of so many people", fontsize=8)
    axes.set_title(f"{cell['data']}, {cell['faces']} faces", fontsize=9)
    axes.tick_params(labelsize=8)


def _panel(axes: Axes, cells: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> None:
    others = [name for name in methods if name not in ("annotation", BOUND, BOUND_OF_MEAN)]
    for name in methods:
        line = [(cell["level"], row["error"]) for cell in cells for row in cell["rows"] if row["method"] == name]
        if not line:
            continue
        levels, errors = zip(*sorted(line), strict=True)
        style: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1.4}
        if name == BOUND:
            style |= {"color": LIGHT.ink, "linestyle": "--"}
        elif name == BOUND_OF_MEAN:
            style |= {"color": LIGHT.ink, "linestyle": ":"}
        elif name == "annotation":
            style |= {"color": LIGHT.annotation, "linewidth": 2.2}
        else:
            style["color"] = COLOURS[others.index(name) % len(COLOURS)]
        axes.plot(levels, errors, label=name, **style)
    axes.set_xticks(sorted({cell["level"] for cell in cells}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("noise, % of the outer-eye distance", fontsize=8)
    axes.set_ylabel("mean error, %", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(True)
