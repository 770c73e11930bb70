"""Video files as numbered RGB frames, decoded from the first one on.

Seeking in a compressed video lands on another frame than was asked for, in a way that depends on the codec; annotations
are by frame number. So frames are counted as they are decoded, and a frame that cannot be decoded keeps its number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from semalign.data.images import image_size, read_image
from semalign.data.samples import Sample
from semalign.errors import SemalignError
from semalign.shapes import UInt8

HEAD = 65536  # bytes at a file's beginning by which it is told
MOST_LOST = 3000  # frames in a row that cannot be decoded, after which none is waited for: a file may claim any number
LISTS = (b"#EXTM3U", b"\xef\xbb\xbf#EXTM3U", b"ffconcat", b"[playlist]")  # begin lists of other files


@dataclass(frozen=True)
class Video:
    """A video file whose first frame has been decoded.

    Attributes:
        path: the file.
        fps: frames a second.
        size: (width, height) in pixels, as shown.
        claimed_frames: frames that the file says it has, 0 where it does not say; a truncated one has fewer.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    claimed_frames: int

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The frames `start` to `stop - 1`, numbered from 0, in order; ends early at one that cannot be decoded.

        Raises:
            SemalignError: `start` is below 0, or the file is no video any more.
        """
        for expected, (number, frame) in enumerate(self.numbered(start, stop), start):
            if number != expected:
                return
            yield frame

    def numbered(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
        """As `frames`, each with its number, passing over frames that cannot be decoded.

        Raises:
            SemalignError: `start` is below 0, or the file is no video any more.
        """
        if start < 0:
            raise SemalignError(f"{self.path}: has no frame {start}; frames are numbered from 0.")
        end = math.inf if stop is None else stop
        capture = _capture(self.path)
        number = lost = 0
        try:
            while number < end:
                if capture.grab():  # decodes; a frame that is not wanted is not converted to RGB
                    lost = 0
                    if number >= start:
                        read, frame = capture.retrieve()
                        if read:
                            yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                elif number >= self.claimed_frames - 1 or lost >= MOST_LOST:
                    return
                else:
                    lost += 1
                number += 1
        finally:
            capture.release()


def open_video(path: str | Path) -> Video:
    """The video in the file `path`.

    Raises:
        SemalignError: the file is missing, empty, unreadable or no video.
    """
    path = Path(path)
    capture = _capture(path)
    try:
        read, frame = capture.read()
        fps, claimed = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    if not read:
        raise SemalignError(f"{path}: its first frame cannot be decoded; copy the video again or remove it.")
    frames = max(int(claimed), 0) if math.isfinite(claimed) else 0
    return Video(path, float(fps), (frame.shape[1], frame.shape[0]), frames)


def read_picture(sample: Sample) -> np.ndarray:
    """The picture (h, w, 3) uint8 RGB that a sample's points lie in: its image, or its frame of a video.

    A frame takes as long as decoding all before it; for several of one video use `read_pictures`.

    Raises:
        SemalignError: an image or a frame that cannot be read.
    """
    ((_, picture),) = read_pictures([sample], [0])
    if isinstance(picture, SemalignError):
        raise picture
    return picture


def picture_size(sample: Sample) -> tuple[int, int]:
    """(width, height) in pixels of the picture that a sample's points lie in; no more than a first frame is decoded.

    Raises:
        SemalignError: an image or a video that cannot be read.
    """
    return image_size(sample.image) if sample.frame is None else open_video(sample.image).size


def by_video(samples: Sequence[Sample]) -> Iterator[list[int]]:
    """The samples' rows in groups: those of one video together, every image on its own, in order of appearance."""
    videos: dict[Path, list[int]] = {}
    for row, sample in enumerate(samples):
        if sample.frame is not None:
            videos.setdefault(sample.image, []).append(row)
    for row, sample in enumerate(samples):
        if sample.frame is None:
            yield [row]
        elif videos[sample.image][0] == row:
            yield videos[sample.image]


def read_pictures(
    samples: Sequence[Sample], rows: Sequence[int]
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"] | SemalignError]]:
    """The picture of each row, or the error that says why it cannot be read; a group of `by_video` in one pass.

    A video's frames come in the order of their numbers, then the rows whose frames cannot be decoded.
    """
    if samples[rows[0]].frame is not None:
        yield from _frames_of(samples, rows)
        return
    for row in rows:
        try:
            picture: np.ndarray | SemalignError = read_image(samples[row].image)
        except SemalignError as error:
            picture = error
        yield row, picture


def _frames_of(samples: Sequence[Sample], rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray | SemalignError]]:
    wanted: dict[int, list[int]] = {}
    for row in rows:
        number = samples[row].frame
        if number is not None:
            wanted.setdefault(number, []).append(row)
    try:
        video = open_video(samples[rows[0]].image)
        for number, frame in video.numbered(min(wanted), max(wanted) + 1):
            for row in wanted.pop(number, ()):
                yield row, frame
    except SemalignError as error:
        for row in sorted(row for left in wanted.values() for row in left):
            yield row, error
        return
    for row in sorted(row for left in wanted.values() for row in left):
        yield row, undecodable(samples[row])


def undecodable(sample: Sample) -> SemalignError:
    """The sentence about a sample whose frame its video does not yield."""
    return SemalignError(
        f"{sample.image}: frame {sample.frame} (from 0) cannot be decoded; "
        "copy the video again or remove the annotation."
    )


def _is_text(head: bytes) -> bool:
    """Whether a file begins as a text does, such as a playlist: FFmpeg would open whatever files and addresses that names."""
    named = head.lstrip().startswith(LISTS) or any(word in head for word in (b"<MPD", b"c=IN IP"))
    return named or not (head.startswith(b"YUV4MPEG2 ") or re.search(rb"[^\t\n\r\x20-\x7e]", head))


def _capture(path: Path) -> cv2.VideoCapture:
    """An opened capture that turns frames upright as the file says.

    The backend is FFmpeg, which comes with OpenCV: others take an image for a video, or count frames in another way.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise SemalignError(f"{path}: there is no such video; check the path.") from None
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions."
        ) from error
    empty = not head
    if not empty and not _is_text(head):
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if capture.isOpened():
            return capture
    what = "is empty" if empty else "is no video that can be read"
    raise SemalignError(f"{path}: {what}; copy it again or remove it.")
