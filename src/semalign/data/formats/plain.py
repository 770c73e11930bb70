"""A folder of one's own: images with a `.pts` file of the same name beside each, in it or in folders inside it.

Faces in a folder called test, testset, val or validation (at any depth) are for testing, all others for training.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from semalign.data.formats.base import Entry, Note
from semalign.data.formats.common import is_folder
from semalign.data.formats.pairs import Pairs, list_pairs, of_stem
from semalign.data.formats.pictures import split_of_folder
from semalign.data.pts import read_pts
from semalign.data.results import kind_of_results, results_note
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

TRIED = 20  # `.pts` files of which one has a picture beside it, if the folder is one of pictures


class Plain(Pairs):
    """Samples come by folder, then by file name; subsets are the folders. The number of points tells the scheme."""

    name, title, wanted, scheme = "", "a folder of one's own", "images with .pts files beside them", "ibug68"
    short = "pts"
    general = True
    origin = 1

    def holds(self, place: Path) -> bool:
        """Whether there is a `.pts` file in the folder or below it."""
        return next(_annotations(place), None) is not None

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """The given scheme, by default the shipped one with as many points as the first annotation.

        Raises:
            SemalignError: there is no such scheme.
        """
        return suiting_scheme(_annotations(place), self.scheme) if given is None else given

    def entries(self, place: Path) -> Iterator[Entry | Note]:
        """A face for each image; a note for each folder that is passed over: unreadable, or results of Semalign's own."""
        for item in _walk(place):
            if isinstance(item, Note):
                yield item
                continue
            inside = item[0].relative_to(place)
            subset = place.resolve().name if inside == Path() else inside.as_posix()
            yield from list_pairs(place, inside.as_posix(), split_of_folder(inside), subset)


def suiting_scheme(annotations: Iterable[Path], otherwise: str) -> LandmarkScheme:
    """The shipped scheme with as many points as the first `.pts` file that is sound; `otherwise` where there is none.

    Raises:
        SemalignError: there is no such scheme.
    """
    schemes = [load_scheme(name) for name in shipped_schemes()]
    for path in annotations:
        try:
            count = len(read_pts(path))
        except SemalignError:  # it will be a bad sample
            continue
        for scheme in schemes:
            if scheme.count == count:
                return scheme
        known = ", ".join(f"{scheme.name} ({scheme.count})" for scheme in schemes)
        raise SemalignError(
            f"{path}: holds {count} points, which no shipped scheme has ({known}); write a scheme of your own with "
            f"'semalign scheme new {path} --out own.toml' and name it (--scheme, in recipes data.scheme)."
        )
    return load_scheme(otherwise)


def sample_points(sample: Path) -> tuple[Path, np.ndarray]:
    """The .pts file that a file, an image or a folder stands for, and its points (n, 2); of a folder the first that is sound.

    Raises:
        SemalignError: there is none, or it cannot be read.
    """
    if not sample.is_dir():
        path = sample if sample.suffix.lower() == ".pts" else sample.with_suffix(".pts")
        return path, read_pts(path)
    for path in _annotations(sample):
        try:
            return path, read_pts(path)
        except SemalignError:
            continue
    raise SemalignError(f"{sample}: holds no .pts file that can be read; give the file of one annotated face.")


def holds_pairs(root: Path) -> bool:
    """Whether there is a `.pts` file with a picture of its name beside it in the folder or below it."""
    return any(len(of_stem(path)) > 1 for path in islice(_annotations(root), TRIED))


def _annotations(root: Path) -> Iterator[Path]:
    for item in _walk(root):
        if not isinstance(item, Note):
            folder, names = item
            yield from (folder / name for name in names if name.lower().endswith(".pts"))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]] | Note]:
    """Folders and their files by name, hidden ones left out, and notes on folders that are passed over.

    Links to folders are followed, except to one that was read already or holds the data set itself.
    """
    if not os.path.isdir(root):
        return
    seen = {os.path.realpath(folder) for folder in (root, *Path(os.path.realpath(root)).parents)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        name = folder.relative_to(root).as_posix()
        try:
            with os.scandir(folder) as listed:
                entries = sorted((item for item in listed if not item.name.startswith(".")), key=lambda item: item.name)
        except OSError as error:
            if folder == root:
                raise SemalignError(f"{root}: cannot be read ({error.strerror}); check its permissions.") from error
            yield Note(f"{name} cannot be read ({error.strerror}) and was passed over.")
            continue
        kind = None if folder == root else kind_of_results(folder)
        if kind is not None:
            yield Note(results_note(name, kind))
            continue
        folders = {entry.name: entry for entry in entries if is_folder(entry)}
        yield folder, [entry.name for entry in entries if entry.name not in folders]
        inner: list[Path] = []
        for entry in folders.values():
            real = os.path.realpath(entry.path)
            if real in seen:
                yield Note(
                    f"{(folder / entry.name).relative_to(root).as_posix()} leads to a folder that is read already."
                )
            else:
                seen.add(real)
                inner.append(folder / entry.name)
        waiting += reversed(inner)


READER = Plain()
