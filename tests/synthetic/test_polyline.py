"""Splines and positions along polylines."""

from __future__ import annotations

import numpy as np
import pytest

from semalign.synthetic.polyline import arc_length, evenly, point_at, spline


def test_an_open_spline_passes_through_its_controls_and_has_straight_ends() -> None:
    controls = np.random.default_rng(0).normal(size=(5, 2))
    line = spline(controls, 41)
    np.testing.assert_allclose(line[::10], controls, atol=1e-12)
    bend = np.diff(line, 2, axis=0)
    assert np.abs(bend[0]).max() < 0.2 * np.abs(bend).max()


def test_a_closed_spline_passes_through_its_controls_and_is_smooth_where_it_closes() -> None:
    controls = np.random.default_rng(1).normal(size=(6, 3))
    line = spline(controls, 60, closed=True)
    np.testing.assert_allclose(line[::10], controls, atol=1e-12)
    ring = np.concatenate([line[-2:], line, line[:2]])
    bend = np.linalg.norm(np.diff(ring, 3, axis=0), axis=1)
    assert bend[:2].max() <= bend.max() and bend[-2:].max() <= bend.max()


def test_evenly_spaced_points_are_equally_far_apart_along_the_line() -> None:
    line = np.array([(0.0, 0.0), (3.0, 0.0), (3.0, 4.0), (10.0, 4.0)])
    points = evenly(line, 8)
    np.testing.assert_allclose(points, point_at(line, np.arange(8) * 2.0))
    np.testing.assert_allclose(points[[0, -1]], line[[0, -1]])


@pytest.mark.parametrize(
    ("position", "expected"),
    [(0.0, (0, 0)), (2.0, (2, 0)), (5.0, (3, 2)), (7.0, (3, 4)), (-1.5, (-1.5, 0)), (9.0, (3, 6))],
)
def test_a_position_beyond_the_ends_goes_on_straight(position: float, expected: tuple[float, float]) -> None:
    line = np.array([(0.0, 0.0), (3.0, 0.0), (3.0, 4.0)])
    np.testing.assert_allclose(point_at(line, np.array([position])), [expected])
    assert arc_length(line).tolist() == [0.0, 3.0, 7.0]
