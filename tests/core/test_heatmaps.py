from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.heatmaps import (
    chi_square_loss,
    decode_heatmaps,
    foreground_weights,
    highest,
    peak_spread,
    render_gaussians,
    weighted_mse,
)

SIZE = 40
inside = st.tuples(st.floats(-0.5, SIZE - 0.5), st.floats(-0.5, SIZE - 0.5))
near_border = st.tuples(st.floats(-0.5, 3.0), st.floats(-0.5, SIZE - 0.5)).flatmap(
    lambda pair: st.sampled_from([pair, pair[::-1], (SIZE - 1 - pair[0], pair[1]), (pair[1], SIZE - 1 - pair[0])])
)
sigmas = st.floats(0.75, 3.0)


@given(inside, sigmas)
def test_a_rendered_gaussian_is_the_formula(spot: tuple[float, float], sigma: float) -> None:
    heatmap = render_gaussians(torch.tensor([[spot]], dtype=torch.float64), SIZE, sigma)[0, 0]
    row, column = 7, 21
    squared = (column - spot[0]) ** 2 + (row - spot[1]) ** 2
    assert float(heatmap[row, column]) == pytest.approx(math.exp(-squared / (2 * sigma**2)))


def test_the_peak_is_one_and_sits_at_x_column_y_row() -> None:
    heatmap = render_gaussians(torch.tensor([[[5.0, 12.0]]]), 20, 1.5)[0, 0]
    assert heatmap[12, 5] == 1.0
    assert int(heatmap.argmax()) == 12 * 20 + 5


def test_absent_points_give_empty_maps_and_distant_ones_tails() -> None:
    nan = float("nan")
    points = torch.tensor([[[5.0, 5.0], [nan, 5.0], [5.0, nan], [-2.0, 10.0], [500.0, 500.0]]])
    maps = render_gaussians(points, 20, 2.0)[0]
    assert maps.isfinite().all()
    assert float(maps[0].max()) == 1.0
    assert float(maps[1:3].abs().max()) == 0.0
    assert float(maps[3].max()) == pytest.approx(math.exp(-0.5))
    assert float(maps[4].max()) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(spot=st.one_of(inside, near_border), sigma=sigmas)
def test_decoding_finds_a_rendered_gaussian(dtype: torch.dtype, spot: tuple[float, float], sigma: float) -> None:
    point = torch.tensor([[spot]], dtype=dtype)
    decoded = decode_heatmaps(render_gaussians(point, SIZE, sigma), sigma)
    assert decoded.points.dtype == dtype
    assert float((decoded.points - point).norm()) < 0.02
    lowest = math.exp(-0.25 / sigma**2)  # of a peak between four pixels
    assert lowest - 1e-5 <= float(decoded.confidence) <= 1.0


@given(st.tuples(st.floats(8, SIZE - 9), st.floats(8, SIZE - 9)), st.floats(1.0, 2.0), st.floats(0.7, 1.8))
def test_decoding_finds_wider_and_narrower_peaks(spot: tuple[float, float], sigma: float, ratio: float) -> None:
    point = torch.tensor([[spot]], dtype=torch.float64)
    found = decode_heatmaps(render_gaussians(point, SIZE, sigma * ratio), sigma).points
    assert float((found - point).norm()) < 0.03


def test_decoding_is_batched() -> None:
    points = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * (SIZE - 1)
    maps = render_gaussians(points, SIZE, 1.5)[..., :30, :]  # not square
    points = torch.where(points[..., 1:] < 29, points, torch.nan)
    together = decode_heatmaps(maps, 1.5)
    for image in range(3):
        for landmark in range(5):
            alone = decode_heatmaps(maps[image : image + 1, landmark : landmark + 1], 1.5)
            torch.testing.assert_close(together.points[image, landmark], alone.points[0, 0])
            torch.testing.assert_close(together.confidence[image, landmark], alone.confidence[0, 0])
    present = points.isfinite().all(dim=-1)
    assert int(present.sum()) >= 10
    torch.testing.assert_close(together.points[present], points[present], atol=0.02, rtol=0)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_first_of_the_highest_pixels_counts_however_maps_lie_in_memory(memory: torch.memory_format) -> None:
    maps = torch.randint(-1, 3, (6, 5, 9, 7), generator=torch.Generator().manual_seed(0)).float()
    maps[0, 0], maps[1, 1, 3, 2] = 0.0, torch.nan
    at, values = maps.flatten(2).nan_to_num(torch.inf).argmax(-1), maps.flatten(2).amax(-1)
    first, found = highest(maps.contiguous(memory_format=memory))[::-1]
    assert torch.equal(found.nan_to_num(-1), values.nan_to_num(-1))
    assert torch.equal(first, torch.stack([at % 7, at // 7], -1))


def test_noise_is_averaged() -> None:
    """The error under noise is well below that of the parabola through a row's highest pixel and its two neighbours."""
    generator = torch.Generator().manual_seed(0)
    points = 10 + 20 * torch.rand(50, 8, 2, generator=generator, dtype=torch.float64)
    maps = render_gaussians(points, SIZE, 2.0)
    maps += 0.05 * torch.randn(maps.shape, generator=generator, dtype=torch.float64)
    found = (decode_heatmaps(maps, 2.0).points[..., 0] - points[..., 0]).abs().mean()
    flat = maps.flatten(2).argmax(dim=2)
    values = maps.flatten(2)
    around = torch.stack([values.gather(2, flat[..., None] + step)[..., 0] for step in (-1, 0, 1)], dim=-1)
    shift = (around[..., 0] - around[..., 2]) / (2 * (around[..., 0] - 2 * around[..., 1] + around[..., 2]))
    parabola = (flat % SIZE + shift - points[..., 0]).abs().mean()
    assert float(found) < 0.05
    assert float(found) < 0.3 * float(parabola)


def test_an_empty_map_has_no_confidence_and_a_nan_map_no_point() -> None:
    maps = torch.zeros(1, 3, 12, 12)
    maps[0, 1] = -1.0
    maps[0, 2, 3, 4] = float("nan")
    decoded = decode_heatmaps(maps, 1.0)
    assert decoded.confidence[0, :2].tolist() == [0.0, 0.0]
    assert decoded.points[0, :2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert decoded.points[0, 2].isnan().all()
    assert decoded.confidence[0, 2].isnan()


def test_points_stay_in_the_map_and_confidence_in_its_range() -> None:
    maps = 1.5 * render_gaussians(torch.tensor([[[-4.0, 6.0], [25.0, 25.0]]]), 20, 2.0)
    decoded = decode_heatmaps(maps, 2.0)
    assert float(decoded.points.min()) >= -0.5
    assert float(decoded.points.max()) <= 19.5
    saturated = decode_heatmaps(1.5 * render_gaussians(torch.tensor([[[7.3, 6.2]]]), 20, 2.0), 2.0)
    assert float(saturated.confidence) == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_maps_are_decoded_in_float32(dtype: torch.dtype) -> None:
    point = torch.tensor([[[13.3, 21.8]]])
    decoded = decode_heatmaps(render_gaussians(point, SIZE, 1.5).to(dtype), 1.5)
    assert decoded.points.dtype == torch.float32
    torch.testing.assert_close(decoded.points, point, atol=0.02, rtol=0)


def test_autocast_costs_no_precision() -> None:
    heatmap = render_gaussians(torch.tensor([[[13.3, 21.8]]]), SIZE, 1.5)
    expected = decode_heatmaps(heatmap, 1.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decode_heatmaps(heatmap, 1.5).points, expected.points)


def test_weighted_mse_and_its_gradient_are_those_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 5, 6, generator=generator, dtype=torch.float64)
    predicted = torch.rand(2, 3, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
    plain = ((predicted - target).square() * (1 + 7 * target)).mean()
    (expected,) = torch.autograd.grad(plain, predicted)
    loss = weighted_mse(predicted, target, foreground_weights(target, 7.0))
    (gradient,) = torch.autograd.grad(3 * loss, predicted)
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(gradient, 3 * expected)


def test_chi_square_loss_floors_the_background() -> None:
    target = torch.tensor([[[[1.0, 0.5, 0.0]]]], dtype=torch.float64)
    predicted = torch.tensor([[[[0.8, 0.6, 0.1]]]], dtype=torch.float64)
    assert float(chi_square_loss(predicted, target, floor=0.01)) == pytest.approx((0.04 + 0.01 / 0.5 + 0.01 / 0.01) / 3)


@given(
    spot=st.tuples(st.floats(12, SIZE - 13), st.floats(12, SIZE - 13)),
    sigma=st.floats(1.0, 2.0),
    widths=st.tuples(st.floats(0.7, 2.0), st.floats(0.7, 2.0)),
)
def test_the_spread_is_that_of_the_gaussian_seen(
    spot: tuple[float, float], sigma: float, widths: tuple[float, float]
) -> None:
    """Along x and along y on their own, narrower and wider than what the network was trained on."""
    x, y = (torch.arange(SIZE, dtype=torch.float64) - place for place in spot)
    sx, sy = (sigma * width for width in widths)
    maps = 0.6 * torch.exp(-(y**2) / (2 * sy**2))[:, None] * torch.exp(-(x**2) / (2 * sx**2))
    found = peak_spread(maps[None, None], torch.tensor([[spot]], dtype=torch.float64), sigma)[0, 0]
    torch.testing.assert_close(found, torch.tensor([sx, sy], dtype=torch.float64), rtol=0.05, atol=0)


def test_the_spread_of_a_flat_or_an_empty_map_is_the_widest() -> None:
    points = torch.tensor([[[10.0, 10.0], [10.0, 10.0]]])
    maps = torch.stack([torch.ones(20, 20), torch.zeros(20, 20)])[None]
    torch.testing.assert_close(peak_spread(maps, points, 1.5), torch.full((1, 2, 2), 4 * 1.5))


def test_the_border_does_not_change_the_spread_much() -> None:
    points = torch.tensor([[[0.4, 12.0], [19.5, 19.5]]])
    found = peak_spread(render_gaussians(points, 20, 1.5), points, 1.5)
    torch.testing.assert_close(found, torch.full((1, 2, 2), 1.5), rtol=0.2, atol=0)
