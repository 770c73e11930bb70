"""Cumulative error curves of the detectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semalign.report.figures.axes import Name, chart, name_lines
from semalign.report.figures.training import stage_color
from semalign.report.theme import FONT_SIZE, Theme

Curve = tuple[np.ndarray, np.ndarray]  # error in % of the outer-eye distance, share of faces from 0 to 1


def cumulative_error(curves: Mapping[str, Curve], theme: Theme) -> Figure:
    """Share of the test faces whose mean error is at most x."""
    figure, axes = chart(theme, right=20, left=52)
    for stage, (error, share) in curves.items():
        axes.plot(error, 100 * share, color=stage_color(stage, theme), linewidth=2.0, zorder=3)
    axes.set_ylim(0, 103)
    axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    _along_error(axes, curves, theme)
    return figure


def cumulative_gain(curves: Mapping[str, Curve], theme: Theme) -> Figure | None:
    """By how many percentage points that share is larger than the start's; None without a start and another."""
    others = {stage: curve for stage, curve in curves.items() if stage != "start"}
    if "start" not in curves or not others:
        return None
    figure, axes = chart(theme, right=76, left=52)
    error, before = curves["start"]
    names, low, high = [Name("start", 0.0, theme.start)], -1.0, 1.0
    axes.axhline(0, color=theme.start, linewidth=1.4, zorder=2)
    for stage, (other, share) in others.items():
        gain = 100 * (np.interp(error, other, share) - before)
        axes.plot(error, gain, color=stage_color(stage, theme), linewidth=2.0, zorder=3)
        names.append(Name(stage, float(gain[-1]), stage_color(stage, theme), stage == "aligned"))
        low, high = min(low, float(gain.min())), max(high, float(gain.max()))
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    _along_error(axes, curves, theme)
    name_lines(axes, names)
    return figure


def _along_error(axes: Axes, curves: Mapping[str, Curve], theme: Theme) -> None:
    axes.set_xlim(0, max(float(error[-1]) for error, _ in curves.values()))
    axes.set_xlabel("error, % of the outer-eye distance", color=theme.muted, fontsize=FONT_SIZE, labelpad=4)
