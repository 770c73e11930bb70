"""A folder of one's own: images with a `.pts` file of the same name beside each, in it or in folders inside it.

Faces in a folder called test, testset, val or validation (at any depth) are for testing, all others for training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from semalign.data.pts import read_pts
from semalign.data.readers.base import Entry, Reader
from semalign.data.readers.pairs import list_pairs
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

TEST_FOLDERS = frozenset({"test", "testset", "val", "validation"})


class Plain(Reader):
    """Samples come by folder, then by file name; subsets are the folders. The number of points tells the scheme."""

    name, title, wanted, scheme = "", "a folder of one's own", "images with .pts files beside them", "ibug68"
    general = True

    def holds(self, place: Path) -> bool:
        """Whether there is a `.pts` file in the folder or below it."""
        return next(_annotations(place), None) is not None

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """The given scheme, by default the shipped one with as many points as the first annotation.

        Raises:
            SemalignError: there is no such scheme.
        """
        if given is not None:
            return given
        schemes = [load_scheme(name) for name in shipped_schemes()]
        for path in _annotations(place):
            try:
                count = len(read_pts(path))
            except SemalignError:  # it will be a bad sample
                continue
            for scheme in schemes:
                if scheme.count == count:
                    return scheme
            known = ", ".join(f"{scheme.name} ({scheme.count})" for scheme in schemes)
            raise SemalignError(
                f"{path}: holds {count} points, which no shipped scheme has ({known}); write a scheme of your own "
                "(docs/formats.md) and name it in the recipe as data.scheme."
            )
        return load_scheme(self.scheme)

    def entries(self, place: Path) -> Iterator[Entry]:
        """A face for each image."""
        for folder, _ in _walk(place):
            inside = folder.relative_to(place)
            testing = any(part.lower() in TEST_FOLDERS for part in inside.parts)
            subset = place.resolve().name if folder == place else inside.as_posix()
            yield from list_pairs(place, inside.as_posix(), "test" if testing else "train", subset)


def _annotations(root: Path) -> Iterator[Path]:
    return (folder / name for folder, names in _walk(root) for name in names if name.lower().endswith(".pts"))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders and their files by name, hidden ones left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


READER = Plain()
