"""The pictures that a document names: where they lie, and what their faces are called.

A name is only followed to a picture in the folder of images that was given, in the document's folder or in `images` beside it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from semalign.data.samples import Split
from semalign.errors import SemalignError

TEST_FOLDERS = frozenset({"test", "testset", "val", "validation"})  # whose faces are for testing
_LONGEST = 1000  # letters of a name


@dataclass(frozen=True)
class Pictures:
    """Finds pictures.

    Attributes:
        document: the annotations.
        images: folder that was given, else None.
        below: what lies below folders, kept for all documents that share it.
    """

    document: Path
    images: Path | None = None
    below: dict[Path, dict[str, list[Path]]] = field(default_factory=dict, compare=False)
    _found: dict[str, Path] = field(default_factory=dict, compare=False)

    @cached_property
    def bases(self) -> tuple[Path, ...]:
        """Folders that names may be relative to, first the one that is asked first."""
        folder = self.document.parent
        above = (folder.parent / "images", folder.parent) if folder.name.lower() == "annotations" else ()
        every = (*(() if self.images is None else (self.images,)), folder, folder / "images", *above)
        return tuple(dict.fromkeys(every))

    def find(self, name: str) -> Path:
        """The picture of a name; where there is none, the path at which it was hoped to be.

        Raises:
            SemalignError: the name is none, or several pictures have it.
        """
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Path:
        check_name(name, self.document)
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            for base in self.bases:
                path = base / written
                if os.path.isfile(path) and (is_plain(written) or self._inside(path)):
                    return path
        clean = clean_name(name)
        for base in self.bases:
            if os.path.isfile(base / clean):
                return base / clean
        same = self._called(PurePosixPath(clean).name)
        if len(same) > 1:
            raise SemalignError(
                f"{self.document}: several pictures are called {PurePosixPath(clean).name} ({same[0]}, {same[1]}), and none "
                f"lies at {name}; give the folder of the pictures with --images."
            )
        return same[0] if same else self.bases[0] / clean

    def _inside(self, path: Path) -> bool:
        real = Path(os.path.realpath(path))
        return any(Path(os.path.realpath(base)) in real.parents for base in self.bases)

    def _called(self, file: str) -> list[Path]:
        """All files of a name below the folders that names may be relative to, none of which is above the document."""
        found: list[Path] = []
        for base in self.bases:
            if base == self.images or base not in self.document.parent.parents:
                if base not in self.below:
                    self.below[base] = _files_below(base)
                found += [path for path in self.below[base].get(file, ()) if path not in found]
        return found


def _files_below(base: Path) -> dict[str, list[Path]]:
    """All files below a folder by their names; hidden folders are passed over."""
    found: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(inner for inner in folders if not inner.startswith("."))
        for file in names:
            found.setdefault(file, []).append(Path(folder, file))
    return found


def check_name(name: str, document: Path) -> None:
    """Refuse what cannot be the name of a file.

    Raises:
        SemalignError: it is empty, too long, or holds characters that no name has.
    """
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b"\0"
    if not PurePosixPath(clean_name(name)).name or b"\0" in encoded or len(name) > _LONGEST:
        raise SemalignError(f"{document}: {name[:60]!r} is no name of a picture; correct it.")


def is_plain(name: str) -> bool:
    """Whether a name is relative and does not lead out of its folder."""
    return not PurePosixPath(name).is_absolute() and not PureWindowsPath(name).drive and ".." not in name.split("/")


def clean_name(name: str) -> str:
    """A relative name with forward slashes that leads nowhere out: as it is, or else the file's name alone."""
    slashes = name.replace("\\", "/")
    path = PurePosixPath(slashes)
    if not is_plain(slashes):
        path = PurePosixPath(path.name if path.name != ".." else "")
    return "" if str(path) == "." else str(path)


def split_of_folder(folder: PurePath) -> Split:
    """Whether the faces of a folder are for testing, as its name or that of one above it tells."""
    return "test" if any(part.lower() in TEST_FOLDERS for part in folder.parts) else "train"


def split_of(name: str, document: Path) -> Split:
    """Whether a picture is for testing, as the folders of its name tell, or the document's own name (val.json)."""
    words = {part.lower() for part in PurePosixPath(name).parts[:-1]} | set(re.split(r"[^a-z]+", document.stem.lower()))
    return "test" if words & TEST_FOLDERS else "train"
