"""Annotation noise: people who mark the same points a little differently, above all along smooth curves.

An annotator's mark deviates from the truth by sliding along the curve on which the point lies (in step with the
neighbouring points, and each point for itself) and a little in every direction. Part of it is habit, the same in every
face. Points that cannot be seen are guessed, with larger deviations. All magnitudes are in % of the outer-eye distance
of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from semalign.synthetic.render import SCHEME, Face
from semalign.synthetic.settings import GroupNoise, NoiseSettings

REGION = {  # of each curve
    curve.name: name
    for curve in SCHEME.curves
    for name, members in SCHEME.regions.items()
    if curve.landmarks[0] in members
}


@dataclass(frozen=True)
class Annotator:
    """One person's habits, in % of the outer-eye distance."""

    index: int
    slide: Float[np.ndarray, " 68"]  # along the curve
    shift: Float[np.ndarray, "68 2"]  # along the face's own right and down


@lru_cache(maxsize=8)
def make_annotators(count: int, seed: int, settings: NoiseSettings) -> tuple[Annotator, ...]:
    """`count` annotators; number k of a seed is the same whatever the count."""
    share = np.sqrt(settings.habit)
    people = []
    for index in range(count):
        slide, shift = _deviation(np.random.default_rng([seed, index, 1]), settings)
        people.append(Annotator(index, share * slide, share * shift))
    return tuple(people)


def annotate(
    face: Face, annotator: Annotator, rng: np.random.Generator, settings: NoiseSettings
) -> Float[np.ndarray, "68 2"]:
    """The points float64 that the annotator marks in the face, in pixels of its image."""
    slide, shift = _deviation(rng, settings)
    rest = np.sqrt(1.0 - settings.habit)
    guess = np.where(face.visible, 1.0, settings.occluded)
    left, right = face.points[list(SCHEME.outer_eyes or ())]
    level = (right - left) / 100.0  # 1 % of their distance, to the face's right
    percent = float(np.hypot(level[0], level[1]))
    slide = (annotator.slide + rest * slide) * guess * percent
    shift = (annotator.shift + rest * shift) * guess[:, None]
    marked = np.empty_like(face.points)
    for curve in face.curves:
        index = list(curve.landmarks)
        marked[index] = curve.slid(slide[index])
    return marked + shift[:, :1] * level + shift[:, 1:] * (-level[1], level[0])


def _deviation(rng: np.random.Generator, settings: NoiseSettings) -> tuple[np.ndarray, np.ndarray]:
    """One draw of the sliding (68,) and of the rest (68, 2), in % of the outer-eye distance."""
    together, own, spread = _factors(settings)
    white = rng.standard_normal((4, SCHEME.count))
    return together @ white[0] + own * white[1], spread[:, None] * white[2:].T


@lru_cache(maxsize=8)
def _factors(settings: NoiseSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What turns white noise into shared sliding (68, 68), own sliding (68,) and spread (68,)."""
    together, own, spread = np.zeros((SCHEME.count, SCHEME.count)), np.zeros(SCHEME.count), np.zeros(SCHEME.count)
    for curve in SCHEME.curves:
        group: GroupNoise = getattr(settings, REGION[curve.name])
        index = list(curve.landmarks)
        together[np.ix_(index, index)] = group.shared * correlation_root(len(index), curve.closed, settings.reach)
        own[index], spread[index] = group.own, group.spread
    part = np.ones(SCHEME.count)
    part[list(SCHEME.strong)] = settings.strong
    return settings.scale * part[:, None] * together, settings.scale * part * own, settings.scale * spread


def correlation_root(count: int, closed: bool, reach: float) -> np.ndarray:
    """The matrix (count, count) that turns white noise into noise of variance 1 that neighbours share.

    Landmarks that are d apart along the curve correlate by exp(-d² / (2 reach²)).
    """
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count))).astype(float)
    if closed:
        apart = np.minimum(apart, count - apart)
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (apart / reach) ** 2))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return root / np.linalg.norm(root, axis=1, keepdims=True)
