"""What is in a document: faces, what they are faces of, new coordinates for them, and the boxes and bytes of both.

Shape legend: m points of a face in its document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data import archives
from semalign.data.formats.base import Bad
from semalign.data.samples import Box, Sample, Split
from semalign.errors import SemalignError

HEAD = 65536  # bytes at the beginning of a file by which its format is told


@dataclass(frozen=True, eq=False)
class Face:
    """A face as its document has it.

    Attributes:
        picture: name of its picture.
        points: (m, 2) float64, image frame, 0-based; NaN where absent.
        where: where it stands, for messages.
        labels: what each point is called; None where the points have an order of their own.
        visible: (m,) bool; None where the document does not say.
        box: its box in the image frame, if it has one that says more than the points.
        size: (width, height) of the picture as the document says.
        track: what says that it is the face of other pictures.
        split: training or test, if the document says.
        tags: what makes it difficult.
        kind: name of the `Kind` that it is of.
        spots: a sequence that says for each point where its coordinates stand in the document, as `revise` wants it.
    """

    picture: str
    points: np.ndarray
    where: str
    labels: tuple[str, ...] | None = None
    visible: np.ndarray | None = None
    box: Box | None = None
    size: tuple[int, int] | None = None
    track: str = ""
    split: Split | None = None
    tags: tuple[str, ...] = ()
    kind: str = ""
    spots: Any = ()


@dataclass(frozen=True)
class Kind:
    """What a document annotates, of which it may have several, as faces and hands.

    Attributes:
        name: what the document calls it.
        landmarks: the names of its landmarks, where the document lists them.
    """

    name: str = ""
    landmarks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Parsed:
    """What is in a document: faces in their order, the kinds that they are of, and notes on what is passed over."""

    faces: tuple[Face | Bad, ...]
    kinds: tuple[Kind, ...] = (Kind(),)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Edit:
    """New coordinates of one point.

    Attributes:
        spot: where they stand, as `Face.spots` says.
        old: (2,) what is there, image frame.
        new: (2,) what is to be there, image frame.
    """

    spot: Any
    old: np.ndarray
    new: np.ndarray

    def changed(self) -> Iterator[tuple[int, float]]:
        """The coordinates that are not what they were: 0 for x or 1 for y, and the new one."""
        return ((axis, float(self.new[axis])) for axis in range(2) if self.new[axis] != self.old[axis])


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        SemalignError: it cannot be read.
    """
    try:
        return archives.read_bytes(path)
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the file and its permissions."
        ) from error


def head_of(path: Path) -> bytes:
    """The first bytes of a file as UTF-8, without a byte order mark and white space before them."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def tell_own_box(points: np.ndarray, box: Box | None, tolerance: float) -> Box | None:
    """The box, or None where it is no more than that of the points (m, 2), to so many pixels: many formats ask for one."""
    there = points[np.isfinite(points).all(axis=1)]
    if box is None or not len(there):
        return box
    tight = (*there.min(axis=0), *there.max(axis=0))
    return None if np.abs(np.subtract(tight, box)).max() <= tolerance else box


def box_of(sample: Sample) -> Box:
    """The face's box, by default that of its points."""
    if sample.box is not None:
        return sample.box
    low, high = np.nanmin(sample.points, axis=0), np.nanmax(sample.points, axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
