"""From the finished scene to a photograph: resolution, focus, sensor noise, compression. Nothing here moves a point."""

from __future__ import annotations

import cv2
import numpy as np

from semalign.synthetic.draw import fine_noise
from semalign.synthetic.settings import FaceSettings


def photograph(rng: np.random.Generator, scene: np.ndarray, settings: FaceSettings) -> np.ndarray:
    """The image (size, size, 3) uint8 of a scene drawn at a whole multiple of that size."""
    size = settings.size
    image = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < settings.low_resolution:
        side = round(size * rng.uniform(0.35, 0.75))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC)
    if rng.random() < settings.blur:
        image = _defocus(rng, image)
    contrast, brightness = rng.normal(1.0, 0.08), rng.normal(0.0, 7.0)
    image = cv2.convertScaleAbs(cv2.max(cv2.addWeighted(image, contrast, image, 0.0, 128 * (1 - contrast) + brightness, dtype=cv2.CV_16S), 0))
    if rng.random() < settings.grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    strength = rng.uniform(0.0, settings.noise)
    field = fine_noise(max(512, 2 * size))
    grain = np.stack([field[y : y + size, x : x + size] for y, x in rng.integers(0, len(field) - size + 1, (3, 2))], axis=2)
    image = cv2.addWeighted(image, 1.0, np.ascontiguousarray(grain), strength / 64.0, 0.0, dtype=cv2.CV_8U) if False else cv2.add(
        image, (grain * np.float32(strength / 64.0)), dtype=cv2.CV_8U
    )
    if rng.random() < settings.compression:
        quality = int(rng.integers(18, 55))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def _defocus(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
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
    kernel = kernel + kernel[::-1, ::-1]
    return cv2.filter2D(image, -1, kernel / kernel.sum())
