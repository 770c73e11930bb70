"""A photograph may be blurred, coarse and noisy, but nothing in it has moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semalign.synthetic import FaceSettings
from semalign.synthetic.camera import photograph
from semalign.synthetic.draw import disc

SPOT = np.array([34.2, 29.7])  # of the photograph


def scene() -> np.ndarray:
    picture = np.full((128, 128, 3), 60, np.uint8)
    disc(picture, 2 * SPOT + 0.5, 14.0, (230, 230, 230))
    return picture


def centre_of(image: np.ndarray) -> np.ndarray:
    light = image.astype(float).mean(2)
    light -= np.median(light)
    y, x = np.mgrid[: len(light), : len(light)]
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


@pytest.mark.parametrize("change", [{}, {"blur": 1.0}, {"low_resolution": 1.0}, {"blur": 1.0, "low_resolution": 1.0}])
def test_edges_stay_where_they_are(plain: FaceSettings, change: dict[str, float]) -> None:
    for seed in range(25):
        image = photograph(np.random.default_rng(seed), scene(), replace(plain, **change))
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        np.testing.assert_allclose(centre_of(image), SPOT, atol=0.12)


def test_blur_and_low_resolution_take_away_detail(plain: FaceSettings) -> None:
    def detail(settings: FaceSettings) -> float:
        images = [photograph(np.random.default_rng(seed), scene(), settings).astype(float) for seed in range(10)]
        return float(np.mean([np.abs(np.diff(image, axis=1)).max() / np.ptp(image) for image in images]))

    assert detail(replace(plain, blur=1.0)) < 0.8 * detail(plain)
    assert detail(replace(plain, low_resolution=1.0)) < 0.9 * detail(plain)


def test_grey_photographs_have_no_colour(plain: FaceSettings) -> None:
    image = photograph(np.random.default_rng(0), scene(), replace(plain, grey=1.0)).astype(int)
    assert np.ptp(image, axis=2).max() <= 1


def test_grain_is_no_stronger_than_asked(plain: FaceSettings) -> None:
    flat = np.full((128, 128, 3), 118, np.uint8)
    deviations = [
        photograph(np.random.default_rng(s), flat, replace(plain, noise=6.0)).std((0, 1)).mean() for s in range(40)
    ]
    assert 4.5 < max(deviations) < 6.5 and min(deviations) < 1.5
