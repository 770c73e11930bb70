"""What was found in one picture, and what writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from semalign.detect.result import Face
from semalign.shapes import UInt8


@dataclass(frozen=True, eq=False)
class Finding:
    """The faces of a picture or of a frame.

    Attributes:
        name: of the image or video, as it is to stand in the results.
        stem: where files of its own go, relative to the results' folder and without an ending.
        size: (width, height) in pixels.
        frame: number from 0, with its time in seconds; None for a picture.
    """

    name: str
    stem: PurePosixPath
    size: tuple[int, int]
    faces: Sequence[Face]
    frame: int | None = None
    seconds: float | None = None

    def place(self) -> dict[str, Any]:
        """What says which picture it is, as JSON values."""
        place: dict[str, Any] = {"image": self.name, "width": self.size[0], "height": self.size[1]}
        return place if self.frame is None else {**place, "frame": self.frame, "seconds": round(self.seconds or 0.0, 4)}


@runtime_checkable
class Recording(Protocol):
    """Takes what was found in pictures; `prepare` may be called for several pictures at a time, `record` in their order."""

    def prepare(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> dict[str, Any]:
        """Write the files of a picture's own, and return its line."""

    def record(self, entry: Mapping[str, Any]) -> None:
        """Keep a picture's line."""


@runtime_checkable
class Writer(Protocol):
    """Writes files of a picture's own. `add` may be called for several pictures at a time."""

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"], stems: Sequence[PurePosixPath]) -> None:
        """Write the faces of one picture; `stems` are the places of their files, one for each face."""

    def finish(self, complete: bool) -> None:
        """Bring what is written to its place; `complete` says whether it is everything."""
