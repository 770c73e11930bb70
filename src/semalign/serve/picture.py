"""Uploaded bytes as an RGB array, with bounds: few formats, and no more pixels than a photograph has."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from semalign.data.images import upright_rgb
from semalign.errors import SemalignError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 50_000_000


def decode_picture(upload: bytes) -> np.ndarray:
    """The picture (h, w, 3) uint8 RGB, turned as its EXIF orientation says; transparent pixels on black.

    The size is checked on the header, before any pixel is unpacked.

    Raises:
        SemalignError: no picture of a known format, a damaged one, or one with too many pixels.
    """
    try:
        with Image.open(io.BytesIO(upload), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large()
            return np.array(upright_rgb(image), dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except UnidentifiedImageError:
        raise SemalignError(f"this is no picture that can be read; use one of {', '.join(FORMATS)}.") from None
    except (OSError, ValueError, SyntaxError, EOFError):
        raise SemalignError("the picture is truncated or damaged; use another copy.") from None


def _too_large() -> SemalignError:
    return SemalignError(f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller.")
