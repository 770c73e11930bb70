"""Training curves of the stages that a run went through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from semalign.report.figures.axes import Name, chart, count_along_x, logarithmic, name_lines
from semalign.report.text import is_number
from semalign.report.theme import Theme

Logs = Mapping[str, Sequence[Mapping[str, Any]]]
Curve = tuple[np.ndarray, np.ndarray]  # epochs, values


def stage_color(stage: str, theme: Theme) -> str:
    """The colour of a detector wherever it appears."""
    return {"start": theme.start, "baseline": theme.annotation, "aligned": theme.found}[stage]


def curves_of(logs: Logs, key: str) -> dict[str, Curve]:
    """Each stage's values over epochs from 1 on; baseline and aligned go on where the start ends."""
    first = len(logs.get("start", ()))
    curves = {}
    for stage, records in logs.items():
        pairs = [(index + 1, record[key]) for index, record in enumerate(records) if is_number(record.get(key))]
        if pairs:
            epochs, values = np.array(pairs, float).T
            curves[stage] = (epochs if stage == "start" else epochs + first, values)
    return curves


def training_curve(logs: Logs, key: str, theme: Theme) -> Figure | None:
    """A logged figure of every stage over epochs, on a logarithmic axis where it spans more than a factor of four.

    None if no stage has logged it.
    """
    curves = curves_of(logs, key)
    if not curves:
        return None
    figure, axes = chart(theme, right=76, left=52)
    _draw(axes, curves, theme)
    values = np.concatenate([values for _, values in curves.values()])
    if values.min() > 0 and values.max() / values.min() > 4:
        logarithmic(axes, values)
    if len(curves) > 1 and "start" in curves:
        axes.axvline(curves["start"][0][-1], color=theme.muted, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    count_along_x(axes, 1, max(epochs[-1] for epochs, _ in curves.values()), "epoch", theme)
    _name_ends(axes, curves, theme)
    return figure


def last_stretch(logs: Logs, key: str, theme: Theme) -> Figure | None:
    """The same after the start's end alone, where the differences are; the dashed line is the start's last value.

    None if no further training was logged.
    """
    curves = curves_of(logs, key)
    further = {stage: curve for stage, curve in curves.items() if stage != "start"}
    if not further:
        return None
    figure, axes = chart(theme, right=76, left=52)
    _draw(axes, further, theme, marker="o")
    if "start" in curves:
        axes.axhline(curves["start"][1][-1], color=theme.start, linewidth=1.4, linestyle=(0, (4, 3)), zorder=2)
    axes.margins(y=0.15)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    first = min(epochs[0] for epochs, _ in further.values())
    count_along_x(axes, first, max(epochs[-1] for epochs, _ in further.values()), "epoch", theme)
    _name_ends(axes, curves, theme)
    return figure


def _draw(axes: Axes, curves: Mapping[str, Curve], theme: Theme, marker: str = "") -> None:
    for stage, (epochs, values) in curves.items():
        color = stage_color(stage, theme)
        dot = marker or ("o" if len(epochs) == 1 else "")
        axes.plot(epochs, values, color=color, linewidth=2.0, marker=dot, markersize=4.5, zorder=3, label=stage)


def _name_ends(axes: Axes, curves: Mapping[str, Curve], theme: Theme) -> None:
    ends = {stage: float(values[-1]) for stage, (_, values) in curves.items()}
    name_lines(axes, [Name(stage, end, stage_color(stage, theme), stage == "aligned") for stage, end in ends.items()])
