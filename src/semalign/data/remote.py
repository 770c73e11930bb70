"""Pictures at addresses such as s3://bucket/faces, by fsspec (the extra `remote`): single ones, folders, patterns, archives.

Only what a person gives on the command line is fetched, never an address that a document names. Nothing is kept on disk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from glob import has_magic
from pathlib import PurePosixPath
from typing import Any

from semalign.data.archives import ENDING, Member, listed
from semalign.data.images import ENDINGS
from semalign.errors import SemalignError
from semalign.files import reason, shown

WEB = ("http", "https", "ftp")  # of these nothing is fetched
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture that is not on this machine.

    Attributes:
        address: of the file, or of the archive that it lies in.
        inside: its name in the archive; empty where it lies in none.
        member: where in the archive.
    """

    address: str
    inside: str = ""
    member: Member | None = None

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"{self.address}/{self.inside}" if self.inside else self.address

    @property
    def stem(self) -> str:
        """A relative path for its results, with its ending."""
        name = PurePosixPath(self.address).name
        return f"{name.removesuffix(ENDING)}/{self.inside}" if self.inside else name

    def open(self) -> io.BufferedIOBase:
        """Its bytes, all of which are fetched.

        Raises:
            SemalignError: they cannot be.
        """
        system, path = _system(self.address)
        start, end = (None, None) if self.member is None else (self.member.start, sum(self.member))
        try:
            return io.BytesIO(system.cat_file(path, start=start, end=end))
        except Exception as error:  # each file system has its own
            raise _unreadable(self.name, error) from error


def is_address(text: str) -> bool:
    """Whether a text is an address from which pictures are fetched."""
    found = _ADDRESS.match(text)
    return found is not None and found[1].lower() not in WEB


def find(address: str) -> Iterator[tuple[Stored, str]]:
    """The pictures that an address stands for: itself, those of a folder and all below it, of a pattern, of a tar archive; with
    the relative path that their results should have.

    Raises:
        SemalignError: fsspec or what it needs for this kind of address is not installed, or nothing can be found there.
    """
    system, path = _system(address)
    try:
        pattern = has_magic(path)
        folder = not pattern and system.isdir(path)
        paths = sorted(system.glob(path) if pattern else system.find(path)) if pattern or folder else [path]
    except Exception as error:
        raise _unreadable(address, error) from error
    count = 0
    for one in paths:
        name = PurePosixPath(one).name
        whole = str(system.unstrip_protocol(one))
        if one.lower().endswith(ENDING) and not folder:
            for stored in _members(system, one, whole):
                count += 1
                yield stored, stored.stem
        elif PurePosixPath(one).suffix.lower() in ENDINGS and not name.startswith("."):
            count += 1
            inside = one.removeprefix(path).lstrip("/") if folder else name
            yield Stored(whole), inside
    if not count:
        raise SemalignError(f"{shown(address)}: holds no image; check the address.")


def _members(system: Any, path: str, whole: str) -> Iterator[Stored]:
    try:
        with system.open(path, "rb") as file:
            known = listed(file, whole, int(system.size(path)))
    except SemalignError:
        raise
    except Exception as error:
        raise _unreadable(whole, error) from error
    for inside, member in known.items():
        if PurePosixPath(inside).suffix.lower() in ENDINGS:
            yield Stored(whole, inside, member)


@lru_cache(maxsize=4096)
def _place(address: str) -> tuple[Any, str]:
    import fsspec

    found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    return found


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    try:
        return _place(address)
    except ModuleNotFoundError as error:
        if error.name == "fsspec":
            raise SemalignError(
                f"{shown(address)}: is an address, and reading it needs fsspec; install it with: "
                "pip install 'semalign[remote]'"
            ) from error
        raise _lacking(address, error) from error
    except (ImportError, ValueError) as error:
        raise _lacking(address, error) from error
    except Exception as error:
        raise _unreadable(address, error) from error


def _lacking(address: str, error: Exception) -> SemalignError:
    return SemalignError(
        f"{shown(address)}: nothing that is installed reads such an address ({reason(error)}); install the file system's "
        "package, or give a file."
    )


def _unreadable(address: str, error: Exception) -> SemalignError:
    return SemalignError(f"{shown(address)}: cannot be read ({reason(error)}); check the address and the permissions.")
