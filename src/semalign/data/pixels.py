"""Numbers of any kind as a picture: what the largest of them says about the range, and 8-bit RGB of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from semalign.errors import SemalignError
from semalign.shapes import UInt8

RANGES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_SLACK = 0.05  # of the range, that resampled pictures overshoot


def to_rgb8(pixels: Any, name: str = "an image", levels: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """The picture as 8-bit RGB, with transparency shown on black.

    Args:
        pixels: (h, w) or (h, w, 1) grey, (h, w, 3) RGB, (h, w, 4) RGBA. Bytes are taken as they are, truth values as black
            and white. Other whole numbers span 0 to the smallest of 255, 1023, 4095, 16383 and 65535 that holds them all;
            so do floating-point numbers, unless none is above 1: then they span 0 to 1.
        name: of the picture, for the message.
        levels: the largest value that the numbers can have, where it is known.

    Raises:
        SemalignError: another shape; no numbers; negative, infinite or larger ones, or NaN.
    """
    array = np.asarray(pixels)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        hint = ", channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise SemalignError(f"{name} has the shape {np.shape(pixels)}; give (h, w, 3), (h, w) or (h, w, 4){hint}.")
    array = _to_bytes(array, name, levels)
    if array.shape[2] == 4:
        array = (array[..., :3] * (array[..., 3:] / np.float32(255)) + np.float32(0.5)).astype(np.uint8)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def _to_bytes(array: np.ndarray, name: str, levels: int | None) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise SemalignError(f"{name} has values of type {array.dtype}; give numbers, such as uint8 from 0 to 255.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SemalignError(f"{name} has values that are no finite numbers; give 0 to 1 or 0 to 255.")
    whole = array.dtype.kind != "f"
    slack = 0.0 if whole else _SLACK
    ranges = (levels,) if levels is not None else RANGES if whole else (1, *RANGES)
    top = next((top for top in ranges if high <= top * (1 + slack)), None)
    if top is None or low < -slack * top:
        raise SemalignError(f"{name} has values from {low:g} to {high:g}; give 0 to 1, or 0 to 255 (up to 65535).")
    if top == 255 and whole:
        return array.astype(np.uint8)
    scaled = np.multiply(array, np.float32(255 / top), dtype=np.float32 if array.dtype.itemsize <= 4 else np.float64)
    return np.clip(scaled + np.float32(0.5), 0, 255).astype(np.uint8)
