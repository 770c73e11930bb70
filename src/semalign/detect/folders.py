"""Many pictures to results: some of them are read, looked at and written beside others, in as many threads as cores."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np

from semalign.data.images import Picture
from semalign.detect.boxes import BoxFile
from semalign.detect.detector import Detector
from semalign.detect.printing import PrintedResults
from semalign.detect.result import Face
from semalign.detect.sources import Source
from semalign.detect.writers import Finding, Recording, ResultFolder
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.inference.processes import compute_alone, threads_put_back

Results = ResultFolder | PrintedResults
BATCH = 8  # pictures whose faces are looked at together
_MOST_PIXELS = 40_000_000  # of the pictures of one batch, unless one alone has more
NOT_FOUND = "look for smaller ones (--min-face 12), lower --score-threshold, or give {} with --boxes."
_NAME_IS_WRONG = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture.

    Attributes:
        source: the picture.
        faces: how many were found; None if it could not be read or its results could not be written.
        problem: a sentence for the person; empty if there is nothing to say.
        harmless: whether the sentence is a note only.
    """

    source: Source
    faces: int | None
    problem: str = ""
    harmless: bool = False


def detect_pictures(
    detector: Detector,
    sources: Sequence[Source],
    results: Recording,
    boxes: BoxFile | None = None,
    workers: int = 1,
) -> Iterator[Outcome]:
    """Find the faces of pictures and write them; each picture's outcome, in order, once its results are on disk.

    Whatever ends the loop, the pictures that are finished by then are recorded; those that are not leave no line.

    Args:
        detector: may be used by several threads.
        sources: pictures.
        results: where to.
        boxes: faces' boxes, instead of finding them.
        workers: threads; each reads, finds and writes some pictures at a time. On a CPU each of several computes alone, which
            wastes less than computing together.

    Raises:
        SemalignError: results cannot be written, as when the disk is full.
    """
    if boxes is not None:
        boxes.expect(source.name for source in sources)
    waiting: deque[Future[list[tuple[dict[str, Any] | None, Outcome]]]] = deque()
    left = iter(sources)
    pool = ThreadPoolExecutor(workers, "semalign", compute_alone if workers > 1 else None)
    with threads_put_back():
        try:
            while True:
                while len(waiting) <= workers and (group := list(islice(left, BATCH))):
                    waiting.append(pool.submit(_work, detector, group, results, boxes))
                if not waiting:
                    return
                done = waiting[0].result()
                waiting.popleft()
                yield from _recorded(done, results)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for future in waiting:
                if future.cancelled() or future.exception() is not None:
                    break
                deque(_recorded(future.result(), results), maxlen=0)


def _recorded(done: list[tuple[dict[str, Any] | None, Outcome]], results: Recording) -> Iterator[Outcome]:
    for entry, _ in done:
        if entry is not None:
            results.record(entry)
    for _, outcome in done:
        yield outcome


def _work(
    detector: Detector, group: Sequence[Source], results: Recording, boxes: BoxFile | None
) -> list[tuple[dict[str, Any] | None, Outcome]]:
    """The lines and outcomes of some pictures, whose own files are then written."""
    done: list[tuple[dict[str, Any] | None, Outcome]] = []
    ready: list[tuple[Source, Picture, np.ndarray | None]] = []
    for source in group:
        try:
            given = None if boxes is None else boxes.of(source.name).get(0)
            picture = source.open()
            ready.append((source, picture, None if given is None else _touching(source, picture, given)))
        except (SemalignError, MemoryError) as error:
            done.append((None, Outcome(source, None, _sentence(source, error))))
        if sum(picture.pixels.shape[0] * picture.pixels.shape[1] for _, picture, _ in ready) > _MOST_PIXELS:
            done += _found(detector, ready, results)
            ready = []
    return done + (_found(detector, ready, results) if ready else [])


def _found(
    detector: Detector, ready: list[tuple[Source, Picture, np.ndarray | None]], results: Recording
) -> list[tuple[dict[str, Any] | None, Outcome]]:
    pictures, given = [picture for _, picture, _ in ready], [boxes for _, _, boxes in ready]
    try:
        found = detector.batch(pictures, given)
    except (SemalignError, MemoryError, cv2.error) as error:
        if len(ready) == 1:
            return [(None, Outcome(ready[0][0], None, _sentence(ready[0][0], error)))]
        return [one for item in ready for one in _found(detector, [item], results)]
    return [_written(source, picture, faces, results) for (source, picture, _), faces in zip(ready, found, strict=True)]


def _written(
    source: Source, picture: Picture, faces: Sequence[Face], results: Recording
) -> tuple[dict[str, Any] | None, Outcome]:
    try:
        entry = results.prepare(Finding(source.name, source.stem, picture.size, faces), picture.pixels)
    except SemalignError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NAME_IS_WRONG:
            return None, Outcome(source, None, str(error))  # this picture's trouble alone
        raise
    if not faces:
        return entry, Outcome(source, 0, f"{source.name}: no face was found; {NOT_FOUND.format('its box')}")
    return entry, Outcome(source, len(faces), " ".join(picture.notes), harmless=True)


def _touching(source: Source, picture: Picture, boxes: np.ndarray) -> np.ndarray:
    """The boxes; a box may reach beyond the picture, where all is black, but one wholly outside is a mistake."""
    width, height = picture.size
    outside = (boxes[:, 2] < 0) | (boxes[:, 3] < 0) | (boxes[:, 0] > width - 1) | (boxes[:, 1] > height - 1)
    if outside.any():
        raise SemalignError(
            f"{source.name}: the box {boxes[outside][0].tolist()} lies outside the picture of {width} × {height} pixels; "
            "correct it, or say with --box-format what its numbers are."
        )
    return boxes


def _sentence(source: Source, error: BaseException) -> str:
    if isinstance(error, SemalignError):
        return str(error)
    what = "there is not enough memory for it" if isinstance(error, MemoryError) else f"OpenCV fails at it ({error})"
    return f"{shown(source.name)}: {what}; make it smaller."
