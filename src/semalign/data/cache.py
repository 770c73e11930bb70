"""The cache of crops: one folder of the user's for all runs, in which crops lie by what they are made of.

    crops/KEY.crops      crops (`semalign.data.crop_file`); the time of its last change is that of its last use
    crops/.KEY-….crops   one that is being made, or whose maker was killed
    crops/KEY.lock       who makes that one
    crops/stamps/STAMP   the key that files of such stamps had when they were last read (`semalign.data.identity`)

A finished file never changes: it is put in its place whole. Whoever reads one holds a shared lock on it (flock), and what is
locked is not removed. Where the system has no such locks, makers may work side by side, and the last to finish is seen.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semalign.data.crop_file import CropFile, DamagedError, described
from semalign.errors import SemalignError
from semalign.files import apply_umask, write_text
from semalign.progress import Progress

try:
    import fcntl

    LOCKS = True
except ImportError:  # Windows, where a file that is open cannot be moved or removed anyway
    LOCKS = False

FOLDER, LIMIT = "SEMALIGN_CACHE", "SEMALIGN_CACHE_LIMIT"  # environment variables
LARGEST = 20 * 10**9  # bytes of all crops, unless the user says otherwise or the disk has little room
ENDING, STAMPS = ".crops", "stamps"
NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "so large a file is not allowed there",
}
FORSAKEN = 60.0  # seconds after which a file that nobody has locked is of a maker who was killed
UNLOCKED = 86400.0  # the same where there are no locks
TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache, which backups may leave out (https://bford.info/cachedir/).\n"
)
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_LOG = logging.getLogger(__name__)
_COMPLAINED: set[Path] = set()  # folders that cannot be written, each of which is named once


@dataclass(frozen=True)
class Cached:
    """What the cache holds of one set of faces.

    Attributes:
        path: the file.
        size: of it, bytes.
        used: when it was last opened, seconds since 1970.
        in_use: somebody has it open.
        faces: how many, 0 where the file is damaged.
        side: of a crop, pixels.
        data: folder of the pictures when the crops were made; None where the file is damaged.
    """

    path: Path
    size: int
    used: float
    in_use: bool
    faces: int
    side: int
    data: str | None


def cache_folder() -> Path:
    """Where the cache is: $SEMALIGN_CACHE, or else the user's folder for caches."""
    if given := os.environ.get(FOLDER):
        return Path(os.path.abspath(os.path.expanduser(given)))
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "semalign", "Cache")
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "semalign"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given if os.path.isabs(given) else home / ".cache", "semalign")


def say_of_old_crops(folder: Path, progress: Progress) -> None:
    """Say of a folder in which an older version kept crops that they are not read any more."""
    if any(folder.glob("*/crops.json")):
        progress.say(
            f"{folder}: the crops in it are of an older version and not read any more; delete it. Crops of all runs are in "
            f"{cache_folder()} now."
        )


def read_size(text: str) -> int:
    """Bytes of a size as people write it: 500MB, 20 GB, 1.5TiB, 1000.

    Raises:
        SemalignError: it is none.
    """
    if (found := _SIZE.fullmatch(text)) is None:
        raise SemalignError(f"{text!r} is no size; write it as 500MB or 20GB.")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def in_bytes(count: int) -> str:
    """Bytes as people read them."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"


class Cache:
    """The crops in a folder.

    Args:
        folder: by default `cache_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.root = cache_folder() if folder is None else Path(folder)
        self.folder = self.root / "crops"

    def limit(self) -> int:
        """Bytes that crops may take: $SEMALIGN_CACHE_LIMIT, or else 20 GB, but half of the free space at most.

        Raises:
            SemalignError: the variable holds no size.
        """
        if given := os.environ.get(LIMIT):
            try:
                return read_size(given)
            except SemalignError as error:
                raise SemalignError(f"{LIMIT}: {error}") from None
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return LARGEST
        return min(LARGEST, (free + self.size()) // 2)

    def size(self) -> int:
        """Bytes of all crops."""
        return sum(size for _, size, _ in self._files())

    def contents(self) -> list[Cached]:
        """What there is, last used first."""
        return [_cached(*found) for found in reversed(self._files())]

    def prune(self, limit: int | None = None) -> list[Cached]:
        """Remove what was not used for longest until no more than `limit` bytes are left (None: `limit()`).

        What somebody has open stays, and so does what this user may not remove.

        Returns:
            What was removed.
        """
        limit = self.limit() if limit is None else limit
        files, removed = self._files(), []
        left = sum(size for _, size, _ in files)
        for path, size, used in files:
            if left <= limit:
                break
            found = _cached(path, size, used)
            if _remove(path):
                removed.append(found)
                left -= size
        self._sweep()
        return removed

    def named(self, stamp: str) -> str | None:
        """The key that was noted for a stamp."""
        try:
            key = (self.folder / STAMPS / stamp).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        return key if key.isalnum() else None

    def name(self, stamp: str, key: str) -> None:
        """Note the key of a stamp, if that can be written."""
        with suppress(SemalignError):
            if self.folder.is_dir():
                write_text(self.folder / STAMPS / stamp, key)

    def open(self, key: str, but: CropFile | None = None) -> CropFile | None:
        """The crops of a key, which then are in use until the object is gone; None where there are none.

        Args:
            key: of the crops.
            but: a file that is not wanted, because it is damaged.
        """
        path = self._path(key)
        try:
            handle = os.open(path, READING)
        except OSError:
            return None
        try:
            _share(handle)
            wanted = _is_at(handle, path)  # else it was removed meanwhile
            wanted = wanted and (but is None or not os.path.sameopenfile(handle, but.handle))
        except BaseException:
            os.close(handle)
            raise
        if not wanted:
            os.close(handle)
            return None
        try:
            file = CropFile.opened(handle, path)
        except (DamagedError, OSError):
            _LOG.warning("%s: is damaged; the crops in it are cut anew.", path)
            _remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return file

    def obtain(
        self,
        key: str,
        rows: int,
        side: int,
        fill: Callable[[CropFile], tuple[list[int], dict[str, Any]]],
        but: CropFile | None = None,
    ) -> CropFile:
        """The crops of a key; those that are not there are made, by one process while others wait.

        Where the folder cannot be written, they are made in a temporary file that nobody else sees.

        Args:
            key: changes with anything on which the crops depend.
            rows: how many crops.
            side: of each, pixels.
            fill: writes all crops into a file and returns the rows that failed, and what the description is to say.
            but: a file that is not wanted, because it is damaged.

        Raises:
            SemalignError: there is no room for them. Nothing of them is left then.
        """
        found = self.open(key, but)
        if found is None:
            with self._making(key):
                found = self.open(key, but) or self._make(key, rows, side, fill)
        return found

    def _make(
        self, key: str, rows: int, side: int, fill: Callable[[CropFile], tuple[list[int], dict[str, Any]]]
    ) -> CropFile:
        temporary: Path | None = None
        try:
            try:
                self._begin()
                handle, name = tempfile.mkstemp(prefix=f".{key}-", suffix=ENDING, dir=self.folder)
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                return self._apart(error, rows, side, fill)
            temporary = Path(name)
            file = CropFile(handle, rows, side, self._path(key))
            _claim(handle)
            self.prune(max(self.limit() - file.size, 0))
            self._reserve(file)
            file.finish(*fill(file))
            apply_umask(temporary)
            _share(handle)
            if not LOCKS:  # where an open file cannot be moved
                file.close()
            os.replace(temporary, file.path)
            temporary = None
            return file if LOCKS else CropFile.opened(os.open(file.path, READING), file.path)
        except OSError as error:
            raise _no_room(self.folder, error, rows, side) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def _apart(
        self, error: OSError, rows: int, side: int, fill: Callable[[CropFile], tuple[list[int], dict[str, Any]]]
    ) -> CropFile:
        """The crops in a file without a name, which is gone with the last who uses it."""
        place = Path(tempfile.gettempdir())
        if self.root not in _COMPLAINED:
            _COMPLAINED.add(self.root)
            _LOG.warning(
                "%s: cannot be written (%s), so crops are not kept beyond this process; set %s to a folder that can.",
                self.folder, error.strerror, FOLDER,
            )  # fmt: skip
        try:
            with tempfile.TemporaryFile(prefix="semalign-") as anonymous:
                file = CropFile(os.dup(anonymous.fileno()), rows, side, place)
            file.reserve()
            file.finish(*fill(file))
            return file
        except OSError as problem:
            raise _no_room(place, problem, rows, side) from problem

    def _reserve(self, file: CropFile) -> None:
        """Space for the crops; crops that nobody uses make room for it."""
        while True:
            try:
                return file.reserve()
            except OSError as error:
                if error.errno not in NO_ROOM or not any(_remove(path) for path, _, _ in self._files()):
                    raise

    def _begin(self) -> None:
        if os.environ.get(FOLDER):
            self.folder.mkdir(parents=True, exist_ok=True)
        else:  # as the rules for such folders want it: pictures are nobody else's business
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            with suppress(OSError):
                tag.write_text(TAG, encoding="utf-8")

    @contextmanager
    def _making(self, key: str) -> Iterator[None]:
        """A time in which no other process makes the same crops, where there are locks."""
        path = self.folder / f"{key}.lock"
        handle = self._turn(path) if LOCKS else None
        try:
            yield
        finally:
            if handle is not None:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                os.close(handle)

    def _turn(self, path: Path) -> int | None:
        """Wait until a file is locked for this process; its handle, or None where there can be no such file."""
        said = False
        while True:
            try:
                self._begin()
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                return None
            try:
                if not _claim(handle):
                    if not said:
                        _LOG.warning(
                            "%s: another process is making these crops; waiting for it.", path.with_suffix(ENDING)
                        )
                    said = True
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if _is_at(handle, path):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # who had it has finished and removed it

    def _path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}{ENDING}"

    def _files(self) -> list[tuple[Path, int, float]]:
        """Files of crops with their sizes and the time of their last use, first the one that was not used for longest."""
        return sorted(self._scan(hidden=False), key=lambda found: (found[2], found[0]))

    def _scan(self, hidden: bool) -> Iterator[tuple[Path, int, float]]:
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return
        for name in names:
            if name.endswith(ENDING) and name.startswith(".") == hidden:
                with suppress(OSError):
                    stat = os.stat(self.folder / name)
                    yield self.folder / name, stat.st_size, stat.st_mtime

    def _sweep(self) -> None:
        """Remove what makers have left who were killed, and notes of keys whose crops are gone."""
        for path, _, changed in self._scan(hidden=True):
            if time.time() - changed > (FORSAKEN if LOCKS else UNLOCKED):
                _remove(path)
        kept = {path.stem for path, _, _ in self._files()}
        with suppress(OSError):
            for note in os.scandir(self.folder / STAMPS):
                if self.named(note.name) not in kept:
                    os.unlink(note.path)


def _cached(path: Path, size: int, used: float) -> Cached:
    description = described(path)
    faces, side, data = 0, 0, None
    if description is not None:
        faces, side, data = description["rows"], description["side"], str(description["about"].get("data", ""))
    return Cached(path, size, used, _in_use(path), faces, side, data)


def _claim(handle: int) -> bool:
    """Lock a file for oneself without waiting; False where another has locked it. Where there are no locks, it is taken as
    locked.
    """
    if LOCKS:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _share(handle: int) -> None:
    """Lock a file so that nobody removes it; waits for who just tries whether it may be removed."""
    if LOCKS:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else has a file open, who cannot open it meanwhile, either."""
    try:
        try:
            handle = os.open(path, os.O_RDWR)  # some network file systems want it so for a lock
        except PermissionError:
            handle = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _claim(handle)
    finally:
        os.close(handle)


def _in_use(path: Path) -> bool:
    with _alone(path) as alone:
        return not alone


def _remove(path: Path) -> bool:
    """Remove a file that nobody uses; False where somebody does, or this user may not."""
    try:
        if not LOCKS:
            path.unlink()
            return True
        with _alone(path) as alone:
            if alone:
                path.unlink()
            return alone
    except OSError:
        return False


def _no_room(folder: Path, error: OSError, rows: int, side: int) -> SemalignError:
    why = NO_ROOM.get(error.errno or 0, error.strerror or str(error))
    size = in_bytes(rows * side * side * 3)
    return SemalignError(
        f"{folder}: the crops of {rows} faces cannot be written ({why}; they take {size}); free some space, or set "
        f"{FOLDER} to a folder on another disk."
    )
