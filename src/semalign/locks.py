"""One writer a folder: who writes into it holds a lock on it, and the second is refused in a sentence that names the first.

A lock is a hidden file, `.lock` in the folder, or `.NAME.lock` beside a file that is written. What counts is the kernel's lock
on it (flock), which ends with the process that holds it, however that ends. What the file says (process, machine, command,
since when) is for the sentence alone: the note of a dead process keeps nobody out. The file goes when its holder has ended in
order; one that is found says that a writer was killed, and what that left half-written is removed.

Where a file system has no locks (some network file systems, and Windows), a process of this machine that is alive still refuses
others by its note. One of another machine cannot be told from a dead one there: the work goes on, and a warning says so.

Of the processes of one training (torchrun, Accelerate, MPI) the first one holds the lock for all.
"""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import json
import logging
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from semalign.errors import SemalignError
from semalign.files import LOCK, remove_leftovers, remove_leftovers_of, write_error

fcntl: Any
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

_LOG = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")  # as Accelerate reads them
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_TRIES = 200  # to open a lock that others make and delete at the same moment
_PAUSE = 0.05  # seconds
_MOMENT = 0.2  # seconds in which who only looks, or is about to go, has gone
_held = threading.local()  # .paths: lock files that this thread holds, and whether it shares them
_handles: set[int] = set()  # of this process, which a forked one gives up
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class _Lock:
    """A lock that is held, or that could not be had because nothing can be written there.

    Attributes:
        handle: of the lock file; None = there is none.
        stale: whether a killed process had left it behind.
    """

    path: Path
    handle: int | None = None
    stale: bool = False


@contextmanager
def one_writer(folder: str | Path, wait: float = _MOMENT) -> Iterator[None]:
    """Hold a folder while writing into it; it is made where it is not there, and goes again if nothing was put into it.

    Within the block the same thread may hold it again. What a killed writer left half-written is removed first.

    Args:
        folder: that is written into.
        wait: so many seconds for another holder, before it is refused.

    Raises:
        SemalignError: somebody else holds it; the sentence names process, machine, command and since when.
    """
    folder = Path(folder)
    with _holding(_inside(folder), folder, shared=False, wait=wait) as lock:
        if lock.stale:
            remove_leftovers(folder, is_held)
        try:
            yield
        except (
            KeyboardInterrupt
        ):  # which may come between the making of a temporary file and the remembering of its name
            remove_leftovers(folder, is_held)
            raise


@contextmanager
def one_writer_of(file: str | Path) -> Iterator[None]:
    """Hold a file, or a folder that is put in its place all at once, while it is made. As `one_writer`."""
    file = Path(file)
    with _holding(_beside(file), file, shared=False) as lock:
        if lock.stale:
            remove_leftovers_of(file)
        try:
            yield
        except KeyboardInterrupt:
            remove_leftovers_of(file)
            raise


@contextmanager
def among_others(folder: str | Path) -> Iterator[None]:
    """Hold a folder together with others who do so: they keep out who would write it anew, and are kept out by whoever does.

    Raises:
        SemalignError: as `one_writer`.
    """
    folder = Path(folder)
    with _holding(_inside(folder), folder, shared=True, wait=5 * _MOMENT):
        yield


def writes_into(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that writes into the folder that its argument `name` is, as its one writer."""
    return _holds(name, one_writer)


def writes_file(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that makes the file that its argument `name` is, as its one writer."""
    return _holds(name, one_writer_of)


def _holds(name: str, hold: Callable[[Path], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def held(*args: P.args, **kwargs: P.kwargs) -> R:
            with hold(signature.bind(*args, **kwargs).arguments[name]):
                return function(*args, **kwargs)

        return held

    return decorate


def refuse_held(folder: str | Path) -> None:
    """Raise a SemalignError, as `one_writer`, if somebody else writes into a folder; nothing is held afterwards."""
    place = _inside(Path(folder))
    if str(place) not in _paths() and not _other_rank() and is_held(place):
        raise _refusal(Path(folder), place)


def is_held(lock: Path) -> bool:
    """Whether a process that is alive holds a lock file."""
    try:
        handle = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _seize(handle, shared=True) if fcntl is not None else bool(_living(lock))
    except OSError:
        return bool(_living(lock))
    finally:
        os.close(handle)


@contextmanager
def _holding(path: Path, what: Path, shared: bool, wait: float = _MOMENT) -> Iterator[_Lock]:
    mine = _paths()
    if (str(path) in mine and (shared or not mine[str(path)])) or _other_rank():
        yield _Lock(path)
        return
    made = _missing(path.parent)
    lock = _acquire(path, what, shared, time.monotonic() + wait)
    process = os.getpid()
    mine[str(path)] = shared
    try:
        yield lock
    finally:
        mine.pop(str(path), None)  # also where another thread ends what this one began
        if lock.handle is not None and process == os.getpid():
            _release(lock, shared)
            for folder in made:
                with suppress(OSError):  # it holds something
                    folder.rmdir()


def _acquire(path: Path, what: Path, shared: bool, until: float) -> _Lock:
    """The lock. A file that was deleted between its opening and its locking is nobody's: then all begins anew."""
    for _ in range(_TRIES):
        try:
            handle, writable = _open(path)
        except FileNotFoundError:  # who made the folder has just removed it
            continue
        except OSError as error:
            if error.errno in _FULL:
                raise write_error(what, error) from error
            return _Lock(path)  # nothing can be written here, as the first write will say
        kept = False
        try:
            while (sure := _seized(handle, path, what, shared)) is None:
                if time.monotonic() >= until:
                    raise _refusal(what, path)
                time.sleep(_PAUSE)
            if not _is_file(handle, path):
                continue
            if not writable and not shared:  # another user's, who has died
                path.unlink(missing_ok=True)
                continue
            stale = sure and not shared and os.fstat(handle).st_size > 0
            _write_note(handle, shared)
            kept = True
            _handles.add(handle)
            return _Lock(path, handle, stale)
        finally:
            if not kept:
                os.close(handle)
    raise SemalignError(f"{what}: cannot be locked, as others lock it all the time; try again.")


def _open(path: Path) -> tuple[int, bool]:
    """The lock file's handle, and whether it can be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        return os.open(path, os.O_RDONLY), False
    with suppress(OSError):
        os.chmod(path, 0o644)  # whatever the umask: others must be able to read who holds it
    return handle, True


def _seized(handle: int, path: Path, what: Path, shared: bool) -> bool | None:
    """Whether the kernel says so if the lock could be had; None if not. Where the file system has no locks the note decides."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        return True if _seize(handle, shared) else None
    except OSError as error:
        if not shared and _living(path):
            return None
        others = [note for note in _notes(path) if note.get("host") != socket.gethostname()]
        if others and not shared:
            _LOG.warning(
                "%s: this file system has no locks (%s), and %s may still write here; see that nobody else does.",
                what, error.strerror, _who(others[-1]),
            )  # fmt: skip
        return False


def _seize(handle: int, shared: bool) -> bool:
    """Whether the kernel's lock could be had; raises an OSError where there is none."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK):
            return False
        raise
    return True


def _is_file(handle: int, path: Path) -> bool:
    """Whether an open lock file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _release(lock: _Lock, shared: bool) -> None:
    """Delete the file while it is held, so that nobody can hold a deleted one beside a new one; the last of several does so."""
    assert lock.handle is not None
    _handles.discard(lock.handle)
    try:
        _delete(lock, shared)
    except KeyboardInterrupt:
        _delete(lock, shared)
        raise
    finally:
        with suppress(OSError):
            os.close(lock.handle)
    if fcntl is None and not shared:  # what is open cannot be deleted there
        with suppress(OSError):
            lock.path.unlink(missing_ok=True)


def _delete(lock: _Lock, shared: bool) -> None:
    assert lock.handle is not None
    with suppress(OSError):
        if _is_file(lock.handle, lock.path) and (not shared or (fcntl is not None and _seize(lock.handle, False))):
            lock.path.unlink(missing_ok=True)


def _write_note(handle: int, shared: bool) -> None:
    """Say who holds the lock; of several holders each has a line. A full disk costs the note, not the lock."""
    note = {
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "host": socket.gethostname(),
        "command": shlex.join([_program(sys.argv[0]), *sys.argv[1:]]) if sys.argv else "",
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }
    with suppress(OSError):
        if not shared:
            os.truncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_END)
        os.write(handle, f"{json.dumps(note)}\n".encode())


def _program(name: str) -> str:
    path = Path(name)
    return path.parent.name if path.name == "__main__.py" else path.name


def _notes(path: Path) -> list[dict[str, Any]]:
    """What the holders of a lock say of themselves, as far as it can be read."""
    found = []
    with suppress(OSError, UnicodeDecodeError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                note = json.loads(line)
                if isinstance(note, dict):
                    found.append(note)
    return found


def _living(path: Path) -> list[dict[str, Any]]:
    """Those of a lock's holders that are processes of this machine and alive."""
    here = [note for note in _notes(path) if note.get("host") == socket.gethostname()]
    return [note for note in here if note.get("pid") != os.getpid() and _alive(note)]


def _alive(note: dict[str, Any]) -> bool:
    """Whether the process of a note is alive; never where that cannot be told."""
    pid = note.get("pid")
    if os.name != "posix" or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    return bool(_born(pid) == note.get("born"))


def _born(pid: int) -> str | None:
    """When a process began, in ticks of this machine's; tells it from a later one of the same number. None = not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, UnicodeDecodeError):
        return None


def _refusal(what: Path, path: Path) -> SemalignError:
    """The sentence for who comes second."""
    notes: list[dict[str, Any]] = []
    for _ in range(20):  # who has just got the lock is about to say so
        notes = _notes(path)
        if notes:
            break
        time.sleep(_PAUSE)
    here = socket.gethostname()
    known = [note for note in notes if note.get("host") != here or _alive(note)]
    known.sort(key=lambda note: note.get("pid") != os.getpid())  # who shares it here may have left already
    who = _who((known or notes)[-1]) if notes else "another process"
    return SemalignError(f"{what}: is in use by {who}; wait until that has ended, or choose another place.")


def _who(note: dict[str, Any]) -> str:
    return (
        f"process {note.get('pid')} on {note.get('host')} since {note.get('since')} "
        f"({str(note.get('command', ''))[:200] or 'a program'})"
    )


def several_processes() -> bool:
    """Whether this is one of several processes that work together, as `torchrun` starts them."""
    return _number(_SIZES, 1) > 1


def _other_rank() -> bool:
    """Whether this is another than the first of several processes that work together."""
    return several_processes() and _number(_RANKS, 0) > 0


def _number(names: tuple[str, ...], otherwise: int) -> int:
    """What the first of some variables of the environment says that has a number."""
    return next((int(value) for name in names if (value := os.environ.get(name, "")).isdecimal()), otherwise)


def _inside(folder: Path) -> Path:
    return Path(os.path.realpath(folder)) / LOCK


def _beside(file: Path) -> Path:
    real = Path(os.path.realpath(file))
    return real.with_name(f".{real.name[:100]}{LOCK}")


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the innermost first."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def _paths() -> dict[str, bool]:
    if not hasattr(_held, "paths"):
        _held.paths = {}
    paths: dict[str, bool] = _held.paths
    return paths


def _after_fork() -> None:
    """A forked process neither keeps its parent's locks alive nor is kept out by them."""
    for handle in _handles:
        with suppress(OSError):
            os.close(handle)
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
