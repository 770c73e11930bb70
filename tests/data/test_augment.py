"""Augmentation: points stay on what they mark, and draws depend on the generator alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.data.augment import AugmentationSettings, apply_augmentation, augmented_points, draw_augmentation

STILL = AugmentationSettings(
    rotation=0.0, scale=0.0, shift=0.0, flip=0.0, brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0, occlusion=0.0
)  # fmt: skip
MOVING = AugmentationSettings(brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0, occlusion=0.0)
CROP, INPUT = 96, 64


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 2**31), x=st.floats(40, 56), y=st.floats(40, 56))
@settings(max_examples=30)
def test_a_drawn_dot_is_found_where_its_coordinate_goes(seed, x, y):
    points = torch.tensor([[[x, y]]], dtype=torch.float64)
    crops = render_gaussians(points.float(), CROP, 2.0).expand(1, 3, CROP, CROP).contiguous()
    drawn = draw_augmentation(MOVING, 1, CROP, INPUT, generator(seed))
    expected = augmented_points(points, drawn, torch.tensor([0]))[0, 0]
    if not bool(((expected > 6) & (expected < INPUT - 7)).all()):
        return  # turned out of the picture
    zoom = float(drawn.crop_to_input[0, 0, :2].norm())
    seen = decode_heatmaps(apply_augmentation(crops, drawn, INPUT)[:, :1], 2.0 * zoom).points[0, 0]
    assert float((seen - expected).norm()) < 0.05


def test_a_weakened_augmentation_changes_pictures_less_and_moves_faces_as_far():
    whole = AugmentationSettings(bend=0.02, stretch=0.1, grey=0.4, blur=0.8, occlusion=0.9)
    share = whole.weakened(0.25)
    assert (share.brightness, share.blur, share.occlusion) == (whole.brightness / 4, 0.2, 0.225)
    assert whole.weakened(1.0) == whole
    drawn, less = (draw_augmentation(each, 400, CROP, INPUT, generator(3)) for each in (whole, share))
    for part in ("crop_to_input", "bend", "flipped"):
        assert torch.equal(getattr(drawn, part), getattr(less, part))
    assert float((less.blur > 0).double().mean()) < 0.3 < 0.7 < float((drawn.blur > 0).double().mean())
    assert float(less.offset.std() / drawn.offset.std()) < 0.3


def test_still_settings_cut_out_the_middle():
    crops = torch.rand(2, 3, CROP, CROP)
    drawn = draw_augmentation(STILL, 2, CROP, INPUT, generator(0))
    inset = (CROP - INPUT) // 2
    expected = crops[:, :, inset : inset + INPUT, inset : inset + INPUT]
    assert torch.allclose(apply_augmentation(crops, drawn, INPUT), expected, atol=1e-5)


def test_a_mirrored_face_swaps_left_and_right():
    settings = AugmentationSettings(**(STILL.__dict__ | {"flip": 1.0}))
    drawn = draw_augmentation(settings, 1, CROP, INPUT, generator(0))
    points = torch.tensor([[[30.0, 40.0], [60.0, 40.0]]], dtype=torch.float64)
    swapped = augmented_points(points, drawn, torch.tensor([1, 0]))
    inset = (CROP - INPUT) / 2
    assert swapped[0, 0].tolist() == [INPUT - 1 - (60.0 - inset), 40.0 - inset]
    crops = torch.rand(1, 3, CROP, CROP)
    plain = apply_augmentation(crops, draw_augmentation(STILL, 1, CROP, INPUT, generator(0)), INPUT)
    assert torch.allclose(apply_augmentation(crops, drawn, INPUT), plain.flip(3), atol=1e-5)


@given(seed=st.integers(0, 2**31), bend=st.floats(0.0, 0.03), stretch=st.floats(0.0, 0.2))
@settings(max_examples=30)
def test_a_bent_picture_shows_each_point_of_a_ramp_where_it_went(seed, bend, stretch):
    """Pictures whose colours are their own coordinates: at a moved point they show where it came from."""
    moving = AugmentationSettings(**(STILL.__dict__ | {"bend": bend, "stretch": stretch, "rotation": 20.0}))
    drawn = draw_augmentation(moving, 1, CROP, INPUT, generator(seed))
    ramp = torch.arange(CROP, dtype=torch.float32) / CROP
    crops = torch.stack([ramp.expand(CROP, CROP), ramp[:, None].expand(CROP, CROP), torch.zeros(CROP, CROP)])[None]
    points = 36 + 24 * torch.rand(1, 20, 2, generator=generator(seed + 1)).double()
    moved = augmented_points(points, drawn, torch.arange(20))
    inside = ((moved > 1) & (moved < INPUT - 2)).all(-1)[0]
    shown = apply_augmentation(crops, drawn, INPUT)[:, :2]
    grid = ((2 * moved + 1) / INPUT - 1)[:, None].float()
    read = F.grid_sample(shown, grid, align_corners=False)[0, :, 0].T * CROP
    assert float((read - points[0])[inside].abs().max()) < 0.1


def test_bending_changes_a_shape_and_stretching_alone_keeps_its_area():
    square = torch.tensor([[[40.0, 40.0], [56.0, 40.0], [56.0, 56.0], [40.0, 56.0]]], dtype=torch.float64)

    def area(settings):
        drawn = draw_augmentation(AugmentationSettings(**(STILL.__dict__ | settings)), 1, CROP, INPUT, generator(5))
        x, y = augmented_points(square, drawn, torch.arange(4))[0].unbind(-1)
        sides = torch.stack([x, y], -1).diff(dim=0, append=torch.stack([x, y], -1)[:1]).norm(dim=1)
        return float((x * y.roll(-1) - y * x.roll(-1)).sum() / 2), sides

    stretched, sides = area({"stretch": 0.2})
    assert abs(stretched - 256) < 1e-6 and float(sides.std()) > 0.1
    bent, _ = area({"bend": 0.03})
    assert abs(bent - 256) > 1.0


def test_a_processs_rows_are_those_of_the_whole_batch():
    crops = torch.rand(6, 3, CROP, CROP)
    drawn = draw_augmentation(AugmentationSettings(stretch=0.1, bend=0.02), 6, CROP, INPUT, generator(3))
    whole = apply_augmentation(crops, drawn, INPUT)
    parts = [apply_augmentation(crops[a : a + 3], drawn.rows(a, a + 3), INPUT) for a in (0, 3)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


def test_pictures_stay_in_range_and_settings_switch_parts_on():
    crops = torch.rand(16, 3, CROP, CROP)
    plain = apply_augmentation(crops, draw_augmentation(STILL, 16, CROP, INPUT, generator(1)), INPUT)
    for part in ({"brightness": 0.3}, {"contrast": 0.5}, {"grey": 1.0}, {"blur": 1.0}, {"occlusion": 1.0}):
        settings = AugmentationSettings(**(STILL.__dict__ | part))
        changed = apply_augmentation(crops, draw_augmentation(settings, 16, CROP, INPUT, generator(1)), INPUT)
        assert float(changed.min()) >= 0 and float(changed.max()) <= 1
        assert float((changed - plain).abs().mean()) > 0.01, part
