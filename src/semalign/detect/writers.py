"""Results as files: JSON, CSV, `.pts`, COCO keypoints, pictures and videos with the landmarks on them.

Each file grows beside its destination and takes its place when the work ends, however it ends: after an interruption or
on a full disk it holds every picture that was finished.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semalign.detect.result import Face
from semalign.errors import SemalignError
from semalign.files import atomic_path, refuse_occupied, write_bytes, write_error
from semalign.schemes import LandmarkScheme

FORMATS = ("json", "csv", "pts", "coco", "overlay")
JSON, CSV, COCO = "landmarks.json", "landmarks.csv", "coco.json"
FORMAT = "semalign landmarks 1"
_LEAST_SPACE = 16 * 2**20  # bytes; OpenCV does not say when a video could not be written for want of space
_LARGEST_JPEG = 65_500  # pixels to a side


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
class Writer(Protocol):
    """Writes one kind of result."""

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of one picture."""

    def finish(self, complete: bool) -> None:
        """Bring what is written to its place; `complete` says whether it is everything."""


class ResultFolder:
    """A folder of results, to be used in a `with` block, whose end brings all files to their places.

    Args:
        folder: new, empty, or one that holds earlier results, whose files are replaced.
        formats: of FORMATS; JSON is always written.
        scheme: of the landmarks.
        about: JSON values that tell where the results come from.

    Attributes:
        overlays: where the rate of the next overlay video is set; None without overlays.

    Raises:
        SemalignError: an unknown format, a folder that holds something else.
    """

    def __init__(
        self, folder: str | Path, formats: Sequence[str], scheme: LandmarkScheme, about: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        unknown = [name for name in formats if name not in FORMATS]
        if unknown:
            raise SemalignError(f"the format {unknown[0]!r} is unknown; choose from {', '.join(FORMATS)}.")
        if not (self.folder / JSON).is_file():
            refuse_occupied(self.folder, f"{JSON} of earlier results")
        self.overlays = Overlays(self.folder) if "overlay" in formats else None
        made: dict[str, Any] = {
            "csv": lambda: CsvWriter(self.folder / CSV, scheme),
            "pts": lambda: PtsWriter(self.folder),
            "coco": lambda: CocoWriter(self.folder / COCO, scheme),
        }
        self._writers: list[Writer] = []
        with ExitStack() as undo:  # what is open is closed if a later one cannot be opened
            self._open(JsonWriter(self.folder / JSON, scheme, about or {}), undo)
            for name in dict.fromkeys(formats):
                if name in made:
                    self._open(made[name](), undo)
            undo.pop_all()
        if self.overlays is not None:
            self._writers.append(self.overlays)

    def _open(self, writer: Writer, undo: ExitStack) -> None:
        undo.callback(writer.finish, False)
        self._writers.append(writer)

    def __enter__(self) -> ResultFolder:
        """The folder itself."""
        return self

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of a picture in every format.

        Raises:
            SemalignError: a file cannot be written, as when the disk is full.
        """
        for writer in self._writers:
            writer.add(finding, picture)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish every file; the first problem is raised unless there was one already."""
        problem: SemalignError | None = None
        for writer in self._writers:
            try:
                writer.finish(error is None)
            except SemalignError as failed:
                problem = problem or failed
        if problem is not None and error is None:
            raise problem


class GrowingFile:
    """A text file that grows entry by entry and takes its place when it is finished, never with half an entry."""

    def __init__(self, path: Path, head: str) -> None:
        self.path = path
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic_path(path))
        self._file: Any = self._stack.enter_context(temporary.open("w+b", buffering=0))
        self._length = 0
        self._open = True
        try:
            self.append(head)
        except SemalignError as error:
            self._stack.__exit__(type(error), error, None)
            raise

    def append(self, text: str) -> None:
        """Write a whole entry, or none of it.

        Raises:
            SemalignError: it cannot be written.
        """
        data = text.encode()
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.seek(self._length)
            self._file.truncate()
            raise write_error(self.path, error) from error
        self._length += len(data)

    def finish(self, tail: str) -> None:
        """Write the end and bring the file to its place."""
        if self._open:
            self._open = False
            try:
                self.append(tail)
            except SemalignError as error:
                self._stack.__exit__(type(error), error, None)
                raise
            self._stack.close()


class JsonWriter:
    """Everything: one object with a list of pictures, each with its faces (`Face.to_dict`), one picture a line."""

    def __init__(self, path: Path, scheme: LandmarkScheme, about: Mapping[str, Any]) -> None:
        head = {"format": FORMAT, **about, "landmarks": list(scheme.landmarks)}
        self._file = GrowingFile(path, _dumped(head)[:-1] + ', "images": [')
        self._comma = ""

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of one picture."""
        entry = {**finding.place(), "faces": [face.to_dict() for face in finding.faces]}
        self._file.append(f"{self._comma}\n{_dumped(entry)}")
        self._comma = ","

    def finish(self, complete: bool) -> None:
        """Close the list and say whether it is complete."""
        self._file.finish(f'\n], "complete": {_dumped(complete)}}}\n')


class CsvWriter:
    """A row for each landmark: image, frame, seconds, face, landmark, name, x, y, confidence; a face's number is its
    track in a video and its place from 1 in a picture.
    """

    COLUMNS = ("image", "frame", "seconds", "face", "landmark", "name", "x", "y", "confidence")

    def __init__(self, path: Path, scheme: LandmarkScheme) -> None:
        self._scheme = scheme
        self._file = GrowingFile(path, _csv([self.COLUMNS]))

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of one picture."""
        frame = "" if finding.frame is None else finding.frame
        seconds = "" if finding.frame is None else f"{finding.seconds:.4f}"
        rows = [
            (finding.name, frame, seconds, face.track or number, index, name, f"{x:.3f}", f"{y:.3f}", f"{sure:.4f}")
            for number, face in enumerate(finding.faces, 1)
            for index, (name, (x, y), sure) in enumerate(
                zip(self._scheme.landmarks, face.points.tolist(), face.confidence.tolist(), strict=True)
            )
        ]
        if rows:
            self._file.append(_csv(rows))

    def finish(self, complete: bool) -> None:
        """Bring the file to its place."""
        self._file.finish("")


class CocoWriter:
    """COCO keypoints: `images`, `annotations`, `categories`.

    Keypoints are 0-based pixels as here; boxes are continuous there (the first pixel spans 0 to 1), so they lie half a pixel
    further. Beside the usual keys an annotation has `score` and `confidence`; v is 2 for every landmark.
    """

    def __init__(self, path: Path, scheme: LandmarkScheme) -> None:
        skeleton = [
            [a + 1, b + 1]
            for curve in scheme.curves
            for a, b in zip(
                curve.landmarks, curve.landmarks[1:] + (curve.landmarks[:1] if curve.closed else ()), strict=False
            )
        ]
        face = {"id": 1, "name": "face", "keypoints": list(scheme.landmarks), "skeleton": skeleton}
        self._file = GrowingFile(path, f'{{"categories": {_dumped([face])}, "annotations": [')
        self._images: list[dict[str, Any]] = []
        self._count = 0

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of one picture."""
        entries, number = [], len(self._images) + 1
        for count, face in enumerate(finding.faces, self._count + 1):
            entries.append(("," if count > 1 else "") + "\n" + _dumped(self._annotation(face, count, number)))
        if entries:
            self._file.append("".join(entries))
        self._count += len(entries)
        place = finding.place()
        self._images.append({"id": number, "file_name": place.pop("image"), **place})

    @staticmethod
    def _annotation(face: Face, number: int, image: int) -> dict[str, Any]:
        x0, y0, x1, y1 = face.box
        keypoints = np.column_stack([np.round(face.points, 3), np.full(len(face.points), 2)]).ravel().tolist()
        annotation = {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [round(value, 3) for value in (x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 3),
            "num_keypoints": len(face.points),
            "keypoints": [int(value) if index % 3 == 2 else value for index, value in enumerate(keypoints)],
            "score": round(face.score, 4),
            "confidence": np.round(face.confidence, 4).tolist(),
        }
        return annotation if face.track is None else {**annotation, "track_id": face.track}

    def finish(self, complete: bool) -> None:
        """Write the list of images and bring the file to its place."""
        self._file.finish(f'\n], "images": {_dumped(self._images)}}}\n')


class PtsWriter:
    """A `.pts` file for each face: `photo.pts`, and `photo_2.pts` for the second; of videos `clip/000000_1.pts` by frame
    (from 0) and track.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of one picture."""
        for number, face in enumerate(finding.faces, 1):
            if finding.frame is None:
                name = finding.stem.name + (f"_{number}" if number > 1 else "")
                face.to_pts(self.folder / finding.stem.with_name(f"{name}.pts"))
            else:
                face.to_pts(self.folder / finding.stem / f"{finding.frame:06d}_{face.track or number}.pts")

    def finish(self, complete: bool) -> None:
        """Nothing is left to do."""


class Overlays:
    """Pictures (`photo.jpg`) and videos (`clip.mp4`) with the landmarks on them.

    Attributes:
        rate: frames a second of the next video, to be set before its first frame.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rate = 25.0
        self._video: tuple[PurePosixPath, tuple[int, int], Any, ExitStack, Path] | None = None

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write one picture or frame."""
        for face in finding.faces:
            picture = face.draw(picture)
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
        temporary = stack.enter_context(atomic_path(destination))
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


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
