"""What the page shows of a face: its picture at full resolution, cut around the face, and a small one for the list."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from semalign.cores import usable_cores
from semalign.data.images import read_picture
from semalign.data.samples import Sample
from semalign.data.video import read_picture as read_frame
from semalign.review.index import Index

MARGIN: Final = 0.6  # around the face's box, in its larger side
LARGEST: Final = 4096  # pixels of a side, beyond which a picture is shown smaller
SMALL: Final = 96  # pixels of a side in the list
LOSSLESS: Final = 400 * 400  # pixels up to which a picture is sent as PNG: it will be enlarged a lot
QUALITY, SMALL_QUALITY = 93, 82
CACHE: Final = 256 * 2**20  # bytes


@dataclass(frozen=True)
class Cutting:
    """A part of a picture as a file.

    Attributes:
        data: JPEG or PNG.
        media: its type.
        x, y: image frame, of the centre of its first pixel.
        scale: pixels of the image that one of its pixels spans.
        size: (width, height) of the whole picture.
    """

    data: bytes
    media: str
    x: float
    y: float
    scale: float
    size: tuple[int, int]


class Pictures:
    """Cuts pictures and keeps what was cut last; safe to call from several threads.

    Args:
        index: whose faces these are; no other file is ever read.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: OrderedDict[tuple[int, bool], Cutting] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()
        self._turns = threading.BoundedSemaphore(max(2, usable_cores()))
        self._busy: dict[tuple[int, bool], threading.Lock] = {}

    def face(self, row: int) -> Cutting:
        """A face and what is around it, at the picture's own resolution.

        Raises:
            SemalignError: the picture cannot be read.
        """
        return self._get((row, False), lambda: self._cut(row))

    def small(self, row: int) -> Cutting:
        """A face as a square of `SMALL` pixels.

        Raises:
            SemalignError: the picture cannot be read.
        """
        return self._get((row, True), lambda: self._cut_small(row))

    def _get(self, key: tuple[int, bool], cut: Callable[[], Cutting]) -> Cutting:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            busy = self._busy.setdefault(key, threading.Lock())
        with busy, self._turns:  # who asks for what is being cut waits for it
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            try:
                made = cut()
            finally:
                with self._lock:
                    self._busy.pop(key, None)
            with self._lock:
                self._kept[key] = made
                self._bytes += len(made.data)
                while self._bytes > CACHE and len(self._kept) > 1:
                    _, dropped = self._kept.popitem(last=False)
                    self._bytes -= len(dropped.data)
        return made

    def _box(self, row: int) -> np.ndarray:
        """(x0, y0, x1, y1) of annotations and proposals, image frame; the whole picture's corner where there are none."""
        both = np.concatenate([self._index.annotations[row], self._index.proposals[row]])
        both = both[np.isfinite(both).all(axis=1)]
        return np.concatenate([both.min(axis=0), both.max(axis=0)]) if len(both) else np.array([0.0, 0.0, 1.0, 1.0])

    def _read(self, row: int, reduce: int) -> tuple[np.ndarray, int, tuple[int, int]]:
        """Pixels, sides of a whole picture's pixel that one of them has, and (width, height) of the whole."""
        file, frame = Path(self._index.files[row]), int(self._index.frames[row])
        if frame >= 0:
            nothing = np.zeros((1, 2))
            pixels = read_frame(Sample(self._index.ids[row], file, nothing, "train", "audit", frame=frame))
            return pixels, 1, (pixels.shape[1], pixels.shape[0])
        picture = read_picture(file, reduce)
        return picture.pixels, picture.scale, picture.size

    def _cut(self, row: int) -> Cutting:
        pixels, reduced, size = self._read(row, 1)
        box = self._box(row)
        margin = MARGIN * max(box[2] - box[0], box[3] - box[1], 8.0)
        part, x, y = _part(pixels, (box + [-margin, -margin, margin, margin] + 0.5) / reduced)
        shrink = max(1.0, max(part.shape[:2]) / LARGEST)
        if shrink > 1:
            width, height = (max(1, round(side / shrink)) for side in (part.shape[1], part.shape[0]))
            shrink = part.shape[1] / width
            part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        scale = reduced * shrink
        data, media = _encoded(part)
        return Cutting(data, media, (x * reduced + scale / 2) - 0.5, (y * reduced + scale / 2) - 0.5, scale, size)

    def _cut_small(self, row: int) -> Cutting:
        box = self._box(row)
        middle, side = (box[:2] + box[2:]) / 2, 1.25 * max(box[2] - box[0], box[3] - box[1], 8.0)
        pixels, reduced, size = self._read(row, max(1, int(side / (1.5 * SMALL))))
        to_small = SMALL / side * reduced
        placed = np.array([[to_small, 0, 0], [0, to_small, 0]])
        placed[:, 2] = SMALL / 2 - 0.5 - to_small * ((middle + 0.5) / reduced - 0.5)
        way = cv2.INTER_AREA if to_small < 1 else cv2.INTER_LINEAR
        if to_small < 0.5:  # a warp does not average, so the picture is made smaller first
            pixels = cv2.resize(pixels, None, fx=2 * to_small, fy=2 * to_small, interpolation=cv2.INTER_AREA)
            placed = np.array([[0.5, 0, 0], [0, 0.5, 0]])
            placed[:, 2] = SMALL / 2 - 0.5 - 0.5 * ((middle + 0.5) / reduced * 2 * to_small - 0.5)
            way = cv2.INTER_LINEAR
        small = cv2.warpAffine(pixels, placed, (SMALL, SMALL), flags=way, borderValue=(57, 67, 78))
        data, media = _encoded(small, SMALL_QUALITY, lossless=0)
        return Cutting(data, media, float(middle[0]), float(middle[1]), side / SMALL, size)


def _part(pixels: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The part of a picture within a box of its pixels' edges, and its first column and row; all of it if none is within."""
    height, width = pixels.shape[:2]
    x0, y0 = (int(np.clip(np.floor(value), 0, limit)) for value, limit in zip(box[:2], (width, height), strict=True))
    x1, y1 = (int(np.clip(np.ceil(value), 0, limit)) for value, limit in zip(box[2:], (width, height), strict=True))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return pixels, 0, 0
    return pixels[y0:y1, x0:x1], x0, y0


def _encoded(pixels: np.ndarray, quality: int = QUALITY, lossless: int = LOSSLESS) -> tuple[bytes, str]:
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if pixels.shape[0] * pixels.shape[1] <= lossless:
        return cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(), "image/png"
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1].tobytes(), "image/jpeg"
