"""Prior, likelihood and search against their definitions."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.heatmaps import render_gaussians
from semalign.core.likelihood import chi_square, chi_square_loop, chi_square_unfold, template_sum
from semalign.core.search import EVIDENCE, SearchSettings, scaled_radius, search_labels

PAPER = SearchSettings(precision="integer")


def brute_force(heatmap: torch.Tensor, o: torch.Tensor, sigma: float, settings: SearchSettings) -> torch.Tensor:
    """Eq. 8 over whole pixels, with the loop form."""
    reach = scaled_radius(settings.region, heatmap.shape[0])
    radius = scaled_radius(settings.template, heatmap.shape[0])
    centre = o.round().long().tolist()
    chi = chi_square_loop(heatmap, (centre[0], centre[1]), reach, radius, sigma)
    empty = float(template_sum(radius, sigma, heatmap))
    candidates = [
        (torch.tensor([centre[0] + j - reach, centre[1] + i - reach], dtype=o.dtype), float(chi[i, j]))
        for i in range(2 * reach + 1)
        for j in range(2 * reach + 1)
    ]
    label, _ = min(candidates, key=lambda c: float((o - c[0]).square().sum() + settings.likelihood_weight * c[1]))
    move = label - o.round()
    ahead = [chi for y, chi in candidates if float((y - label) @ move) >= 0] + [dict_of(candidates, label)]
    return label if min(ahead) < EVIDENCE * empty else o


def dict_of(candidates: list[tuple[torch.Tensor, float]], label: torch.Tensor) -> float:
    return next(chi for y, chi in candidates if torch.equal(y, label))


@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(9, 24), st.integers(9, 24)),
    reach=st.integers(0, 4),
    radius=st.integers(0, 4),
    sigma=st.floats(0.7, 3.0),
)
def test_separable_and_unfold_equal_the_loop(seed, size, reach, radius, sigma):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(5, *size, generator=generator, dtype=torch.float64) * 1.2 - 0.1
    high = torch.tensor([size[1] + 6, size[0] + 6])
    centres = (torch.rand(5, 2, generator=generator) * high).long() - 3  # some beyond the border
    expected = torch.stack(
        [chi_square_loop(m, (int(c[0]), int(c[1])), reach, radius, sigma) for m, c in zip(maps, centres, strict=True)]
    )
    scale = expected.abs().amax()
    for form in (chi_square, chi_square_unfold):
        assert torch.allclose(form(maps, centres, reach, radius, sigma), expected, atol=float(scale) * 1e-12)


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 2.0])
def test_chi_square_of_a_shifted_gaussian_is_the_closed_form(distance):
    sigma = 2.0
    maps = render_gaussians(torch.tensor([[[40.0 + distance, 40.0]]], dtype=torch.float64), 81, sigma)[0]
    value = chi_square(maps, torch.tensor([[40, 40]]), 0, 20, sigma)[0, 0, 0]
    assert float(value) == pytest.approx(2 * math.pi * sigma**2 * math.expm1(distance**2 / sigma**2), abs=1e-6)


def test_template_of_one_pixel_uses_the_heatmap_value():
    maps = torch.rand(3, 16, 16, dtype=torch.float64)
    centres = torch.tensor([[5, 6], [0, 0], [15, 9]])
    value = chi_square(maps, centres, 0, 0, 3.0)[:, 0, 0]
    assert torch.allclose(value, (1 - maps[torch.arange(3), centres[:, 1], centres[:, 0]]).square())


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), weight=st.sampled_from([0.01, 0.1, 1.0, 10.0]))
def test_integer_search_is_the_brute_force_minimum(seed, weight):
    generator = torch.Generator().manual_seed(seed)
    chosen = SearchSettings(likelihood_weight=weight, region=65, template=65, precision="integer")  # 4 px each way
    peaks = torch.rand(1, 3, 2, generator=generator, dtype=torch.float64) * 31
    maps = render_gaussians(peaks, 32, 1.7) * 0.9 + 0.02 * torch.rand(
        1, 3, 32, 32, generator=generator, dtype=torch.float64
    )
    o = peaks + torch.randn(1, 3, 2, generator=generator, dtype=torch.float64) * 2
    found = search_labels(maps, o, 1.7, chosen)
    for index in range(3):
        assert torch.equal(found.points[0, index], brute_force(maps[0, index], o[0, index], 1.7, chosen))


def continuous_minimum(o: torch.Tensor, peak: torch.Tensor, sigma: float, weight: float) -> torch.Tensor:
    """The exact label for a clean Gaussian: it lies between observation and peak (untruncated closed form, dense grid)."""
    share = torch.linspace(0, 1, 20001, dtype=torch.float64)  # of the way from the peak to the observation
    d2 = float((o - peak).square().sum())
    cost = d2 * (1 - share) ** 2 + weight * 2 * math.pi * sigma**2 * torch.expm1(share**2 * d2 / sigma**2)
    return peak + share[int(cost.argmin())] * (o - peak)


@given(
    x=st.floats(120, 136),
    y=st.floats(120, 136),
    angle=st.floats(0, 6.28),
    distance=st.floats(0, 4),
    weight=st.sampled_from([0.05, 0.1, 0.5, 5.0]),
)
def test_subpixel_search_finds_the_continuous_minimum(x, y, angle, distance, weight):
    peak = torch.tensor([x, y], dtype=torch.float64)
    o = peak + distance * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    maps = render_gaussians(peak.view(1, 1, 2), 256, 3.0)
    found = search_labels(maps, o.view(1, 1, 2), 3.0, SearchSettings(likelihood_weight=weight)).points[0, 0]
    expected = continuous_minimum(o, peak, 3.0, weight)
    assert float((found - expected).norm()) < 0.25  # the template is cut at 3 sigma, the closed form is not
    whole = search_labels(maps, o.view(1, 1, 2), 3.0, replace(PAPER, likelihood_weight=weight)).points[0, 0]
    assert float((found - expected).norm()) <= float((whole - expected).norm()) + 0.1


def test_integer_search_cannot_correct_one_pixel_and_subpixel_search_can():
    peak = torch.tensor([[[128.0, 128.0]]])
    maps, o = render_gaussians(peak, 256, 3.0), torch.tensor([[[129.0, 128.0]]])
    assert torch.equal(search_labels(maps, o, 3.0, PAPER).points, o)
    found = search_labels(maps, o, 3.0, SearchSettings()).points[0, 0]
    assert 128.3 < float(found[0]) < 128.9 and float(found[1]) == pytest.approx(128.0, abs=1e-3)


@pytest.mark.parametrize(("distance", "moved"), [(2, 1), (4, 2), (8, 5)])
def test_integer_moves_are_those_of_the_spec(distance, moved):
    maps = render_gaussians(torch.tensor([[[128.0 + distance, 128.0]]]), 256, 3.0)
    found = search_labels(maps, torch.tensor([[[128.0, 128.0]]]), 3.0, PAPER)
    assert found.points[0, 0].tolist() == [128.0 + moved, 128.0]


def test_a_distant_peak_never_pushes_the_label_the_wrong_way():
    maps = render_gaussians(torch.tensor([[[136.0, 128.0]]]), 256, 7 / 3)
    o = torch.tensor([[[128.0, 128.0]]])
    settings = SearchSettings(template=15, likelihood_weight=0.1)
    unguarded = search_labels(maps, o, 7 / 3, replace(settings, guard=False))
    assert float(unguarded.points[0, 0, 0]) < 128  # the trap is real
    found = search_labels(maps, o, 7 / 3, settings)
    assert torch.equal(found.points, o) and not found.moved.any()


def test_empty_heatmaps_and_unusable_observations_keep_the_label():
    o = torch.tensor([[[30.25, 31.75], [float("nan"), 3.0], [-500.0, 9000.0]]])
    found = search_labels(torch.zeros(1, 3, 64, 64), o, 0.75, SearchSettings())
    assert torch.equal(found.points.nan_to_num(-1), o.nan_to_num(-1)) and not found.moved.any()


def test_weight_zero_keeps_the_annotations():
    peaks = torch.rand(2, 5, 2) * 100 + 70
    o = peaks + 3
    found = search_labels(render_gaussians(peaks, 256, 3.0), o, 3.0, SearchSettings(likelihood_weight=0.0))
    assert torch.equal(found.points, o)


def test_labels_stay_in_the_region():
    generator = torch.Generator().manual_seed(5)
    maps = torch.rand(4, 20, 64, 64, generator=generator)
    o = torch.rand(4, 20, 2, generator=generator) * 60 + 2
    for precision in ("integer", "subpixel"):
        settings = SearchSettings(likelihood_weight=100.0, precision=precision, guard=False)
        found = search_labels(maps, o, 0.75, settings)
        assert float((found.points - o.round()).abs().max()) <= scaled_radius(17, 64)


def test_reported_costs_are_those_of_the_label():
    peaks = torch.tensor([[[100.0, 90.0]]], dtype=torch.float64)
    o = peaks + torch.tensor([3.0, -1.0], dtype=torch.float64)
    found = search_labels(render_gaussians(peaks, 256, 3.0), o, 3.0, PAPER)
    centre = found.points.long()[0]
    chi = chi_square(render_gaussians(peaks, 256, 3.0)[0], centre, 0, 9, 3.0)
    assert float(found.chi_square) == pytest.approx(float(chi), rel=1e-9)
    assert float(found.prior) == pytest.approx(float((found.points - o).square().sum()))


def test_half_precision_heatmaps_are_searched_in_float32():
    peaks = torch.rand(2, 3, 2) * 100 + 70
    maps, o = render_gaussians(peaks, 256, 3.0), peaks + 2
    with torch.autocast("cpu", torch.bfloat16):
        found = search_labels(maps.bfloat16(), o, 3.0, SearchSettings())
    exact = search_labels(maps.bfloat16().float(), o, 3.0, SearchSettings())
    assert found.points.dtype == torch.float32 and torch.equal(found.points, exact.points)


def test_a_steep_template_warns():
    with pytest.warns(UserWarning, match="smaller template"):
        search_labels(torch.zeros(1, 1, 256, 256), torch.full((1, 1, 2), 128.0), 2.0, SearchSettings(template=19))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search_labels(torch.zeros(1, 1, 256, 256), torch.full((1, 1, 2), 128.0), 3.0, SearchSettings(template=19))


@pytest.mark.parametrize(
    ("side", "heatmap", "radius"), [(17, 256, 8), (19, 256, 9), (17, 64, 2), (1, 256, 0), (25, 128, 6)]
)
def test_sizes_scale_with_the_heatmap(side, heatmap, radius):
    assert scaled_radius(side, heatmap) == radius


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="likelihood_weight"):
        SearchSettings(likelihood_weight=-1.0)
    with pytest.raises(ValueError, match="region"):
        SearchSettings(region=0)
