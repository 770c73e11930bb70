"""Stated spreads against errors: the radius of 90 %, and who is found out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semalign.label_bench.uncertainty import honesty, radius

REGIONS = {"left": (0, 1), "right": (2, 3)}


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3, 0.7, 1.0])
def test_the_radius_holds_nine_tenths(ratio: float) -> None:
    draws = np.random.default_rng(0).normal(size=(400_000, 2)) * [2.0 * ratio, 2.0]
    found = radius(np.array([[2.0 * ratio, 2.0]]))[0]
    assert (np.linalg.norm(draws, axis=1) <= found).mean() == pytest.approx(0.9, abs=0.002)


def test_the_radius_of_a_round_spread_is_known() -> None:
    assert radius(np.array([[1.5, 1.5]]))[0] == pytest.approx(1.5 * math.sqrt(2 * math.log(10)), rel=1e-6)
    assert radius(np.array([[0.0, 1.0]]))[0] == pytest.approx(1.6449, rel=2e-3)


def test_an_honest_method_is_within_and_a_boaster_is_not() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 3.0, (2000, 4, 2))
    offset = rng.normal(size=spread.shape) * spread
    unit = np.full(2000, 50.0)
    honest, boaster = honesty(spread, offset, unit, REGIONS), honesty(spread / 2, offset, unit, REGIONS)
    assert honest["within_90"] == pytest.approx(0.9, abs=0.01)
    assert set(honest["within_90_by_region"]) == set(REGIONS) and boaster["within_90"] < 0.6
    assert len(honest["deciles"]) == 10
    for decile in honest["deciles"]:
        assert decile["real"] == pytest.approx(decile["stated"], rel=0.1)
    assert honest["deciles"][0]["stated"] < honest["deciles"][-1]["stated"]


def test_who_states_nothing_is_not_judged() -> None:
    nothing = np.zeros((3, 4, 2))
    assert honesty(nothing, nothing + 1.0, np.ones(3), REGIONS) is None
    assert honesty(nothing * np.nan, nothing, np.ones(3), REGIONS) is None
