"""Atomic writes: a file is written beside its destination and renamed, so that nobody ever sees half of it. And JSON back.

Files of strangers are read here, too: JSON and TOML in bounded time and memory, and names that may not lead out of a folder.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from semalign.errors import SemalignError

LOCK = ".lock"  # of a folder, see `semalign.locks`; it is in nobody's way
MOST_TOML = 4 << 20  # letters of a TOML file
LONGEST_REASON = 200  # letters of another library's message
DEEPEST_KEY = 64  # dots of a key: the time and memory of reading one grow with their square
_PART = ".part-"
_TEMPORARY = re.compile(r"\..*\.part-[a-z0-9_]{8}(\.\w+)?", re.DOTALL)  # what is written here before it has its name


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
            prefix=_prefix(destination.stem), suffix=destination.suffix, dir=destination.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        apply_umask(temporary)
        os.replace(temporary, destination)
    except OSError as error:
        raise write_error(destination, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # what stays where nothing can be deleted goes with the next writer
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
            place = temporary_folder(destination.parent, destination.name)
            yield place
            os.replace(place, destination)
        except OSError as error:
            raise write_error(destination, error) from error
        finally:
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
    else:
        yield destination


def temporary_folder(parent: Path, name: str) -> Path:
    """A new hidden folder to prepare something in that will be called `name`; `remove_leftovers` finds one that stays."""
    place = Path(tempfile.mkdtemp(prefix=_prefix(name), dir=parent))
    place.chmod(0o777 & ~_umask())
    return place


def refuse_occupied(folder: Path, what: str) -> None:
    """Raise unless the folder is new or empty; `what` is the kind of thing it was hoped to hold.

    Raises:
        SemalignError: it holds something, is a file, or cannot be read.
    """
    try:
        occupied = folder.exists() and (not folder.is_dir() or any(entry.name != LOCK for entry in folder.iterdir()))
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
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SemalignError(f"{path}: cannot be read as JSON ({reason(error)}); {remedy}.") from error


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """As `read_json`, of a file that holds an object.

    Raises:
        SemalignError: also if it holds something else.
    """
    value = read_json(path, remedy)
    if not isinstance(value, dict):
        raise SemalignError(f"{path}: holds no JSON object; {remedy}.")
    return value


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is none, too long, or nested too deeply to be read.
    """
    if len(text) > MOST_TOML:
        raise ValueError(f"it has {len(text)} letters, more than {MOST_TOML}")
    if any(piece.count(".") > DEEPEST_KEY for line in text.splitlines() for piece in re.split(r"[=,#]", line)):
        raise ValueError(f"a key has more than {DEEPEST_KEY} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def reason(error: BaseException) -> str:
    """What an error of another library says, as a part of a sentence: on one line, and not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(letter if letter.isprintable() else "?" for letter in shown(text))
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def inside(folder: Path, name: str) -> Path:
    """The place of a relative name in a folder.

    Raises:
        SemalignError: the name leads out of the folder, is that itself, or is no name of a file.
    """
    path = PurePath(name)
    if path.is_absolute() or path.drive or ".." in path.parts or not path.name or "\0" in name:
        raise SemalignError(f"{shown(name)[:200]!r}: leads out of the folder {folder}, or is no name; rename it.")
    return folder / path


def remove_leftovers(folder: Path, held: Callable[[Path], bool] = lambda lock: True) -> None:
    """Delete what writers that were killed have left below a folder: temporary files and folders, and their locks.

    Args:
        folder: whose only writer the caller is.
        held: whether somebody holds a lock file; a folder below with such a one is passed over, without this with any.
    """
    for place, folders, names in os.walk(folder):
        below = Path(place) != Path(folder)
        if below and LOCK in names:
            if held(Path(place, LOCK)):
                folders.clear()
                continue
            with suppress(OSError):
                Path(place, LOCK).unlink(missing_ok=True)
        _remove(place, folders, names, _TEMPORARY)


def remove_leftovers_of(destination: Path) -> None:
    """Delete the temporary files and folders that killed writers of one file or folder have left beside it."""
    for stem, suffix in ((destination.stem, destination.suffix), (destination.name, "")):
        own = re.compile(re.escape(_prefix(stem)) + "[a-z0-9_]{8}" + re.escape(suffix), re.DOTALL)
        place, folders, names = next(os.walk(destination.parent), ("", [], []))
        _remove(place, folders, names, own)


def _remove(place: str, folders: list[str], names: list[str], known: re.Pattern[str]) -> None:
    """Delete those files and folders of a place whose names are known; of `folders` they are taken out."""
    for name in names:
        if known.fullmatch(name):
            with suppress(OSError):
                Path(place, name).unlink(missing_ok=True)
    for name in [name for name in folders if known.fullmatch(name)]:
        shutil.rmtree(Path(place, name), ignore_errors=True)
        folders.remove(name)


def _prefix(name: str) -> str:
    """How the temporary name of what will be called so begins; short enough for any file system."""
    return f".{name[:40]}{_PART}"


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


def apply_umask(path: Path) -> None:
    """Give a file made by mkstemp (0600) the permissions that an ordinary new file would have."""
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
