"""A folder of one's own: images with a `.pts` file of the same name beside each, in it or in folders inside it.

Faces in a folder called test, testset, val or validation (at any depth) are for testing, all others for training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from semalign.data.export import exported_version
from semalign.data.faults import Inspector
from semalign.data.pts import read_pts
from semalign.data.readers.pairs import list_pairs
from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

WANTED = "images with .pts files beside them"
TEST_FOLDERS = frozenset({"test", "testset", "val", "validation"})


def has_plain(folder: Path) -> bool:
    """Whether there is a `.pts` file in the folder or below it."""
    return any(name.lower().endswith(".pts") for _, names in _walk(folder) for name in names)


def scan_plain(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """The data set in the folder `root`, named after it; subsets are the folders inside it.

    `scheme` defaults to the shipped one with as many points as the first annotation. Samples are checked as
    any are.

    Raises:
        SemalignError: no annotation, no shipped scheme with its number of points, or, unless `keep_going` puts them into
            `skipped`, the first bad sample.
    """
    root = Path(root)
    name = root.resolve().name
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for folder, _ in _walk(root):
        inside = folder.relative_to(root)
        testing = any(part.lower() in TEST_FOLDERS for part in inside.parts)
        subset = name if folder == root else inside.as_posix()
        for entry in list_pairs(root, inside.as_posix(), "test" if testing else "train", subset):
            try:
                scheme = _scheme_of([Path(entry.where)]) if scheme is None else scheme
                sample = entry.read()
                Inspector(scheme).inspect(sample, entry.where)
                samples.append(sample)
            except SemalignError as error:
                if not keep_going:
                    raise
                skipped.append((entry.name, str(error)))
    version = exported_version(root)
    notes = () if version is None else (f"The training labels are label version {version}, exported by Semalign.",)
    return Dataset(root, name, scheme or load_scheme("ibug68"), tuple(samples), notes, tuple(skipped))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders and their files by name, hidden ones left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _scheme_of(files: list[Path]) -> LandmarkScheme:
    """The shipped scheme with as many points as an annotation; iBUG's where there is no annotation to tell."""
    annotation = next((path for path in files if path.suffix.lower() == ".pts"), None)
    if annotation is None:
        return load_scheme("ibug68")
    count = len(read_pts(annotation))
    schemes = [load_scheme(name) for name in shipped_schemes()]
    for scheme in schemes:
        if scheme.count == count:
            return scheme
    known = ", ".join(f"{scheme.name} ({scheme.count})" for scheme in schemes)
    raise SemalignError(
        f"{annotation}: holds {count} points, which no shipped scheme has ({known}); write a scheme of your own "
        "(docs/formats.md) and name it in the recipe as data.scheme."
    )
