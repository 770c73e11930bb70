"""What a person names on the command line, as pictures and footage: files, folders, patterns, videos, a camera."""

from __future__ import annotations

import glob
import math
import os
import re
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np

from semalign.data.archives import ENDING, archive_of, is_archive, is_file, members
from semalign.data.images import ENDINGS, Picture, read_picture, refuse_address
from semalign.data.remote import Stored, find, is_address
from semalign.data.results import kind_of_results
from semalign.data.video import MOST_LOST, open_video
from semalign.detect.names import Names, plain_stem
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.shapes import UInt8

IMAGES = ENDINGS
VIDEOS = frozenset(
    [".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv"]
)
_CAMERA = re.compile(r"camera(?::(\d+))?")
_Found = tuple[Path | Stored | None, PurePosixPath, Literal["image", "video", "camera"]]
USUAL_RATE = 25.0  # frames a second where a file does not say


@dataclass(frozen=True, slots=True)
class Source:
    r"""One picture, video or camera.

    Attributes:
        name: as the person wrote it, or as the folder or pattern gave it; bytes that are no UTF-8 are written as \xNN.
        path: the file; None for a camera.
        stem: where results go, relative to their folder and without an ending; no two sources share one.
        camera: the camera's number.
        stored: where a picture is that is not on this machine; its path is None.
    """

    kind: Literal["image", "video", "camera"]
    name: str
    path: Path | None
    stem: PurePosixPath
    camera: int = 0
    stored: Stored | None = None

    def open(self) -> Picture:
        """The picture.

        Raises:
            SemalignError: it cannot be read.
        """
        if self.stored is not None:
            return read_picture(self.name, file=self.stored.open())
        assert self.path is not None
        return read_picture(self.path)


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


def find_sources(
    inputs: Sequence[str],
    results: Path | None = None,
    names: Names | None = None,
    done: Container[str] = (),
    problems: list[str] | None = None,
) -> list[Source]:
    """The sources that files, folders, patterns such as `faces/*.jpg`, lists such as `@list.txt` and `camera:1` stand for.

    Of a tar archive (`faces.tar`) all pictures are taken; addresses such as `s3://bucket/faces` are read by fsspec.

    Folders are searched with all folders below them, in order of names; of them and of patterns only files with the ending
    of an image or a video are taken, none that lies in the folder of the `results`, and none that lies with earlier results
    of Semalign (`semalign.data.results`), but for copies of data sets with found labels. A list names one of these in each
    line; `-` and `@-` are standard input. A file that is named twice is taken once.

    Args:
        inputs: what the person wrote.
        results: folder of the results.
        names: where stems are taken from.
        done: absolute paths that are left out, because their results are there.
        problems: takes a sentence on each input that is not there, instead of an error.

    Raises:
        SemalignError: nothing there, a folder or pattern without pictures, a folder that cannot be read, a file
            in the folder of the results, an address of the network.
    """
    names = Names() if names is None else names
    taken: set[str] = set()
    sources = []
    for text in _spelled_out(inputs):
        try:
            found = _files(text, results, problems)
        except SemalignError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        for path, stem, kind in found:
            stored = path if isinstance(path, Stored) else None
            file = None if isinstance(path, Stored) else path
            name = shown(stored.name) if stored is not None else text if file is None else shown(file)
            key = name if file is None else os.path.abspath(file)
            if key in taken or (path is not None and done_key(name) in done):
                continue
            taken.add(key)
            number = int((_CAMERA.fullmatch(text) or ("", 0))[1] or 0) if path is None else 0
            ending = "" if path is None else PurePosixPath(name).suffix
            sources.append(Source(kind, name, file, names.take(stem, ending, kind != "image"), number, stored))
    return sources


def done_key(name: str, base: str | None = None) -> str:
    """By what a picture or video of earlier results is known again: its absolute path, or its address.

    Args:
        name: as it stands in the results.
        base: folder from which a relative one counts; default the working folder.
    """
    return name if is_address(name) else os.path.normpath(os.path.join(base or os.getcwd(), name))


def _spelled_out(inputs: Sequence[str]) -> Iterator[str]:
    """The inputs with the lines of lists in their place."""
    for text in inputs:
        if not (text.startswith("@") or text == "-") or Path(text).exists():
            yield text
            continue
        try:
            with nullcontext(sys.stdin.buffer) if text in ("-", "@-") else open(text[1:], "rb") as file:
                content = file.read()
        except OSError as error:
            raise SemalignError(
                f"{text[1:]}: cannot be read as a list of files ({error.strerror}); check it."
            ) from error
        if b"\0" in content:
            name = "standard input" if text in ("-", "@-") else text[1:]
            raise SemalignError(f"{name}: is no list of files, a name a line; give a picture by its name.")
        yield from (os.fsdecode(line.strip()) for line in content.splitlines() if line.strip())


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


def _files(text: str, results: Path | None, problems: list[str] | None) -> list[_Found]:
    """What an input stands for: files, the stems that their results should have, kinds."""
    path = Path(text)
    try:
        if _CAMERA.fullmatch(text) and not path.exists():
            return [(None, PurePosixPath(text.partition(":")[0] + (text.partition(":")[2] or "0")), "camera")]
        if is_address(text):
            return [(stored, plain_stem(stem), "image") for stored, stem in find(text)]
        if path.is_dir():
            below = list(_below(path, None if results is None else results.resolve(), problems))
            if not below:
                raise SemalignError(f"{path}: holds no image and no video; check the path.")
            return [(item, plain_stem(os.path.relpath(item, path)), _kind(item)) for item in below]
        if not path.exists() and glob.has_magic(text):
            matching = sorted(Path(item) for item in glob.glob(text, recursive=True))
            wanted = [
                item for item in matching if _wanted(item) or (text.lower().endswith(ENDING) and is_archive(item))
            ]
            chosen = [item for item in wanted if not _inside(item, results)]
            chosen = list(_without_results(chosen, text))
            if not chosen:
                raise SemalignError(f"{text}: no image and no video matches this pattern; check it.")
            archives = [item for item in chosen if is_archive(item)]
            plain = [(item, plain_stem(item.name), _kind(item)) for item in chosen if item not in archives]
            return plain + [found for archive in archives for found in _members(archive)]
        refuse_address(text)
        if is_archive(path):
            return _members(path)
        if is_file(path) and (archive := archive_of(path)) is not None:
            return [(path, _stem_in(archive, path.relative_to(archive).as_posix()), "image")]
        if not path.exists():
            raise SemalignError(f"{path}: there is no such file or folder; check the path.")
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions."
        ) from error
    if _inside(path, results):
        raise SemalignError(f"{path}: lies in the folder that results are written to; choose another one with --out.")
    return [(path, plain_stem(path.name), "video" if _is_stream(path) else _kind(path))]


def _members(archive: Path) -> list[_Found]:
    """The pictures in an archive."""
    inside = [name for name in members(archive) if PurePosixPath(name).suffix.lower() in IMAGES]
    if not inside:
        raise SemalignError(f"{archive}: holds no image; check it.")
    return [(archive / name, _stem_in(archive, name), "image") for name in inside]


def _stem_in(archive: Path, name: str) -> PurePosixPath:
    return plain_stem(f"{archive.name[: -len(ENDING)]}/{name}")


def _below(root: Path, results: Path | None, problems: list[str] | None) -> Iterator[Path]:
    """Images and videos below a folder in order of names, without hidden ones and results."""

    def refused(error: OSError) -> None:
        if problems is None or Path(error.filename) == root:
            raise error
        problems.append(
            f"{error.filename}: cannot be read ({error.strerror}) and was passed over; check the permissions."
        )

    found = []
    for place, folders, files in os.walk(root, onerror=refused):
        if (place != str(root) and _is_passed_over(place)) or (
            results is not None and os.path.realpath(place) == str(results)
        ):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name) for name in files if _wanted(Path(name)) and os.path.isfile(os.path.join(place, name))
        ]
    return iter(sorted(found))


def _without_results(matching: Sequence[Path], pattern: str) -> Iterator[Path]:
    """What matches a pattern without results in the folders that the pattern leaves open."""
    parts = Path(pattern).parts
    named = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    passed_over: dict[Path, bool] = {}
    for path in matching:
        folders = [Path(*path.parts[:end]) for end in range(named + 1, len(path.parts))]
        for folder in folders:
            if folder not in passed_over:
                passed_over[folder] = _is_passed_over(str(folder))
        if not any(passed_over[folder] for folder in folders):
            yield path


def _is_passed_over(folder: str) -> bool:
    """Whether a folder holds results of Semalign; the copy of a data set that `labels export` wrote is read as any pictures."""
    return kind_of_results(Path(folder)) not in (None, "export")


def _inside(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _wanted(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in IMAGES | VIDEOS


def _kind(path: Path) -> Literal["image", "video"]:
    return "video" if path.suffix.lower() in VIDEOS else "image"


def _is_stream(path: Path) -> bool:
    """Whether a `.ts` file, which may be a program's text, holds a video."""
    if path.suffix.lower() != ".ts":
        return False
    with path.open("rb") as file:
        head = file.read(189)
    return (head[:1] == b"G" and head[188:] == b"G") or head[4:8] == b"ftyp"


def _file_frames(path: Path, rate: float, claimed: int) -> Iterator[Frame]:
    """Frames with the times that the file gives them; one that cannot be decoded keeps its number."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    number, lost, last = 0, 0, -math.inf
    try:
        while True:
            if capture.grab():
                lost = 0
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
            elif number >= claimed - 1 or lost >= MOST_LOST:
                return
            else:
                lost += 1
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
