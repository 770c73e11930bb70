"""Annotation noise: people who mark the same points a little differently, above all along smooth curves.

An annotator's mark deviates from the truth by sliding along the curve on which the point lies (in step with the neighbouring
points, and each point for itself) and a little in every direction. Part of it is habit, the same in every face. Points that
cannot be seen are guessed, with larger deviations. All magnitudes are in % of the outer-eye distance of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from semalign.synthetic.polyline import arc_length, point_at
from semalign.synthetic.render import Face, FaceCurve
from semalign.synthetic.settings import GroupNoise, NoiseSettings

OUTER_EYES = (36, 45)
STRONG = (17, 21, 22, 26, 30, 31, 33, 35, 36, 39, 42, 45, 48, 50, 51, 52, 54, 57, 60, 62, 64, 66)
# Landmarks that share their sliding, which group's noise they have, and whether they go round.
CURVES: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    ("jaw", tuple(range(17)), False),
    ("brows", tuple(range(17, 22)), False),
    ("brows", tuple(range(22, 27)), False),
    ("nose", tuple(range(27, 31)), False),
    ("nose", tuple(range(31, 36)), False),
    ("eyes", tuple(range(36, 42)), True),
    ("eyes", tuple(range(42, 48)), True),
    ("mouth", tuple(range(48, 60)), True),
    ("mouth", tuple(range(60, 68)), True),
)


@dataclass(frozen=True)
class Annotator:
    """One person's habits, in % of the outer-eye distance."""

    index: int
    slide: np.ndarray  # (68,) along the curve
    shift: np.ndarray  # (68, 2) along the face's own right and down


def make_annotators(count: int, seed: int, settings: NoiseSettings | None = None) -> tuple[Annotator, ...]:
    """`count` annotators; number k of a seed is the same whatever the count."""
    settings = settings or NoiseSettings()
    share = np.sqrt(settings.habit)
    people = []
    for index in range(count):
        slide, shift = _deviation(np.random.default_rng([seed, index, 1]), settings)
        people.append(Annotator(index, share * slide, share * shift))
    return tuple(people)


def annotate(face: Face, annotator: Annotator, rng: np.random.Generator, settings: NoiseSettings | None = None) -> np.ndarray:
    """The points (68, 2) float64 that the annotator marks in the face, in pixels of its image."""
    settings = settings or NoiseSettings()
    slide, shift = _deviation(rng, settings)
    rest = np.sqrt(1.0 - settings.habit)
    guess = np.where(face.visible, 1.0, settings.occluded)
    right = face.points[OUTER_EYES[1]] - face.points[OUTER_EYES[0]]
    percent = float(np.hypot(right[0], right[1])) / 100.0
    right /= 100.0 * percent
    slide = (annotator.slide + rest * slide) * guess * percent
    shift = (annotator.shift + rest * shift) * guess[:, None] * percent
    marked = np.empty_like(face.points)
    for curve in face.curves:
        marked[list(curve.landmarks)] = _slid(curve, slide[list(curve.landmarks)])
    return marked + shift[:, :1] * right + shift[:, 1:] * (-right[1], right[0])


def _deviation(rng: np.random.Generator, settings: NoiseSettings) -> tuple[np.ndarray, np.ndarray]:
    """One draw of the sliding (68,) and of the rest (68, 2), in % of the outer-eye distance."""
    slide, shift = np.empty(68), np.empty((68, 2))
    for name, landmarks, closed in CURVES:
        group: GroupNoise = getattr(settings, name)
        index, count = list(landmarks), len(landmarks)
        together = _correlation(count, closed, settings.reach) @ rng.standard_normal(count)
        slide[index] = group.shared * together + group.own * rng.standard_normal(count)
        shift[index] = group.spread * rng.standard_normal((count, 2))
    slide[list(STRONG)] *= settings.strong
    return settings.scale * slide, settings.scale * shift


@lru_cache(maxsize=32)
def _correlation(count: int, closed: bool, reach: float) -> np.ndarray:
    """The matrix that turns white noise into noise of variance 1 that neighbours share."""
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count))).astype(float)
    if closed:
        apart = np.minimum(apart, count - apart)
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (apart / reach) ** 2))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return root / np.linalg.norm(root, axis=1, keepdims=True)


def _slid(curve: FaceCurve, slide: np.ndarray) -> np.ndarray:
    """The curve's landmarks moved along it by `slide` pixels."""
    position = curve.positions + slide
    if curve.closed:
        position = position % arc_length(curve.line)[-1]
    return point_at(curve.line, position)
