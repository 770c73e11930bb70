"""Image files as RGB arrays: EXIF-oriented, 8 bits, or a sentence that says what is wrong with the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from semalign.errors import SemalignError

_ORIENTATION = 0x0112  # EXIF tag
_TURNED = (5, 6, 7, 8)  # its values that exchange width and height


def read_image(path: str | Path, reduce: int = 1) -> np.ndarray:
    """The image (h, w, 3) uint8 RGB, turned as its EXIF orientation says.

    Grey images become RGB, transparent pixels are shown on black, 16-bit grey levels are scaled to 8 bits. With
    `reduce` above 1, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, not below 1/reduce, which is faster; other
    formats ignore it.

    Raises:
        SemalignError: the file is missing, empty, truncated, unreadable or no image.
    """
    with _opened(path) as image:
        if reduce > 1:
            image.draft(None, (image.width // reduce, image.height // reduce))
        upright = ImageOps.exif_transpose(image)
        return np.array(to_rgb(upright), dtype=np.uint8)


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels after EXIF orientation, from the file's header alone.

    Raises:
        SemalignError: the file is missing, empty, unreadable or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return (height, width) if turned else (width, height)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """The opened image; whatever goes wrong inside the block becomes one sentence about the file."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise SemalignError(f"{path}: there is no such image; check the path.") from None
    except UnidentifiedImageError:
        empty = Path(path).stat().st_size == 0
        what = "is empty" if empty else "is no image that can be read"
        raise SemalignError(f"{path}: {what}; copy it again or remove the sample.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions."
        ) from error
    except Image.DecompressionBombError:
        raise SemalignError(f"{path}: has too many pixels to be a photograph; remove or shrink it.") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise SemalignError(
            f"{path}: is truncated or damaged ({error}); copy it again or remove the sample."
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB: 16-bit grey levels are scaled, which a conversion would clip; transparent pixels are shown on black."""
    if image.mode.startswith("I"):  # 16-bit grey, which older libraries give as 32-bit integers
        levels = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(levels, 0, 65535) / 257.0 + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (0, 0, 0, 255)), pixels).convert("RGB")
    return image.convert("RGB")
