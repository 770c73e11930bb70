"""Long work on many faces, shared out: parts of a fixed size, each of which leaves a file, done by any number of processes.

Which process does which part follows from its number alone: nobody waits for another, and nothing is lost but the parts that
a killed process had not finished, which any number of processes then do. A part is two files: its arrays, and then a note
with their checksum, without which it counts as not done. Once all are there, a manifest of their checksums commits them.

The folder of the parts is named by what the results depend on, so that parts of other work are never taken for these.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.errors import SemalignError
from semalign.files import read_json, write_bytes, write_json

SIZE = 32  # faces in a part
MANIFEST = "manifest.json"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Share:
    """Which of several processes this is, counted from 1."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise SemalignError(f"shard {self.index}/{self.count}: there is none; give I/N with I from 1 to N.")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_share(text: str) -> Share:
    """A share as it is written: I/N, from 1/N to N/N.

    Raises:
        SemalignError: it is not.
    """
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        raise SemalignError(f"shard {text!r}: is no share of the work; give I/N, for example 1/4 to 4/4.")
    return Share(int(index), int(count))


class Parts:
    """The parts of one work.

    Args:
        folder: in which they get one of their own.
        depends: what the results depend on: arrays, tensors, texts, numbers, and mappings and sequences of these.
        count: of the faces.
        size: faces in a part.
    """

    def __init__(self, folder: Path, depends: Any, count: int, size: int = SIZE) -> None:
        self.count, self.size, self.key = count, size, digest([depends, count, size])
        self.folder = Path(folder) / self.key[:16]

    def __len__(self) -> int:
        """How many there are."""
        return -(-self.count // self.size)

    def rows(self, part: int) -> np.ndarray:
        """The faces of a part."""
        return np.arange(part * self.size, min((part + 1) * self.size, self.count))

    @property
    def begun(self) -> bool:
        """Whether there is anything of this work."""
        return self.folder.is_dir()

    @property
    def committed(self) -> bool:
        """Whether all of it is there."""
        return (self.folder / MANIFEST).is_file()

    def refuse_others(self) -> None:
        """Refuse a folder in which others have begun other work, which would be for nothing.

        Raises:
            SemalignError: it is one, and nothing of this work is there.
        """
        place = self.folder.parent
        if not self.begun and place.is_dir() and any(path.is_dir() for path in place.iterdir()):
            raise SemalignError(
                f"{place}: holds shares of other data or with other options; give the same to every process, "
                "or delete that folder."
            )

    def missing(self) -> list[int]:
        """The parts that are not done, or whose files are damaged."""
        return [part for part in range(len(self)) if self._checksum(part) is None]

    def work(
        self, share: Share, do: Callable[[np.ndarray], Arrays], advance: Callable[[int], None] | None = None
    ) -> None:
        """Do what is missing of this share.

        Args:
            share: part i is done by process i modulo their number.
            do: the work on some rows.
            advance: told how many more faces are done.

        Raises:
            SemalignError: the parts cannot be written.
        """
        for part in range(share.index - 1, len(self), share.count):
            if self._checksum(part) is None:
                self._write(part, do(self.rows(part)))
            if advance is not None:
                advance(len(self.rows(part)))

    def commit(self) -> None:
        """Write the manifest.

        Raises:
            SemalignError: parts are missing.
        """
        checksums = [self._checksum(part) for part in range(len(self))]
        if None in checksums:
            lost = [part + 1 for part, checksum in enumerate(checksums) if checksum is None]
            raise SemalignError(
                f"{self.folder}: {len(lost)} of {len(self)} parts are missing (number {lost[0]} is the first); "
                "run the command again, which does them."
            )
        write_json(self.folder / MANIFEST, {"depends": self.key, "faces": self.count, "parts": checksums})

    def read(self) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Rows and results of all parts in their order, once they are committed.

        Raises:
            SemalignError: a part is not what was committed.
        """
        manifest = read_json(self.folder / MANIFEST, "run the command again")
        for part, checksum in enumerate(manifest["parts"]):
            data = self._file(part).read_bytes() if self._file(part).is_file() else b""
            if hashlib.sha256(data).hexdigest() != checksum:
                raise SemalignError(f"{self._file(part)}: is damaged; delete it and run the command again.")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                yield self.rows(part), {name: arrays[name] for name in arrays.files}

    def collect(self, names: Sequence[str]) -> Arrays:
        """Some of the results of all faces."""
        found = [[arrays[name] for name in names] for _, arrays in self.read()]
        return {name: np.concatenate(column) for name, column in zip(names, zip(*found, strict=True), strict=True)}

    def _file(self, part: int) -> Path:
        return self.folder / f"{part:06d}.npz"

    def _write(self, part: int, arrays: Arrays) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        data = buffer.getvalue()
        write_bytes(self._file(part), data)
        write_json(self._file(part).with_suffix(".json"), {"sha256": hashlib.sha256(data).hexdigest()})

    def _checksum(self, part: int) -> str | None:
        """Of a part that is done and whole; None of any other."""
        try:
            noted = json.loads(self._file(part).with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
            there = hashlib.sha256(self._file(part).read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return there if noted == there else None


def digest(value: Any) -> str:
    """A text that changes with arrays, tensors, numbers and texts, and with how mappings and sequences hold them."""
    hashed = hashlib.sha256()
    _feed(hashed, value)
    return hashed.hexdigest()


def _feed(hashed: Any, value: Any) -> None:
    if hasattr(value, "detach"):  # a tensor of PyTorch, which is not imported here
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        hashed.update(f"{value.dtype}{value.shape}".encode())
        hashed.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value):
            _feed(hashed, [name, value[name]])
    elif isinstance(value, list | tuple):
        hashed.update(f"[{len(value)}".encode())
        for item in value:
            _feed(hashed, item)
    else:
        hashed.update(repr(value).encode())
