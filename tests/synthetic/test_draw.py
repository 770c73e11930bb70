"""Drawing to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from semalign.synthetic.draw import CIRCLE, SPILL, band, blend, disc, fill, fill_exactly, grain, soften, strands

CENTRE = np.array([50.3, 48.8])


def area(image: np.ndarray) -> float:
    return float(image.sum()) / 255.0


def centroid(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


@pytest.mark.parametrize("radius", [6.0, 20.0, 40.0])
@pytest.mark.parametrize("turn", [1, -1])
def test_an_exact_polygon_is_as_large_as_its_outline(radius: float, turn: int) -> None:
    image = np.zeros((100, 100), np.uint8)
    fill_exactly(image, (CENTRE + radius * CIRCLE)[::turn], 255)
    assert np.sqrt(area(image) / np.pi) == pytest.approx(radius, abs=0.12)
    np.testing.assert_allclose(centroid(image), CENTRE, atol=0.15)


def test_a_plain_polygon_spills_over_by_the_stated_amount() -> None:
    image = np.zeros((100, 100), np.uint8)
    fill(image, CENTRE + 30 * CIRCLE, 255)
    assert np.sqrt(area(image) / np.pi) == pytest.approx(30 + SPILL, abs=0.1)


def test_a_disc_lies_where_it_is_told() -> None:
    image = np.zeros((100, 100), np.uint8)
    disc(image, CENTRE, 7.0, 255)
    np.testing.assert_allclose(centroid(image), CENTRE, atol=0.06)


def test_blending_goes_from_the_image_to_the_layer() -> None:
    image, layer = np.full((2, 3, 3), 200, np.uint8), np.full((2, 3, 3), 100, np.uint8)
    blend(image, layer, np.array([[0, 128, 255]] * 2, np.uint8))
    np.testing.assert_allclose(image[0, :, 0], [200, 150, 100], atol=1)


def test_softening_keeps_place_and_amount() -> None:
    mask = np.zeros((101, 101), np.uint8)
    disc(mask, np.array([50.0, 50.0]), 12.0, 255)
    for sigma in (0.8, 3.0, 6.0):
        soft = soften(mask, sigma)
        np.testing.assert_allclose(centroid(soft), (50, 50), atol=0.5)
        assert area(soft) == pytest.approx(area(mask), rel=0.08)


def test_a_band_has_the_given_width() -> None:
    line = np.stack([np.linspace(0, 10, 20), np.zeros(20)], axis=1)
    outline = band(line, np.full(20, 1.5))
    np.testing.assert_allclose(outline[:, 1], [1.5] * 20 + [-1.5] * 20)


def test_textures_are_fixed_and_balanced() -> None:
    assert grain(512).shape == (512, 512) and grain(512, 3).shape == (512, 512, 3)
    assert grain(512).mean() == pytest.approx(128, abs=0.5) and grain(512).std() == pytest.approx(32, abs=0.5)
    for kind in ("straight", "wavy", "curly"):
        assert strands(kind).mean() == pytest.approx(128, abs=6) and strands(kind).std() > 5
