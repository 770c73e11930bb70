"""Faces that a network sees exactly without training: three soft dots, one in each colour; its heatmaps are the colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from worlds import NETWORK

from semalign.data.crops import CropSettings
from semalign.detect import Detector, DetectorSettings
from semalign.models.checkpoint import Model
from semalign.models.hourglass import StackedHourglass
from semalign.schemes import LandmarkScheme
from semalign.schemes.scheme import Curve

SCHEME = LandmarkScheme("dots", ("red", "green", "blue"), curves=(Curve("edge", (0, 1, 2), closed=True),))
SHAPE = np.array([[-0.5, -0.45], [0.5, -0.45], [0.02, 0.45]])  # of a face, in its sides


class Colours(StackedHourglass):
    """Its heatmaps are the picture's colours, at half the resolution."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(images, 2)]


class Dots:
    """Pictures of dotted faces, and a detector that sees them."""

    scheme = SCHEME

    def points(self, x: float, y: float, side: float) -> np.ndarray:
        """The landmarks of the face around (x, y)."""
        return np.array([x, y]) + side * SHAPE

    def picture(self, faces: Sequence[np.ndarray], size: tuple[int, int] = (200, 160)) -> np.ndarray:
        """A picture (width, height) with the faces of these points."""
        columns, rows = np.arange(size[0]), np.arange(size[1])
        canvas = np.zeros((size[1], size[0], 3))
        for points in faces:
            sigma = 0.08 * np.ptp(points[:, 0])
            for channel, (x, y) in enumerate(points):
                down, across = (
                    np.exp(-((rows - y) ** 2) / (2 * sigma**2)),
                    np.exp(-((columns - x) ** 2) / (2 * sigma**2)),
                )
                canvas[..., channel] = np.maximum(canvas[..., channel], down[:, None] * across)
        return np.rint(255 * canvas).astype(np.uint8)

    def box(self, points: np.ndarray) -> list[float]:
        return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]

    def model(self) -> Model:
        return Model(Colours(NETWORK, 3), SCHEME, CropSettings(), sigma=2.0)

    def detector(self, found: Sequence[Sequence[float]] = (), **settings: float) -> Detector:
        """A detector whose finder always gives the same boxes."""
        boxes = np.array(found, dtype=np.float64).reshape(-1, 4)
        return Detector(self.model(), "cpu", lambda picture: boxes.copy(), DetectorSettings(**settings))  # type: ignore[arg-type]
