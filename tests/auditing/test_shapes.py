"""Points that were seen badly are drawn towards where the others let them be, in whatever frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.auditing.shapes import Shapes, fit_shapes


def some(count: int, seed: int = 0) -> np.ndarray:
    """Shapes of eight points that two numbers make."""
    rng = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    base, first, second = (np.stack([np.cos(k * turn), np.sin(k * turn)], -1) for k in (1, 2, 3))
    scores = rng.normal(0, 0.2, (count, 2, 1, 1))
    shapes = base + scores[:, 0] * first + scores[:, 1] * second
    angle, size, place = rng.uniform(-1, 1, count), rng.uniform(20, 60, count), rng.uniform(80, 120, (count, 1, 2))
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return size[:, None, None] * shapes @ spin + place


@pytest.fixture(scope="module")
def known() -> Shapes:
    points = some(300)
    points[:15, 3] += 40.0  # seen badly
    return fit_shapes(points)


def test_a_point_far_off_comes_back_and_the_others_stay(known: Shapes) -> None:
    truth = some(40, seed=1)
    seen = truth.copy()
    seen[:, 5] += 15.0
    deviation = np.full(truth.shape[:2], 0.3)
    deviation[:, 5] = 20.0
    found = known.drawn(seen, deviation)
    off = np.linalg.norm(found - truth, axis=2)
    assert np.median(off[:, 5]) < 3.0 and np.median(np.delete(off, 5, axis=1)) < 0.7


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-500, 500))
def test_it_is_the_same_in_any_frame(known: Shapes, angle: float, size: float, place: float) -> None:
    seen = some(5, seed=2) + np.random.default_rng(3).normal(0, 2, (5, 8, 2))
    deviation = np.random.default_rng(4).uniform(0.5, 4, (5, 8))
    spin = size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = known.drawn(seen @ spin + place, size * deviation)
    np.testing.assert_allclose(moved, known.drawn(seen, deviation) @ spin + place, atol=1e-5 * size, rtol=1e-6)


def test_what_was_seen_exactly_stays(known: Shapes) -> None:
    seen = some(5, seed=5)
    np.testing.assert_allclose(known.drawn(seen, np.full((5, 8), 1e-6)), seen, atol=1e-3)


def test_few_shapes_are_enough_to_go_on() -> None:
    few = fit_shapes(some(6))
    assert np.isfinite(few.drawn(some(6), np.ones((6, 8)))).all()
