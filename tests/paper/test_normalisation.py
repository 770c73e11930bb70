"""Faces' angles, their network, and crops turned upright and back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import TRAINING, batch_of

from semalign.core.affine import invert, transform_points
from semalign.core.heatmaps import render_gaussians
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.paper.normalisation import (
    RotationTask,
    righted,
    rotations_in,
    rotations_of,
    train_rotation,
    upright_shape,
)
from semalign.paper.rotation import RotationNetwork, RotationSettings
from semalign.schemes import LandmarkScheme
from semalign.training.task import PictureSource, Task

NETWORK = RotationSettings(input_size=32, width=8, blocks=(1, 1, 1))
TURNS = AugmentationSettings(35.0, *[0.0] * 11)
SIZE, INPUT = 36, 24
angles = st.floats(-math.pi, math.pi)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points turned clockwise on the screen (y is downwards) about the origin."""
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def apart(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
    """The difference of angles, -π to π."""
    return np.angle(np.exp(1j * (a - b)))


def cache(points: np.ndarray) -> CropCache:
    """Crops that show a white dot at the (first) point of each face (image frames), cut by a map that turns and scales."""
    linear = 0.5 * np.array([[math.cos(0.2), -math.sin(0.2)], [math.sin(0.2), math.cos(0.2)]])
    maps = np.repeat(np.concatenate([linear, [[4.0], [-3.0]]], axis=1)[None], len(points), axis=0)
    empty = CropCache(
        tuple(map(str, range(len(points)))), np.zeros((len(points), SIZE, SIZE, 3), np.uint8), maps, INPUT
    )
    dots = render_gaussians(torch.from_numpy(empty.to_crop(points)), SIZE, 1.5)[:, 0]
    return replace(empty, images=(dots[..., None] * 255).round().byte().expand(-1, -1, -1, 3).numpy())


def centre(image: np.ndarray) -> np.ndarray:
    """The centroid (x, y) of an image's brightness."""
    grey = image.astype(np.float64).sum(axis=2)
    steps = np.arange(SIZE)
    return np.array([grey.sum(0) @ steps, grey.sum(1) @ steps]) / grey.sum()


@given(st.lists(angles, min_size=1, max_size=3), st.integers(0, 2**31))
def test_points_of_righted_crops_come_back_unchanged(turns: list[float], seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 60, (len(turns), 5, 2))
    crops = righted(cache(points), np.array(turns))
    there = torch.from_numpy(crops.to_crop(points))
    back = transform_points(there, invert(torch.from_numpy(crops.image_to_crop)))
    np.testing.assert_allclose(back.numpy(), points, atol=1e-9)


@given(angles)
def test_the_pixels_turn_with_the_points(angle: float) -> None:
    points = np.array([[[36.0, 36.0]], [[30.0, 44.0]]])
    before = cache(points)
    after = righted(before, np.full(2, angle))
    for row, (old, new) in enumerate(zip(before.to_crop(points)[:, 0], after.to_crop(points)[:, 0], strict=True)):
        middle = (SIZE - 1) / 2
        np.testing.assert_allclose(new - middle, turned((old - middle)[None], -angle)[0], atol=1e-9)
        np.testing.assert_allclose(centre(after.images[row]), new, atol=0.1)


def test_the_input_square_of_a_turned_crop_is_never_black() -> None:
    crops = replace(cache(np.zeros((8, 1, 2))), images=np.full((8, SIZE, SIZE, 3), 255, np.uint8))
    inset = (SIZE - INPUT) // 2
    images = righted(crops, np.linspace(0, math.pi / 2, 8)).images
    assert images[:, inset:-inset, inset:-inset].min() == 255
    assert images[4, 0, 0].max() == 0


def test_righted_pixels_can_be_kept_in_a_file(tmp_path) -> None:
    crops, turns = cache(np.full((3, 1, 2), 40.0)), np.array([0.1, -2.0, 1.0])
    in_memory = righted(crops, turns)
    on_disk = righted(crops, turns, tmp_path / "righted.u8", batch_size=2)
    assert isinstance(on_disk.images, np.memmap) and not on_disk.images.flags.writeable
    np.testing.assert_array_equal(on_disk.images, in_memory.images)
    assert [path.name for path in tmp_path.iterdir()] == ["righted.u8"]
    with pytest.raises(ValueError, match="3 crops"):
        righted(crops, turns[:2])


def test_faces_turned_by_an_angle_have_that_angle(small) -> None:
    points, scheme = small.dataset.points(), small.dataset.scheme
    upright = upright_shape(points, scheme)
    own = rotations_in(points, upright)
    for angle in (-3.0, -0.5, 0.2, 1.5):
        np.testing.assert_allclose(
            apart(rotations_in(turned(points, angle) * 0.3 + 7, upright), own + angle), 0, atol=1e-9
        )
    mirrored = points[:, list(scheme.flip_index)] * [-1.0, 1.0]
    np.testing.assert_allclose(rotations_in(mirrored, upright), -own, atol=1e-9)
    absent = points.copy()
    absent[0, :17] = np.nan
    assert np.abs(rotations_in(absent, upright) - own).max() < 0.15


def test_upright_is_the_symmetry_axis_however_the_faces_are_turned(small) -> None:
    points, scheme = small.dataset.points(), small.dataset.scheme
    tilted = upright_shape(turned(points, 0.4), scheme).mean
    np.testing.assert_allclose(tilted[list(scheme.flip_index)] * [-1.0, 1.0], tilted, atol=1e-6)
    assert tilted[8, 1] > 0 > tilted[27, 1]  # the chin below, the bridge of the nose above
    incomplete = points.copy()
    incomplete[1:, 3] = np.nan
    with pytest.raises(SemalignError, match="1 of 10 faces have all landmarks"):
        upright_shape(incomplete, scheme)


def test_without_pairs_upright_is_the_mean_direction(small) -> None:
    points = turned(small.dataset.points(), 0.4)
    upright = upright_shape(points, LandmarkScheme("plain", tuple(f"p{i}" for i in range(68))))
    assert abs(float(rotations_in(points, upright).mean())) < 0.02


def test_righting_by_the_labels_own_angles_leaves_no_rotation(small) -> None:
    """The sign: what `rotations_in` measures, `righted` takes away."""
    points = small.dataset.points()
    upright = upright_shape(points, small.dataset.scheme)
    own = rotations_in(small.crops.to_crop(points), upright)
    assert np.abs(own).max() > 0.05
    left = rotations_in(righted(small.crops, own).to_crop(points), upright)
    np.testing.assert_allclose(left, 0, atol=1e-9)


def test_a_batch_tells_the_angle_of_what_is_shown_mirrored_or_not(small) -> None:
    scheme = small.dataset.scheme
    upright = upright_shape(small.labels(), scheme)
    source = PictureSource(small.crops, scheme, replace(TURNS, flip=0.5), 64)
    task = RotationTask(source, upright)
    assert isinstance(task, Task) and len(task) == 10
    rows, share = np.arange(10), slice(3, 9)
    _, target = batch_of(task, rows, small.labels(), 4, share)
    drawn = torch.Generator().manual_seed(4)
    points = source.read(rows, small.labels(), drawn, share, torch.device("cpu")).points
    expected = rotations_in(points.numpy(), upright)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(torch.atan2(target[:, 1], target[:, 0]).numpy(), expected, atol=1e-6)
    assert float(task.loss(target, target)) == 0.0
    assert float(task.loss(-target, target)) == pytest.approx(4.0)


@pytest.fixture(scope="module")
def learnt(small, tmp_path_factory) -> RotationNetwork:
    """From crops whose own map turns by half a radian, so that angles in the image and in the crop differ."""
    training = replace(TRAINING, epochs=120, batch_size=10, learning_rate=5e-3, ema=0.8)
    return train_rotation(
        tmp_path_factory.mktemp("rotation"),
        righted(small.crops, np.full(10, 0.5)),
        small.dataset.points(),
        small.dataset.scheme,
        training,
        NETWORK,
        seed=0,
        augmentation=TURNS,
    )


def test_a_face_turned_further_is_seen_turned_further(small, learnt) -> None:
    points = small.dataset.points()
    own = rotations_in(small.crops.to_crop(points), upright_shape(points, small.dataset.scheme))
    for degrees in (-40, 0, 30):
        seen = rotations_of(learnt, righted(small.crops, np.full(10, -math.radians(degrees))), batch_size=4)
        assert np.degrees(np.abs(apart(seen, own + math.radians(degrees)))).mean() < 10


def test_a_training_that_is_done_is_not_done_again(small, tmp_path) -> None:
    common = (small.crops, small.dataset.points(), small.dataset.scheme, replace(TRAINING, epochs=1), NETWORK)
    first, again = (train_rotation(tmp_path / "a", *common, seed=0).state_dict() for _ in range(2))
    other = train_rotation(tmp_path / "b", *common, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])
