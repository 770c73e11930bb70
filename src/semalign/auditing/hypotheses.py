"""In which ways the points of a face may be wrong together: the orders, mirrorings and movements that are tried.

Shape legend: b faces, n landmarks, w directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from semalign.core.similarity import to_complex, to_points
from semalign.schemes import LandmarkScheme

SHORTEST = 3  # points of a curve that slip together
NUMBERED = 4  # least points of a curve whose numbers may be shifted


@dataclass(frozen=True, eq=False)
class Order:
    """Another order of the points, in which the annotation may have been meant.

    Attributes:
        kind: of the error, if it was.
        index: the annotation's point that is each landmark; -1 = none, its place is not known.
    """

    kind: str
    index: Int[np.ndarray, " n"]

    def __call__(self, points: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
        """Annotations in this order, NaN where a landmark has none."""
        ordered = points[:, self.index].copy()
        ordered[:, self.index < 0] = np.nan
        return ordered


class Window(NamedTuple):
    """Landmarks that may slip along their curve together, and those before and after each, which tell its direction."""

    members: Int[np.ndarray, " k"]
    before: Int[np.ndarray, " k"]
    after: Int[np.ndarray, " k"]


def orders(scheme: LandmarkScheme) -> list[Order]:
    """Left and right exchanged, of all landmarks or of a region; the numbers of a curve, or of all, shifted by one."""
    same = np.arange(scheme.count)
    flip = np.array(scheme.flip_index)
    found: dict[bytes, Order] = {}

    def add(kind: str, index: np.ndarray) -> None:
        if not np.array_equal(index, same):
            found.setdefault(index.tobytes(), Order(kind, index))

    add("exchanged", flip)
    for members in scheme.regions.values():
        if set(flip[list(members)]) == set(members):
            add("exchanged", np.where(np.isin(same, members), flip, same))
    for curve in scheme.curves:
        line = np.array(curve.landmarks)
        if len(line) < NUMBERED:
            continue
        for step in (1, -1):
            index = same.copy()
            index[line] = np.roll(line, -step)
            if not curve.closed:
                index[line[-1 if step > 0 else 0]] = -1
            add("shifted", index)
        if not scheme.pairs and not curve.closed:
            index = same.copy()
            index[line] = line[::-1]
            add("exchanged", index)
    for step in (1, -1):
        index = np.roll(same, -step)
        index[-1 if step > 0 else 0] = -1
        if scheme.count >= NUMBERED:
            add("shifted", index)
    return list(found.values())


def mirrored(
    points: Float[np.ndarray, "b n 2"], widths: Float[np.ndarray, " b"], scheme: LandmarkScheme
) -> Iterator[Float[np.ndarray, "b n 2"]]:
    """Annotations of the mirrored picture as they would be in the picture: numbered as they are, and by left and right.

    Args:
        points: image frame.
        widths: of the pictures, pixels.
        scheme: the landmarks.
    """
    over = points.copy()
    over[..., 0] = widths[:, None] - 1 - over[..., 0]
    yield over
    if scheme.pairs:
        yield over[:, list(scheme.flip_index)]


def windows(scheme: LandmarkScheme) -> list[Window]:
    """All runs of landmarks that may slip along a curve."""
    found = []
    for curve in scheme.curves:
        members, count = np.array(curve.landmarks), len(curve.landmarks)
        if count < SHORTEST:
            continue
        at = np.arange(count)
        before, after = (at - 1, at + 1) if curve.closed else (np.maximum(at - 1, 0), np.minimum(at + 1, count - 1))
        before, after = members[before % count], members[after % count]
        for length in range(SHORTEST, count + 1):
            starts = range(count if curve.closed and length < count else count - length + 1)
            for start in starts:
                run = (start + np.arange(length)) % count
                found.append(Window(members[run], before[run], after[run]))
    return found


def slips(
    run: list[Window], predicted: Float[np.ndarray, "b n 2"], unit: Complex[np.ndarray, "b n"]
) -> Float[np.ndarray, "b w m"]:
    """Directions, whitened, along which each run of points slips by a pixel.

    Args:
        run: of landmarks.
        predicted: where the landmarks are, about.
        unit: as `semalign.core.residuals.Whitened.unit`.
    """
    shapes, count = to_complex(predicted), predicted.shape[1]
    found = np.zeros((len(predicted), len(run), 2 * count))
    for row, (members, before, after) in enumerate(run):
        along = shapes[:, after] - shapes[:, before]
        step = along / np.maximum(np.abs(along), 1e-9) / unit[:, members]
        found[:, row, members], found[:, row, members + count] = step.real, step.imag
    return found


def movements(points: Float[np.ndarray, "b n 2"], unit: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, "b 5 m"]:
    """Directions, whitened, in which a whole face moves: right, down, larger around its middle, turned, and larger around
    the picture's corner.

    Args:
        points: annotations, image frame, none absent.
        unit: as `semalign.core.residuals.Whitened.unit`.
    """
    shapes = to_complex(points)
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    steps = np.stack([np.ones_like(shapes), 1j * np.ones_like(shapes), centred, 1j * centred, shapes + (0.5 + 0.5j)], 1)
    steps = steps / unit[:, None]
    return np.concatenate([steps.real, steps.imag], axis=2)


def moved(points: Float[np.ndarray, "b n 2"], amounts: Float[np.ndarray, "b 5"]) -> Float[np.ndarray, "b n 2"]:
    """Annotations moved by so much of each of the `movements`."""
    shapes = to_complex(points)
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    right, down, larger, turned, scaled = (amounts[:, one, None] for one in range(5))
    shapes = shapes + right + 1j * down + (larger + 1j * turned) * centred + scaled * (shapes + (0.5 + 0.5j))
    return to_points(shapes)
