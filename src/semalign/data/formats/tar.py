"""Tar archives as WebDataset has them: `key.jpg` beside `key.pts`, one archive or a folder of them. Nothing is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from semalign.data.archives import ENDING, is_archive, members
from semalign.data.formats.base import Bad, Entry, Reader
from semalign.data.formats.common import list_folder
from semalign.data.formats.pairs import pairs_of
from semalign.data.formats.pictures import split_of_folder
from semalign.data.formats.plain import suiting_scheme
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme


class Tar(Reader):
    """Samples come archive by archive, in their order there; subsets are the archives. The points' number tells the scheme."""

    name, title, wanted, scheme = "", "tar archives", "a .tar of images with .pts files, or several", "ibug68"
    general = True
    origin = 1

    def holds(self, place: Path) -> bool:
        """Whether it is an archive, or a folder with one."""
        return is_archive(place) or (place.is_dir() and bool(_archives(place)))

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """The given scheme, by default the shipped one with as many points as the first annotation.

        Raises:
            SemalignError: there is no such scheme.
        """
        return suiting_scheme(_annotations(place), self.scheme) if given is None else given

    def entries(self, place: Path) -> Iterator[Entry | Bad]:
        """A face for each image; an archive that cannot be read is one bad sample."""
        for archive in _archives(place):
            try:
                names = [PurePosixPath(name) for name in members(archive)]
            except SemalignError as error:
                yield Bad(archive.name, error)
                continue
            folders: dict[PurePosixPath, list[Path]] = {}
            for name in names:
                folders.setdefault(name.parent, []).append(archive / name)
            for folder, paths in folders.items():
                inside, subset = PurePosixPath(archive.name) / folder, archive.name[: -len(ENDING)]
                yield from pairs_of(paths, inside, split_of_folder(folder), subset)


def _archives(place: Path) -> list[Path]:
    if is_archive(place):
        return [place]
    return [Path(entry.path) for entry in list_folder(place) if is_archive(entry.path)]


def _annotations(place: Path) -> Iterator[Path]:
    for archive in _archives(place):
        try:
            yield from (archive / name for name in members(archive) if name.lower().endswith(".pts"))
        except SemalignError:  # it will be a bad sample
            continue


READER = Tar()
