"""What the benchmarks of face finding share: photographs changed with their landmarks, and when a box is on the face."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from semalign.data.crops import box_sides
from semalign.detect.detector import overlap

Shot = tuple[np.ndarray, np.ndarray]  # picture, and the landmarks of its face (n, 2)
SAME = 0.3  # intersection over union of a box that is taken to be on the face


def on_face(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max())
    middle = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - (low + high) / 2).max(axis=1) < 0.35 * side
    return np.asarray(middle & (np.abs(np.log(np.maximum(box_sides(boxes), 1e-9) / side)) < np.log(1.8)))


def turned(picture: np.ndarray, points: np.ndarray, degrees: float) -> Shot:
    """The whole picture turned clockwise around its middle."""
    height, width = picture.shape[:2]
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.ceil(np.abs(linear) @ [width, height]).astype(int)
    shift = (size - 1) / 2 - linear @ [(width - 1) / 2, (height - 1) / 2]
    whole = cv2.warpAffine(picture, np.column_stack([linear, shift]), size.tolist())
    return whole, points @ linear.T + shift


def shrunk(picture: np.ndarray, points: np.ndarray, size: float, canvas: tuple[int, int] = (640, 480)) -> Shot:
    """The picture with a face of so many pixels, in the middle of a grey one."""
    scale = size / float(np.ptp(points, axis=0).max())
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2 * scale
    matrix = np.array([[1.0, 0.0, round(canvas[0] / 2 - middle[0])], [0.0, 1.0, round(canvas[1] / 2 - middle[1])]])
    whole = cv2.warpAffine(small, matrix, canvas, borderMode=cv2.BORDER_CONSTANT, borderValue=(120, 120, 120))
    return whole, (points + 0.5) * scale - 0.5 + matrix[:, 2]


def enlarged(picture: np.ndarray, points: np.ndarray, size: int) -> Shot:
    scale = size / np.array(picture.shape[1::-1])
    return cv2.resize(picture, (size, size)), (points + 0.5) * scale - 0.5


def filled(picture: np.ndarray, points: np.ndarray) -> Shot:
    """The square of the landmarks' box alone."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low).max() / 2
    corner = np.round((low + high) / 2 - half).astype(int).clip(0)
    end = np.round((low + high) / 2 + half).astype(int)
    return np.ascontiguousarray(picture[corner[1] : end[1] + 1, corner[0] : end[0] + 1]), points - corner


def grey(picture: np.ndarray, points: np.ndarray) -> Shot:
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2), points


def dark(picture: np.ndarray, points: np.ndarray) -> Shot:
    """A tenth of the light, with noise of two grey levels (standard deviation)."""
    noise = np.random.default_rng(0).normal(0, 2.0, picture.shape)
    return (picture * 0.1 + noise).round().clip(0, 255).astype(np.uint8), points


def blurred(picture: np.ndarray, points: np.ndarray) -> Shot:
    """By a Gaussian of a fortieth of the landmarks' box."""
    return cv2.GaussianBlur(picture, (0, 0), float(np.ptp(points, axis=0).max()) / 40), points


def matched(boxes: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """(k, 2, 4): the box nearest to each face that has one, and the landmarks' box."""
    pairs = []
    for candidates, box in zip(boxes, truth, strict=True):
        shares = [overlap(candidate, box) for candidate in candidates]
        if shares and max(shares) > SAME:
            pairs.append((candidates[int(np.argmax(shares))], box))
    return np.array(pairs).reshape(-1, 2, 4)
