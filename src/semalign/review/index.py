"""An audit prepared for the page: its arrays as files that are mapped into memory, and its faces and points by rank.

Reading an audit of 100,000 faces takes many seconds; mapping what was prepared once takes none. The files lie in the
audit's folder and are made anew when the audit has changed.

    review/index.json    of which audit, faces, scheme; written last
    review/*.npy         arrays, as in `Index`

Shape legend: b faces, n landmarks, q places in a queue.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign.auditing import KINDS, Audit, read_audit
from semalign.auditing.result import ABOUT, FACES, LABELS, POINTS, face_sizes, refuse_unfinished
from semalign.errors import SemalignError
from semalign.files import atomic_path, read_json, write_text
from semalign.locks import one_writer
from semalign.schemes import scheme_of_text, scheme_text

FORMAT: Final = 3
FOLDER: Final = "review"
LEAST: Final = 0.05  # points that are less probably wrong are in no queue
# Of an audit, with the types that they have here; all else that is worked out.
_TYPES: Final = {
    "frames": np.int32,
    "annotations": np.float64,
    "proposals": np.float64,
    "spread": np.float32,
    "face_probability": np.float32,
    "face_kind": np.int8,
    "point_probability": np.float32,
    "point_kind": np.int8,
    "odds": np.float32,
}
_ARRAYS: Final = (*_TYPES, "size", "gain", "move", "listed")
_QUEUES: Final = ("faces", "points", "faces-move", "points-move")
PATIENCE: Final = 300.0  # seconds to wait while another process prepares the same
MOVING: Final = 2_000_000  # points at most that are ordered by how far they move
_COLUMNS: Final = ("face", "landmark", "kind", "probability", "move")
# What reading prepared files raises where they are damaged or another audit's.
UNUSABLE = (OSError, ValueError, LookupError, TypeError, EOFError, SyntaxError, TokenError, MemoryError, SemalignError)


@dataclass(frozen=True, eq=False)
class Queue:
    """Faces or points by rank, the most probably wrong first. All arrays are (q,).

    Attributes:
        face: row.
        landmark: from 0; -1 = the whole face.
        kind: index in `KINDS`, -1 = none.
        probability: that it is wrong.
        move: from annotation to proposal, in sizes of the face; of a face its largest.
    """

    face: Int[np.ndarray, " q"]
    landmark: Int[np.ndarray, " q"]
    kind: Int[np.ndarray, " q"]
    probability: Float[np.ndarray, " q"]
    move: Float[np.ndarray, " q"]

    def __len__(self) -> int:
        """Number of places."""
        return len(self.face)


@dataclass(frozen=True, eq=False)
class Index(Audit):
    """An audit as the page needs it: its arrays are mapped, some of them narrower, and what it is asked for is worked out.

    Attributes:
        size: square root of the area of the annotations' box, pixels.
        gain: squared way from annotation to proposal, in squared sizes of the face; 0 where absent.
        move: its square root.
        listed: points that are probably wrong by themselves, in faces that are not wrong as a whole.
        faces: all faces by rank.
        points: points by rank that are at least a little probably wrong, in faces that are not wrong as a whole.
        faces_by_move: all faces by how far their points move.
        points_by_move: points by how far they move, in faces that are not wrong as a whole.
    """

    size: Float[np.ndarray, " b"]
    gain: Float[np.ndarray, "b n"]
    move: Float[np.ndarray, "b n"]
    listed: Bool[np.ndarray, "b n"]
    faces: Queue
    points: Queue
    faces_by_move: Queue
    points_by_move: Queue

    @cached_property
    def whole_gain(self) -> float:
        """Of all points together."""
        return float(self.gain.sum(dtype=np.float64))

    def queue(self, name: str, order: str = "probability") -> Queue:
        """The queue `faces` or `points`, in the order `probability` or `move`."""
        if order == "move":
            return self.faces_by_move if name == "faces" else self.points_by_move
        return self.faces if name == "faces" else self.points


def open_index(folder: Path, say: Callable[[str], None] = lambda text: None) -> Index:
    """The index of an audit; it is prepared where there is none, or one of an audit that has changed since.

    Args:
        folder: of the audit.
        say: is told when it must be prepared, which takes a moment.

    Raises:
        SemalignError: there is no finished audit, or the index cannot be written.
    """
    refuse_unfinished(folder)
    mark = _mark(folder)
    try:
        return _read(folder / FOLDER, mark)
    except UNUSABLE:
        say("preparing the queues")
    with one_writer(folder / FOLDER, PATIENCE):
        try:
            return _read(folder / FOLDER, mark)  # by another process, meanwhile
        except UNUSABLE:
            _write(folder / FOLDER, read_audit(folder), mark)
        return _read(folder / FOLDER, mark)


def _mark(folder: Path) -> list[list[Any]]:
    """What an audit's files look like from outside; another mark = another audit."""
    names = [ABOUT, FACES, POINTS, *(f"{LABELS}/{path.name}" for path in sorted((folder / LABELS).glob("*.parquet")))]
    try:
        found = [(name, os.stat(folder / name)) for name in names]
    except OSError as error:
        raise SemalignError(
            f"{folder}: is no whole audit ({error.strerror}: {error.filename}); make it again."
        ) from error
    return [[name, one.st_size, one.st_mtime_ns] for name, one in found]


def _read(folder: Path, mark: list[list[Any]]) -> Index:
    about = read_json(folder / "index.json", "it is prepared again")
    if about["format"] != FORMAT or about["mark"] != mark:
        raise ValueError("another audit's")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a damaged head looks like one of Python 2
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        faces, points, faces_by_move, points_by_move = (
            Queue(**{column: np.load(folder / f"{queue}-{column}.npy") for column in _COLUMNS}) for queue in _QUEUES
        )
    _refuse_misfit(arrays, (faces, points, faces_by_move, points_by_move), len(about["ids"]))
    return Index(
        ids=tuple(about["ids"]),
        files=tuple(about["files"]),
        scheme=scheme_of_text(about["scheme"]),
        about=about["audit"],
        **arrays,
        faces=faces,
        points=points,
        faces_by_move=faces_by_move,
        points_by_move=points_by_move,
    )


def _refuse_misfit(arrays: dict[str, np.ndarray], queues: tuple[Queue, ...], faces: int) -> None:
    """Refuse arrays that do not fit each other.

    Raises:
        ValueError: they do not.
    """
    count = arrays["point_kind"].shape[1]
    for name, array in arrays.items():
        of_faces = name in ("frames", "face_probability", "face_kind", "odds", "size")
        shape = (
            (faces,) if of_faces else (faces, count, 2)[: 3 if name in ("annotations", "proposals", "spread") else 2]
        )
        if array.shape != shape or array.dtype != _TYPES.get(name, array.dtype) or array.dtype.kind not in "fib":
            raise ValueError(f"{name} has another shape or type")
    for queue in queues:
        for name, below in (
            ("face", faces),
            ("landmark", count),
            ("kind", len(KINDS)),
            ("probability", 0),
            ("move", 0),
        ):
            column = getattr(queue, name)
            least = 0 if name == "face" else -1
            if column.shape != queue.face.shape or column.ndim != 1 or column.dtype.kind != ("i" if below else "f"):
                raise ValueError(f"a queue's {name} has another shape or type")
            if below and len(column) and not (least <= column.min() and column.max() < below):
                raise ValueError(f"a queue's {name} is out of range")


def _write(folder: Path, audit: Audit, mark: list[list[Any]]) -> None:
    (folder / "index.json").unlink(missing_ok=True)
    size = face_sizes(audit.annotations)
    move = (np.linalg.norm(audit.moves(), axis=-1) / size[:, None]).astype(np.float32)
    whole, listed = audit.wrong()
    there = audit.there() & ~whole[:, None]
    arrays = {
        **{name: np.asarray(getattr(audit, name), kept) for name, kept in _TYPES.items()},
        "size": size.astype(np.float32),
        "gain": move**2,
        "move": move,
        "listed": listed,
    }
    of_face = move.mean(axis=1)
    columns = {
        **_columns("faces", np.argsort(-audit.face_probability, kind="stable"), None, arrays, move),
        **_columns("faces-move", np.argsort(-of_face, kind="stable"), None, arrays, move),
    }
    face, landmark = np.nonzero(there & (audit.point_probability >= LEAST))
    order = np.argsort(-audit.point_probability[face, landmark], kind="stable")
    columns |= _columns("points", face[order], landmark[order], arrays, move)
    face, landmark = np.nonzero(there & (move > 0))
    order = np.argsort(-move[face, landmark], kind="stable")[:MOVING]
    columns |= _columns("points-move", face[order], landmark[order], arrays, move)
    for name, array in (arrays | columns).items():
        with atomic_path(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)
    about = {
        "format": FORMAT,
        "mark": mark,
        "audit": audit.about,
        "scheme": scheme_text(audit.scheme),
        "ids": audit.ids,
        "files": audit.files,
    }
    write_text(folder / "index.json", json.dumps(about))


def _columns(
    name: str,
    face: Int[np.ndarray, " q"],
    landmark: Int[np.ndarray, " q"] | None,
    arrays: dict[str, np.ndarray],
    move: Float[np.ndarray, "b n"],
) -> dict[str, np.ndarray]:
    """A queue's columns, of faces where there is no landmark, by the names of their files."""
    if landmark is None:
        found = {
            "landmark": np.full(len(face), -1),
            "kind": arrays["face_kind"][face],
            "probability": arrays["face_probability"][face],
            "move": move[face].max(axis=1),
        }
    else:
        found = {
            "landmark": landmark,
            "kind": arrays["point_kind"][face, landmark],
            "probability": arrays["point_probability"][face, landmark],
            "move": move[face, landmark],
        }
    found = {"face": face.astype(np.int32)} | found | {"landmark": found["landmark"].astype(np.int16)}
    return {f"{name}-{column}": values for column, values in found.items()}
