"""Atomic writes: a file is written beside its destination and renamed, so that nobody ever sees half of it. And JSON back."""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semalign.errors import SemalignError

_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}(\.\w+)?", re.DOTALL)  # as tempfile names them


@contextmanager
def atomic_path(destination: Path) -> Iterator[Path]:
    """A temporary path in the destination's folder that replaces the destination when the block ends without an error.

    The name keeps the destination's ending, for libraries that choose a format by it.

    Raises:
        SemalignError: the folder cannot be written or the disk is full; the destination is then as it was before.
    """
    destination = Path(destination)
    temporary: Path | None = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{destination.stem[:40]}-", suffix=destination.suffix, dir=destination.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _apply_umask(temporary)
        os.replace(temporary, destination)
    except OSError as error:
        raise write_error(destination, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(destination: Path, what: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that is the destination when the block ends without an error.

    A new destination, or an empty one, is made all at once. With `overwrite`, one that is there is written into file by file.

    Raises:
        SemalignError: the destination holds something and `overwrite` was not asked for, or it cannot be written; `what` is the
            kind of thing that is written.
    """
    if not (overwrite and destination.is_dir()):
        refuse_occupied(destination, what)
        place: Path | None = None
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix=f".{destination.name[:40]}-", dir=destination.parent))
            place.chmod(0o777 & ~_umask())
            yield place
            os.replace(place, destination)
        except OSError as error:
            raise write_error(destination, error) from error
        finally:
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
    else:
        yield destination


def refuse_occupied(folder: Path, what: str) -> None:
    """Raise unless the folder is new or empty; `what` is the kind of thing it was hoped to hold.

    Raises:
        SemalignError: it holds something, is a file, or cannot be read.
    """
    try:
        occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise SemalignError(f"{folder}: cannot be read ({error.strerror}); choose another folder.") from error
    if occupied:
        raise SemalignError(f"{folder}: is not empty and holds no {what}; choose a new or an empty folder.")


def is_new(marker: Path, what: str, resume: bool, called: str = "") -> bool:
    """Whether a folder is still to be begun, for which it must be empty; otherwise it holds what may be continued.

    Args:
        marker: file of the folder that says what it holds.
        what: it holds, in words.
        resume: continue what is there.
        called: the same in short.

    Raises:
        SemalignError: it holds something else, or what it is for and `resume` was not asked for.
    """
    if not marker.is_file():
        refuse_occupied(marker.parent, what)
        return True
    if not resume:
        raise SemalignError(
            f"{marker.parent}: holds a {called or what} already; add --resume to continue it, or choose another folder."
        )
    return False


def refuse_existing(file: Path, overwrite: bool) -> None:
    """Raise if a file is there already, unless it may be replaced.

    Raises:
        SemalignError: it is there and may not be replaced, or it is a folder.
    """
    if file.is_dir():
        raise SemalignError(f"{file}: is a folder; give the name of a file.")
    if os.path.lexists(file) and not overwrite:
        raise SemalignError(f"{file}: exists already; give overwrite=True to replace it, or choose another name.")


def write_error(destination: Path, error: OSError) -> SemalignError:
    """The sentence for a failed write: which file, why, what to do."""
    remedy = {
        errno.ENOSPC: "the disk is full; free some space and run the command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
        errno.EACCES: "permission denied; choose a folder that you may write to",
        errno.EPERM: "permission denied; choose a folder that you may write to",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
        errno.EEXIST: "a file stands where a folder is needed; choose another path",
    }.get(error.errno or 0, f"{error.strerror or error}; check the path and run the command again")
    return SemalignError(f"cannot write {destination}: {remedy}.")


def write_text(destination: Path, text: str) -> None:
    """Write text (UTF-8) atomically."""
    with atomic_path(destination) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(destination: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(destination) as temporary:
        temporary.write_bytes(data)


def write_json(destination: Path, value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Write a value as indented JSON atomically; NaN is refused, because JSON has none."""
    write_text(destination, json.dumps(value, indent=2, default=default, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The value in a JSON file.

    Raises:
        SemalignError: it cannot be read or is no JSON; `remedy` says what to do.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SemalignError(f"{path}: cannot be read as JSON ({error}); {remedy}.") from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that `atomic_path` left below a folder because its process was killed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                Path(place, name).unlink(missing_ok=True)


def forget(array: Any) -> None:
    """Give back the memory in which pages of an array lie that is mapped from a file; of another array nothing happens.

    What was written is kept; what is read again comes from the system's cache, or from the disk.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def shown(name: str | Path) -> str:
    r"""A file's name as valid Unicode: a byte that is no UTF-8 becomes \xNN, everything else stays."""
    try:
        data = str(name).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of characters, which Windows allows
        data = str(name).encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")


def _apply_umask(path: Path) -> None:
    """Give a file made by mkstemp (0600) the permissions that an ordinary new file would have."""
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
