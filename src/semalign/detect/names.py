"""Where results go: no two of them share a file, also where letters' case or the way of writing accents makes no difference."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

from semalign.detect.assembly import TABLES
from semalign.files import shown

ENDINGS = (".pts", ".jpg", ".png", ".mp4")  # of the files that a picture or a video may have of its own
_LONGEST = 220  # bytes of a name without what is added to it; file systems take 255


class Names:
    """The stems (paths without an ending, relative to the results' folder) that are taken; safe for several threads.

    A stem is never given twice, and none is given whose files would lie where another's folder is. Stems that differ
    only in case or in the form of their accents count as the same, because many file systems see them so.
    """

    def __init__(self) -> None:
        self._stems: set[str] = set()
        self._folders: set[str] = set()
        self._closed: set[str] = set()  # folders that belong to one video
        self._moved: dict[PurePosixPath, PurePosixPath] = {}
        self._tried: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def take(self, wanted: PurePosixPath, ending: str = "", video: bool = False) -> PurePosixPath:
        """The stem that was wanted, or one like it that is free: with the file's ending, then with a number."""
        with self._lock:
            folder = self._folder(wanted.parent)
            name = _cut(wanted.name)
            return self._first(folder, name, _longer(name, ending.lower().lstrip(".")), video)

    def another(self, stem: PurePosixPath, number: int) -> PurePosixPath:
        """The stem of a picture's face from the second on: `photo_2`, or `photo_face2` where that is another picture's."""
        with self._lock:
            return self._first(stem.parent, f"{stem.name}_{number}", f"{stem.name}_face{number}", False)

    def keep(self, stem: PurePosixPath, video: bool = False) -> None:
        """A stem that was given before, as by the run that is continued."""
        with self._lock:
            self._claim(stem, _key(stem), video)

    def _first(self, folder: PurePosixPath, name: str, second: str, video: bool) -> PurePosixPath:
        for candidate in self._candidates(folder, name, second):
            key = _key(candidate)
            if self._is_free(key, video):
                self._claim(candidate, key, video)
                return candidate
        raise AssertionError("there is always another number")

    def _candidates(self, folder: PurePosixPath, name: str, second: str) -> Iterator[PurePosixPath]:
        yield folder / name
        yield folder / second
        memory = (_key(folder), _key(second))
        for number in range(self._tried.get(memory, 2), 2**62):
            self._tried[memory] = number
            yield folder / f"{second}_{number}"

    def _is_free(self, key: str, video: bool) -> bool:
        if key in self._stems or key in self._closed or (video and key in self._folders):
            return False
        return not any(key + ending in self._folders for ending in ENDINGS)

    def _claim(self, stem: PurePosixPath, key: str, video: bool) -> None:
        self._stems.add(key)
        if video:
            self._closed.add(key)
        self._folders.update(_key(parent) for parent in stem.parents if parent.name)

    def _folder(self, folder: PurePosixPath) -> PurePosixPath:
        """The folder of that name, or one like it if a file or a video's frames are to lie there."""
        if not folder.name:
            return folder
        if folder not in self._moved:
            parent, name = self._folder(folder.parent), _cut(folder.name)
            while self._is_file(parent / name):
                name += "_"
            self._moved[folder] = parent / name
        return self._moved[folder]

    def _is_file(self, path: PurePosixPath) -> bool:
        key = _key(path)
        if key in self._folders:
            return False
        belongs = any(key.endswith(ending) and key[: -len(ending)] in self._stems for ending in ENDINGS)
        return belongs or key in self._closed or key in TABLES


def plain_stem(path: str) -> PurePosixPath:
    """A relative path without its ending as a stem; bytes that are no UTF-8 become %NN, and nothing leads out of the folder."""
    parts = [_plain(part) for part in PurePosixPath(path).with_suffix("").parts if part not in ("/", "..")]
    return PurePosixPath(*parts) if parts else PurePosixPath("picture")


def _plain(part: str) -> str:
    text = shown(part)
    return part if text == part else text.replace("\\x", "%")


def _longer(name: str, ending: str) -> str:
    return f"{name}_{ending}" if ending else name


def _cut(name: str) -> str:
    data = name.encode("utf-8")
    return name if len(data) <= _LONGEST else data[:_LONGEST].decode("utf-8", "ignore")


def _key(path: PurePosixPath | str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
