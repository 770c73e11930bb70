"""The network CenterFace, which ships with the package: from a picture to faces with their score, box and five points.

It is computed with ONNX Runtime where that is installed, else with OpenCV. Nothing is loaded before it is used, and what is
loaded belongs to the process (ONNX Runtime) or to the thread (OpenCV), never to a finder.

Shape legend: k faces.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semalign.errors import SemalignError
from semalign.inference.sessions import RuntimeMissingError, open_session
from semalign.shapes import Float, UInt8

WEIGHTS = Path(__file__).with_name("centerface.onnx")
OUTPUTS = ("537", "538", "539", "540")  # scores, log sizes (height, width), shifts (y, x), points in the box (y, x)
STRIDE, STEP = 4, 32  # pixels a cell of the outputs; what the sides of the input are multiples of
SAME = 0.3  # intersection over union of boxes that are of one face
DAMAGED = "install semalign again, for the face finder came with it"
MOST = 2000  # cells of a picture that are looked at, the surest first
_SIZES = 8  # sizes of input that a thread keeps a network for, in OpenCV

_own = threading.local()


@dataclass(frozen=True, eq=False)
class Sightings:
    """Faces that the network sees, in pixels of a picture; all arrays are float64.

    Attributes:
        score: (k,) 0 to 1.
        centre: (k, 2) of the box.
        size: (k, 2) width and height of the box, along the axes of the picture that the network saw.
        points: (k, 5, 2) left eye, right eye (in the image), nose tip, left and right corner of the mouth.
    """

    score: Float[np.ndarray, " k"]
    centre: Float[np.ndarray, "k 2"]
    size: Float[np.ndarray, "k 2"]
    points: Float[np.ndarray, "k 5 2"]

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.score)

    def take(self, rows: np.ndarray) -> Sightings:
        """Those of some rows, in their order."""
        return Sightings(self.score[rows], self.centre[rows], self.size[rows], self.points[rows])

    def mapped(self, matrix: Float[np.ndarray, "2 3"]) -> Sightings:
        """In another frame, by a map that turns, shifts and scales; sizes only scale."""
        linear, shift = matrix[:, :2], matrix[:, 2]
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        return Sightings(self.score, self.centre @ linear.T + shift, self.size * scale, self.points @ linear.T + shift)

    @property
    def side(self) -> Float[np.ndarray, " k"]:
        """Geometric mean of width and height."""
        return np.sqrt(self.size.prod(axis=1))


NONE = Sightings(np.empty(0), np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 5, 2)))


def joined(parts: list[Sightings]) -> Sightings:
    """All of them."""
    if not parts:
        return NONE
    return Sightings(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("score", "centre", "size", "points"))
    )


def look(picture: UInt8[np.ndarray, "h w 3"], least: float) -> Sightings:
    """The faces in a picture (RGB) as the network sees it, without scaling; each once, the surest first.

    Args:
        picture: at least one pixel; faces of 16 to 500 pixels are seen.
        least: score below which a face is none.
    """
    height, width = picture.shape[:2]
    blob = np.zeros((1, 3, -(-height // STEP) * STEP, -(-width // STEP) * STEP), np.float32)
    blob[0, :, :height, :width] = picture.transpose(2, 0, 1)
    outputs = [output[0] for output in _run(blob)]
    rows, columns = np.nonzero(outputs[0][0] > least)
    order = np.argsort(-outputs[0][0, rows, columns], kind="stable")[:MOST]
    rows, columns = rows[order], columns[order]
    scores, logs, shifts, inside = (output[:, rows, columns].astype(np.float64) for output in outputs)
    size = np.exp(logs[::-1].T) * STRIDE
    cells = np.stack([columns, rows], axis=1)
    centre = (cells + shifts[::-1].T + 0.5) * STRIDE  # in a frame whose first pixel spans 0 to 1
    points = np.stack([inside[1::2].T, inside[0::2].T], axis=2)
    points = (centre - size / 2)[:, None] + points * size[:, None]
    seen = Sightings(scores[0], centre - 0.5, size, points - 0.5)
    return seen.take(distinct(seen))


def distinct(seen: Sightings, same: float = SAME) -> np.ndarray:
    """Rows of the surest sighting of each face, the surest first."""
    left, top = (seen.centre - seen.size / 2).T
    right, bottom = (seen.centre + seen.size / 2).T
    area = seen.size.prod(axis=1)
    rows = np.argsort(-seen.score, kind="stable")
    kept = []
    while len(rows):
        one, rows = rows[0], rows[1:]
        kept.append(one)
        width = np.minimum(right[one], right[rows]) - np.maximum(left[one], left[rows])
        height = np.minimum(bottom[one], bottom[rows]) - np.maximum(top[one], top[rows])
        common = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        rows = rows[common < same * (area[one] + area[rows] - common)]
    return np.array(kept, dtype=int)


def _run(blob: Float[np.ndarray, "1 3 h w"]) -> list[np.ndarray]:
    session = _session(os.getpid())
    if session is not None:
        return list(session.run(list(OUTPUTS), {"input.1": blob}))
    network = _opencv(blob.shape)
    network.setInput(blob)
    return list(network.forward(list(OUTPUTS)))


@lru_cache(maxsize=1)
def _session(process: int) -> Any:
    """ONNX Runtime's session of this process, which threads may share; None where it is not installed."""
    try:
        return open_session(WEIGHTS.read_bytes(), WEIGHTS, 1, DAMAGED)
    except RuntimeMissingError:
        return None


def _opencv(shape: tuple[int, ...]) -> Any:
    """OpenCV's network of this thread for one size of input: with another size it would give wrong results."""
    networks: OrderedDict[tuple[int, ...], Any] = _own.__dict__.setdefault("networks", OrderedDict())
    if shape not in networks:
        try:
            networks[shape] = cv2.dnn.readNetFromONNX(str(WEIGHTS))
        except cv2.error as error:
            raise SemalignError(f"{WEIGHTS}: cannot be read as an ONNX file; {DAMAGED}.") from error
        if len(networks) > _SIZES:
            networks.popitem(last=False)
    networks.move_to_end(shape)
    return networks[shape]
