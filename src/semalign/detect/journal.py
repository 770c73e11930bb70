"""The record of a prediction, which grows picture by picture: JSON lines that are valid whenever the work is stopped.

The first line says where the results come from, each other line is a picture or a frame with its faces. A video that is done
is followed by `{"video": name}`, and finished work ends with `{"complete": true}`. A line that a killed process left
half-written is cut off when the work is continued.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semalign.errors import SemalignError
from semalign.files import parse_json, reason, write_error

FORMAT = "semalign landmarks 1"
JSONL = "landmarks.jsonl"


def dumped(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


class Journal:
    """A file of JSON lines, open for more of them.

    Args:
        path: the file; begun anew, or with `resume` continued where it ends.
        head: JSON values of the first line, when it is begun.

    Raises:
        SemalignError: it cannot be read or written.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], resume: bool = False) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = path.open("r+b" if resume else "w+b", buffering=0)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            if resume:
                self._length = _sound_length(path)
                self._file.truncate(self._length)
                self._file.seek(self._length)
            else:
                self._length = 0
                self.append({"format": FORMAT, **head})
        except (OSError, SemalignError) as error:
            self._file.close()
            raise error if isinstance(error, SemalignError) else write_error(path, error) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write a whole line, or nothing of it.

        Raises:
            SemalignError: it cannot be written, as when the disk is full.
        """
        data = f"{dumped(entry)}\n".encode()
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        except BaseException as error:
            self._file.seek(self._length)
            self._file.truncate()
            if isinstance(error, OSError):
                raise write_error(self.path, error) from error
            raise
        self._length += len(data)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._file.close()


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Face(_Part):
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]]
    confidence: list[float]
    box: Annotated[list[float], Field(min_length=4, max_length=4)]
    visibility: list[float] | None = None
    uncertainty: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    track: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stem: str | None = None


class _Entry(_Part):
    """What a line of a picture or frame must hold; more is allowed."""

    image: str
    faces: list[_Face]
    stem: str = ""
    frame: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Line:
    """A picture or frame of a record: its JSON text, and its values."""

    text: str
    values: dict[str, Any]


def read_head(path: Path) -> dict[str, Any]:
    """The first line's values.

    Raises:
        SemalignError: it cannot be read, or is no record of ours.
    """
    try:
        with path.open("rb") as file:
            head = parse_json(file.readline())
    except (OSError, ValueError) as error:
        raise SemalignError(
            f"{path}: cannot be read as JSON lines ({reason(error)}); give --overwrite to begin anew."
        ) from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise SemalignError(f"{path}: was not written by 'semalign predict'; choose another folder with --out.")
    return head


def read_lines(path: Path) -> Iterator[Line]:
    """The pictures and frames of a record, one at a time.

    Raises:
        SemalignError: a line is not as `predict` writes it.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            next(file, None)
            for number, text in enumerate(file, 2):
                values = parse_json(text)
                if not isinstance(values, dict):
                    raise ValueError(f"line {number} holds no JSON object")
                if "faces" in values:
                    refuse_odd(values, f"line {number}")
                    yield Line(text.rstrip("\n"), values)
    except (OSError, ValueError) as error:
        raise SemalignError(
            f"{path}: is no record that can be read ({reason(error)}); delete it to begin anew."
        ) from error


def refuse_odd(values: Mapping[str, Any], where: str) -> None:
    """Refuse a picture or frame that is not as `predict` writes it.

    Raises:
        ValueError: it is not; in short what is wrong.
    """
    try:
        entry = _Entry.model_validate(values)
        if any(
            len({len(told) for told in (face.points, face.confidence, face.visibility, face.uncertainty) if told}) > 1
            for face in entry.faces
        ):
            raise ValueError(f"{where}: a face does not say the same of all of its points")
        dumped(values).encode()  # halves of letters, which cannot be written, are a ValueError
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(item) for item in first["loc"])
        raise ValueError(f"{where}: {place}: {first['msg'][:200]}") from None


def restore(path: Path, finished: Path) -> None:
    """Write the record anew from the finished JSON file that was made of it, which has a picture a line.

    Raises:
        SemalignError: that file cannot be read, or was not written by `predict`.
    """
    try:
        with (
            finished.open(encoding="utf-8", newline="\n") as lines,
            path.open("w", encoding="utf-8", newline="\n") as out,
        ):
            head = parse_json(f"{next(lines, '')}]}}")
            if head.get("format") != FORMAT:
                raise ValueError("it has another format")
            out.write(dumped({key: value for key, value in head.items() if key != "images"}) + "\n")
            videos: dict[str, None] = {}
            for line in lines:
                if line.startswith("{"):
                    entry = parse_json(line.rstrip(",\n"))
                    refuse_odd(entry, "a line")
                    out.write(dumped(entry) + "\n")
                    if "frame" in entry:
                        videos[entry["image"]] = None
            for video in videos:
                out.write(dumped({"video": video}) + "\n")
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise SemalignError(
            f"{finished}: cannot be continued ({reason(error)}); give --overwrite to begin anew, or another folder."
        ) from error


def _sound_length(path: Path) -> int:
    """Bytes up to which a record is whole: without half a line, without a video that was not finished, without an end."""
    sound = length = 0
    pending: int | None = None  # where a video's frames begin
    with path.open("rb") as file:
        for line in file:
            values = _parsed(line)
            if values is None:
                break
            if "frame" in values and pending is None:
                pending = length
            elif "frame" not in values:
                pending = None
            length += len(line)
            if "complete" not in values and pending is None:
                sound = length
    return sound


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        values = parse_json(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def is_complete(path: Path) -> bool:
    """Whether a record's last line says that everything is done."""
    try:
        with path.open("rb") as file:
            file.seek(-min(64, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read().endswith(b'{"complete": true}\n')
    except OSError:
        return False
