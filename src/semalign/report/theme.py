"""Colours and the drawing context of all figures.

Colours mean the same everywhere: orange is the annotation (and the baseline, which goes on training on annotations),
blue the found label (and the detector aligned with it), white the truth, grey the start. Orange, blue and white are
told apart with every kind of colour vision; marks differ in shape as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import matplotlib as mpl

FONT_SIZE = 12.5  # CSS pixels of a chart at its own size; a figure has 72 dpi, so that a point is a pixel


@dataclass(frozen=True)
class Theme:
    """Colours of a chart."""

    ink: str
    muted: str
    rule: str
    paper: str
    annotation: str
    found: str
    start: str
    contrast: str  # a second line beside `found`, where colours mean nothing else


@dataclass(frozen=True)
class Marks:
    """Colours of marks on photographs, the same on light and on dark pages."""

    annotation: str = "#ffa01c"
    found: str = "#45c4ff"
    truth: str = "#ffffff"
    halo: str = "#10161d"
    board: str = "#39434e"  # behind the marks of a legend


# On the page charts take their colours from the style sheet, so that one drawing serves light and dark. These stand for
# its variables.
PAGE = Theme(*(f"#0d0e{index:02x}" for index in range(len(fields(Theme)))))
VARIABLES = {getattr(PAGE, field.name): f"var(--{field.name})" for field in fields(Theme)}
LIGHT = Theme(
    ink="#16202b",
    muted="#5b6875",
    rule="#dfe4e9",
    paper="#ffffff",
    annotation="#b9560a",
    found="#0a67b0",
    start="#6f7a86",
    contrast="#7b4fa3",
)
MARKS = Marks()
GREY = "#8a939c"  # of lines and numbers in pictures, on light and on dark pages


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with our own settings whatever the user's matplotlibrc says; the user's settings are back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.size": FONT_SIZE,
                "svg.fonttype": "none",
                "svg.hashsalt": "semalign",
                "grid.color": f"{GREY}55",  # of the surfaces; charts choose their own
                "grid.linewidth": 0.6,
                "lines.solid_capstyle": "round",
                "lines.dash_capstyle": "round",
                "lines.solid_joinstyle": "round",
            }
        )
        yield
