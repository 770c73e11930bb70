"""A folder of results: the record that grows, files of each picture's own, and the tables that are made at the end.

A picture is done when its line is in the record (`semalign.detect.journal`). Whenever the work is stopped, by whatever, the
folder can be continued from there. The tables are made of the record when the work ends, also after an interruption.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import numpy as np

from semalign.data.pts import write_pts
from semalign.data.results import BEGUN
from semalign.detect.assembly import COCO, CSV, JSON, PARQUET, TABLES, write_tables
from semalign.detect.finding import Finding, Recording, Writer
from semalign.detect.journal import JSONL, Journal, is_complete, read_head, read_lines, restore
from semalign.detect.names import Names
from semalign.detect.overlays import Overlays
from semalign.detect.sources import done_key
from semalign.errors import SemalignError
from semalign.files import inside, refuse_occupied, remove_leftovers, shown, write_error
from semalign.locks import one_writer, refuse_held
from semalign.schemes import LandmarkScheme
from semalign.shapes import UInt8

MORE = "more"  # key of a line from another process: all digits of the points of all faces but the first
FORMATS = ("json", "jsonl", "csv", "parquet", "coco", "pts", "overlay")
__all__ = [
    "COCO",
    "CSV",
    "FORMATS",
    "JSON",
    "JSONL",
    "PARQUET",
    "Finding",
    "PtsWriter",
    "Recording",
    "ResultFolder",
    "Writer",
]


class ResultFolder:
    """A folder of results, to be used in a `with` block, whose end makes the tables. Until then nobody else writes into it.

    Args:
        folder: new or empty, unless one of the next two is given.
        formats: of FORMATS; JSON is always written.
        scheme: of the landmarks.
        about: JSON values that tell where the results come from.
        resume: continue the results in the folder, with the same `formats` and `about`; begin them if there are none.
        overwrite: replace the results in the folder.
        shared: make the results of what several processes have found (`semalign.detect.shares`); begun anew where that was
            broken off.

    Attributes:
        overlays: where the rate of the next overlay video is set; None without overlays.
        names: the places that are taken, those of pictures done before included.
        done: absolute paths (and names of cameras) of the pictures and videos that were done before.

    Raises:
        SemalignError: an unknown format; a folder that holds something else, results without leave to change them, or
            results of other settings; or that somebody else writes into.
    """

    def __init__(
        self,
        folder: str | Path,
        formats: Sequence[str],
        scheme: LandmarkScheme,
        about: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        shared: bool = False,
    ) -> None:
        self.folder, self.scheme = Path(folder), scheme
        check_formats(formats)
        self.formats = ("json", *(name for name in FORMATS[1:] if name in formats))
        self._record = self.folder / JSONL
        head = {**(about or {}), "formats": list(self.formats), "landmarks": list(scheme.landmarks)}
        self.names, self.done = Names(), frozenset[str]()
        with ExitStack() as held:
            held.enter_context(one_writer(self.folder))
            self._begin(head, resume and not shared, overwrite and not shared, shared)
            self._held = held.pop_all()
        self.overlays = Overlays(self.folder) if "overlay" in formats else None
        self._writers: list[Writer] = [PtsWriter(self.folder)] if "pts" in formats else []
        if self.overlays is not None:
            self._writers.append(self.overlays)

    def _begin(self, head: Mapping[str, Any], resume: bool, overwrite: bool, shared: bool) -> None:
        claim(self.folder, resume, overwrite, shared)
        if overwrite and not resume:
            self._clear()
        goes_on = resume and self._can_go_on(head)
        self._journal = Journal(self._record, {**head, "cwd": shown(os.getcwd())}, goes_on)
        self._empty = not goes_on
        try:
            if goes_on:
                self._remember()
        except BaseException:
            self._journal.close()
            raise

    def _can_go_on(self, head: Mapping[str, Any]) -> bool:
        """Whether there is a record to be continued; then it lies in its place, and nothing unfinished beside it."""
        if not self._record.is_file() or not self._record.stat().st_size:
            if not (self.folder / JSON).is_file():
                return False
            restore(self._record, self.folder / JSON)
        before = read_head(self._record)
        for key, value in head.items():
            if before.get(key) != value:
                raise SemalignError(
                    f"{self.folder}: was begun with {key} {before.get(key)} and not {value}; "
                    "continue with the same options, or give --overwrite or another folder."
                )
        remove_leftovers(self.folder)
        return True

    def _remember(self) -> None:
        base = str(read_head(self._record).get("cwd", os.getcwd()))
        done = set()
        for line in read_lines(self._record):
            entry = line.values
            if any(len(face["points"]) != self.scheme.count for face in entry["faces"]):
                raise SemalignError(
                    f"{self._record}: a face of {shown(entry['image'])} has not {self.scheme.count} landmarks; "
                    "give --overwrite to begin anew."
                )
            video = "frame" in entry
            done.add(done_key(entry["image"], base))
            stem = PurePosixPath(entry.get("stem", ""))
            self.names.keep(stem, video)
            for face in [] if video else entry["faces"]:
                self.names.keep(PurePosixPath(face.get("stem", stem)))
        self.done = frozenset(done)

    def _clear(self) -> None:
        """Delete what an earlier run has written, as its record tells, so that nothing of it stands beside the new results."""
        if not self._record.is_file() and (self.folder / JSON).is_file():
            restore(self._record, self.folder / JSON)
        if self._record.is_file() and self._record.stat().st_size:
            formats = read_head(self._record).get("formats") or ()
            formats = formats if isinstance(formats, list) else ()
            try:
                for line in read_lines(self._record):
                    _remove_files(self.folder, line.values, formats)
            except SemalignError:  # what the rest of a damaged record tells of stays
                pass
        for name in TABLES:
            (self.folder / name).unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def __enter__(self) -> ResultFolder:
        """The folder itself."""
        return self

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the faces of a picture in every format; `picture` may be smaller than its size says.

        Raises:
            SemalignError: a file cannot be written, as when the disk is full.
        """
        self.record(self.prepare(finding, picture))

    def prepare(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> dict[str, Any]:
        """Write the files of a picture's own, and return its line for `record`; several threads may do so for pictures."""
        faces = [face.to_dict() for face in finding.faces]
        stems = [finding.stem] * len(faces)
        if finding.frame is None:
            stems[1:] = [self.names.another(finding.stem, number) for number in range(2, len(faces) + 1)]
            for face, stem in zip(faces[1:], stems[1:], strict=True):
                face["stem"] = str(stem)
        for writer in self._writers:
            writer.add(finding, picture, stems)
        return {**finding.place(), "stem": str(finding.stem), "faces": faces}

    def record(self, entry: Mapping[str, Any]) -> None:
        """Write a picture's line: from now on it is done."""
        self._empty = False
        self._journal.append(entry)

    def adopt(self, entry: dict[str, Any]) -> None:
        """Record the line of a picture that another process has looked at, and write what that has left to do.

        Args:
            entry: its first face's files are there; `MORE` has the points of the others.

        Raises:
            SemalignError: a file cannot be written.
        """
        stem, more = PurePosixPath(entry["stem"]), entry.pop(MORE, ())
        for number, face in enumerate(entry["faces"][1:], 2):
            own = self.names.another(stem, number)
            face["stem"] = str(own)
            if "pts" in self.formats:
                write_pts(self.folder / own.with_name(f"{own.name}.pts"), np.array(more[number - 2]))
        self.record(entry)

    def end_video(self, name: str) -> None:
        """Say that all frames of a video were added."""
        if self.overlays is not None:
            self.overlays.finish(True)
        self._journal.append({"video": name})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make the tables, unless there was no picture; the first problem is raised unless there was one already."""
        with self._held:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        problem: SemalignError | None = None
        for writer in self._writers:
            try:
                writer.finish(error is None)
            except SemalignError as failed:
                problem = problem or failed
        complete = error is None and problem is None
        try:
            if complete and "jsonl" in self.formats:
                self._journal.append({"complete": True})
            self._journal.close()
            if not self._empty:
                write_tables(self.folder, self._record, self.formats, self.scheme, complete)
            if self._empty or (complete and "jsonl" not in self.formats):
                self._record.unlink()
        except SemalignError as failed:
            problem = problem or failed
        except OSError as failed:
            problem = problem or write_error(self._record, failed)
        if problem is not None and error is None:
            raise problem


class PtsWriter:
    """A `.pts` file for each face: `photo.pts`, and `photo_2.pts` for the second; of videos `clip/000000_1.pts` by frame
    (from 0) and track.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"], stems: Sequence[PurePosixPath]) -> None:
        """Write the faces of one picture."""
        for number, (face, stem) in enumerate(zip(finding.faces, stems, strict=True), 1):
            if finding.frame is None:
                face.to_pts(self.folder / stem.with_name(f"{stem.name}.pts"))
            else:
                face.to_pts(self.folder / stem / f"{finding.frame:06d}_{face.track or number}.pts")

    def finish(self, complete: bool) -> None:
        """Nothing is left to do."""


def check_formats(formats: Sequence[str]) -> None:
    """Refuse a format that is not of FORMATS with a SemalignError."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise SemalignError(f"the format {unknown[0]!r} is unknown; choose from {', '.join(FORMATS)}.")


def claim(folder: Path, resume: bool = False, overwrite: bool = False, shared: bool = False) -> None:
    """Refuse a folder in which no results can be begun, or continued or replaced where that is asked for.

    Raises:
        SemalignError: somebody else writes into it, it holds something else, or results without leave to change them.
    """
    refuse_held(folder)
    if (folder / BEGUN).is_file():
        if shared and not overwrite:
            return
        raise SemalignError(
            f"{folder}: holds what several processes have found (--shard); the same command without --shard puts it "
            "together. Delete the folder to begin anew, or choose another one with --out."
        )
    if not (folder / JSON).is_file() and not (folder / JSONL).is_file():
        try:
            refuse_occupied(folder, f"{JSON} of earlier results")
        except SemalignError as error:
            raise SemalignError(f"{str(error).removesuffix('.')} with --out.") from error
    elif shared:
        raise SemalignError(f"{folder}: holds results already; choose another folder for shared work with --out.")
    elif not resume and not overwrite:
        unfinished = (folder / JSONL).is_file() and not is_complete(folder / JSONL)
        what, use = ("unfinished results", "continue them") if unfinished else ("results", "add what is missing")
        raise SemalignError(f"{folder}: holds {what} already; give --resume to {use}, or --overwrite to replace them.")


def _remove_files(folder: Path, entry: Mapping[str, Any], formats: Sequence[str]) -> None:
    """Delete the files of a line of the record.

    Raises:
        SemalignError: it names files outside of the folder.
    """
    if not entry.get("stem"):
        return
    stem = inside(folder, entry["stem"])
    if "frame" in entry:
        names = [f"{entry['frame']:06d}_{face['track']}.pts" for face in entry["faces"] if face.get("track")]
        own = [stem / name for name in names] if "pts" in formats else []
    else:
        stems = [stem, *(inside(folder, face["stem"]) for face in entry["faces"] if face.get("stem"))]
        own = [path.with_name(f"{path.name}.pts") for path in stems] if "pts" in formats else []
    if "overlay" in formats:
        own += [stem.with_name(f"{stem.name}{ending}") for ending in (".mp4",) if "frame" in entry]
        own += [stem.with_name(f"{stem.name}{ending}") for ending in (".jpg", ".png") if "frame" not in entry]
    for path in own:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a name that no file can have
                raise
