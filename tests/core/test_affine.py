from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.affine import compose, invert, rescaling, square_crop, transform_points


def similarity(angle: float, scale: float, x: float, y: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[[c, -s, x], [s, c, y]]], dtype=dtype)


maps = st.builds(
    similarity, st.floats(-math.pi, math.pi), st.floats(0.2, 5.0), st.floats(-300, 300), st.floats(-300, 300)
)
points = st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), min_size=1, max_size=5).map(
    lambda pairs: torch.tensor([pairs], dtype=torch.float64)
)


def test_a_known_map() -> None:
    quarter_turn = torch.tensor([[[0.0, -1.0, 10.0], [1.0, 0.0, 20.0]]])
    moved = transform_points(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), quarter_turn)
    assert moved.tolist() == [[[6.0, 23.0], [10.0, 20.0]]]


@given(points, maps)
def test_there_and_back(points: torch.Tensor, source_to_target: torch.Tensor) -> None:
    back = transform_points(transform_points(points, source_to_target), invert(source_to_target))
    torch.testing.assert_close(back, points, atol=1e-9, rtol=0)


@given(points, maps, maps)
def test_composition_applies_the_first_map_first(
    points: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> None:
    expected = transform_points(transform_points(points, first), second)
    torch.testing.assert_close(transform_points(points, compose(second, first)), expected, atol=1e-9, rtol=0)


def test_maps_are_batched_and_one_map_serves_all() -> None:
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    cloud = torch.randn(3, 7, 2, generator=generator, dtype=torch.float64)
    one = many[:1]
    for row in range(3):
        each = transform_points(cloud[row : row + 1], many[row : row + 1])
        torch.testing.assert_close(transform_points(cloud, many)[row : row + 1], each)
        torch.testing.assert_close(compose(one, many)[row : row + 1], compose(one, many[row : row + 1]))
        torch.testing.assert_close(invert(many)[row : row + 1], invert(many[row : row + 1]))
    assert torch.equal(transform_points(cloud, one), transform_points(cloud, one.expand(3, 2, 3)))


@given(points, maps, maps)
def test_arrays_and_tensors_give_the_same(points: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> None:
    every = [value.numpy() for value in (points, first, second)]
    np.testing.assert_array_equal(transform_points(every[0], every[1]), transform_points(points, first).numpy())
    np.testing.assert_array_equal(compose(every[2], every[1]), compose(second, first).numpy())
    np.testing.assert_allclose(invert(every[1]), invert(first).numpy(), rtol=1e-12)
    centre, side = points[:, 0], first[:, 0, 0].abs() + 1
    np.testing.assert_array_equal(square_crop(centre.numpy(), side.numpy(), 64), square_crop(centre, side, 64).numpy())


def test_nan_points_stay_alone() -> None:
    cloud = torch.tensor([[[1.0, 2.0], [float("nan"), 2.0]]])
    moved = transform_points(cloud, similarity(0.3, 2.0, 1.0, 1.0, torch.float32))
    assert moved[0, 0].isfinite().all()
    assert moved[0, 1].isnan().all()


def test_a_singular_map_is_refused() -> None:
    with pytest.raises(torch.linalg.LinAlgError):
        invert(torch.zeros(1, 2, 3))


@pytest.mark.parametrize(("source", "target"), [(256, 64), (64, 256), (200, 130)])
def test_rescaling_maps_the_extent_onto_the_extent(source: int, target: int) -> None:
    corners = torch.tensor([[[-0.5, -0.5], [source - 0.5, source - 0.5]]], dtype=torch.float64)
    mapped = transform_points(corners, rescaling(source, target))
    expected = torch.tensor([[[-0.5, -0.5], [target - 0.5, target - 0.5]]], dtype=torch.float64)
    torch.testing.assert_close(mapped, expected)
    assert rescaling(source, target, batch=3).shape == (3, 2, 3)


def test_square_crop_maps_the_square_onto_the_crop() -> None:
    centre = torch.tensor([[50.0, 40.0], [10.25, -3.0]], dtype=torch.float64)
    side = torch.tensor([30.0, 100.0], dtype=torch.float64)
    image_to_crop = square_crop(centre, side, 64)
    square = torch.stack([centre - side[:, None] / 2, centre, centre + side[:, None] / 2], dim=1)
    expected = torch.tensor([[-0.5, -0.5], [31.5, 31.5], [63.5, 63.5]], dtype=torch.float64).expand(2, 3, 2)
    torch.testing.assert_close(transform_points(square, image_to_crop), expected)


def test_autocast_costs_no_precision() -> None:
    cloud = torch.full((1, 2, 2), 201.3)
    source_to_target = similarity(0.4, 1.3, 30.0, -7.0, torch.float32)
    expected = transform_points(cloud, compose(source_to_target, invert(source_to_target)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = transform_points(cloud, compose(source_to_target, invert(source_to_target)))
    assert torch.equal(lowered, expected)
    torch.testing.assert_close(expected, cloud, atol=1e-3, rtol=0)
