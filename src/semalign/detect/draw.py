"""Landmarks on a picture: curves as lines, landmarks as dots whose colour says how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, UInt8

SURE, UNSURE = (
    np.array([69.0, 196.0, 255.0]),
    np.array([255.0, 160.0, 28.0]),
)  # RGB; told apart with every colour vision
HALO = (16, 22, 29)
_SHIFT = 4  # OpenCV draws at 1/16 pixel


def draw_landmarks(
    picture: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
    confidence: Float[np.ndarray, " n"],
    scheme: LandmarkScheme,
    label: str = "",
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the picture (RGB) with the landmarks (image frame, pixels) and, above them, the label.

    Confidence 0 is orange, 1 blue. Lines and dots grow with the face, so that they read at every size.
    """
    canvas = np.ascontiguousarray(picture).copy()
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max())
    radius, width = float(np.clip(side / 90, 1.0, 12.0)), max(1, round(side / 260))
    lines = _rgb([confidence[list(curve.landmarks)].mean() for curve in scheme.curves])
    for curve, own in zip(scheme.curves, lines, strict=True):
        line = _fixed(points[list(curve.landmarks)])
        for colour, thickness in ((HALO, width + 2), (own, width)):
            cv2.polylines(canvas, [line], curve.closed, colour, thickness, cv2.LINE_AA, _SHIFT)
    for point, own in zip(_fixed(points).tolist(), _rgb(confidence), strict=True):
        for colour, size in ((HALO, radius + 1), (own, radius)):
            cv2.circle(canvas, point, round(size * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    if label:
        _write(canvas, label, (float(low[0]), float(low[1]) - 0.06 * side), side)
    return canvas


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points in OpenCV's fixed-point units, kept within what its integers hold."""
    return np.rint(np.clip(points, -30000.0, 90000.0) * 2**_SHIFT).astype(np.int32)


def _rgb(confidence: Sequence[float] | np.ndarray) -> list[tuple[int, int, int]]:
    """The colours of so many confidences."""
    share = np.clip(np.asarray(confidence, dtype=np.float64), 0.0, 1.0)[:, None]
    return [(red, green, blue) for red, green, blue in np.rint(UNSURE + share * (SURE - UNSURE)).astype(int).tolist()]


def _write(canvas: np.ndarray, text: str, place: tuple[float, float], side: float) -> None:
    scale = float(np.clip(side / 250, 0.35, 3.0))
    corner = (round(max(place[0], 0.0)), round(max(place[1], 24 * scale)))
    for colour, thickness in ((HALO, round(4 * scale) + 2), ((255, 255, 255), max(1, round(1.5 * scale)))):
        cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
