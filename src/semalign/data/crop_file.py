"""Crops of one size in a file, with a checksum for each, which is compared when a crop is first read.

    bytes            what
    rows × s·s·3     the crops, uint8 RGB
    rows × 4         their checksums, CRC-32
    …                a description, JSON
    20               the end: a mark, the description's length, CRC-32 of checksums and description

The file is read and written at positions, not mapped into memory: a full disk, a file that was cut short and a disk that fails
are errors then, where a mapping would have the process killed.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semalign.errors import SemalignError

MARK = b"semcrops"
END = struct.Struct("<8sQI")  # the mark, the description's length, the checksum
UNKNOWN_THERE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)  # the file system reserves no space
WHOLE = slice(None)


class DamagedError(Exception):
    """Bytes of a file are not those that were written. `row` of the crop; None where it is the rest of the file."""

    def __init__(self, row: int | None = None) -> None:
        super().__init__(row)
        self.row = row


class CropFile:
    """Crops in an open file, which is closed when the last who uses them is gone.

    Args:
        handle: of the file, which is this object's from here on.
        rows: how many.
        side: of each, pixels.
        path: of the file, in messages.

    Attributes:
        failed: rows whose pictures could not be read, which hold zeros.
        about: what else the description says.
    """

    def __init__(self, handle: int, rows: int, side: int, path: Path) -> None:
        self.handle, self.rows, self.side, self.path = handle, rows, side, path
        self.sums = np.zeros(rows, "<u4")
        self.failed: tuple[int, ...] = ()
        self.about: dict[str, Any] = {}
        self._checked = np.zeros(rows, bool)
        self._place = threading.Lock()  # where the file's position is the only way to say what is read
        self._close = weakref.finalize(self, os.close, handle)

    def close(self) -> None:
        """Close the file before the object is gone."""
        self._close()

    @property
    def row_bytes(self) -> int:
        """Of one crop."""
        return self.side * self.side * 3

    @property
    def size(self) -> int:
        """Bytes of all crops."""
        return self.rows * self.row_bytes

    @classmethod
    def opened(cls, handle: int, path: Path) -> CropFile:
        """What `finish` has left in a file, whose handle is closed if that is not there.

        Raises:
            DamagedError: it is not; crops are only looked at when they are read.
            OSError: it cannot be read.
        """
        try:
            description, sums = _read_end(handle)
        except BaseException:
            os.close(handle)
            raise
        file = cls(handle, description["rows"], description["side"], path)
        file.sums, file.failed = sums, tuple(description["failed"])
        file.about = description["about"]
        return file

    def reserve(self) -> None:
        """Take the space on the disk that the crops will need, as far as the file system can.

        Raises:
            OSError: there is not so much.
        """
        if hasattr(os, "posix_fallocate") and self.size:
            try:
                os.posix_fallocate(self.handle, 0, self.size)
            except OSError as error:
                if error.errno not in UNKNOWN_THERE:
                    raise

    def write(self, row: int, crop: np.ndarray) -> None:
        """Write a crop (s, s, 3) uint8; several threads may at once.

        Raises:
            OSError: the disk is full, or fails.
        """
        data = np.ascontiguousarray(crop).data.cast("B")
        self.sums[row] = zlib.crc32(data)
        self._write_at(data, row * self.row_bytes)

    def finish(self, failed: list[int], about: dict[str, Any]) -> None:
        """Say that all crops but the failed ones are written.

        Raises:
            OSError: as `write`.
        """
        self.failed, self.about = tuple(sorted(failed)), about
        nothing = np.zeros((self.side, self.side, 3), np.uint8)
        for row in self.failed:
            self.write(row, nothing)
        description = {"rows": self.rows, "side": self.side, "failed": self.failed, "about": about}
        text = json.dumps(description).encode()
        rest = self.sums.tobytes() + text
        self._write_at(memoryview(rest + END.pack(MARK, len(text), zlib.crc32(rest))), self.size)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Crops (k, s, s, 3) uint8 of some rows (k,), each checked the first time.

        Raises:
            DamagedError: one of them is not what was written.
        """
        crops = np.empty((len(rows), self.side, self.side, 3), np.uint8)
        for crop, row in zip(crops, rows.tolist(), strict=True):
            data = crop.data.cast("B")
            try:
                count = self._read_at(data, row * self.row_bytes)
            except OSError as error:
                raise DamagedError(row) from error
            if count < len(data):
                raise DamagedError(row)
            if not self._checked[row]:
                if zlib.crc32(data) != self.sums[row]:
                    raise DamagedError(row)
                self._checked[row] = True
        return crops

    def _write_at(self, data: memoryview, offset: int) -> None:
        while data:
            if hasattr(os, "pwrite"):
                count = os.pwrite(self.handle, data, offset)
            else:
                with self._place:
                    os.lseek(self.handle, offset, os.SEEK_SET)
                    count = os.write(self.handle, data)
            data, offset = data[count:], offset + count

    def _read_at(self, data: memoryview, offset: int) -> int:
        """Fill `data` with the bytes from `offset` on; how many there were."""
        done = 0
        while done < len(data):
            if hasattr(os, "preadv"):
                count = os.preadv(self.handle, [data[done:]], offset + done)
            else:
                with self._place:
                    part = _read_from(self.handle, offset + done, len(data) - done)
                count = len(part)
                data[done : done + count] = part
            if not count:
                break
            done += count
        return done


class StoredImages:
    """Crops (b, s, s, 3) uint8 in a file: an array that is only read, of which each crop is checked the first time.

    It is indexed as an array is, which gives arrays; NumPy's functions take it as one, which reads it whole.

    Args:
        file: the crops.
        rows: (b,) rows of the file.
        replace: gives another file with the same crops for one in which a row is damaged.
    """

    def __init__(self, file: CropFile, rows: np.ndarray, replace: Callable[[CropFile, int | None], CropFile]) -> None:
        self.file, self._rows, self._replace = file, rows, replace
        self._replacing = threading.Lock()
        self.shape = (len(rows), file.side, file.side, 3)
        self.dtype, self.ndim = np.dtype(np.uint8), 4

    def __len__(self) -> int:
        """Number of crops."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if first is None or first is Ellipsis or not all(isinstance(one, int | np.integer | slice) for one in rest):
            return np.asarray(self._read(self._rows)[index])
        rows = self._rows[first]
        crops = self._read(np.ravel(rows)).reshape(*np.shape(rows), *self.shape[1:])
        return np.asarray(crops[(*[WHOLE] * np.ndim(rows), *rest)])

    def __iter__(self) -> Iterator[np.ndarray]:
        """One crop after the other."""
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("crops in a file are copied when they are read")
        return self._read(self._rows).astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> Any:
        """Another process gets the crops themselves."""
        return np.array, (np.asarray(self),)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        file = self.file
        try:
            return file.read(rows)
        except DamagedError as damage:
            with self._replacing:
                if self.file is file:  # else another thread has replaced it
                    self.file = self._replace(file, damage.row)
        try:
            return self.file.read(rows)
        except DamagedError as damage:
            raise SemalignError(
                f"{self.file.path}: gives other bytes than were written to it; check the disk, or set SEMALIGN_CACHE to a "
                "folder on another."
            ) from damage


def described(path: Path) -> dict[str, Any] | None:
    """The description in a file of crops; None where it is damaged or cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        return _read_end(handle)[0]
    except (DamagedError, OSError):
        return None
    finally:
        os.close(handle)


def _read_end(handle: int) -> tuple[dict[str, Any], np.ndarray]:
    """The description and the checksums (rows,)."""
    size = os.fstat(handle).st_size
    if size < END.size:
        raise DamagedError
    mark, length, checksum = END.unpack(_read_from(handle, size - END.size, END.size))
    if mark != MARK or length > size - END.size:
        raise DamagedError
    text = _read_from(handle, size - END.size - length, length)
    try:
        description = json.loads(text)
        rows, side = description["rows"], description["side"]
        if size != rows * (side * side * 3 + 4) + length + END.size:
            raise DamagedError
        sums = _read_from(handle, rows * side * side * 3, 4 * rows)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError from error
    if zlib.crc32(sums + text) != checksum:
        raise DamagedError
    return description, np.frombuffer(sums, "<u4")


def _read_from(handle: int, offset: int, count: int) -> bytes:
    os.lseek(handle, offset, os.SEEK_SET)
    parts = []
    while count > 0 and (part := os.read(handle, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
