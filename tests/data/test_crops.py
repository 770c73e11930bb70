"""Crops: exact coordinates, a cache that is made once, clear words about bad images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.heatmaps import decode_heatmaps
from semalign.data.crops import CropSettings, build_crops, crop_maps, cut, face_boxes
from semalign.data.samples import Sample
from semalign.errors import SemalignError


def dot(shape: tuple[int, int], x: float, y: float, sigma: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    value = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(value).astype(np.uint8)[..., None], 3, axis=2)


@given(
    side=st.floats(40, 900),
    x=st.floats(0.3, 0.7),
    y=st.floats(0.3, 0.7),
    corner=st.tuples(st.floats(0, 60), st.floats(0, 60)),
)
@settings(max_examples=30)
def test_a_dot_lies_where_the_map_says_at_every_scale(side, x, y, corner):
    box = np.array([[corner[0], corner[1], corner[0] + side, corner[1] + side]])
    maps, size = crop_maps(box, CropSettings(), 64)
    point = box[0, :2] + side * np.array([x, y])
    scale = maps[0, 0, 0]
    picture = dot((1000, 1000), *point, 2.5 / scale)
    crop = torch.from_numpy(cut(picture, maps[0], size)[..., 0]).float()[None, None] / 250
    expected = maps[0, :, :2] @ point + maps[0, :, 2]
    seen = decode_heatmaps(crop, 2.5).points[0, 0].numpy()
    assert np.abs(seen - expected).max() < 0.06


def test_the_input_square_is_the_scaled_box():
    maps, size = crop_maps(np.array([[10.0, 20.0, 110.0, 60.0]]), CropSettings(scale=1.2, margin=1.5), 60)
    assert size == 90
    inset = (size - 60) / 2
    left_top = maps[0, :, :2] @ np.array([60.0 - 60.0, 40.0 - 60.0]) + maps[0, :, 2]
    assert np.allclose(left_top, [inset - 0.5, inset - 0.5])


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    rng = np.random.default_rng(0)
    result = []
    for index in range(5):
        path = tmp_path / f"face_{index}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (80, 90, 3)).astype(np.uint8))
        points = rng.uniform(20, 60, (68, 2))
        result.append(Sample(f"face_{index}.png", path, points, "train", "afw"))
    return result


def test_boxes_are_given_or_those_of_the_points(samples):
    given_box = Sample("a.png", samples[0].image, samples[0].points, "train", "afw", box=(1.0, 2.0, 3.0, 5.0))
    boxes = face_boxes([given_box, samples[1]])
    assert boxes[0].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert np.allclose(boxes[1], [*samples[1].points.min(0), *samples[1].points.max(0)])


def test_the_cache_is_made_once_and_follows_the_images(samples, tmp_path):
    calls: list[tuple[int, int]] = []

    def build() -> torch.Tensor:
        crops = build_crops(
            tmp_path / "crops", samples, CropSettings(), 32, lambda done, total: calls.append((done, total))
        )
        return crops.batch(np.arange(5))

    first = build()
    assert calls == [(i, 5) for i in range(1, 6)] and first.shape == (5, 3, 48, 48)
    assert torch.equal(build(), first) and len(calls) == 5
    cv2.imwrite(str(samples[2].image), np.zeros((81, 90, 3), np.uint8))
    again = build()
    assert len(calls) == 10 and float(again[2].max()) == 0 and torch.equal(again[3], first[3])


def test_unreadable_images_raise_or_are_listed(samples, tmp_path):
    samples[1].image.write_bytes(b"")
    with pytest.raises(SemalignError, match=r"face_1\.png"):
        build_crops(tmp_path / "crops", samples, CropSettings(), 32)
    bad: list[str] = []
    crops = build_crops(tmp_path / "crops", samples, CropSettings(), 32, bad=lambda name, why: bad.append(name))
    assert bad == ["face_1.png"] and crops.ids == tuple(s.id for s in samples if s.id != "face_1.png")
    assert len(crops.images) == len(crops.image_to_crop) == 4


def test_an_interrupted_cache_leaves_nothing_that_counts(samples, tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_crops(tmp_path / "crops", samples, CropSettings(), 32, stop)
    assert not list((tmp_path / "crops").rglob("crops.json")) and not list((tmp_path / "crops").rglob("*.u8"))
    assert len(build_crops(tmp_path / "crops", samples, CropSettings(), 32)) == 5
