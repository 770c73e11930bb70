"""Images with a `.pts` file of the same name beside each, as in 300W and in folders of one's own."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from semalign.data.archives import is_file
from semalign.data.faults import placeholders
from semalign.data.formats.base import Entry, Format, Written
from semalign.data.formats.common import list_folder
from semalign.data.formats.faces import read_bytes
from semalign.data.formats.kept import absent_points, lost
from semalign.data.formats.revising import new_points, refuse_strangers, spliced
from semalign.data.pts import read_pts, write_pts
from semalign.data.samples import Dataset, Sample, Split
from semalign.errors import SemalignError
from semalign.files import atomic_folder, inside, shown, write_bytes

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp")  # in either case of letters
_BODY = re.compile(r"\{([^{}]*)\}\s*\Z")  # as `read_pts` takes it: a brace may stand in the version, too
_WORD = re.compile(r"\S+")


class Pairs(Format):
    """What is the same for all folders of images with `.pts` files."""

    short, ending = "", ""

    def write(self, dataset: Dataset, out: Path, overwrite: bool = False) -> Written:
        """Write a copy of each face's picture, called as the face is, with a `.pts` file beside it."""
        targets: dict[str, Sample] = {}
        for sample in dataset.samples:
            _check_picture(sample)
            stem = unicodedata.normalize("NFC", str(PurePosixPath(sample.id).with_suffix(".pts"))).casefold()
            if stem in targets:
                raise SemalignError(
                    f"{sample.id} and {targets[stem].id} would share one .pts file; rename one of them."
                )
            targets[stem] = sample
        files = []
        with atomic_folder(out, "pictures with .pts files", overwrite) as folder:
            for sample in dataset.samples:
                copy = inside(folder, sample.id)
                write_bytes(copy, read_bytes(sample.image))
                write_pts(copy.with_suffix(".pts"), sample.points, absent=True)
                files.append((out / sample.id).with_suffix(".pts"))
        notes = lost(dataset, (), "a .pts file")
        times = len({sample.image for sample in dataset.samples})
        if times < len(dataset):
            notes = (*notes, f"A .pts file holds one face: {times} pictures were copied for {len(dataset)} faces.")
        if absent := absent_points(dataset):
            notes = (*notes, f"{absent} absent points are written as nan nan.")
        return Written(tuple(files), notes)

    def rewrite(self, place: Path, points: Mapping[str, np.ndarray], out: Path, overwrite: bool = False) -> Written:
        """Write copies of all pictures and `.pts` files, bad ones too, in these the numbers of new coordinates replaced."""
        if os.path.realpath(out) == os.path.realpath(place):
            raise SemalignError(f"{out}: is what is read, and is never overwritten; choose another folder.")
        missing = dict(points)
        files = []
        with atomic_folder(out, "pictures with .pts files", overwrite) as folder:
            for entry in list(self.entries(place)):
                if not isinstance(entry, Entry):
                    continue
                try:
                    sample = entry.read()
                except SemalignError:  # it is not in the data set, and stays as it is
                    for path in of_stem(Path(entry.where)):
                        write_bytes(folder / path.relative_to(place), read_bytes(path))
                    continue
                path = Path(entry.where)
                inside = path.relative_to(place)
                new = missing.pop(sample.id, None)
                data = read_bytes(path)
                if new is not None:
                    data = _revised(data, sample.points, np.asarray(new, dtype=np.float64), sample.id)
                write_bytes(folder / inside.with_name(sample.image.name), read_bytes(sample.image))
                write_bytes(folder / inside, data)
                files.append(out / inside)
            refuse_strangers(missing, place)
        return Written(tuple(files))


def of_stem(path: Path) -> list[Path]:
    """The pictures and `.pts` files that `list_pairs` takes for one face, by one of them."""
    stem = unicodedata.normalize("NFC", path.stem)
    found = (path.with_name(entry.name) for entry in list_folder(path.parent) if entry.is_file())
    ours = (one for one in found if one.suffix.lower() in (*IMAGE_ENDINGS, ".pts"))
    return [one for one in ours if unicodedata.normalize("NFC", one.stem) == stem]


def _revised(data: bytes, old: np.ndarray, new: np.ndarray, name: str) -> bytes:
    """A `.pts` file with other numbers where points (n, 2) are new."""
    changed = new_points(new, np.where(_placeholders(old), np.nan, old), name)
    text = data.decode("utf-8")
    body = _BODY.search(text)
    if body is None or not changed.any():
        return data
    words = list(_WORD.finditer(text, body.start(1), body.end(1)))
    changes = [
        (words[2 * index + axis].span(), f"{new[index, axis] + 1.0:.6f}")
        for index in np.flatnonzero(changed).tolist()
        for axis in range(2)
        if new[index, axis] != old[index, axis]
    ]
    return spliced(text, changes).encode("utf-8")


def _placeholders(points: np.ndarray) -> np.ndarray:
    """Which points (n, 2) the file only says are absent, as (n, 1) bool."""
    return placeholders(points + 1.0)[:, None]


def _check_picture(sample: Sample) -> None:
    if sample.frame is not None:
        raise SemalignError(f"{sample.id}: is a frame of a video; write the frames as pictures first.")
    if not is_file(sample.image):
        raise SemalignError(
            f"{sample.image}: there is no such picture, and .pts files lie beside theirs; give the pictures with --images."
        )
    if PurePosixPath(sample.id).suffix.lower() not in IMAGE_ENDINGS:
        raise SemalignError(f"{sample.id}: does not end as a picture beside a .pts file does; save it as .png.")


def list_pairs(root: Path, inside: str, split: Split, subset: str, group: str = "") -> Iterator[Entry]:
    """Images and `.pts` files of the folder `inside` the data set, by their common stem, without hidden and other files.

    Letters with accents may be written as one character in one name and as two in the other, as Macs do.

    Raises:
        SemalignError: the folder cannot be read.
    """
    folder = PurePosixPath(inside)
    yield from pairs_of(
        [root / folder / entry.name for entry in list_folder(root / folder)], folder, split, subset, group
    )


def pairs_of(
    paths: Iterable[Path], folder: PurePosixPath, split: Split, subset: str, group: str = ""
) -> Iterator[Entry]:
    """As `list_pairs`, of the files of a folder that is called so."""
    stems: dict[str, list[Path]] = {}
    for path in paths:
        if path.suffix.lower() in (*IMAGE_ENDINGS, ".pts"):
            stems.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
    for paths in stems.values():
        annotations = [path for path in paths if path.suffix.lower() == ".pts"]
        images = [path for path in paths if path not in annotations]
        read = partial(_read_pair, images, annotations, folder, split, subset, group)
        yield Entry(str(folder / paths[0].name), str((annotations or images)[0]), read)


def _read_pair(
    images: list[Path], annotations: list[Path], folder: PurePosixPath, split: Split, subset: str, group: str
) -> Sample:
    if len(images) > 1 or len(annotations) > 1:
        paths = sorted((*images, *annotations))
        raise SemalignError(
            f"{paths[0].with_suffix('')}: has several files where one image and one .pts belong "
            f"({', '.join(path.name for path in paths)}); keep one of each."
        )
    if not annotations:
        raise SemalignError(f"{images[0]}: has no .pts beside it; add {images[0].stem}.pts or remove the image.")
    if not images:
        raise SemalignError(
            f"{annotations[0]}: has no image beside it; add {annotations[0].stem}.jpg or .png, or remove the .pts."
        )
    return Sample(shown(str(folder / images[0].name)), images[0], read_pts(annotations[0]), split, subset, group)
