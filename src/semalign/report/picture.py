"""One picture of a run for a README: four faces, their close-ups, and what became of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from semalign.errors import SemalignError
from semalign.report.figures import faces
from semalign.report.figures.axes import Name, count_along_x, from_zero, name_lines, style
from semalign.report.figures.labels import draw_errors
from semalign.report.outcome import label_curves
from semalign.report.pictures import face_marks
from semalign.report.render import to_png
from semalign.report.run import FIGURES, Run, read_run
from semalign.report.theme import FONT_SIZE, LIGHT, MARKS, drawing

WIDTH, HEIGHT = 800.0, 330.0  # at two pixels each: 1600 × 660
FACES = 4
_TILE, _GAP, _TOP = 138.0, 6.0, 42.0


def picture(run: Path) -> bytes:
    """A PNG of 1600 × 660 pixels: four faces with their marks above close-ups, and the labels' error by iteration.

    Without a known truth the curve is the labels' movement.

    Raises:
        SemalignError: the run has no faces to show, or its folder is damaged or unfinished.
    """
    content = read_run(Path(run))
    shown = face_marks(content)[:FACES]
    if not shown:
        raise SemalignError(f"{Path(run) / FIGURES}: holds no faces; evaluate the run again.")
    with drawing():
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, facecolor=LIGHT.paper)
        for column, face in enumerate(shown):
            _column(figure, content, face, column)
        _legend(figure, list(shown[0].sets()), "found" in shown[0].sets())
        _curve(figure, content)
        return to_png(figure, transparent=False)


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place that is counted from the figure's upper left corner."""
    return figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))


def _column(figure: Figure, run: Run, face: faces.FaceMarks, column: int) -> None:
    """A face above a close-up: of another region in each column, where its labels moved furthest."""
    left = column * (_TILE + _GAP)
    windows = faces.close_ups(face, run.scheme.regions if run.scheme is not None else {})
    chosen = windows[column % len(windows) :][:1] if windows else ()
    upper, lower = _axes(figure, left, _TOP, _TILE, _TILE), _axes(figure, left, _TOP + _TILE + _GAP, _TILE, _TILE)
    faces.draw_face(upper, face, faces.face_window(face), scale=0.42, frames=chosen, smooth="bicubic")
    for window in chosen:
        faces.draw_face(lower, face, window, scale=0.8, smooth="bicubic")
    if not chosen:
        lower.remove()


def _legend(figure: Figure, kinds: list[str], moved: bool) -> None:
    names = {"annotation": "annotation", "found": "found label", "truth": "truth"}
    axes = _axes(figure, 0, 0, FACES * (_TILE + _GAP) - _GAP, 30)
    axes.set_xlim(0, axes.bbox.width)
    axes.set_ylim(0, 30)
    axes.set_axis_off()
    x = 16.0
    shown = [kind for kind in names if kind in kinds]
    axes.add_patch(
        FancyBboxPatch((3, 3), axes.bbox.width - 6, 24, boxstyle="round,pad=3", facecolor=MARKS.board, edgecolor="none")
    )
    for kind in shown:
        faces.draw_marks(axes, kind, np.array([[x, 15.0]]), scale=1.0)
        axes.text(x + 12, 15, names[kind], color="#f4f7fa", fontsize=FONT_SIZE, va="center_baseline")
        x += 36 + 0.6 * FONT_SIZE * len(names[kind])
    if moved:
        axes.plot([x - 7, x + 7], [12, 18], color=MARKS.found, linewidth=1.6)
        axes.text(x + 14, 15, "movement", color="#f4f7fa", fontsize=FONT_SIZE, va="center_baseline")


def _curve(figure: Figure, run: Run) -> None:
    """The labels' error, or their movement where there is no truth; nothing if the run searched no labels."""
    curves, records = label_curves(run), run.summary.get("label_movement") or ()
    if not curves and not records:
        return
    left = FACES * (_TILE + _GAP) + 28
    axes = _axes(figure, left, _TOP, WIDTH - left - 82, HEIGHT - _TOP - 46)
    style(axes, LIGHT)
    if curves:
        named = {"strong" if name == "strong points" else name: values for name, values in curves.items()}
        draw_errors(axes, named, LIGHT, bold="all points")
    else:
        moved = [record["mean"] for record in records]
        axes.plot(range(1, len(moved) + 1), moved, "o-", color=LIGHT.found, linewidth=2.6, markersize=4.8)
        count_along_x(axes, 0, max(1, len(moved)), "search iteration", LIGHT)
        from_zero(axes, max(moved))
        name_lines(axes, [Name("all points", moved[-1], LIGHT.found, bold=True)])
    place, title = (left - 22) / WIDTH, "Label error" if curves else "Label movement"
    look: dict[str, Any] = {"va": "center", "fontsize": FONT_SIZE}
    figure.text(place, 1 - 10 / HEIGHT, title, color=LIGHT.ink, fontweight="bold", **look)
    figure.text(place, 1 - 27 / HEIGHT, f"% of {run.unit}", color=LIGHT.muted, **look)
