"""Annotation noise: people who mark the same points a little differently, above all along smooth curves.

An annotator's mark deviates from the truth by sliding along the curve on which the point lies (in step with the
neighbouring points, and each point for itself) and a little in every direction. Part of it is habit, the same in every
face. Points that cannot be seen are guessed, with larger deviations. All magnitudes are in % of the outer-eye distance
of the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from semalign.synthetic.polyline import arc_length, spline
from semalign.synthetic.render import SCHEME, Face, FaceCurve
from semalign.synthetic.settings import GroupNoise, NoiseSettings

SAMPLES = 8  # of a spline from one landmark to the next
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
    return mark(face.points, face.curves, face.visible, annotator, rng, settings)


def mark(
    points: Float[np.ndarray, "68 2"],
    curves: Sequence[FaceCurve],
    visible: Bool[np.ndarray, " 68"],
    annotator: Annotator,
    rng: np.random.Generator,
    settings: NoiseSettings,
) -> Float[np.ndarray, "68 2"]:
    """What the annotator marks where the landmarks are at `points` and lie on these curves, in the points' frame."""
    slide, shift = _deviation(rng, settings)
    rest = np.sqrt(1.0 - settings.habit)
    guess = np.where(visible, 1.0, settings.occluded)
    left, right = points[list(SCHEME.outer_eyes or ())]
    level = (right - left) / 100.0  # 1 % of their distance, to the face's right
    percent = float(np.hypot(level[0], level[1]))
    slide = (annotator.slide + rest * slide) * guess * percent
    shift = (annotator.shift + rest * shift) * guess[:, None]
    marked = np.empty_like(points)
    for curve in curves:
        index = list(curve.landmarks)
        marked[index] = curve.slid(slide[index])
    return marked + shift[:, :1] * level + shift[:, 1:] * (-level[1], level[0])


def marked_again(
    points: Float[np.ndarray, "b 68 2"],
    annotators: int,
    seed: int,
    settings: NoiseSettings | None = None,
    visible: Bool[np.ndarray, "b 68"] | None = None,
) -> Float[np.ndarray, "b 68 2"]:
    """Points of any faces, real ones too, as somebody would mark who takes these for the truth: one more draw of noise.

    People slide along the smooth curves through the given points. Of annotations it makes annotations with twice the
    variance of noise.

    Args:
        points: in pixels of their images, in the order of iBUG's 68.
        annotators: how many people share the marking, drawn face by face.
        seed: of the people and of their noise; face i is a function of it and i.
        settings: of the noise; default: that of 300W's duplicates.
        visible: which points can be seen; None = all.
    """
    settings = settings or NoiseSettings()
    people = make_annotators(annotators, seed, settings)
    seen = np.ones(points.shape[:2], dtype=bool) if visible is None else visible
    result = np.empty(points.shape)
    for index, face in enumerate(points.astype(np.float64)):
        rng = np.random.default_rng([seed, index, 3])
        person = people[int(rng.integers(len(people)))]
        result[index] = mark(face, curves_through(face), seen[index], person, rng, settings)
    return result


def curves_through(points: Float[np.ndarray, "68 2"]) -> tuple[FaceCurve, ...]:
    """The scheme's curves as cubic splines through their landmarks."""
    curves = []
    for curve in SCHEME.curves:
        landmarks, spans = points[list(curve.landmarks)], len(curve.landmarks) - (not curve.closed)
        line = spline(landmarks, spans * SAMPLES + (not curve.closed), curve.closed)
        line = np.concatenate([line, line[:1]]) if curve.closed else line
        vertices = slice(0, len(line) - curve.closed, SAMPLES)
        curves.append(FaceCurve(curve.name, curve.landmarks, curve.closed, line, arc_length(line), vertices))
    return tuple(curves)


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


def noise_size(settings: NoiseSettings) -> float:
    """Root mean square distance of a mark from the truth over all landmarks, were all visible and curves straight, in % of
    the outer-eye distance.
    """
    together, own, spread = _factors(settings)
    return float(np.sqrt(((together**2).sum(axis=1) + own**2 + 2 * spread**2).mean()))


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
