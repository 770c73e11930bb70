"""The scale of errors: it finds the one that errors were drawn from, and turns with the face."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.error_scale import ErrorScale, fit_error_scale, mahalanobis

LONG = np.array([[[4.0, 1.0], [1.0, 1.0]], [[0.25, 0.0], [0.0, 0.09]], [[1.0, -0.5], [-0.5, 2.0]]]) * 1e-3
USUAL = np.array([-6.0, -8.0, -5.0])


def drawn(scale: ErrorScale, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    doubt = rng.normal(USUAL, 0.8, (count, 3))
    roots = np.linalg.cholesky(scale(doubt))
    return (roots @ rng.normal(size=(count, 3, 2, 1)))[..., 0], doubt


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0, 1.7])
def test_it_finds_the_scale_that_errors_were_drawn_from(slope):
    truth = ErrorScale(LONG, USUAL, slope)
    errors, doubt = drawn(truth, 6000, 1)
    found = fit_error_scale(errors, doubt)
    assert found.slope == pytest.approx(slope, abs=0.03)
    assert np.allclose(found(USUAL[None]), truth(USUAL[None]), atol=1e-4)
    new, theirs = drawn(truth, 3000, 2)
    squares = mahalanobis(new, found(theirs))
    for share in (0.5, 0.9):
        assert (squares < -2 * math.log(1 - share)).mean() == pytest.approx(share, abs=0.02)


def test_it_is_more_probable_than_its_neighbours():
    errors, doubt = drawn(ErrorScale(LONG, USUAL, 0.7), 300, 3)
    errors = errors * np.random.default_rng(0).gamma(2, 0.5, (300, 3, 1))  # heavier tails than it takes them to have

    def cost(scale: ErrorScale) -> float:
        covariance = scale(doubt)
        return float((mahalanobis(errors, covariance) / 2 + np.log(np.linalg.det(covariance)) / 2).mean())

    found = fit_error_scale(errors, doubt)
    best = cost(found)
    for slope in (found.slope - 0.05, found.slope + 0.05):
        assert cost(ErrorScale(found.covariance, found.usual, slope)) > best
    for factor in (0.9, 1.1):
        assert cost(ErrorScale(factor * found.covariance, found.usual, found.slope)) > best


@settings(deadline=None, max_examples=30)
@given(st.floats(-math.pi, math.pi), st.floats(0.1, 100))
def test_deviations_are_those_of_turned_and_grown_errors(angle, size):
    scale = ErrorScale(LONG, USUAL, 0.5)
    linear = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    found = scale.deviations(USUAL[None], linear[None])[0]
    expected = [np.sqrt(np.diag(linear @ own @ linear.T)) for own in LONG]
    assert np.allclose(found, expected)


def test_it_needs_errors():
    with pytest.raises(ValueError, match="at least one face"):
        fit_error_scale(np.zeros((0, 3, 2)), np.zeros((0, 3)))
