"""Faces and settings that the tests of synthetic faces share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from semalign.synthetic import Face, FaceSettings, render_face
from semalign.synthetic.render import Geometry, build_geometry
from semalign.synthetic.settings import PROBABILITIES
from semalign.synthetic.traits import Pose, draw_traits


@pytest.fixture(scope="session")
def plain() -> FaceSettings:
    """Small, sharp faces without anything in front of them."""
    return FaceSettings(size=64, noise=0.0, **dict.fromkeys(PROBABILITIES, 0.0))


@pytest.fixture(scope="session")
def faces() -> tuple[Face, ...]:
    """Faces as they come."""
    return tuple(render_face(np.random.default_rng([5, index]), FaceSettings(size=64)) for index in range(40))


@pytest.fixture(scope="session")
def frontal(plain: FaceSettings) -> Face:
    """A face from the front, all of its points visible."""
    settings = replace(plain, max_yaw=0.0, max_pitch=0.0, roll=0.0, expression=0.0, size=128)
    for seed in range(20):
        face = render_face(np.random.default_rng(seed), settings)
        if face.visible.all():
            return face
    raise AssertionError("none of the faces shows all of its points")


@pytest.fixture(scope="session")
def turned() -> Callable[[int, float], Geometry]:
    """Geometry of a seed's head, upright and turned by so many degrees, in images of 128 px."""

    def geometry(seed: int, yaw: float) -> Geometry:
        rng, settings = np.random.default_rng(seed), FaceSettings(size=128)
        traits = draw_traits(rng, settings)
        return build_geometry(rng, replace(traits, pose=Pose(yaw, 0.0, 0.0)), settings)

    return geometry
