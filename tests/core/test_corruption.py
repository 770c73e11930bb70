"""Corruption of heatmaps: each kind of failure does what it says, groups are neighbours, the generator decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.corruption import (
    Corruption,
    CorruptionSettings,
    Failures,
    apply_corruption,
    draw_corruption,
    group_members,
)
from semalign.core.heatmaps import decode_heatmaps, render_gaussians

SIZE, SIGMA = 32, 1.5
OFF = CorruptionSettings(group=0.0, single=0.0, height=0.0, floor=0.0)
ALL_ALONE = replace(OFF, single=1.0)
POINTS = torch.tensor([[[8.0, 8.0], [11.0, 8.0], [24.0, 9.0], [15.3, 20.7]]])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(points: torch.Tensor = POINTS) -> torch.Tensor:
    return render_gaussians(points, SIZE, SIGMA)


def failures(k: int, **changes: torch.Tensor) -> Failures:
    nothing = Failures(
        torch.ones(1, k), torch.zeros(1, k), torch.zeros(1, k, 2), torch.zeros(1, k), torch.zeros(1, k, 2)
    )
    return nothing._replace(**changes)


def corruption(**changes: torch.Tensor | Failures) -> Corruption:
    """One picture with four landmarks and one group, to which nothing happens but what is given."""
    nothing = Corruption(
        middle=torch.zeros(1, 1, dtype=torch.long),
        radius=torch.full((1, 1), -1.0),
        of_groups=failures(1),
        of_landmarks=failures(4),
        own=torch.zeros(1, 4, 2),
        height=torch.ones(1),
        floor=torch.zeros(1),
        noise=torch.rand(1, 4, 8, 8, generator=generator(0)),
    )
    return nothing._replace(**changes)


def test_nothing_drawn_changes_nothing_and_the_input_is_left_alone():
    heatmaps = maps()
    assert torch.equal(apply_corruption(heatmaps, draw_corruption(OFF, 1, 4, SIZE, generator(0))), heatmaps)
    before = heatmaps.clone()
    apply_corruption(heatmaps, draw_corruption(CorruptionSettings(single=1.0, floor=1.0), 1, 4, SIZE, generator(0)))
    assert torch.equal(heatmaps, before)


@given(dx=st.floats(-4, 4), dy=st.floats(-4, 4))
@settings(max_examples=25)
def test_a_displaced_peak_is_found_that_far_away_and_no_other_moves(dx, dy):
    shift = torch.zeros(1, 4, 2)
    shift[0, 3] = torch.tensor([dx, dy])
    found = decode_heatmaps(apply_corruption(maps(), corruption(of_landmarks=failures(4, shift=shift))), SIGMA).points
    assert float((found - (POINTS + shift)).abs().max()) < 0.02


def test_displacing_by_whole_pixels_is_rolling_the_map():
    shift = torch.zeros(1, 4, 2)
    shift[0, 3] = torch.tensor([3.0, -2.0])
    moved = apply_corruption(maps(), corruption(of_landmarks=failures(4, shift=shift)))[0, 3]
    assert torch.allclose(moved, torch.roll(maps()[0, 3], (-2, 3), (0, 1)), atol=1e-5)


def test_a_blurred_peak_is_the_wider_and_lower_gaussian():
    blur = torch.tensor([[0.0, 0.0, 0.0, 2.0]])
    blurred = apply_corruption(maps(), corruption(of_landmarks=failures(4, blur=blur)))[0, 3]
    variance = SIGMA**2 + 2.0**2
    expected = render_gaussians(POINTS[:, 3:], SIZE, variance**0.5)[0, 0] * SIGMA**2 / variance
    assert torch.allclose(blurred, expected, atol=2e-3)


def test_a_dropped_peak_is_low_and_a_doubled_one_has_a_second():
    lower = apply_corruption(maps(), corruption(of_landmarks=failures(4, height=torch.tensor([[0.05, 1.0, 1.0, 1.0]]))))
    assert torch.allclose(lower[0, 0], 0.05 * maps()[0, 0]) and torch.equal(lower[0, 1:], maps()[0, 1:])
    second_shift = torch.zeros(1, 4, 2)
    second_shift[0, 2] = torch.tensor([-10.0, 12.0])
    second = torch.tensor([[0.0, 0.0, 0.7, 0.0]])
    doubled = apply_corruption(maps(), corruption(of_landmarks=failures(4, second=second, second_shift=second_shift)))
    expected = maps()[0, 2] + 0.7 * render_gaussians(POINTS[:, 2:3] + second_shift[:, 2:3], SIZE, SIGMA)[0, 0]
    assert torch.allclose(doubled[0, 2], expected, atol=1e-5)


def test_a_group_is_what_lies_around_its_middle_and_shares_its_fate():
    group = failures(1, height=torch.tensor([[0.1]]), shift=torch.tensor([[[4.0, 5.0]]]))
    drawn = corruption(
        middle=torch.tensor([[1]]), radius=torch.tensor([[3.5]]), of_groups=group,
        of_landmarks=failures(4, height=torch.tensor([[0.8, 1.0, 0.8, 1.0]])),
    )  # fmt: skip
    assert group_members(maps(), drawn).tolist() == [[[True, True, False, False]]]
    corrupted = apply_corruption(maps(), drawn)
    moved = decode_heatmaps(corrupted, SIGMA)
    assert torch.allclose(moved.points[0, :2], POINTS[0, :2] + torch.tensor([4.0, 5.0]), atol=0.02)
    assert torch.allclose(moved.confidence[0], torch.tensor([0.1, 0.1, 0.8, 1.0]), atol=0.06)
    assert torch.allclose(corrupted[0, 2], 0.8 * maps()[0, 2])  # beyond the group its own fate counts
    own = torch.zeros(1, 4, 2)
    own[0, 0] = torch.tensor([1.0, 0.0])
    apart = decode_heatmaps(apply_corruption(maps(), drawn._replace(own=own)), SIGMA).points[0, :2]
    assert torch.allclose(apart, POINTS[0, :2] + torch.tensor([[5.0, 5.0], [4.0, 5.0]]), atol=0.02)


def test_no_group_has_no_members():
    assert not group_members(maps(), corruption()).any()


def test_the_floor_is_under_every_map_and_no_higher_than_drawn():
    noisy = apply_corruption(maps(), corruption(floor=torch.tensor([0.2])))
    added = noisy - maps()
    assert float(added.min()) >= -1e-6 and 0.1 < float(added.max()) <= 0.2 + 1e-6
    assert (added.flatten(2).std(dim=-1) > 0.02).all()


def test_heights_of_a_picture_scale_all_of_its_maps():
    assert torch.allclose(apply_corruption(maps(), corruption(height=torch.tensor([0.6]))), 0.6 * maps())


@pytest.mark.parametrize("kind", ["drop", "blur", "displace", "double"])
def test_each_kind_alone_leaves_its_mark(kind):
    only = replace(ALL_ALONE, **({"drop": 0.0, "blur": 0.0, "displace": 0.0, "double": 0.0} | {kind: 1.0}))
    points = POINTS.repeat(16, 1, 1)
    drawn = draw_corruption(only, 16, 4, SIZE, generator(5))
    own = drawn.of_landmarks
    marks = {
        "drop": own.height <= 0.1,
        "blur": own.blur > 0,
        "displace": (own.shift != 0).any(-1),
        "double": own.second > 0,
    }
    assert {name: bool(mark.any()) for name, mark in marks.items()} == {name: name == kind for name in marks}
    assert marks[kind].all()
    changed = (apply_corruption(maps(points), drawn) - maps(points)).abs().amax(dim=(2, 3))
    assert float((changed > 0.01).float().mean()) > 0.95  # a second peak may lie beyond the border


def test_failures_come_as_often_as_they_are_asked_for():
    drawn = draw_corruption(CorruptionSettings(group=0.3, single=0.1), 2000, 10, SIZE, generator(1))
    own = drawn.of_landmarks
    failed = (own.height != 1) | (own.blur > 0) | (own.shift != 0).any(-1) | (own.second > 0)
    assert float(failed.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert float((own.height <= 0.1).float().mean()) == pytest.approx(0.04, abs=0.005)
    assert float((drawn.radius >= 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(drawn.radius.max()) <= 0.25 * SIZE


def test_a_processs_rows_are_those_of_the_whole_batch_and_the_seed_decides():
    drawn = draw_corruption(CorruptionSettings(group=1.0, single=0.3, floor=1.0), 6, 4, SIZE, generator(3))
    heatmaps = maps(POINTS.repeat(6, 1, 1) + torch.rand(6, 4, 2, generator=generator(9)))
    whole = apply_corruption(heatmaps, drawn)
    parts = [apply_corruption(heatmaps[a : a + 2], drawn.rows(a, a + 2)) for a in (0, 2, 4)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    again, other = (
        draw_corruption(CorruptionSettings(group=1.0, single=0.3, floor=1.0), 6, 4, SIZE, generator(seed))
        for seed in (3, 4)
    )
    assert torch.equal(apply_corruption(heatmaps, again), whole)
    assert not torch.equal(apply_corruption(heatmaps, other), whole)


@pytest.mark.parametrize(
    "wrong", [{"drop": 0.0, "blur": 0.0, "displace": 0.0, "double": 0.0}, {"drop": -1.0}, {"groups": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must not be negative"):
        CorruptionSettings(**wrong)


def test_no_groups_at_all_are_possible():
    drawn = draw_corruption(replace(OFF, groups=0), 2, 4, SIZE, generator(0))
    heatmaps = maps(POINTS.repeat(2, 1, 1))
    assert torch.equal(apply_corruption(heatmaps, drawn), heatmaps)
