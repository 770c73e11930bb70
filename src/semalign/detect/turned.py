"""Faces that are turned in the picture: their angle from their landmarks, and boxes in the frame in which they are upright.

An angle is in radians, clockwise, and 0 where the line from the left to the right eye of the image is level. A turned box is
(x0, y0, x1, y1) as if it were upright, turned around its own middle by the angle.

Shape legend: k faces, n landmarks.
"""

from __future__ import annotations

import numpy as np

from semalign.data.crops import box_sides
from semalign.inference import Landmarks
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float

UPRIGHT = np.radians(15.0)  # networks see faces that are turned by less as they are


def levelled(angles: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The angles, with 0 for faces that are upright enough."""
    return np.where(np.abs(angles) < UPRIGHT, 0.0, angles)


def angles_of_points(
    points: Float[np.ndarray, "k n 2"], scheme: LandmarkScheme, known: Float[np.ndarray, " k"] | None = None
) -> Float[np.ndarray, " k"]:
    """The angles of faces by their eyes, levelled; those known (or 0) without eyes in the scheme, or more than 45° off."""
    left, right = (list(members) for members in scheme.pupils)
    if not left or not right or not len(points):
        return np.zeros(len(points)) if known is None else known
    across = points[:, right].mean(axis=1) - points[:, left].mean(axis=1)
    angles = np.arctan2(across[:, 1], across[:, 0])
    if known is None:
        return levelled(angles)
    away = np.abs((angles - known + np.pi) % (2 * np.pi) - np.pi)
    return np.where(away < np.pi / 4, levelled(angles), known)


def boxes_of_points(
    seen: Landmarks, before: Float[np.ndarray, "k 4"], angles: Float[np.ndarray, " k"] | None = None
) -> Float[np.ndarray, "k 4"]:
    """Turned boxes around the points seen, for the next crop.

    Landmarks that are much less sure than the face's others (hidden ones, empty heatmaps) do not count, and where a box would
    be less than half or more than twice as large as before, or lie elsewhere, the one before stays.
    """
    angles = np.zeros(len(before)) if angles is None else angles
    points = turned(seen.points, -angles)
    middle = np.quantile(seen.confidence, 0.5, axis=1, keepdims=True)  # np.median loads masked arrays first
    sure = seen.confidence >= 0.2 * middle
    low = np.where(sure[..., None], points, np.inf).min(axis=1)
    high = np.where(sure[..., None], points, -np.inf).max(axis=1)
    centre = turned((low + high)[:, None] / 2, angles)[:, 0]
    boxes = np.concatenate([centre - (high - low) / 2, centre + (high - low) / 2], axis=1)
    boxes = np.where((angles == 0.0)[:, None], np.concatenate([low, high], axis=1), boxes)
    old, new = box_sides(before), box_sides(boxes)
    away = np.abs((boxes[:, :2] + boxes[:, 2:]) - (before[:, :2] + before[:, 2:])).max(axis=1) / 2
    sound = (new > 0.5 * old) & (new < 2.0 * old) & (away < 0.75 * old)
    return np.where(sound[:, None], boxes, before)


def turned(points: Float[np.ndarray, "k n 2"], angles: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n 2"]:
    """Points turned clockwise around (0, 0), as they are where the angle is 0."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
