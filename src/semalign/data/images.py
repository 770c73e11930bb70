"""Pictures as RGB arrays: files, Pillow images and arrays by one way, upright and of 8 bits; or a sentence on what is wrong.

Nothing here depends on or changes what Pillow is set to for the whole program.
"""

from __future__ import annotations

import io
import logging
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from semalign.data.archives import open_file
from semalign.data.endings import completed
from semalign.data.pixels import to_rgb8
from semalign.errors import SemalignError
from semalign.files import reason
from semalign.shapes import Float, UInt8

ENDINGS = frozenset(
    [".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"]
    + [".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)
# Of Pillow's kinds those that are only decoded: no other program is started (EPS), and no further file is opened.
DECODED = frozenset(
    [
        "AVIF",
        "BMP",
        "DIB",
        "GIF",
        "ICO",
        "JPEG",
        "JPEG2000",
        "MPO",
        "PCX",
        "PNG",
        "PPM",
        "QOI",
        "SGI",
        "TGA",
        "TIFF",
        "WEBP",
    ]
)
MOST_PIXELS = 178_956_970  # that are decoded at once; a JPEG with more is decoded smaller, other files are refused
KEPT_PIXELS = 60_000_000  # of a JPEG that is decoded smaller
_ORIENTATION = 0x0112  # EXIF tag
_TURNED = (5, 6, 7, 8)  # its values that exchange width and height
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_LOG = logging.getLogger(__name__)
PNG_LEVELS = 65535  # largest value of a PNG of more than 8 bits

Source = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was read.

    Attributes:
        pixels: RGB, upright.
        scale: sides of a whole picture's pixel that one of `pixels` has, 1 unless it was decoded smaller.
        size: (width, height) of the whole picture.
        notes: sentences on what was wrong but did not keep it from being read.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    scale: int
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    def to_pixels(self, points: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 2"]:
        """Points (or corners) of the whole picture in `pixels`; pixel centres are integers in both."""
        return points if self.scale == 1 else (points + 0.5) / self.scale - 0.5

    def to_whole(self, points: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 2"]:
        """The other way."""
        return points if self.scale == 1 else (points + 0.5) * self.scale - 0.5


def open_picture(image: Source | Picture) -> Picture:
    """A picture from a file, a Pillow image or an array (`semalign.data.pixels.to_rgb8`).

    Of a file with several frames it is the first, of a Pillow image the current one.

    Raises:
        SemalignError: a file that cannot be read, or what is no picture.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, str | Path):
        return read_picture(image)
    if isinstance(image, Image.Image):
        try:
            pixels = np.array(upright_rgb(image), dtype=np.uint8)
        except (OSError, ValueError, SyntaxError) as error:
            raise SemalignError(
                f"the Pillow image cannot be read ({reason(error)}); load it first, or give its file."
            ) from error
    else:
        pixels = to_rgb8(image)
    return Picture(pixels, 1, (pixels.shape[1], pixels.shape[0]))


def read_picture(path: str | Path, reduce: int = 1, file: io.BufferedIOBase | None = None) -> Picture:
    """A picture from a file, turned as its EXIF orientation says; as `read_image`, with its scale and notes.

    Args:
        path: the file, or what is called so in messages.
        reduce: as `read_image`.
        file: what is read instead.

    Raises:
        SemalignError: as `read_image`.
    """
    notes: list[str] = []
    with _opened(path, notes, file) as image:
        width, height = image.size
        scale = 1
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            scale = _draft(image, reduce, path)
        elif width * height > MOST_PIXELS:
            raise _too_large(path, width * height)
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        pixels = np.array(upright_rgb(image), dtype=np.uint8)
    return Picture(pixels, scale, (height, width) if turned else (width, height), tuple(notes))


def read_image(path: str | Path, reduce: int = 1) -> np.ndarray:
    """The image (h, w, 3) uint8 RGB, turned as its EXIF orientation says.

    Grey images become RGB, transparent pixels are shown on black, values of more bits are scaled to 8
    (`semalign.data.pixels.to_rgb8`), of several frames the first is read. A JPEG or PNG that lacks its last bytes is read as
    far as it goes, which is logged. With `reduce` above 1, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, not below
    1/reduce, which is faster; other formats ignore it. A JPEG of more than MOST_PIXELS is always decoded smaller.

    Raises:
        SemalignError: the file is missing, empty, truncated, unreadable, too large or no image.
    """
    picture = read_picture(path, reduce)
    for note in picture.notes:
        _LOG.warning("%s", note)
    return picture.pixels


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels after EXIF orientation, from the file's header alone.

    Raises:
        SemalignError: the file is missing, empty, unreadable, too large or no image.
    """
    with _opened(path, None) as image:
        width, height = image.size
        if width * height > MOST_PIXELS and not isinstance(image, JpegImagePlugin.JpegImageFile):
            raise _too_large(path, width * height)  # which to ask for the orientation may have decoded
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return (height, width) if turned else (width, height)


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, in 8-bit RGB.

    Levels of more bits are scaled, which a conversion would clip: those of a PNG span 16 bits, of other files what their
    largest says (`to_rgb8`). Transparent pixels are shown on black.
    """
    levels = PNG_LEVELS if image.format == "PNG" else None
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_rgb8(np.asarray(image), levels=levels))
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return Image.fromarray(to_rgb8(np.asarray(image.convert("RGBA"))))
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        changed = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert changed is not None
        return changed
    return image.convert("RGB")


def refuse_address(text: str | Path) -> None:
    """Refuse what is an address of the network and not a file.

    Raises:
        SemalignError: it is one.
    """
    if _ADDRESS.match(str(text)) and not re.match(r"[a-zA-Z]:[/\\]", str(text)):
        raise SemalignError(
            f"{text}: is an address, and nothing is fetched from the network; download it and give the file."
        )


def _draft(image: JpegImagePlugin.JpegImageFile, reduce: int, path: str | Path) -> int:
    """Have a JPEG decoded smaller where that is asked for or needed; returns by how much, 1, 2, 4 or 8."""
    pixels = image.width * image.height
    needed = 1
    if pixels > MOST_PIXELS:
        if image.info.get("progressive"):
            raise _too_large(path, pixels, "a progressive JPEG")
        needed = next((factor for factor in (2, 4, 8) if pixels / factor**2 <= KEPT_PIXELS), 0)
        if not needed:
            raise _too_large(path, pixels, "a JPEG")
    wanted = max(needed, *(factor for factor in (1, 2, 4, 8) if factor <= reduce))
    if wanted > 1:
        image.draft(None, (image.width // wanted, image.height // wanted))
    return wanted


def _too_large(path: str | Path, pixels: int, kind: str = "a picture of this kind") -> SemalignError:
    most = KEPT_PIXELS * 64 if kind == "a JPEG" else MOST_PIXELS
    return SemalignError(
        f"{path}: has too many pixels: {pixels / 1e6:.0f} million, {kind} may have {most / 1e6:.0f}; "
        "shrink it, or save it as a baseline JPEG."
    )


@contextmanager
def _opened(path: str | Path, notes: list[str] | None, file: io.BufferedIOBase | None = None) -> Iterator[Image.Image]:
    """The opened image; whatever goes wrong inside the block becomes one sentence about the file.

    With `notes` the image is loaded later, and a JPEG or PNG that lacks its last bytes is completed and noted.
    """
    if file is None:
        refuse_address(path)
    try:
        with open_file(path) if file is None else file as file:
            whole, lacks = (file, "") if notes is None else completed(file, MOST_PIXELS)
            if lacks and notes is not None:
                notes.append(f"{path}: is truncated and was read without {lacks}; copy it again if that matters.")
            empty = not whole.read(1)
            whole.seek(0)
            with _identified(whole, path) as image:
                yield image
    except (FileNotFoundError, NotADirectoryError):
        raise SemalignError(f"{path}: there is no such image; check the path.") from None
    except UnidentifiedImageError:
        what = "is empty" if empty else "is no image that can be read"
        raise SemalignError(f"{path}: {what}; copy it again or remove the sample.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions."
        ) from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        struct.error,
        cv2.error,
        MemoryError,
        RuntimeError,
        Image.DecompressionBombError,
    ) as error:
        raise SemalignError(
            f"{path}: is truncated or damaged ({reason(error)}); copy it again or remove the sample."
        ) from error


def _identified(file: Any, path: str | Path) -> Image.Image:
    """The image, not yet decoded: as Pillow opens it, but for its limit on pixels, which is a setting of the whole program."""
    head = file.read(32)
    if not head:
        raise UnidentifiedImageError
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return _open_heif(file, path)
    for prepare in (Image.preinit, Image.init):
        prepare()
        for name in Image.ID:
            if name not in DECODED:
                continue
            factory, accepts = Image.OPEN[name]
            if accepts is not None and accepts(head[:16]) is not True:
                continue
            file.seek(0)
            try:
                return JpegImagePlugin.JpegImageFile(file) if name == "JPEG" else factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    file.seek(0)
    return _open_tiff(file.read(), head)


def _open_tiff(data: bytes, head: bytes) -> Image.Image:
    """A TIFF of a kind that Pillow does not know, such as RGB of 16 bits or of floating-point numbers."""
    if head[:4] in (b"II*\0", b"MM\0*"):
        if _tiff_pixels(data) > MOST_PIXELS:
            raise ValueError("a TIFF file of too many pixels, or one that does not say how many")
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None:
            order = [2, 1, 0, 3][: pixels.shape[2]] if pixels.ndim == 3 else ...
            return Image.fromarray(to_rgb8(pixels[..., order] if pixels.ndim == 3 else pixels))
        raise ValueError("a TIFF file that no decoder can read")
    raise UnidentifiedImageError


def _tiff_pixels(data: bytes) -> float:
    """How many pixels a TIFF says its first picture has; infinitely many where it does not say."""
    order = "<" if data[:2] == b"II" else ">"
    sides = {}
    try:
        (place,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        for index in range(count):
            tag, kind = struct.unpack_from(f"{order}HH", data, place + 2 + 12 * index)
            if tag in (256, 257) and kind in (3, 4):
                (sides[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, place + 10 + 12 * index)
    except struct.error:
        return math.inf
    return sides[256] * sides[257] if len(sides) == 2 else math.inf


def _open_heif(file: Any, path: str | Path) -> Image.Image:
    """A HEIC picture, which another package decodes; it turns it upright itself."""
    try:
        import pillow_heif
    except ImportError as error:
        raise SemalignError(
            f"{path}: is a HEIC picture; install what reads it with: pip install 'semalign[heic]'"
        ) from error
    file.seek(0)
    image: Image.Image = pillow_heif.open_heif(file, convert_hdr_to_8bit=True).to_pillow()
    return image
