"""Figures as text: one way of writing numbers, changes and durations for the whole page."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def plain(value: Any, digits: int = 2) -> str:
    """A number with fixed decimals and a true minus sign; a dash for what is no number."""
    if not is_number(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def number(value: Any, digits: int = 2) -> Markup:
    """The same as HTML that keeps the exact value: `<data value="1.6976">1.70</data>`."""
    if not is_number(value):
        return Markup(DASH)
    exact = int(value) if isinstance(value, int) else float(value)
    return Markup('<data value="{}">{}</data>').format(repr(exact), plain(value, digits))


def change(before: Any, after: Any) -> float | None:
    """Relative change in %, negative where `after` is smaller; None where there is none to tell."""
    if not (is_number(before) and is_number(after)) or before == 0:
        return None
    return 100.0 * (after / before - 1.0)


def signed(value: float | None, digits: int = 1, unit: str = "\N{NARROW NO-BREAK SPACE}%") -> str:
    """A change with its sign: '−26.4 %', '+0.8 %', '±0.0 %'."""
    if value is None or not math.isfinite(value):
        return DASH
    text = plain(value, digits)
    if float(f"{value:.{digits}f}") == 0:
        return f"±{text}{unit}"
    return f"{'' if text.startswith(MINUS) else '+'}{text}{unit}"


def duration(seconds: Any) -> str:
    """Seconds for people: '0.8 s', '42 s', '7 min 05 s', '2 h 13 min'."""
    if not is_number(seconds):
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def spaced(name: str) -> Markup:
    """A dotted or underscored name, escaped, that may break at its joints on a narrow screen."""
    return Markup(str(escape(name)).replace("_", "_<wbr>").replace("/", "/<wbr>"))


def is_number(value: Any) -> bool:
    """True for a finite int or float (a truth value is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
