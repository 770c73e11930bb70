"""Pictures and videos with the landmarks on them, as files."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from semalign.detect.finding import Finding
from semalign.errors import SemalignError
from semalign.files import write_bytes, write_error
from semalign.shapes import UInt8

_LEAST_SPACE = 16 * 2**20  # bytes; OpenCV does not say when a video could not be written for want of space
_LARGEST_JPEG = 65_500  # pixels to a side


class Overlays:
    """Pictures (`photo.jpg`) and videos (`clip.mp4`) with the landmarks on them; pictures may be added by several threads.

    Attributes:
        rate: frames a second of the next video, to be set before its first frame.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rate = 25.0
        self._video: tuple[PurePosixPath, tuple[int, int], Any, ExitStack, Path] | None = None

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"], stems: Sequence[PurePosixPath]) -> None:
        """Write one picture or frame."""
        share = np.array([picture.shape[1] / finding.size[0], picture.shape[0] / finding.size[1]])
        for face in finding.faces:
            small = face if (share == 1.0).all() else replace(face, points=(face.points + 0.5) * share - 0.5)
            picture = small.draw(picture)
        if finding.frame is None:
            _write_picture(self.folder / finding.stem, picture)
            return
        if self._video is None or self._video[0] != finding.stem:
            self.finish(True)
            self._video = self._begin(finding)
        _, size, writer, _, destination = self._video
        free = shutil.disk_usage(destination.parent).free
        if free < _LEAST_SPACE:
            raise SemalignError(
                f"cannot write {destination}: the disk is full; free some space and run the command again."
            )
        if (picture.shape[1], picture.shape[0]) != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _begin(self, finding: Finding) -> tuple[PurePosixPath, tuple[int, int], Any, ExitStack, Path]:
        destination = self.folder / finding.stem.with_name(f"{finding.stem.name}.mp4")
        size = (
            finding.size[0] + finding.size[0] % 2,
            finding.size[1] + finding.size[1] % 2,
        )  # the codec wants even sides
        stack = ExitStack()
        temporary = stack.enter_context(_partial(destination))
        writer = cv2.VideoWriter(
            str(temporary), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), float(self.rate), size
        )
        if not writer.isOpened():
            error = SemalignError(f"cannot write {destination}: OpenCV cannot encode MPEG-4; leave the overlay out.")
            stack.__exit__(SemalignError, error, None)
            raise error
        return finding.stem, size, writer, stack, destination

    def finish(self, complete: bool) -> None:
        """End the video and bring it to its place."""
        if self._video is not None:
            (_, _, writer, stack, _), self._video = self._video, None
            writer.release()
            stack.close()


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture as JPEG, or as PNG where it is too large for that."""
    ending, kind = (".jpg", "JPEG") if max(picture.shape[:2]) <= _LARGEST_JPEG else (".png", "PNG")
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, quality=92)
    write_bytes(path.with_name(path.name + ending), data.getvalue())


@contextmanager
def _partial(destination: Path) -> Iterator[Path]:
    """A visible name beside a video's own, so that what a killed process leaves can be seen; the next try replaces it."""
    temporary = destination.with_name(f"{destination.stem}.part{destination.suffix}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, destination)
    except OSError as error:
        raise write_error(destination, error) from error
    finally:
        temporary.unlink(missing_ok=True)
