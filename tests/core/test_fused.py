"""The fused search against the one in whole tensors, and against the definition."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semalign.core import fused
from semalign.core.heatmaps import render_gaussians
from semalign.core.likelihood import chi_square, chi_square_loop, template_sum
from semalign.core.search import Found, SearchSettings, scaled_radius, search_labels, search_labels_torch

needs_numba = pytest.mark.skipif(not fused.AVAILABLE, reason="numba (the extra `fast`) is not installed")

SETTINGS = st.builds(
    SearchSettings,
    likelihood_weight=st.sampled_from([0.0, 0.01, 0.1, 1.0, 10.0]),
    region=st.integers(1, 21),
    template=st.integers(1, 25),
    precision=st.sampled_from(["integer", "subpixel"]),
    guard=st.booleans(),
)


def faces(seed: int, height: int, width: int, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images with six landmarks: peaks with noise, negative values too, some of noise alone; and observations."""
    generator = torch.Generator().manual_seed(seed)
    peaks = torch.rand(2, 6, 2, generator=generator) * torch.tensor([width - 1.0, height - 1.0])
    maps = render_gaussians(peaks, max(height, width), sigma)[..., :height, :width]
    maps = maps * torch.rand(2, 6, 1, 1, generator=generator).mul(1.5).round().clamp(max=1.0)
    maps = maps + 0.02 * torch.randn(maps.shape, generator=generator)
    return maps.contiguous(), peaks + 3 * torch.randn(peaks.shape, generator=generator)


def scaled(settings: SearchSettings, height: int, width: int) -> SearchSettings:
    """The settings whose sizes are so many pixels of this heatmap, not of one of 256×256."""
    stretch = 256 / max(height, width)
    region, template = (2 * round((side // 2) * stretch) + 1 for side in (settings.region, settings.template))
    return SearchSettings(settings.likelihood_weight, region, template, settings.precision, settings.guard)


def tie(maps: torch.Tensor, o: torch.Tensor, sigma: float, settings: SearchSettings) -> torch.Tensor:
    """Where float32 cannot tell: two costs, or a χ² and the guard's threshold, are as good as equal in float64."""
    b, n, h, w = maps.shape
    reach, radius = scaled_radius(settings.region, max(h, w)), scaled_radius(settings.template, max(h, w))
    start = o.nan_to_num(-1e6).clamp(-1e6, 1e6).round().long().view(-1, 2)
    chi = chi_square(maps.double().view(-1, h, w), start, reach, radius, sigma)
    steps = torch.arange(-reach, reach + 1).double()
    offset = start.double() - o.double().nan_to_num(-1e6).view(-1, 2)
    prior = (steps + offset[:, 1:]).square()[:, :, None] + (steps + offset[:, :1]).square()[:, None]
    cost = (prior + settings.likelihood_weight * chi).flatten(1).sort(1).values
    empty = float(template_sum(radius, sigma, chi))
    size = cost[:, 0].abs() + settings.likelihood_weight * empty
    close = cost[:, 1] - cost[:, 0] < 1e-5 * size if reach else torch.zeros(b * n, dtype=torch.bool)
    return (close | ((chi / empty - 0.95).abs().flatten(1).amin(1) < 1e-5)).view(b, n)


def assert_same(found: Found, expected: Found, sure: torch.Tensor, empty: float) -> None:
    """Points to a thousandth of a pixel, χ² to a ten-thousandth (of ΣE where it is less than that), the same moves."""
    assert found.points.dtype == found.chi_square.dtype == torch.float32
    assert torch.allclose(found.points[sure], expected.points[sure], atol=1e-3, rtol=1e-6, equal_nan=True)
    assert torch.allclose(found.chi_square[sure], expected.chi_square[sure], rtol=1e-4, atol=1e-4 * empty)
    assert torch.allclose(found.prior[sure], expected.prior[sure], rtol=1e-3, atol=1e-3)
    # A label that a refinement brings back to its observation has moved by a rounding error, or not at all.
    sure = sure & ~((expected.prior < 1e-6) & (found.prior < 1e-6))
    assert torch.equal(found.moved[sure], expected.moved[sure])


@needs_numba
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(3, 48),
    width=st.integers(3, 48),
    share=st.floats(2.0, 3.5),
    settings=SETTINGS,
)
def test_fused_and_whole_tensors_find_the_same(seed, height, width, share, settings):
    sigma = max(settings.template // 2 / share, 0.7)
    maps, o = faces(seed, height, width, sigma)
    chosen = scaled(settings, height, width)
    if scaled_radius(chosen.template, max(height, width)) / sigma > 3.2:
        with pytest.warns(UserWarning, match="smaller template"):
            found = search_labels(maps, o, sigma, chosen)
        with pytest.warns(UserWarning, match="smaller template"):
            expected = search_labels_torch(maps, o, sigma, chosen)
    else:
        found, expected = search_labels(maps, o, sigma, chosen), search_labels_torch(maps, o, sigma, chosen)
    sure = ~tie(maps, o, sigma, chosen)
    assert sure.sum() >= 6
    assert_same(found, expected, sure, float(template_sum(settings.template // 2, sigma, maps)))


@needs_numba
@pytest.mark.parametrize("precision", ["integer", "subpixel"])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (120, 256)])
def test_fused_and_whole_tensors_find_the_same_at_full_size(precision, height, width):
    maps, o = faces(3, height, width, 3.0)
    chosen = SearchSettings(precision=precision)
    found, expected = search_labels(maps, o, 3.0, chosen), search_labels_torch(maps, o, 3.0, chosen)
    sure = ~tie(maps, o, 3.0, chosen)
    assert sure.sum() >= 10 and expected.moved.any() and not expected.moved.all()
    assert_same(found, expected, sure, float(template_sum(9, 3.0, maps)))


@needs_numba
@given(
    seed=st.integers(0, 2**31),
    x=st.integers(-12, 36),
    y=st.integers(-12, 36),
    radius=st.integers(0, 5),
    sigma=st.floats(1.0, 3.0),
)
def test_chi_square_of_a_kept_label_is_the_loop_s(seed, x, y, radius, sigma):
    radius = min(radius, int(3.2 * sigma))
    maps = torch.rand(1, 1, 24, 25, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.1
    o = torch.tensor([[[x + 0.25, y - 0.25]]])
    terms = fused.Terms(reach=2, weight=0.0, empty=1.0, guard=False, evidence=0.0, newton_steps=0)
    empty = float(template_sum(radius, sigma, maps))
    points, prior, chi = fused.search_maps(maps[0], o[0], radius, sigma, terms._replace(empty=empty))
    expected = chi_square_loop(maps[0, 0].double(), (x, y), 0, radius, sigma)
    assert torch.equal(points, o[0]) and not prior.any()
    assert float(chi) == pytest.approx(float(expected), rel=1e-5, abs=1e-5 * empty)


@needs_numba
@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("precision", ["integer", "subpixel"])
def test_unusable_observations_and_maps_are_treated_alike(guard, precision):
    bad = [[float("nan"), 3.0], [float("inf"), 3.0], [3.0, -float("inf")], [-500.0, 9000.0], [2e7, 5.0], [-1.4, 70.3]]
    o = torch.tensor([[*bad, [30.25, 31.75], [20.0, 20.0]]])
    maps = render_gaussians(torch.full((1, 8, 2), 21.0), 64, 1.5)
    maps[0, 6, 33, 30] = float("nan")
    chosen = SearchSettings(guard=guard, precision=precision, likelihood_weight=1.0)
    found, expected = search_labels(maps, o, 1.5, chosen), search_labels_torch(maps, o, 1.5, chosen)
    sound = [0, 1, 2, 3, 4, 5, 7]  # what a pixel that is no number spoils depends on how its window is summed
    assert torch.allclose(found.points[:, sound], expected.points[:, sound], atol=1e-3, equal_nan=True)
    assert torch.allclose(
        found.chi_square[:, sound], expected.chi_square[:, sound], rtol=1e-4, atol=1e-3, equal_nan=True
    )
    assert not ((found.points[0, 6] - o[0, 6]).abs() > 3).any()
    assert torch.equal(found.moved[0, [0, 1, 2, 7]], torch.tensor([False, False, False, True]))
    assert torch.equal(found.moved[0, 7], expected.moved[0, 7])


@needs_numba
def test_the_first_of_equal_costs_is_taken():
    maps = torch.zeros(1, 1, 256, 256)
    o = torch.tensor([[[128.5, 127.5]]])  # rounds to (128, 128): four pixels are as near
    chosen = SearchSettings(precision="integer", guard=False)
    found, expected = search_labels(maps, o, 3.0, chosen), search_labels_torch(maps, o, 3.0, chosen)
    assert found.points.tolist() == expected.points.tolist() == [[[128.0, 127.0]]]


@needs_numba
def test_the_number_of_threads_changes_nothing():
    maps, o = faces(1, 64, 64, 1.5)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(search_labels(maps, o, 1.5, SearchSettings()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@needs_numba
def test_searches_may_run_side_by_side():
    maps, o = faces(2, 64, 64, 1.5)
    expected = search_labels(maps, o, 1.5, SearchSettings())
    results: list[Found] = []
    threads = [
        threading.Thread(target=lambda: results.append(search_labels(maps, o, 1.5, SearchSettings()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(torch.equal(found.points, expected.points) for found in results)


@needs_numba
@pytest.mark.parametrize(
    ("change", "used"),
    [
        (lambda maps: maps, True),
        (lambda maps: maps.bfloat16(), True),
        (lambda maps: maps.double(), False),
        (lambda maps: maps.transpose(2, 3), False),
    ],
)
def test_which_form_searches(monkeypatch, change, used):
    maps, o = faces(4, 32, 32, 1.0)
    calls = []
    form = fused.search_maps
    monkeypatch.setattr(fused, "search_maps", lambda *terms: calls.append(1) or form(*terms))
    search_labels(change(maps), o, 1.0, SearchSettings())
    assert bool(calls) == used


@needs_numba
def test_no_images_are_nothing_to_find():
    found = search_labels(torch.zeros(0, 5, 32, 32), torch.zeros(0, 5, 2), 1.0, SearchSettings())
    assert found.points.shape == (0, 5, 2) and found.moved.shape == (0, 5)


WITHOUT = """
import sys
sys.modules["numba"] = None
import torch
from semalign.core import fused
from semalign.core.heatmaps import render_gaussians
from semalign.core.likelihood import template_sum
from semalign.core.search import SearchSettings, search_labels, search_labels_torch
assert not fused.AVAILABLE
maps, o = render_gaussians(torch.tensor([[[12.0, 9.0]]]), 16, 0.8), torch.tensor([[[10.6, 9.2]]])
settings = SearchSettings(region=81, template=65, likelihood_weight=1.0)
found, expected = search_labels(maps, o, 0.8, settings), search_labels_torch(maps, o, 0.8, settings)
assert torch.equal(found.points, expected.points)
empty = float(template_sum(2, 0.8, maps))
terms = fused.Terms(reach=2, weight=1.0, empty=empty, guard=True, evidence=0.95 * empty, newton_steps=4)
points, prior, chi = fused.search_maps(maps[0], o[0], 2, 0.8, terms)
assert found.moved.all() and float((points - expected.points[0]).abs().max()) < 1e-3, (points, expected)
"""


def test_without_numba_tensors_search_and_the_fused_text_is_python():
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
