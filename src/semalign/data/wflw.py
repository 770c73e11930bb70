"""WFLW in its official layout: 98 points a face, and six attributes that say what makes a face difficult.

ROOT/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt     7,500 and 2,500 faces
ROOT/WFLW_images/*/*.jpg                                                                      of WIDER FACE

A line is a face: 98 times x and y, the face rectangle x0 y0 x1 y1, six attributes (0 or 1), the image's path.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semalign.data.layout import Reading, count_note, face_id, find_folder, refuse_empty, scheme_for, usable_box
from semalign.data.samples import Dataset, Sample, Split
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

LISTS = "list_98pt_rect_attr_train_test"
LIST_FOLDERS = (f"WFLW_annotations/{LISTS}", LISTS)
IMAGES = "WFLW_images"
WANTED = f"WFLW_annotations/{LISTS} with the images in {IMAGES}"
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


def open_wflw(root: str | Path, scheme: LandmarkScheme | None = None, *, keep_going: bool = False) -> Dataset:
    """WFLW in the folder `root` or in its only sub-folder that holds it, named "wflw", in the order of its lists.

    Coordinates are taken as they are, from 0. The face box is the rectangle of the list. `tags` of a sample are its
    attributes. A list that is missing, faces whose folder of images is missing, and counts that differ from the
    official ones, those of the test faces' attributes included, are said in `notes`.

    Raises:
        SemalignError: no such data set or an empty one, a list that cannot be read; and, unless `keep_going` puts it
            into `skipped`, the first bad face: a line that is not as described, no image, points that are not finite,
            coincide or lie far off the image.
    """
    return refuse_empty(scan_wflw(root, scheme, keep_going), WANTED)


def scan_wflw(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """As `open_wflw`, but a data set without any sample is given back, too."""
    folder = find_folder(Path(root), has_wflw, WANTED)
    scheme = scheme_for(scheme, "wflw98", "WFLW")
    reading = Reading(keep_going)
    absent: list[str] = []
    for split, path in _lists(folder).items():
        if path.is_file():
            _read_list(reading, folder, path, split)
        else:
            absent.append(f"{path.name} is missing ({OFFICIAL[split]} faces in the official set).")
    notes = (*absent, *reading.missing_notes(), *_count_notes(reading.samples))
    return reading.dataset(folder, "wflw", scheme, notes)


def has_wflw(folder: Path) -> bool:
    """Whether the folder holds one of the lists of WFLW."""
    return any(path.is_file() for path in _lists(folder).values())


def _lists(folder: Path) -> dict[Split, Path]:
    """The list of each split, in its official place or directly in the folder."""
    parent = next((folder / name for name in LIST_FOLDERS if (folder / name).is_dir()), folder / LIST_FOLDERS[0])
    return {split: parent / f"list_98pt_rect_attr_{split}.txt" for split in OFFICIAL}


def _read_list(reading: Reading, folder: Path, path: Path, split: Split) -> None:
    for number, line in _lines(path):
        where = f"{path}: line {number}"
        name = f"{split}/{number:05d}"  # until the line says which image it is about
        with reading.face(name):
            values, image_name = _parse(line, where)
            image = folder / IMAGES / image_name
            if not reading.lacks_folder_of(image, folder):
                reading.samples.append(
                    _sample(reading, values, image, face_id(split, image_name, number), split, where)
                )


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


def _sample(reading: Reading, values: np.ndarray, image: Path, name: str, split: Split, where: str) -> Sample:
    points, box, flags = values[: 2 * POINTS].reshape(POINTS, 2), values[2 * POINTS :][:4], values[2 * POINTS + 4 :]
    reading.check(points, image, where)
    tags = tuple(attribute for attribute, flag in zip(ATTRIBUTES, flags, strict=True) if flag)
    return Sample(name, image, points, split, split, box=usable_box(box), tags=tags)


def _count_notes(samples: list[Sample]) -> tuple[str, ...]:
    notes: list[str] = []
    for split, official in OFFICIAL.items():
        have = sum(sample.split == split for sample in samples)
        notes.extend(count_note(f"The {'training' if split == 'train' else 'test'} set", have, official))
    for tag, official in OFFICIAL_TAGS.items():
        have = sum(sample.split == "test" and tag in sample.tags for sample in samples)
        notes.extend(count_note(f"The test subset {tag}", have, official))
    return tuple(notes)
