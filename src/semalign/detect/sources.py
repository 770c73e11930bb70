"""What a person names on the command line, as pictures and footage: files, folders, patterns, videos, a camera."""

from __future__ import annotations

import glob
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from semalign.data.video import open_video
from semalign.errors import SemalignError

IMAGES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])
VIDEOS = frozenset([".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"])
_CAMERA = re.compile(r"camera(?::(\d+))?")
USUAL_RATE = 25.0  # frames a second where a file does not say


@dataclass(frozen=True)
class Source:
    """One picture, video or camera.

    Attributes:
        name: as the person wrote it, or as the folder or pattern gave it.
        path: the file; None for a camera.
        stem: where results go, relative to their folder and without an ending; no two sources share one.
        camera: the camera's number.
    """

    kind: Literal["image", "video", "camera"]
    name: str
    path: Path | None
    stem: PurePosixPath
    camera: int = 0


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture (RGB) of a video: its number from 0 and its time in seconds from the video's (the camera's) start."""

    picture: UInt8[np.ndarray, "h w 3"]
    number: int
    seconds: float


@dataclass(frozen=True)
class Footage:
    """A video or a camera that can be read.

    Attributes:
        rate: frames a second.
        claimed_frames: that the file says it has; 0 where it does not say, and for a camera.
        frames: opens it anew and reads it from the start.
    """

    rate: float
    claimed_frames: int
    frames: Callable[[], Iterator[Frame]]


def find_sources(inputs: Sequence[str], results: Path | None = None) -> list[Source]:
    """The sources that files, folders, patterns such as `faces/*.jpg`, `camera` and `camera:1` stand for.

    Folders are searched with all folders below them, in order of names; of them and of patterns only files with the
    ending of an image or a video are taken, and none that lies in the folder of the `results`. A file that is named
    twice is taken once.

    Raises:
        SemalignError: nothing there, a folder or pattern without pictures, a folder that cannot be read, a file
            in the folder of the results.
    """
    found: list[tuple[str, Path | None, PurePosixPath, int]] = []
    for text in inputs:
        match = _CAMERA.fullmatch(text)
        if match and not Path(text).exists():
            number = int(match[1] or 0)
            found.append((text, None, PurePosixPath(f"camera{number}"), number))
        else:
            found += [(str(path), path, stem, 0) for path, stem in _files(text, results)]
    taken: set[str] = set()
    used: set[PurePosixPath] = set()
    sources = []
    for name, path, wanted, number in found:
        key = name if path is None else os.path.abspath(path)
        if key in taken:
            continue
        taken.add(key)
        stem = _unused(wanted, path, used)
        used.add(stem)
        kind: Literal["image", "video", "camera"] = (
            "camera" if path is None else "video" if path.suffix.lower() in VIDEOS else "image"
        )
        sources.append(Source(kind, name, path, stem, number))
    return sources


def open_footage(source: Source) -> Footage:
    """The frames of a video or a camera.

    Raises:
        SemalignError: the file is missing, empty or no video; there is no such camera, or it gives no picture.
    """
    if source.path is None:
        rate = _camera_rate(source.camera)
        return Footage(rate, 0, lambda: _camera_frames(source.camera))
    path, video = source.path, open_video(source.path)
    rate = video.fps if math.isfinite(video.fps) and 1 <= video.fps <= 1000 else USUAL_RATE
    return Footage(rate, video.claimed_frames, lambda: _file_frames(path, rate, video.claimed_frames))


def _files(text: str, results: Path | None) -> list[tuple[Path, PurePosixPath]]:
    """Files and the stems of their results."""
    path = Path(text)
    try:
        if path.is_dir():
            os.listdir(path)  # a folder that may not be read looks empty to a pattern
            below = sorted(item for item in path.rglob("*") if _wanted(item, path) and not _inside(item, results))
            if not below:
                raise SemalignError(f"{path}: holds no image and no video; check the path.")
            return [(item, PurePosixPath(item.relative_to(path).with_suffix("").as_posix())) for item in below]
        if not path.exists() and glob.has_magic(text):
            matching = sorted(Path(item) for item in glob.glob(text, recursive=True))
            chosen = [item for item in matching if _wanted(item, item.parent) and not _inside(item, results)]
            if not chosen:
                raise SemalignError(f"{text}: no image and no video matches this pattern; check it.")
            return [(item, PurePosixPath(item.stem)) for item in chosen]
        if not path.exists():
            raise SemalignError(f"{path}: there is no such file or folder; check the path.")
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions."
        ) from error
    if _inside(path, results):
        raise SemalignError(f"{path}: lies in the folder that results are written to; choose another one with --out.")
    return [(path, PurePosixPath(path.stem))]


def _inside(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _wanted(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and path.suffix.lower() in IMAGES | VIDEOS and path.is_file()


def _unused(stem: PurePosixPath, path: Path | None, used: set[PurePosixPath]) -> PurePosixPath:
    """The stem, or one like it: with the file's ending, then with a number."""
    if stem not in used or path is None:
        return stem
    longer = stem.with_name(f"{stem.name}_{path.suffix.lower().lstrip('.')}") if path.suffix else stem
    candidate, number = longer, 2
    while candidate in used:
        candidate, number = longer.with_name(f"{longer.name}_{number}"), number + 1
    return candidate


def _file_frames(path: Path, rate: float, claimed: int) -> Iterator[Frame]:
    """Frames with the times that the file gives them; one that cannot be decoded keeps its number."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    number, last = 0, -math.inf
    try:
        while True:
            if capture.grab():
                read, frame = capture.retrieve()
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if read:
                    seconds = (
                        stamp
                        if math.isfinite(stamp) and stamp > last and stamp >= 0
                        else max(number / rate, last + 1e-3)
                    )
                    yield Frame(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), number, seconds)
                    last = seconds
            elif number >= claimed - 1:
                return
            number += 1
    finally:
        capture.release()


def _camera_frames(number: int) -> Iterator[Frame]:
    """Frames with the times at which they came, until the camera stops."""
    capture = _camera(number)
    try:
        start, count = time.monotonic(), 0
        while True:
            read, frame = capture.read()
            if not read:
                return
            yield Frame(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), count, time.monotonic() - start)
            count += 1
    finally:
        capture.release()


def _camera_rate(number: int) -> float:
    capture = _camera(number)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return rate if math.isfinite(rate) and 1 <= rate <= 1000 else USUAL_RATE


def _camera(number: int) -> Any:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        capture.release()
        raise SemalignError(
            f"camera:{number}: there is no such camera, or another program uses it; choose another number."
        )
    return capture
