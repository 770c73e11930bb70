"""The Wing loss against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.wing import wing_loss

errors = st.floats(-1000, 1000)
lengths = st.floats(0.1, 100)


def of(*errors: float, width: float = 10.0, curvature: float = 2.0) -> float:
    """The loss of points that are off by the given errors, in pairs."""
    predicted = torch.tensor(errors, dtype=torch.float64).view(1, -1, 2)
    return float(wing_loss(predicted, torch.zeros_like(predicted), width, curvature))


def definition(x: float, w: float, epsilon: float) -> float:
    if abs(x) < w:
        return w * math.log(1 + abs(x) / epsilon)
    return abs(x) - (w - w * math.log(1 + w / epsilon))


@given(st.lists(st.tuples(errors, errors), min_size=1, max_size=4), lengths, lengths)
def test_it_is_the_mean_of_its_definition(pairs: list[tuple[float, float]], width: float, curvature: float) -> None:
    flat = [x for pair in pairs for x in pair]
    expected = sum(definition(x, width, curvature) for x in flat) / len(flat)
    assert of(*flat, width=width, curvature=curvature) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(lengths, lengths)
def test_it_is_continuous_where_its_two_parts_meet(width: float, curvature: float) -> None:
    below, at = (of(x, x, width=width, curvature=curvature) for x in (width * (1 - 1e-9), width))
    assert below == pytest.approx(at, rel=1e-6)


@given(errors, errors, lengths, lengths, st.floats(0.05, 20))
def test_a_change_of_resolution_scales_it(x: float, y: float, width: float, curvature: float, scale: float) -> None:
    scaled = of(x * scale, y * scale, width=width * scale, curvature=curvature * scale)
    assert scaled == pytest.approx(scale * of(x, y, width=width, curvature=curvature), rel=1e-9, abs=1e-9)


def test_its_slope_is_w_over_epsilon_plus_error_and_then_1() -> None:
    predicted = torch.tensor([[[0.5, -4.0], [30.0, -10.5]]], dtype=torch.float64, requires_grad=True)
    wing_loss(predicted, torch.zeros(1, 2, 2, dtype=torch.float64), 10.0, 2.0).backward()
    assert predicted.grad is not None
    expected = torch.tensor([[[10 / 2.5, -10 / 6.0], [1.0, -1.0]]], dtype=torch.float64)
    torch.testing.assert_close(predicted.grad * 4, expected)


def test_absent_points_do_not_count_and_give_no_gradient() -> None:
    nan = float("nan")
    predicted = torch.tensor([[[1.0, 2.0], [50.0, 60.0]]], requires_grad=True)
    loss = wing_loss(predicted, torch.tensor([[[0.0, 0.0], [nan, nan]]]), 10.0, 2.0)
    assert float(loss.detach()) == pytest.approx(of(1.0, 2.0))
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad[0, 0].abs().min() > 0 and not predicted.grad[0, 1].any()
    assert float(wing_loss(predicted.detach(), torch.full((1, 2, 2), nan), 10.0, 2.0)) == 0.0
