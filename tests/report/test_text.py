"""Numbers, changes and durations as text."""

from __future__ import annotations

import math

import pytest

from semalign.report.text import change, duration, number, plain, signed


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1.6976, 2, "1.70"),
        (-0.5, 1, "\N{MINUS SIGN}0.5"),
        (-0.001, 2, "0.00"),
        (3, 0, "3"),
        (None, 2, "\N{EN DASH}"),
        (math.nan, 2, "\N{EN DASH}"),
        (True, 2, "\N{EN DASH}"),
        ("7", 2, "\N{EN DASH}"),
    ],
)
def test_plain(value: object, digits: int, text: str) -> None:
    assert plain(value, digits) == text


def test_number_keeps_the_exact_value() -> None:
    assert number(1.69761, 2) == '<data value="1.69761">1.70</data>'
    assert number(12, 0) == '<data value="12">12</data>'
    assert number(None) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (2.0, 1.5, "\N{MINUS SIGN}25.0%"),
        (2.0, 2.5, "+25.0%"),
        (2.0, 2.0001, "±0.0%"),
        (0, 1.0, "\N{EN DASH}"),
        (None, 1.0, "\N{EN DASH}"),
    ],
)
def test_change_and_its_sign(before: float | None, after: float, text: str) -> None:
    assert signed(change(before, after)).replace("\N{NARROW NO-BREAK SPACE}", "") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (425, "7 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7980, "2 h 13 min"),
        (None, "\N{EN DASH}"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
