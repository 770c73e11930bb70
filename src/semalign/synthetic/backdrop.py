"""What stands behind the person, mostly out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from semalign.synthetic.draw import CIRCLE, cloud, disc, fill, shade, stroke
from semalign.synthetic.traits import Colour, muted_colours

KINDS = ("studio", "wall", "foliage", "lights", "room", "room", "crowd")


def backdrop(rng: np.random.Generator, side: int) -> np.ndarray:
    """A picture (side, side, 3) uint8, drawn with two to five times fewer pixels each way and enlarged."""
    extent = -(-side // int(rng.integers(2, 6)))
    colours = muted_colours(rng, 8)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    image = _gradient(rng, extent, colours)
    if kind == "wall":
        _stripes(rng, image, colours)
    elif kind == "foliage":
        _foliage(rng, image)
    elif kind == "lights":
        _lights(rng, image)
    elif kind == "room":
        _furniture(rng, image, colours)
    elif kind == "crowd":
        _crowd(rng, image, colours)
    if kind != "studio" and extent * 3 < side:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def _gradient(rng: np.random.Generator, extent: int, colours: list[Colour]) -> np.ndarray:
    """From one colour to a related one, with uneven light."""
    corners = np.array(colours[0]) * rng.uniform(0.55, 1.25, (4, 1)) + rng.normal(0, 4, (4, 3))
    small = cv2.resize(corners.reshape(2, 2, 3), (16, 16), interpolation=cv2.INTER_LINEAR)
    small *= 1.0 + rng.uniform(0.02, 0.1) * cloud(rng, (16, 16), int(rng.integers(3, 8)))[..., None]
    return cv2.resize(np.clip(small, 0, 255).astype(np.uint8), (extent, extent), interpolation=cv2.INTER_CUBIC)


def _stripes(rng: np.random.Generator, image: np.ndarray, colours: list[Colour]) -> None:
    """Panels, blinds or bricks."""
    extent = image.shape[0]
    pitch, width = rng.uniform(0.06, 0.3) * extent, rng.uniform(0.005, 0.03) * extent
    colour = shade(colours[0], (0.6, 0.8, 1.2)[int(rng.integers(3))])
    upright = rng.random() < 0.6
    lean = rng.normal(0, 0.04) * extent
    for at in np.arange(rng.uniform(0, pitch), extent, pitch):
        ends = np.array([(at, 0.0), (at + lean, extent)])
        stroke(image, ends if upright else ends[:, ::-1], colour, max(1.0, width))


def _foliage(rng: np.random.Generator, image: np.ndarray) -> None:
    extent = image.shape[0]
    shape = (extent, extent)
    green = np.array([0.62, 0.75, 0.38]) ** rng.uniform(0.4, 1.3) * rng.uniform(60, 190)
    leaves = np.clip(1.0 + 0.45 * cloud(rng, shape, 30) + 0.5 * cloud(rng, shape, 9), 0.1, 2.2)
    image[:] = cv2.merge([cv2.convertScaleAbs(leaves, alpha=float(value)) for value in green])


def _lights(rng: np.random.Generator, image: np.ndarray) -> None:
    """Lamps out of focus before the dark."""
    extent = image.shape[0]
    cv2.multiply(image, (0.4, 0.4, 0.4, 0.0), dst=image)
    glow = np.zeros_like(image)
    warm = np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)])
    for x, y, radius, power in rng.uniform((0, 0, 0.02, 40), (1, 1, 0.08, 190), (14, 4)):
        disc(glow, np.array([x, y]) * extent, radius * extent, (warm * power).tolist())
    cv2.add(image, cv2.GaussianBlur(glow, (3, 3), 0), dst=image)


def _furniture(rng: np.random.Generator, image: np.ndarray, colours: list[Colour]) -> None:
    """Doors, windows, shelves, pictures: upright rectangles, and some lines."""
    extent = image.shape[0]
    for _ in range(int(rng.integers(3, 10))):
        centre, size = rng.uniform(0, extent, 2), rng.uniform(0.03, 0.35, 2) * extent
        turn = rng.normal(0, 0.05)
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size @ spin + centre
        colour = shade(colours[int(rng.integers(1, 8))], rng.uniform(0.6, 1.1))
        fill(image, corners, colour)
        if rng.random() < 0.5:
            stroke(image, np.concatenate([corners, corners[:1]]), shade(colour, 0.6), 0.015 * extent)


def _crowd(rng: np.random.Generator, image: np.ndarray, colours: list[Colour]) -> None:
    """Heads and shoulders of people far behind."""
    extent = image.shape[0]
    for x in rng.permutation(np.linspace(-0.1, 1.1, 6)):
        x, y, size = x * extent, rng.uniform(0.1, 0.7) * extent, rng.uniform(0.06, 0.12) * extent
        fill(image, CIRCLE[::3] * (2.3 * size, 3.2 * size) + (x, y + 4.2 * size), colours[int(rng.integers(1, 8))])
        skin = shade((215, 165, 135), rng.uniform(0.35, 0.95))
        fill(image, CIRCLE[::3] * (1.12 * size, 1.3 * size) + (x, y - 0.25 * size), rng.uniform(20, 90, 3).tolist())
        fill(image, CIRCLE[::3] * (0.85 * size, 1.15 * size) + (x, y + 0.15 * size), skin)
    cv2.GaussianBlur(image, (0, 0), 0.02 * extent, dst=image)
