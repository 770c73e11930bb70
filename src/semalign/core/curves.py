"""Directions along the curves of a landmark scheme, and errors split into along the curve and across it.

The paper's premise is that annotators agree across a smooth curve and not along it, so that every error of labels is
worth splitting. Shape legend: b faces, n landmarks, k landmarks of a curve.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from semalign.schemes import LandmarkScheme


def tangents(points: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme) -> Float[np.ndarray, "b n 2"]:
    """The unit tangent of its curve at each landmark, in the curve's order; NaN for landmarks on no curve.

    The tangent is that of the circle through a landmark and its two neighbours, at an open curve's end that of the
    circle through the last three landmarks, on a curve of two landmarks the line between them. A corner between two
    smooth parts (of an eye or of the mouth) lies on a closed curve and gets its tangent by the same rule. A landmark on
    several curves takes the first of the scheme. NaN, too, where landmarks that are needed are absent or coincide.
    """
    result = np.full(points.shape, np.nan)
    taken: set[int] = set()
    for curve in scheme.curves:
        directions = _along(points[:, list(curve.landmarks)], curve.closed)
        own = [place for place, landmark in enumerate(curve.landmarks) if landmark not in taken]
        result[:, [curve.landmarks[place] for place in own]] = directions[:, own]
        taken.update(curve.landmarks)
    return result


def split(
    vectors: Float[np.ndarray, "b n 2"], tangents: Float[np.ndarray, "b n 2"]
) -> tuple[Float[np.ndarray, "b n"], Float[np.ndarray, "b n"]]:
    """Absolute lengths of vectors along and across unit tangents, in the vectors' unit; NaN where a tangent is NaN."""
    along = vectors[..., 0] * tangents[..., 0] + vectors[..., 1] * tangents[..., 1]
    across = vectors[..., 1] * tangents[..., 0] - vectors[..., 0] * tangents[..., 1]
    return np.abs(along), np.abs(across)


def _along(line: Float[np.ndarray, "b k 2"], closed: bool) -> Float[np.ndarray, "b k 2"]:
    """Unit tangents at the vertices of a polyline.

    Between two chords of lengths s and t with directions u and v, the circle's tangent is t·u + s·v; from one end of a
    chord to the other it is mirrored at the chord.
    """
    if closed:
        before, after = (line - np.roll(line, 1, axis=1), np.roll(line, -1, axis=1) - line)
        return _between(before, after)
    chords = np.diff(line, axis=1)
    if line.shape[1] == 2:
        return _unit(chords)[:, [0, 0]]
    inner = _between(chords[:, :-1], chords[:, 1:])
    first, last = (_mirrored(inner[:, :1], chords[:, :1]), _mirrored(inner[:, -1:], chords[:, -1:]))
    return np.concatenate([first, inner, last], axis=1)


def _between(before: Float[np.ndarray, "b k 2"], after: Float[np.ndarray, "b k 2"]) -> Float[np.ndarray, "b k 2"]:
    """The tangents between two chords; if one chord has no length, the direction of the other."""
    lengths = (np.linalg.norm(before, axis=2, keepdims=True), np.linalg.norm(after, axis=2, keepdims=True))
    weighted = _unit(before) * lengths[1] + _unit(after) * lengths[0]
    return _unit(np.where((lengths[0] > 0) & (lengths[1] > 0), weighted, before + after))


def _mirrored(vectors: Float[np.ndarray, "b k 2"], axis: Float[np.ndarray, "b k 2"]) -> Float[np.ndarray, "b k 2"]:
    """The vectors mirrored at an axis."""
    unit = _unit(axis)
    return 2 * (vectors * unit).sum(axis=2, keepdims=True) * unit - vectors


def _unit(vectors: Float[np.ndarray, "b k 2"]) -> Float[np.ndarray, "b k 2"]:
    """Unit vectors; NaN for a vector without length."""
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return vectors / np.where(length > 0, length, np.nan)
