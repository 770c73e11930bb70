"""What makes a sample suspicious: it can be used and is kept, but somebody should look at it.

Shape legend: n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from semalign.schemes import LandmarkScheme
from semalign.shapes import Float

FAR = 6.0  # distance from the middle of the face, in median distances, from which a point is a stray one
COINCIDENT = 0.25  # share of points that lie exactly on another one; closed lips make a few
CLEAR = 0.5  # sine between the eyes' line and the way down the face from which a shape is clearly mirrored


def suspicions(
    points: Float[np.ndarray, "n 2"], size: tuple[int, int], scheme: LandmarkScheme, origin: float
) -> Iterator[str]:
    """What is suspicious about the points of a face, in clauses that follow the file's name.

    Args:
        points: image frame, from 0; NaN where absent.
        size: (width, height) of the picture.
        scheme: the landmarks.
        origin: what the format calls the centre of the first pixel.
    """
    there = points[np.isfinite(points).all(axis=1)]
    yield from _origin(there + origin, size, origin)
    distance = np.linalg.norm(points - np.median(there, axis=0), axis=1)
    usual = float(np.nanmedian(distance))
    if usual > 0 and np.nanmax(distance) > FAR * usual:
        yield f"point {int(np.nanargmax(distance))} (from 0) lies far from all others"
    repeated = len(there) - len(np.unique(there, axis=0))
    if repeated > COINCIDENT * len(there):
        yield f"{repeated} points lie exactly on others"
    yield from _mirrored(points, scheme)


def absences(written: Float[np.ndarray, "n 2"], points: Float[np.ndarray, "n 2"]) -> Iterator[str]:
    """What is to be said of points that are absent, in a clause; `written` are the file's own coordinates."""
    absent = np.isnan(points).any(axis=1)
    if absent.any():
        first = int(absent.argmax())
        value = f"{written[first, 0]:g} {written[first, 1]:g}"
        yield (
            f"{absent.sum()} of {len(points)} points {'is' if absent.sum() == 1 else 'are'} {value}, as if not annotated, "
            f"and taken as absent (the first is point {first}, from 0)"
        )


def _origin(written: np.ndarray, size: tuple[int, int], origin: float) -> Iterator[str]:
    """Coordinates that tell by their ends that they count from another number than the format's."""
    if origin == 1 and (written == 0.0).any() and (written >= 0.0).all() and (written <= np.array(size) - 1.0).all():
        yield "a coordinate is 0 where the format counts from 1: if yours count from 0, add 1 to all"
    if origin == 0 and (written == np.array(size)).any() and (written >= 1.0).all():
        yield "a coordinate is the picture's width or height where the format counts from 0: if yours count from 1, subtract 1"


def _mirrored(points: np.ndarray, scheme: LandmarkScheme) -> Iterator[str]:
    """A shape that no turn brings upright, told by the eyes: from the left one to the right one, and from both downwards."""
    eyes = tuple((eye,) for eye in scheme.outer_eyes) if scheme.outer_eyes else scheme.pupils
    if not all(eyes):
        return
    left, right = (points[list(eye)].mean(axis=0) for eye in eyes)
    across, down = right - left, np.nanmean(points, axis=0) - (left + right) / 2
    lengths = float(np.linalg.norm(across) * np.linalg.norm(down))
    if not lengths > 0 or (across[0] * down[1] - across[1] * down[0]) / lengths > -CLEAR:
        return
    if abs(down[0]) > abs(down[1]):
        yield "the face is a mirror image, as if x and y were exchanged"
    elif down[1] < 0:
        yield "the face is a mirror image upside down, as if y counted from the bottom of the picture"
    else:
        yield "left and right are exchanged, as if the picture had been mirrored without the points"
