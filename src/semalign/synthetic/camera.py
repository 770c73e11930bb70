"""From the scene to a photograph: resolution, focus, exposure, noise, compression. Nothing here moves a point."""

from __future__ import annotations

import cv2
import numpy as np

from semalign.synthetic.draw import grain
from semalign.synthetic.settings import FaceSettings


def photograph(rng: np.random.Generator, scene: np.ndarray, settings: FaceSettings) -> np.ndarray:
    """The image (size, size, 3) uint8 of a scene drawn at a whole multiple of that size."""
    size = settings.size
    image = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < settings.low_resolution:
        image = _enlarged(rng, image)
    if rng.random() < settings.blur:
        image = _blurred(rng, image)
    image = _exposed(rng, image, grey=rng.random() < settings.grey)
    image = _grainy(rng, image, rng.uniform(0.0, settings.noise))
    if rng.random() < settings.compression:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 55))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def _enlarged(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """As if it had been taken with a third to three quarters of the pixels."""
    size = image.shape[0]
    side = round(size * rng.uniform(0.35, 0.75))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    smooth = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return cv2.resize(small, (size, size), interpolation=smooth)


def _blurred(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Out of focus, or moved during the exposure; both symmetrical, so that edges stay where they are."""
    if rng.random() < 0.65:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6) * image.shape[0] / 144)
    side = 2 * int(rng.integers(1, 4)) + 1
    kernel = np.zeros((side, side), np.float32)
    turn, middle = rng.uniform(0, np.pi), side // 2
    reach = middle * np.array([np.cos(turn), np.sin(turn)])
    for share in np.linspace(-1, 1, 4 * side + 1):
        x, y = np.rint(middle + share * reach).astype(int)
        kernel[y, x] = 1.0
    kernel += kernel[::-1, ::-1]
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _exposed(rng: np.random.Generator, image: np.ndarray, grey: bool) -> np.ndarray:
    """Exposed half-way towards a medium grey in its middle; contrast, colour cast and saturation vary."""
    size = image.shape[0]
    middle = image[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4]
    brightness = max(cv2.mean(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY))[0], 8.0)
    gain = (118.0 / brightness) ** 0.5 * np.exp(rng.normal(0.0, 0.12))
    contrast, cast = (
        np.exp(rng.normal(0.08, 0.1)),
        np.exp(rng.normal(0.0, 0.035) * np.array([1.0, 0.0, -1.0]) + rng.normal(0.0, 0.015, 3)),
    )
    saturation = 0.0 if grey else float(np.clip(rng.normal(1.08, 0.15), 0.4, 1.4))
    weights = np.array([0.299, 0.587, 0.114])
    colour = saturation * np.eye(3) + (1.0 - saturation) * weights
    if not grey:
        colour *= cast[:, None]
    matrix = np.column_stack([gain * contrast * colour, np.full(3, 105.0 * (1.0 - contrast))])
    return cv2.transform(image, matrix)


def _grainy(rng: np.random.Generator, image: np.ndarray, deviation: float) -> np.ndarray:
    size = image.shape[0]
    field = grain(max(512, 2 * size), channels=3)
    y, x = (int(value) for value in rng.integers(0, len(field) - size + 1, 2))
    weight = deviation / 32.0
    return cv2.addWeighted(image, 1.0, field[y : y + size, x : x + size], weight, -128.0 * weight)
