"""What files hold, told without their names: digests of their bytes, and cheap stamps by which a change is noticed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from semalign.ahead import results_of
from semalign.cores import usable_cores
from semalign.data.archives import is_file, open_file, stat_of

# Size, time of the last change, time of the last change of the entry (both ns), number.
Stamp = tuple[int, int, int, int]
NONE: Stamp = (0, 0, 0, 0)  # of a file that is not there
# ns: a change within so short a time after another may leave the stamp as it was (FAT counts in 2 s).
SETTLED = 2 * 10**9


def stamps_of(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """The stamp of each file, by its path; `NONE` where there is no such file."""
    return {path: _stamp(path) for path in dict.fromkeys(paths)}


def settled(stamps: Mapping[Path, Stamp]) -> bool:
    """Whether every change of the files that is still to come will change their stamps."""
    latest = max((max(changed, moved) for _, changed, moved, _ in stamps.values()), default=0)
    return time.time_ns() - latest > SETTLED


def digests_of(paths: Iterable[Path]) -> dict[Path, str]:
    """A digest of each file's bytes, by its path; what cannot be read has the error's number in its place."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(zip(wanted, results_of(pool, _digest, wanted), strict=True))


def _stamp(path: Path) -> Stamp:
    try:
        return stat_of(path)
    except OSError:
        return NONE


def _digest(path: Path) -> str:
    try:
        with open_file(path) as file:
            if not is_file(path):  # reading a pipe would wait for whoever writes
                return "no file"
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        return f"error {error.errno}"
