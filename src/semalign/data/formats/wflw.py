"""WFLW in its official layout: 98 points a face, and six attributes that say what makes a face difficult.

ROOT/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt     7,500 and 2,500 faces
ROOT/WFLW_images/*/*.jpg                                                                      of WIDER FACE

A line is a face: 98 times x and y, the face rectangle x0 y0 x1 y1, six attributes (0 or 1), the image's path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from semalign.data.faults import placeholders
from semalign.data.formats.base import Entry, Format, Note, Written
from semalign.data.formats.common import count_note, face_id, usable_box
from semalign.data.formats.csvtext import decoded, with_fields
from semalign.data.formats.faces import box_of, read_bytes
from semalign.data.formats.kept import BOXES, SPLITS, TAGS, by_picture, lost
from semalign.data.formats.numbers import written
from semalign.data.formats.revising import new_points, refuse_same, refuse_strangers
from semalign.data.samples import Dataset, Sample, Split
from semalign.errors import SemalignError
from semalign.files import atomic_folder, inside, reason, refuse_existing, write_bytes

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
FIELDS = 2 * POINTS + 4 + len(ATTRIBUTES)  # of a line, before the image's path
_WORD = re.compile(r"\S+")


class Wflw(Format):
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

    def write(self, dataset: Dataset, out: Path, overwrite: bool = False) -> Written:
        """Write both lists into a folder; the pictures' names are not changed."""
        texts = {
            split: list_text(Dataset(dataset.root, dataset.name, dataset.scheme, part.samples))
            for split in OFFICIAL
            if (part := dataset.select(split)).samples
        }
        with atomic_folder(out, "WFLW lists", overwrite) as folder:
            for split, text in texts.items():
                write_bytes(_lists(folder)[split], text.encode("utf-8"))
        return Written(tuple(_lists(out)[split] for split in texts), lost(dataset, (BOXES, TAGS, SPLITS), self.title))

    def rewrite(self, place: Path, points: Mapping[str, np.ndarray], out: Path, overwrite: bool = False) -> Written:
        """Write both lists once more, in them the numbers of new coordinates replaced."""
        missing, files = dict(points), []
        results: dict[Path, bytes] = {}
        for split, path in _lists(place).items():
            if not path.is_file():
                continue
            data, texts = read_bytes(path), dict[tuple[int, int], str]()
            start = 0
            for number, line in enumerate(decoded(data, path).splitlines(keepends=True), 1):
                bare = line.lstrip("\ufeff")
                begin, start = start + len(line) - len(bare), start + len(line)
                if bare.strip():
                    texts |= _changes(bare, begin, f"{path}: line {number}", split, number, missing)
            target = out / path.relative_to(place)
            refuse_same(target, path)
            refuse_existing(target, overwrite)
            results[target] = with_fields(data, texts)
        refuse_strangers(missing, place)
        for target, data in results.items():
            write_bytes(target, data)
            files.append(target)
        return Written(tuple(files))


def list_text(dataset: Dataset) -> str:
    """The lines of a list of all faces.

    Raises:
        SemalignError: another number of points than WFLW has, or a name that a line cannot hold.
    """
    if dataset.scheme.count != POINTS:
        raise SemalignError(
            f"{dataset.root}: has {dataset.scheme.count} points a face and WFLW text {POINTS}; choose another format."
        )
    lines = []
    for picture in by_picture(dataset):
        if picture.name != picture.name.strip() or len(picture.name.splitlines()) != 1:
            raise SemalignError(f"{picture.name!r}: is a name that a line of WFLW text cannot hold; rename it.")
        for sample in picture.samples:
            points = np.where(np.isfinite(sample.points), sample.points, -1.0).ravel().tolist()
            flags = [str(int(name in sample.tags)) for name in ATTRIBUTES]
            lines.append(" ".join([*map(written, points), *map(written, box_of(sample)), *flags, picture.name]))
    return "\n".join([*lines, ""])


def spans_of(line: str, start: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where x and y of each point stand, for a line that begins at `start` in its text."""
    words = zip(range(2 * POINTS), _WORD.finditer(line), strict=False)
    spans = [(start + match.start(), start + match.end()) for _, match in words]
    return list(zip(spans[::2], spans[1::2], strict=True))


def _changes(
    line: str, start: int, where: str, split: Split, number: int, waiting: dict[str, np.ndarray]
) -> dict[tuple[int, int], str]:
    """The new numbers of a line by their spans; its face is taken out of those that are waiting."""
    try:
        values, name = parse_line(line, where)
        inside(Path(), name)
    except SemalignError:  # it is not in the data set either
        return {}
    face = face_id(split, name, number)
    if (new := waiting.pop(face, None)) is None:
        return {}
    old = values[: 2 * POINTS].reshape(POINTS, 2)
    spans, new = spans_of(line, start), np.asarray(new, dtype=np.float64)
    known = np.where(placeholders(old)[:, None], np.nan, old)
    return {
        spans[index][axis]: written(new[index, axis])
        for index in np.flatnonzero(new_points(new, known, face)).tolist()
        for axis in range(2)
        if new[index, axis] != old[index, axis]
    }


def _lists(folder: Path) -> dict[Split, Path]:
    """The list of each split, in its official place or directly in the folder."""
    parent = next((folder / name for name in LIST_FOLDERS if (folder / name).is_dir()), folder / LIST_FOLDERS[0])
    return {split: parent / f"list_98pt_rect_attr_{split}.txt" for split in OFFICIAL}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SemalignError(f"{path}: cannot be read as text ({reason(error)}); replace the file.") from error
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def parse_line(line: str, where: str) -> tuple[np.ndarray, str]:
    """The numbers (206,) float64 of a line and the image's path.

    Raises:
        SemalignError: too few fields, or one that is no number.
    """
    fields = line.split(maxsplit=FIELDS)
    if len(fields) <= FIELDS:
        raise SemalignError(
            f"{where}: has {len(fields)} fields where {POINTS} points, a rectangle, {len(ATTRIBUTES)} attributes and a "
            f"path make {FIELDS + 1}; correct the line or replace the file."
        )
    try:
        return np.array(fields[:FIELDS], dtype=np.float64), fields[FIELDS].strip()
    except ValueError:
        raise SemalignError(
            f"{where}: holds a field that is no number; correct the line or replace the file."
        ) from None


def _sample(text: str, where: str, split: Split, number: int, images: Path) -> Sample:
    values, name = parse_line(text, where)
    points, box, flags = values[: 2 * POINTS].reshape(POINTS, 2), values[2 * POINTS :][:4], values[2 * POINTS + 4 :]
    tags = tuple(attribute for attribute, flag in zip(ATTRIBUTES, flags, strict=True) if flag)
    image = inside(images, name)
    return Sample(face_id(split, name, number), image, points, split, split, box=usable_box(box), tags=tags)


READER = Wflw()
