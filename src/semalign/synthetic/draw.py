"""Drawing with sub-pixel coordinates (pixel centres at integers) into 8-bit images, and cheap textures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

SHIFT = 5  # OpenCV takes fixed-point coordinates; this many binary places
SPILL = 0.62  # OpenCV's antialiased polygons reach this many pixels beyond their outline
Paint = Sequence[float] | float  # a colour, or a grey level for an image of one channel
TURN = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)


def _lines(points: np.ndarray) -> list[np.ndarray]:
    """A line (n, 2) or several (m, n, 2) as OpenCV takes them, rounded to the nearest where they are not negative."""
    fixed = (points * (1 << SHIFT) + 0.5).astype(np.int32)
    return [fixed] if fixed.ndim == 2 else list(fixed)


def fill(image: np.ndarray, polygon: np.ndarray, colour: Paint) -> None:
    """Fill a polygon (n, 2), or several (m, n, 2) that do not overlap, antialiased; they come out larger by SPILL."""
    cv2.fillPoly(image, _lines(polygon), colour, cv2.LINE_AA, SHIFT)


def fill_exactly(image: np.ndarray, polygon: np.ndarray, colour: Paint) -> None:
    """Fill a smooth, dense polygon (n, 2), antialiased, so that its edge lies on the outline."""
    after, before = np.concatenate([polygon[1:], polygon[:1]]), np.concatenate([polygon[-1:], polygon[:-1]])
    along = after - before
    clockwise = float((polygon[:, 0] * along[:, 1] - polygon[:, 1] * along[:, 0]).sum()) > 0
    fill(image, polygon + (SPILL if clockwise else -SPILL) * _normals(along), colour)


def stroke(image: np.ndarray, line: np.ndarray, colour: Paint, width: float = 1.0, closed: bool = False) -> None:
    """Draw a polyline (n, 2), or several (m, n, 2), antialiased; the width is rounded to whole pixels."""
    cv2.polylines(image, _lines(line), closed, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def disc(image: np.ndarray, centre: np.ndarray, radius: float, colour: Paint) -> None:
    """Fill a circle, antialiased."""
    one = 1 << SHIFT
    place = round(float(centre[0]) * one), round(float(centre[1]) * one)
    cv2.circle(image, place, max(1, round(radius * one)), colour, -1, cv2.LINE_AA, SHIFT)


def flat(shape: tuple[int, ...], colour: Paint) -> np.ndarray:
    """An image (h, w, 3) or (h, w) uint8 of one colour."""
    image = np.empty(shape, np.uint8)
    cv2.rectangle(image, (0, 0), (shape[1], shape[0]), colour, -1)
    return image


def blend(image: np.ndarray, layer: np.ndarray, mask: np.ndarray) -> None:
    """Lay the layer (h, w, 3) over the image, in place, as far as the mask (h, w) uint8 says: 0 nothing, 255 all."""
    mask3 = cv2.merge([mask, mask, mask])
    over = cv2.multiply(layer, mask3, scale=1 / 255.0)
    cv2.add(over, cv2.multiply(image, cv2.bitwise_not(mask3), scale=1 / 255.0), dst=image)


def darken(image: np.ndarray, shadow: np.ndarray) -> None:
    """Multiply the image (h, w, 3) by 1 - shadow / 255, in place."""
    keep = cv2.bitwise_not(shadow)
    cv2.multiply(image, cv2.merge([keep, keep, keep]), scale=1 / 255.0, dst=image)


def soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur (h, w), cheap for large σ: made on a smaller copy."""
    step = max(1, int(sigma / 1.2))
    if step == 1:
        return cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.1))
    small = cv2.resize(
        mask, (max(2, mask.shape[1] // step), max(2, mask.shape[0] // step)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)


def band(line: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """The outline (2n, 2) of a band about a line (n, 2) with half width (n,)."""
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    across = np.asarray(width)[..., None] * _normals(along)
    return np.concatenate([line + across, (line - across)[::-1]])


def _normals(along: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 2) that stand upright on others: to the inside of a clockwise outline, y being down."""
    across = np.empty_like(along)
    across[:, 0], across[:, 1] = -along[:, 1], along[:, 0]
    across /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    return across


def rounded(square: float) -> np.ndarray:
    """A closed shape (72, 2) from -1 to 1: 2 gives a circle, the more the nearer to a square."""
    return np.sign(CIRCLE) * np.abs(CIRCLE) ** (2.0 / square)


def shade(colour: Sequence[float], factor: float) -> tuple[float, float, float]:
    """A colour made darker or lighter."""
    red, green, blue = colour
    return min(255.0, red * factor), min(255.0, green * factor), min(255.0, blue * factor)


def cloud(rng: np.random.Generator, shape: tuple[int, int], cells: int, channels: int = 1) -> np.ndarray:
    """Smooth noise (h, w[, channels]) float32 around 0, roughly -1 to 1, with about `cells` bumps across."""
    small = rng.standard_normal((cells, cells, channels), dtype=np.float32) * np.float32(0.6)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


@lru_cache(maxsize=4)
def grain(size: int = 512, channels: int = 1) -> np.ndarray:
    """A fixed field of white noise (size, size[, channels]) uint8, mean 128, standard deviation 32, to cut from."""
    field = np.random.default_rng(20200).standard_normal((size, size, channels)) * 32.0 + 128.0
    return np.ascontiguousarray(np.clip(np.rint(field), 0, 255).astype(np.uint8).squeeze())


@lru_cache(maxsize=4)
def strands(kind: str, size: int = 512) -> np.ndarray:
    """A fixed texture (size, size) uint8 around 128 of hair that falls from the middle of its upper edge outwards.

    Kinds: "straight", "wavy", "curly".
    """
    rng = np.random.default_rng({"straight": 7000, "wavy": 7001, "curly": 7002}[kind])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = x - size / 2, y + size / 8
    radius = np.hypot(dx, dy)
    angle = np.arctan2(dx, dy) / np.pi + 0.5
    swing, pace = {"straight": (0.004, 30.0), "wavy": (0.012, 14.0), "curly": (0.05, 4.0)}[kind]
    angle = angle + swing * np.sin(radius / pace + 31 * angle)
    rows, columns = (70, 260) if kind == "curly" else (16, 560)
    fine = rng.standard_normal((rows, columns)).astype(np.float32)
    coarse = rng.standard_normal((rows // 4, columns // 9)).astype(np.float32)
    locks = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    map_x = (np.clip(angle, 0, 1) * (columns - 1)).astype(np.float32)
    map_y = (radius / (1.3 * size) * (rows - 1)).astype(np.float32)
    texture = cv2.remap(0.75 * fine + 1.1 * locks, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.clip(128.0 + 17.0 * texture, 60, 215).astype(np.uint8)
