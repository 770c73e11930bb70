"""WFLW in its official layout: 98 points a face, and six attributes that say what makes a face difficult.

ROOT/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt     7,500 and 2,500 faces
ROOT/WFLW_images/*/*.jpg                                                                      of WIDER FACE

A line is a face: 98 times x and y, the face rectangle x0 y0 x1 y1, six attributes (0 or 1), the image's path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from semalign.data.formats.base import Entry, Note, Reader
from semalign.data.formats.common import count_note, face_id, usable_box
from semalign.data.samples import Sample, Split
from semalign.errors import SemalignError

LISTS = "list_98pt_rect_attr_train_test"
LIST_FOLDERS = (f"WFLW_annotations/{LISTS}", LISTS)
IMAGES = "WFLW_images"
POINTS = 98
ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")  # large pose and so on
OFFICIAL: dict[Split, int] = {"train": 7500, "test": 2500}
# Test faces of each attribute in the official set.
OFFICIAL_TAGS = {
    "pose": 326,
    "expression": 314,
    "illumination": 698,
    "make-up": 206,
    "occlusion": 736,
    "blur": 773,
}
_FIELDS = 2 * POINTS + 4 + len(ATTRIBUTES)  # of a line, before the image's path


class Wflw(Reader):
    """Samples come in the order of the lists. Coordinates are taken as they are, from 0.

    The face box is the rectangle of the list; `tags` of a sample are its attributes.
    """

    name, title, wanted, scheme = "wflw", "WFLW", LISTS, "wflw98"

    def holds(self, place: Path) -> bool:
        """Whether there is one of the lists."""
        return any(path.is_file() for path in _lists(place).values())

    def entries(self, place: Path) -> Iterator[Entry | Note]:
        """The lines of both lists.

        Raises:
            SemalignError: a list that cannot be read.
        """
        for split, path in _lists(place).items():
            if not path.is_file():
                yield Note(f"{path.name} is missing ({OFFICIAL[split]} faces in the official set).")
                continue
            for number, text in _lines(path):
                where = f"{path}: line {number}"
                read = partial(_sample, text, where, split, number, place / IMAGES)
                yield Entry(f"{split}/{number:05d}", where, read)

    def notes(self, place: Path, samples: Sequence[Sample]) -> Iterator[str]:
        """Numbers of faces that are not the official ones, those of the test faces' attributes included."""
        for split, official in OFFICIAL.items():
            have = sum(sample.split == split for sample in samples)
            yield from count_note(f"The {'training' if split == 'train' else 'test'} set", have, official)
        for tag, official in OFFICIAL_TAGS.items():
            have = sum(sample.split == "test" and tag in sample.tags for sample in samples)
            yield from count_note(f"The test subset {tag}", have, official)


def _lists(folder: Path) -> dict[Split, Path]:
    """The list of each split, in its official place or directly in the folder."""
    parent = next((folder / name for name in LIST_FOLDERS if (folder / name).is_dir()), folder / LIST_FOLDERS[0])
    return {split: parent / f"list_98pt_rect_attr_{split}.txt" for split in OFFICIAL}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SemalignError(f"{path}: cannot be read as text ({error}); replace the file.") from error
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _parse(line: str, where: str) -> tuple[np.ndarray, str]:
    """The numbers (206,) float64 of a line and the image's path.

    Raises:
        SemalignError: too few fields, or one that is no number.
    """
    fields = line.split(maxsplit=_FIELDS)
    if len(fields) <= _FIELDS:
        raise SemalignError(
            f"{where}: has {len(fields)} fields where {POINTS} points, a rectangle, {len(ATTRIBUTES)} attributes and a "
            f"path make {_FIELDS + 1}; correct the line or replace the file."
        )
    try:
        return np.array(fields[:_FIELDS], dtype=np.float64), fields[_FIELDS].strip()
    except ValueError:
        raise SemalignError(
            f"{where}: holds a field that is no number; correct the line or replace the file."
        ) from None


def _sample(text: str, where: str, split: Split, number: int, images: Path) -> Sample:
    values, name = _parse(text, where)
    points, box, flags = values[: 2 * POINTS].reshape(POINTS, 2), values[2 * POINTS :][:4], values[2 * POINTS + 4 :]
    tags = tuple(attribute for attribute, flag in zip(ATTRIBUTES, flags, strict=True) if flag)
    return Sample(face_id(split, name, number), images / name, points, split, split, box=usable_box(box), tags=tags)


READER = Wflw()
