"""Image files of every kind become RGB bytes, upright; damaged ones are named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semalign.data import read_image
from semalign.data.images import image_size
from semalign.errors import SemalignError

RGB = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (5, 8), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_is_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, RGB)
    assert image_size(path) == (8, 5)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.png", Image.fromarray(GREY)))
    np.testing.assert_array_equal(image, np.repeat(GREY[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.png", Image.fromarray(GREY.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(image, np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_shown_on_black(tmp_path: Path, mode: str) -> None:
    alpha = np.where(np.arange(8) < 4, 0, 255).astype(np.uint8)[None].repeat(5, axis=0)
    planes = [GREY] if mode == "LA" else list(np.moveaxis(RGB, 2, 0))
    image = read_image(save(tmp_path / "a.png", Image.fromarray(np.dstack([*planes, alpha]), mode)))
    expected = np.dstack(planes * (3 // len(planes)))
    np.testing.assert_array_equal(image[:, 4:], expected[:, 4:])
    assert not image[:, :4].any()


def test_palette_and_cmyk(tmp_path: Path) -> None:
    plain = Image.fromarray(np.full((5, 8, 3), (200, 30, 90), np.uint8))
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", plain.convert("P"))).shape, (5, 8, 3))
    inks = read_image(save(tmp_path / "a.jpg", plain.convert("CMYK"), quality=100))
    np.testing.assert_allclose(inks.astype(int), np.asarray(plain).astype(int), atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    """The eight orientations of the standard, written out: what row 0 and column 0 of the file stand for."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    flipped = RGB[:, ::-1]
    expected = {
        1: RGB,
        2: flipped,
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[orientation]
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == (expected.shape[1], expected.shape[0])


def test_reduced_decoding_shows_the_same(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:120, 0:200]
    smooth = np.dstack([rows, columns, rows // 2 + columns // 2]).astype(np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(smooth), quality=95)
    small = read_image(path, reduce=5)
    assert small.shape == (30, 50, 3)  # a quarter is the largest step that is not below a fifth
    areas = smooth.reshape(30, 4, 50, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - areas).mean() < 3
    png = save(tmp_path / "a.png", Image.fromarray(smooth))
    np.testing.assert_array_equal(read_image(png, reduce=5), smooth)


def damaged(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG" if kind.endswith("png") else "JPEG")
    data = buffer.getvalue()
    return {"empty": b"", "text": b"no image", "header": data[:10]}.get(kind, data[: len(data) // 2])


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("empty", "is empty; copy it again"),
        ("text", "is no image that can be read"),
        ("header", "; copy it again or remove the sample."),
        ("truncated jpg", "is truncated or damaged"),
        ("truncated png", "is truncated or damaged"),
    ],
)
def test_damaged_images_are_named(tmp_path: Path, kind: str, sentence: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(damaged(kind))
    with pytest.raises(SemalignError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_image_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="there is no such image"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(SemalignError, match="cannot be read"):
        image_size(tmp_path)
