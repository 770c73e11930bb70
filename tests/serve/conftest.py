"""A page served by a detector that needs no face finder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from asking import serving
from worlds import NETWORK

from semalign.data.crops import CropSettings
from semalign.models.checkpoint import Model
from semalign.models.hourglass import build_hourglass
from semalign.schemes import load_scheme
from semalign.serve import Service
from semalign.serve.server import PageServer


@dataclass(frozen=True)
class FakeFace:
    points: np.ndarray
    confidence: np.ndarray
    box: tuple[float, float, float, float]
    score: float | None = None


def fake_detector(image: np.ndarray) -> list[FakeFace]:
    """Two faces, the smaller first, where the picture is not black; their points are a spiral."""
    if not image.any():
        return []
    height, width = image.shape[:2]
    turns = np.linspace(0, 6 * np.pi, 68)
    spiral = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.linspace(0.2, 1, 68)[:, None]
    faces = []
    for middle, radius in (((0.8, 0.25), 0.15), ((0.35, 0.5), 0.3)):
        points = np.array(middle) * (width, height) + spiral * radius * min(width, height)
        box = (*points.min(axis=0), *points.max(axis=0))
        faces.append(FakeFace(points, np.linspace(0, 1, 68), box, 0.5))
    return faces


@pytest.fixture(scope="session")
def service() -> Service:
    network = build_hourglass(NETWORK, 68, seed=0).eval()
    model = Model(network, load_scheme("ibug68"), CropSettings(), 1.5, {"terms": "research only"})
    return Service(fake_detector, model, "fake")


@pytest.fixture(scope="session")
def server(service: Service) -> Iterator[PageServer]:
    with serving(service) as opened:
        yield opened
