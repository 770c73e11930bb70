"""Drawing with sub-pixel coordinates (pixel centres at integers) into 8-bit images, and cheap textures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

SHIFT = 5  # OpenCV takes fixed-point coordinates; this many binary places
AnyColour = Sequence[float] | float


def fixed(points: np.ndarray) -> np.ndarray:
    """Fixed-point coordinates (n, 1, 2) for OpenCV."""
    return np.rint(np.clip(points, -4000, 4000) * (1 << SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def fill(image: np.ndarray, polygon: np.ndarray, colour: AnyColour) -> None:
    """Fill a polygon (n, 2), antialiased."""
    cv2.fillPoly(image, [fixed(polygon)], colour, cv2.LINE_AA, SHIFT)


def stroke(image: np.ndarray, line: np.ndarray, colour: AnyColour, width: float = 1.0, closed: bool = False) -> None:
    """Draw a polyline (n, 2), antialiased; the width is rounded to whole pixels."""
    cv2.polylines(image, [fixed(line)], closed, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def strokes(image: np.ndarray, lines: np.ndarray, colour: AnyColour, width: int = 1) -> None:
    """Draw many polylines (m, n, 2) of one colour."""
    points = np.rint(np.clip(lines, -4000, 4000) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(image, list(points), False, colour, width, cv2.LINE_AA, SHIFT)


def disc(image: np.ndarray, centre: np.ndarray, radius: float, colour: AnyColour) -> None:
    """Fill a circle, antialiased."""
    x, y = np.rint(np.asarray(centre) * (1 << SHIFT)).astype(int)
    cv2.circle(image, (int(x), int(y)), max(1, round(radius * (1 << SHIFT))), colour, -1, cv2.LINE_AA, SHIFT)


def blend(image: np.ndarray, layer: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """image where the mask (h, w) uint8 is 0, layer where it is 255."""
    mask3 = cv2.merge([mask, mask, mask])
    return cv2.add(cv2.multiply(layer, mask3, scale=1 / 255.0), cv2.multiply(image, cv2.bitwise_not(mask3), scale=1 / 255.0))


def band(line: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The outline (2n, 2) of a band about a line (n, 2) with half width (n,)."""
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    return np.concatenate([line + across * width[:, None], (line - across * width[:, None])[::-1]])


def shade(colour: Sequence[float], factor: float) -> tuple[float, float, float]:
    """A colour made darker or lighter."""
    red, green, blue = (min(255.0, max(0.0, value * factor)) for value in colour)
    return red, green, blue


def cloud(rng: np.random.Generator, size: tuple[int, int], cells: int, channels: int = 1) -> np.ndarray:
    """Smooth noise (h, w[, channels]) float32 around 0, roughly -1 to 1, with about `cells` bumps across."""
    small = rng.standard_normal((cells, cells, channels)).astype(np.float32) * np.float32(0.6)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


@lru_cache(maxsize=4)
def fine_noise(size: int = 512) -> np.ndarray:
    """A fixed field of white noise (size, size) int16, standard deviation 64, to cut pieces from."""
    return np.clip(np.random.default_rng(20200).standard_normal((size, size)) * 64.0, -250, 250).astype(np.int16)


@lru_cache(maxsize=8)
def strands(kind: int, size: int = 512) -> np.ndarray:
    """A fixed texture (size, size) float32 around 1 of hair that falls from the middle of its upper third outwards.

    Kind 0 is straight, 1 wavy, 2 curly.
    """
    rng = np.random.default_rng(7000 + kind)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = x - size / 2, y - size / 3
    radius = np.hypot(dx, dy)
    angle = np.arctan2(dx, -dy) / (2 * np.pi)
    if kind:
        angle = angle + (0.006 if kind == 1 else 0.03) * np.sin(radius / (9.0 if kind == 1 else 4.0) + 11 * angle)
    rows, columns = (24, 420) if kind < 2 else (60, 220)
    noise = rng.standard_normal((rows, columns)).astype(np.float32)
    noise = noise + 1.2 * cv2.resize(rng.standard_normal((rows // 3, columns // 6)).astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    map_x = ((angle % 1.0) * (columns - 1)).astype(np.float32)
    map_y = (radius / size * 1.3 * (rows - 1)).astype(np.float32)
    texture = cv2.remap(noise, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    return np.clip(1.0 + 0.17 * texture, 0.45, 1.75).astype(np.float32)
