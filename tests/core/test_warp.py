from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.core.warp import warp

SIZE = 48
CENTRE = (SIZE - 1) / 2


def about_centre(angle: float, scale: float, x: float, y: float, mirrored: bool) -> torch.Tensor:
    """Turned, scaled and perhaps mirrored about the centre, then shifted, (1, 2, 3) float64."""
    c, s, sign = (scale * math.cos(angle), scale * math.sin(angle), -1.0 if mirrored else 1.0)
    linear = torch.tensor([[sign * c, -s], [sign * s, c]], dtype=torch.float64)
    offset = CENTRE + torch.tensor([x, y], dtype=torch.float64) - linear @ torch.full((2,), CENTRE, dtype=torch.float64)
    return torch.cat([linear, offset[:, None]], dim=1)[None]


maps = st.builds(
    about_centre, st.floats(-math.pi, math.pi), st.floats(0.7, 1.5), st.floats(-4, 4), st.floats(-4, 4), st.booleans()
)
spots = st.tuples(st.floats(CENTRE - 9, CENTRE + 9), st.floats(CENTRE - 9, CENTRE + 9)).map(
    lambda pair: torch.tensor([[pair]], dtype=torch.float64)
)


@given(spots, maps)
def test_a_drawn_blob_is_found_where_its_point_goes(spot: torch.Tensor, source_to_target: torch.Tensor) -> None:
    image = render_gaussians(spot, SIZE, sigma=2.5)
    expected = transform_points(spot, source_to_target)
    scale = float(source_to_target[0, :, :2].det().abs().sqrt())
    found = decode_heatmaps(warp(image, source_to_target, SIZE), sigma=2.5 * scale, iterations=8).points
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@given(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1), st.sampled_from([0, 1, 2, 3]), st.booleans())
def test_a_dot_on_a_pixel_moves_whole_under_quarter_turns(x: int, y: int, turns: int, mirrored: bool) -> None:
    image = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.float64)
    image[0, 0, y, x] = 1.0
    source_to_target = about_centre(turns * math.pi / 2, 1.0, 0.0, 0.0, mirrored)
    target_x, target_y = transform_points(torch.tensor([[[x, y]]], dtype=torch.float64), source_to_target)[0, 0]
    expected = torch.zeros_like(image)
    expected[0, 0, round(float(target_y)), round(float(target_x))] = 1.0
    torch.testing.assert_close(warp(image, source_to_target, SIZE), expected, atol=1e-9, rtol=0)


@given(maps)
def test_there_and_back_gives_the_image(source_to_target: torch.Tensor) -> None:
    spot = torch.full((1, 1, 2), CENTRE, dtype=torch.float64)
    image = render_gaussians(spot, SIZE, sigma=6.0)
    back = warp(warp(image, source_to_target, SIZE), invert(source_to_target), SIZE)
    inner = slice(SIZE // 2 - 8, SIZE // 2 + 8)
    torch.testing.assert_close(back[..., inner, inner], image[..., inner, inner], atol=0.02, rtol=0)


def test_the_identity_keeps_every_pixel() -> None:
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(image, rescaling(16, 16, batch=2), 16), image, atol=1e-5, rtol=0)


def test_it_is_bilinear_and_zero_outside() -> None:
    image = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]], dtype=torch.float64)
    half_left_up = torch.tensor([[[1.0, 0.0, -0.5], [0.0, 1.0, -0.5]]], dtype=torch.float64)
    expected = torch.tensor([[[[4.0, 2.5, 0.0], [3.0, 1.75, 0.0], [0.0, 0.0, 0.0]]]], dtype=torch.float64)
    torch.testing.assert_close(warp(image, half_left_up, 3), expected)


def test_images_need_not_be_square_and_each_has_its_map() -> None:
    spots = torch.tensor([[[9.0, 30.0]], [[14.3, 11.2]]], dtype=torch.float64)
    images = render_gaussians(spots, 40, sigma=2.0)[..., :24]  # 24 wide, 40 high
    each = torch.cat([about_centre(0.3, 1.1, 2.0, -3.0, False), about_centre(-1.2, 0.9, 6.0, 9.0, True)])
    warped = warp(images, each, SIZE)
    for row in range(2):
        torch.testing.assert_close(warped[row : row + 1], warp(images[row : row + 1], each[row : row + 1], SIZE))
    found = decode_heatmaps(warped, sigma=2.0, iterations=8).points
    torch.testing.assert_close(found, transform_points(spots, each), atol=0.03, rtol=0)
    shared = warp(images, each[:1], SIZE)
    torch.testing.assert_close(shared[0], warped[0])
    torch.testing.assert_close(shared[1:], warp(images[1:], each[:1], SIZE))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_coordinates_are_exact_whatever_the_image_type(dtype: torch.dtype) -> None:
    size = 256
    pixel = torch.zeros(1, 1, size, size, dtype=dtype)
    pixel[0, 0, 201, 187] = 1
    shift = torch.tensor([[[1.0, 0.0, 32.25], [0.0, 1.0, -20.75]]])
    warped = warp(pixel, shift, size)
    assert warped.dtype == torch.float32
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    mass = warped.sum()
    centroid = [float((warped[0, 0] * grid).sum() / mass) for grid in (columns, rows)]
    assert centroid == pytest.approx([219.25, 180.25], abs=1e-3)
    assert float(mass) == pytest.approx(1.0, abs=1e-4)


def test_autocast_costs_no_precision() -> None:
    image = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    source_to_target = compose(rescaling(256, 128), torch.tensor([[[0.9, 0.2, 3.0], [-0.2, 0.9, 5.0]]]).double())
    expected = warp(image, source_to_target, 128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(warp(image, source_to_target, 128), expected)
