"""A file, a Pillow image and an array of one picture are the same; what cannot be read is said in one sentence."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semalign.data import images
from semalign.data.endings import lacks_its_end
from semalign.data.images import open_picture, read_picture
from semalign.data.pixels import to_rgb8
from semalign.errors import SemalignError

ROWS, COLUMNS = np.mgrid[0:48, 0:64]
RGB = np.dstack([ROWS * 5, COLUMNS * 3, (ROWS + COLUMNS) * 2]).astype(np.uint8)
GREY = RGB[..., 1]
COLOURED = Image.fromarray(RGB)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_a_pillow_image_of_every_mode_is_what_its_picture_shows(mode: str) -> None:
    image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else COLOURED.convert(mode)
    shown = (
        np.repeat(GREY[..., None], 3, axis=2) if mode == "I;16" else np.asarray(COLOURED.convert(mode).convert("RGB"))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_picture(image).pixels
    if mode == "PA":
        shown = np.asarray(COLOURED.convert("P").convert("RGB"))
    assert found.shape == (48, 64, 3) and np.abs(found.astype(int) - shown).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_file_and_pillow_image_are_turned_alike(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    COLOURED.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(open_picture(image).pixels, open_picture(tmp_path / "a.png").pixels)


@pytest.mark.parametrize(
    ("kind", "factor"),
    [(np.uint8, 1), (np.uint16, 1), (np.uint16, 257), (np.int32, 1), (np.int64, 257), (np.float16, 1 / 255)]
    + [(np.float32, 1 / 255), (np.float64, 1 / 255), (np.float32, 1), (np.float64, 257)],
)
def test_arrays_of_every_range(kind: type, factor: float) -> None:
    picture = RGB.copy()
    picture[0, 0] = 255
    found = to_rgb8((picture.astype(np.float64) * factor).astype(kind))
    assert np.abs(found.astype(int) - picture).max() <= (1 if kind is np.float16 else 0)


def test_truth_values_and_twelve_bits() -> None:
    assert set(np.unique(to_rgb8(GREY > 90))) == {0, 255}
    twelve = GREY.astype(np.uint16) * 16
    twelve[0, 0] = 4095
    assert np.abs(to_rgb8(twelve)[1:, 1:, 0].astype(int) - GREY[1:, 1:]).max() <= 1


@pytest.mark.parametrize("ending", ["jfif", "jpe", "webp", "bmp", "tif", "gif", "jp2", "ppm", "avif"])
def test_files_of_every_ending(tmp_path: Path, ending: str) -> None:
    assert f".{ending}" in images.ENDINGS
    try:
        COLOURED.save(tmp_path / f"a.{ending}", "JPEG" if ending in ("jfif", "jpe") else None)
    except (KeyError, ValueError, OSError):
        pytest.skip("this Pillow does not write it")
    found = read_picture(tmp_path / f"a.{ending}").pixels
    assert np.abs(found.astype(int) - RGB).mean() < 6


@pytest.mark.parametrize("kind", ["float", "int32", "twelve", "rgb16", "rgb float"])
def test_tiffs_of_more_than_bytes(tmp_path: Path, kind: str) -> None:
    import cv2

    path = str(tmp_path / "a.tif")
    grey = {"float": GREY.astype("f4") / 255, "int32": GREY.astype("i4"), "twelve": GREY.astype("u2") * 16}
    if kind in grey:
        Image.fromarray(grey[kind]).save(path)
    else:
        cv2.imwrite(path, RGB[..., ::-1].astype("u2") * 257 if kind == "rgb16" else RGB[..., ::-1].astype("f4") / 255)
    expected = RGB if kind not in grey else np.repeat(GREY[..., None], 3, axis=2)
    assert np.abs(read_picture(path).pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame(tmp_path: Path, ending: str) -> None:
    black = Image.new("RGB", COLOURED.size)
    COLOURED.save(tmp_path / f"a.{ending}", save_all=True, append_images=[black])
    assert np.abs(read_picture(tmp_path / f"a.{ending}").pixels.astype(int) - RGB).mean() < 6


def jpeg(size: int = 400, **options: object) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.mark.parametrize("missing", [1, 2, 10, 1000])
def test_a_jpeg_without_its_last_bytes_is_read_with_a_note(
    tmp_path: Path, missing: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "whole.jpg").write_bytes(jpeg())
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:-missing])
    picture, whole = read_picture(tmp_path / "cut.jpg"), read_picture(tmp_path / "whole.jpg")
    assert "is truncated and was read without" in picture.notes[0] and not whole.notes
    assert np.array_equal(picture.pixels[:368], whole.pixels[:368])
    images.read_image(tmp_path / "cut.jpg")
    assert "is truncated" in caplog.text


def png(mode: str = "RGB", size: int = 400, **options: object) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(data, "PNG", **options)
    return data.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "I;16"])
@pytest.mark.parametrize("missing", [1, 12, 13, 40, 0.04])
def test_a_png_without_its_last_bytes_is_read_with_a_note(tmp_path: Path, mode: str, missing: float) -> None:
    data = png(mode)
    cut = missing if isinstance(missing, int) else int(missing * len(data))
    (tmp_path / "whole.png").write_bytes(data)
    (tmp_path / "cut.png").write_bytes(data[:-cut])
    picture, whole = read_picture(tmp_path / "cut.png"), read_picture(tmp_path / "whole.png")
    assert "is truncated and was read without" in picture.notes[0] and not whole.notes
    assert np.array_equal(picture.pixels[:370], whole.pixels[:370])
    assert lacks_its_end(tmp_path / "cut.png") and not lacks_its_end(tmp_path / "whole.png")


@pytest.mark.parametrize("ending", ["png", "webp", "gif", "tif", "avif", "bmp", "ppm", "jp2"])
@pytest.mark.parametrize("cut", [1, 4, 100, 0.5, 0.99])
def test_a_cut_file_of_any_kind_is_read_or_one_sentence(tmp_path: Path, ending: str, cut: float) -> None:
    whole, short = tmp_path / f"whole.{ending}", tmp_path / f"short.{ending}"
    try:
        Image.fromarray(RGB).resize((300, 200)).save(whole)
    except (KeyError, OSError):
        pytest.skip(f"Pillow writes no {ending} here")
    data = whole.read_bytes()
    short.write_bytes(data[: -cut if isinstance(cut, int) else len(data) - int(cut * len(data))])
    try:
        read = read_picture(short).pixels.astype(int)
    except SemalignError as error:
        assert str(error).startswith(f"{short}: is ") and str(error).endswith("; copy it again or remove the sample.")
    else:
        assert np.mean(read != read_picture(whole).pixels) < 0.1


def test_an_interlaced_png_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(interlaced()[:-40])
    with pytest.raises(SemalignError, match="is truncated or damaged"):
        read_picture(tmp_path / "cut.png")


def interlaced() -> bytes:
    """A PNG that says it is interlaced."""
    data = bytearray(png())
    data[28] = 1
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("after", [b"\0" * 5000, b"\xff\xd8 a second picture", b"padding"])
def test_bytes_after_a_pictures_end_do_no_harm(tmp_path: Path, after: bytes) -> None:
    for name, data in (("a.jpg", jpeg()), ("a.png", png())):
        (tmp_path / name).write_bytes(data + after)
        assert not lacks_its_end(tmp_path / name)
        assert not read_picture(tmp_path / name).notes


def test_the_end_of_a_thumbnail_is_not_the_pictures(tmp_path: Path) -> None:
    whole, thumbnail = jpeg(), jpeg(16)
    head = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = whole[:2] + head + whole[2:]
    (tmp_path / "cut.jpg").write_bytes(data[:-10])
    assert lacks_its_end(tmp_path / "cut.jpg") and read_picture(tmp_path / "cut.jpg").notes
    (tmp_path / "whole.jpg").write_bytes(data + bytes(10))
    assert not lacks_its_end(tmp_path / "whole.jpg")


def test_of_other_files_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    assert not lacks_its_end(tmp_path / "a.gif") and not lacks_its_end(tmp_path / "none.jpg")


def test_a_huge_jpeg_is_decoded_smaller_and_its_frame_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = np.dstack([np.mgrid[0:203, 0:301][0], np.mgrid[0:203, 0:301][1] // 2, np.zeros((203, 301))]).astype(
        np.uint8
    )
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(smooth).save(tmp_path / "p.jpg", progressive=True)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(images, "KEPT_PIXELS", 5_000)
    picture = read_picture(tmp_path / "a.jpg")
    assert (picture.size, picture.scale, picture.pixels.shape) == ((301, 203), 4, (51, 76, 3))
    points = np.array([[1.5, 1.5], [101.5, 53.5]])
    assert np.allclose(picture.to_pixels(points), [[0, 0], [25, 13]])
    assert np.allclose(picture.to_whole(picture.to_pixels(points)), points)
    assert abs(int(picture.pixels[13, 25, 0]) - 53.5) < 3
    for name in ("a.png", "p.jpg"):
        with pytest.raises(SemalignError, match="too many pixels: 0 million"):
            read_picture(tmp_path / name)


def test_what_the_program_has_set_for_pillow_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    COLOURED.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(read_picture(tmp_path / "a.png").pixels, RGB)


@pytest.mark.parametrize("text", ["https://x.org/a.jpg", "http:/x.org/a.jpg", "s3://bucket/a.jpg", "file:///a.jpg"])
def test_an_address_is_no_file(text: str) -> None:
    with pytest.raises(SemalignError, match="is an address"):
        open_picture(text)


def test_heic_is_read_or_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(SemalignError, match=r"pip install 'semalign\[heic\]'"):
        read_picture(tmp_path / "a.heic")
