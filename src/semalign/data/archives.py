"""Tar archives as folders: a member is read where it lies, by a path such as `faces-000.tar/000017.jpg`.

So pictures of archives as WebDataset has them (`key.jpg` beside `key.pts`) are read as any file; nothing is unpacked. Archives
are not compressed: in these nothing can be read without all that is before it.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from semalign.errors import SemalignError
from semalign.files import reason, shown

ENDING = ".tar"
MOST_OF_HEAD = 1 << 20  # bytes of a head: longer names and notes are of no archive of pictures
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Member(NamedTuple):
    """Where a file lies in an archive: the place of its first byte, and how many there are."""

    start: int
    size: int


def is_archive(path: str | Path) -> bool:
    """Whether a path is that of an archive's file, by its name."""
    return str(path).lower().endswith(ENDING) and os.path.isfile(path)


def archive_of(path: Path) -> Path | None:
    """The archive in which a path lies; None where it lies in none."""
    return next((folder for folder in path.parents if is_archive(folder)), None)


def members(archive: Path) -> Mapping[str, Member]:
    """The files in an archive, by their names in it, in its order; hidden ones are left out.

    Raises:
        SemalignError: no such archive, a damaged or compressed one, or one with a name that leads out of it.
    """
    try:
        stat = archive.stat()
        return _members(archive, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise SemalignError(f"{shown(archive)}: cannot be read ({error.strerror}); check the path.") from error


@lru_cache(maxsize=4096)
def _members(archive: Path, size: int, changed: int) -> Mapping[str, Member]:
    with archive.open("rb") as file:
        return listed(file, shown(archive), size)


def listed(file: Any, name: str, size: int) -> Mapping[str, Member]:
    """The files in an archive that is open.

    Args:
        file: from its beginning; only heads are read.
        name: of the archive, for messages.
        size: of the archive, bytes.

    Raises:
        SemalignError: as `members`.
    """
    found: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=_Heads(file), mode="r:", errorlevel=2) as archive:
            for info in archive:
                if info.size < 0:  # by which some versions of Python would go round in a circle
                    raise tarfile.ReadError(f"{shown(info.name)} has a size below 0")
                if not info.isreg() or info.issparse():
                    continue
                inside = _name(info.name, name)
                if inside.name.startswith("."):
                    continue
                if info.offset_data + info.size > size:
                    raise tarfile.ReadError(f"{shown(info.name)} goes beyond its end")
                found[str(inside)] = Member(info.offset_data, info.size)
                archive.members.clear()  # type: ignore[attr-defined]  # which would keep each head
            file.seek(archive.offset)
            if any(file.read(tarfile.BLOCKSIZE) or b"-"):
                raise tarfile.ReadError("its end is missing")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        file.seek(0)
        if file.read(6).startswith(_COMPRESSED):
            raise SemalignError(
                f"{name}: is compressed; uncompress it, for single pictures are read from it."
            ) from error
        raise SemalignError(f"{name}: is truncated or no tar archive ({reason(error)}); copy it again.") from error
    return found


def open_file(path: str | Path) -> io.BufferedIOBase:
    """A file, or a member of an archive, to be read.

    Raises:
        OSError: as `open`.
        SemalignError: as `members`.
    """
    try:
        return open(path, "rb")
    except (NotADirectoryError, FileNotFoundError):
        place = _placed(Path(path))
        if place is None:
            raise
        return io.BufferedReader(_Window(*place))


def read_bytes(path: str | Path) -> bytes:
    """All bytes of a file, or of a member of an archive; raises as `open_file`."""
    with open_file(path) as file:
        return file.read()


def stat_of(path: Path) -> tuple[int, int, int, int]:
    """A file's size, the times of its last changes (content, entry; ns), and its number; of a member with its archive's times,
    and its place there.

    Raises:
        OSError: as `Path.stat`.
        SemalignError: as `members`.
    """
    try:
        stat = path.stat()
    except (NotADirectoryError, FileNotFoundError):
        place = _placed(path)
        if place is None:
            raise
        stat = place[0].stat()
        return place[1].size, stat.st_mtime_ns, stat.st_ctime_ns, place[1].start
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def is_file(path: Path) -> bool:
    """Whether there is such a file, or such a member of an archive."""
    return os.path.isfile(path) or _placed(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, or it is an archive or may be a folder of one."""
    return os.path.isdir(path) or is_archive(path) or archive_of(path) is not None


def _placed(path: Path) -> tuple[Path, Member] | None:
    """The archive that a path lies in, and where."""
    archive = archive_of(path)
    if archive is None:
        return None
    member = members(archive).get(path.relative_to(archive).as_posix())
    return None if member is None else (archive, member)


def _name(text: str, archive: str) -> PurePosixPath:
    """A member's name.

    Raises:
        SemalignError: it leads out of the archive.
    """
    name, other = PurePosixPath(text), PureWindowsPath(text)
    if other.drive or other.root or ".." in other.parts or not name.name:
        raise SemalignError(
            f"{archive}: has a file {shown(text)!r}, whose name leads out of it; nothing of it is read."
        )
    return name


class _Heads(io.RawIOBase):
    """An archive of which only heads are read: one that claims to be larger than any is cut off."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """As any file, up to a limit."""
        data: bytes = self._file.read(MOST_OF_HEAD if size < 0 else min(size, MOST_OF_HEAD))
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As any file."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """As any file."""
        return int(self._file.tell())


class _Window(io.RawIOBase):
    """A member's bytes, in its archive."""

    def __init__(self, archive: Path, member: Member) -> None:
        self._file = archive.open("rb", buffering=0)
        self._member, self._at = member, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._member.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """As any file."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As any file."""
        count = max(min(len(buffer), self._member.size - self._at), 0)
        self._file.seek(self._member.start + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """As any file."""
        self._file.close()
        super().close()
