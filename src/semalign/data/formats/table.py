"""Tables of one's own: CSV and Parquet with a row for each landmark, and CSV with a row for each face.

A row for each landmark: image, landmark (number from 0, or name), x, y, and where there are any: face (its number in the
picture, where that has several), visibility (0 absent, 1 hidden, 2 visible, else nothing said), x0, y0, x1, y1 (face box), name
(of the landmark), width, height (of the picture), track, split. A row for each face: image, x0, y0, x1, y1, x2 … for three
points or more. Coordinates count from 0 with centres at whole numbers, in all digits of a float64.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.csvtext import Row, csv_line, read_rows, with_fields
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, head_of
from semalign.data.formats.kept import BOXES, HIDING, NAMES, SPLITS, TRACKS, UNSAID, by_picture, lost
from semalign.data.formats.numbers import written
from semalign.data.samples import ABSENT, HIDDEN, UNKNOWN, VISIBLE, Dataset
from semalign.errors import SemalignError

IMAGE = ("image", "file", "filename", "image_name")  # what the column of pictures may be called
NEEDED = ("landmark", "x", "y")
BOX = ("x0", "y0", "x1", "y1")
OPTIONAL = ("face", "visibility", *BOX, "name", "width", "height", "track", "split")
MOST_POINTS = 100_000  # of a face; more is no face
MOST_ABSENT = 128  # landmarks by their numbers for each that has a row, on average: more are no absent points
KEEPS = (HIDING, UNSAID, BOXES, TRACKS, NAMES, SPLITS)


@dataclass
class _Rows:
    """The rows of one face, as they come."""

    where: str
    facts: dict[str, Any]
    labels: list[Any] = field(default_factory=list)
    values: array = field(default_factory=lambda: array("d"))
    said: array = field(default_factory=lambda: array("b"))
    spots: array = field(default_factory=lambda: array("q"))


class Csv(DocumentFormat):
    """CSV."""

    title, wanted = "CSV", "a .csv with the columns image, landmark, x, y, or image, x0, y0, x1, y1, x2, y2 …"
    short, ending = "csv", ".csv"
    endings: ClassVar[tuple[str, ...]] = (".csv",)

    def recognises(self, path: Path) -> bool:
        """Whether the columns are those of a row for each landmark or for each face."""
        try:
            head = next(read_rows(head_of(path).split(b"\n")[0], path), None)
        except SemalignError:
            return False
        return head is not None and (is_long(head.fields) or bool(_wide(head.fields)))

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The faces of the table."""
        rows = read_rows(data, path)
        head = next(rows, None)
        if head is not None and is_long(head.fields):
            return parse_long(_csv_records(rows, head, path), head.fields, path)
        pairs = _wide(head.fields) if head is not None else []
        if head is None or not pairs:
            raise SemalignError(f"{path}: has not the columns {self.wanted.partition('columns ')[2]}; name them.")
        faces: list[Face | Bad] = []
        for row in rows:
            where = f"{path}: line {row.line}"
            try:
                faces.append(_wide_face(row, head, pairs, where))
            except SemalignError as error:
                faces.append(Bad(where, error))
        known = {*IMAGE, *(f"{axis}{index}" for index in range(len(pairs)) for axis in "xyv")}
        return Parsed(tuple(faces), notes=_unread(head.fields, known, path))

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The fields of coordinates are replaced."""
        texts = {}
        for edit in edits:
            start_x, end_x, start_y, end_y = (int(place) for place in edit.spot)
            for axis, new in edit.changed():
                texts[((start_x, end_x), (start_y, end_y))[axis]] = written(new)
        return with_fields(data, texts)

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A table with a row for each landmark."""
        columns, rows = table_of(dataset)
        lines = [",".join(columns), *(csv_line([_text(value) for value in row]) for row in rows)]
        return "\n".join([*lines, ""]).encode("utf-8"), lost(dataset, KEEPS, self.title)


def is_long(columns: Sequence[str]) -> bool:
    """Whether a table with these columns has a row for each landmark."""
    return any(name in columns for name in IMAGE) and all(name in columns for name in NEEDED)


def _wide(columns: Sequence[str]) -> list[tuple[int, int]]:
    """The columns of x and y of each point of a table with a row for each face; empty for another table."""
    if not any(name in columns for name in IMAGE):
        return []
    pairs: list[tuple[int, int]] = []
    places = _places(columns)
    while (x := f"x{len(pairs)}") in places and (y := f"y{len(pairs)}") in places:
        pairs.append((places[x], places[y]))
    return pairs if len(pairs) >= 3 else []  # x0, y0, x1, y1 alone are a box


def _places(columns: Sequence[str]) -> dict[str, int]:
    """The first column of each name."""
    return {name: index for index, name in reversed(list(enumerate(columns)))}


def _unread(columns: Sequence[str], known: Iterable[str], path: Path) -> tuple[str, ...]:
    all_known = set(known)
    others = [name for name in columns if name not in all_known]
    return (f"{path.name}: the columns {', '.join(others)[:200]} are not read.",) if others else ()


def table_of(dataset: Dataset) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """The columns of a data set and its rows; None where a value is missing."""
    samples = dataset.samples
    has_box = any(sample.box is not None for sample in samples)
    has_size = any(sample.size is not None for sample in samples)
    has_track = any(sample.track for sample in samples)
    columns = ("image", "face", *NEEDED, "visibility", *(BOX if has_box else ()), "name")
    columns += (*(("width", "height") if has_size else ()), *(("track",) if has_track else ()), "split")

    def rows() -> Iterator[tuple[Any, ...]]:
        for picture in by_picture(dataset):
            for number, sample in enumerate(picture.samples, 1):
                box = (sample.box or (None,) * 4) if has_box else ()
                size = (sample.size or (None, None)) if has_size else ()
                track = (sample.track or None,) if has_track else ()
                points = zip(dataset.scheme.landmarks, sample.points.tolist(), sample.visibility.tolist(), strict=True)
                for index, (name, (x, y), said) in enumerate(points):
                    place = (None, None) if said == ABSENT else (x, y)
                    shown = None if said == UNKNOWN else said
                    yield (picture.name, number, index, *place, shown, *box, name, *size, *track, sample.split)

    return columns, rows()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return written(value) if isinstance(value, float) else str(value)


def _csv_records(rows: Iterator[Row], head: Row, path: Path) -> Iterator[tuple[str, dict[str, Any], tuple[int, ...]]]:
    """For each row where it stands, its values by their columns, and where x and y stand."""
    columns = {name: index for index, name in enumerate(head.fields)}
    wanted = [name for name in (*IMAGE, *NEEDED, *OPTIONAL) if name in columns]
    x, y = columns["x"], columns["y"]
    for row in rows:
        where = f"{path}: line {row.line}"
        if len(row.fields) != len(head.fields):
            raise SemalignError(
                f"{where}: has {len(row.fields)} fields where the head has {len(head.fields)}; correct it."
            )
        yield where, {name: row.fields[columns[name]] for name in wanted}, (*row.spans[x], *row.spans[y])


def parse_long(
    records: Iterator[tuple[str, dict[str, Any], tuple[int, ...]]], columns: Sequence[str], path: Path
) -> Parsed:
    """The faces of a table with a row for each landmark.

    Raises:
        SemalignError: a row that is not understood.
    """
    image = next(name for name in IMAGE if name in columns)
    faces: dict[tuple[str, str], _Rows] = {}
    names: dict[int, str] = {}
    for where, values, spot in records:
        key = str(_shared(values[image])), str(_shared(values.get("face")))
        rows = faces.get(key)
        if rows is None:
            rows = faces[key] = _Rows(where, values)
        label = _landmark(values["landmark"], where)
        rows.labels.append(label)
        x, y = (_number(values[axis], axis, where) for axis in "xy")
        said = _said(values.get("visibility"), where)
        rows.values.extend((math.nan, math.nan) if said == ABSENT else (x, y))
        rows.said.append(said)
        rows.spots.extend(spot)
        if isinstance(label, int) and values.get("name"):
            names.setdefault(label, str(values["name"]))
    every = [label for rows in faces.values() for label in rows.labels]
    whole = all(isinstance(label, int) for label in every)
    count = 1 + max(every, default=-1) if whole else 0
    if count * len(faces) > MOST_ABSENT * len(every):
        raise SemalignError(
            f"{path}: has landmark {count - 1} and {len(faces)} faces, but only {len(every)} rows; correct the numbers."
        )
    result: list[Face | Bad] = []
    for (picture, _), rows in faces.items():
        try:
            result.append(_long_face(picture, rows, count if whole else None))
        except SemalignError as error:
            result.append(Bad(picture or rows.where, error))
    complete = whole and len(names) == count and len(set(names.values())) == count
    kind = Kind("", tuple(names[index] for index in range(count)) if complete and count else None)
    return Parsed(tuple(result), (kind,), _unread(columns, (*IMAGE, *NEEDED, *OPTIONAL), path))


def _long_face(picture: str, rows: _Rows, count: int | None) -> Face:
    labels: list[Any] = rows.labels
    if len(set(labels)) < len(labels):
        twice = next(label for label, times in Counter(labels).items() if times > 1)
        raise SemalignError(
            f"{rows.where}: the face that begins here has landmark {twice!r} twice; number a picture's faces in a column face."
        )
    values = np.array(rows.values, dtype=np.float64).reshape(-1, 2)
    said = np.array(rows.said, dtype=np.int8)
    spots = np.array(rows.spots, dtype=np.int64).reshape(-1, 4)
    if count is not None:
        order = np.array(labels, dtype=np.int64)
        points, all_said, all_spots = (
            np.full((count, 2), np.nan),
            np.full(count, ABSENT, np.int8),
            np.zeros((count, 4), np.int64),
        )
        points[order], all_said[order], all_spots[order] = values, said, spots
        values, said, spots = points, all_said, all_spots
    facts, where = rows.facts, rows.where
    sides = [_number(facts.get(side), side, where) for side in BOX]
    size = [_number(facts.get(side), side, where) for side in ("width", "height")]
    split = facts.get("split")
    return Face(
        picture,
        values,
        where,
        labels=None if count is not None else tuple(map(str, labels)),
        visible=said != HIDDEN if np.isin(said, (HIDDEN, VISIBLE)).any() else None,
        box=usable_box(np.array(sides)),
        size=(int(size[0]), int(size[1])) if all(map(math.isfinite, size)) else None,
        track=str(_shared(facts.get("track"))),
        split="test" if split == "test" else "train" if split == "train" else None,
        spots=spots,
    )


def _wide_face(row: Row, head: Row, pairs: Sequence[tuple[int, int]], where: str) -> Face:
    if len(row.fields) != len(head.fields):
        raise SemalignError(
            f"{where}: has {len(row.fields)} fields where the head has {len(head.fields)}; correct the line."
        )
    points = np.array([[_number(row.fields[place], "a coordinate", where) for place in pair] for pair in pairs])
    flags = [f"v{index}" for index in range(len(pairs))]
    visible = None
    places = _places(head.fields)
    if all(name in places for name in flags):
        said = np.array([_said(row.fields[places[name]], where) for name in flags])
        points[said == ABSENT] = np.nan
        visible = said != HIDDEN
    picture = next(row.fields[index] for index, name in enumerate(head.fields) if name in IMAGE)
    spots = [(*row.spans[x], *row.spans[y]) for x, y in pairs]
    return Face(picture, points, where, visible=visible, spots=spots)


def _shared(value: Any) -> Any:
    """A value as text would say it: nothing for None, a whole number without a point."""
    if value is None:
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _landmark(value: Any, where: str) -> int | str:
    text = str(_shared(value))
    if not text:
        raise SemalignError(f"{where}: names no landmark; give its number from 0, or its name.")
    if not (text.isascii() and text.isdecimal()):
        return text
    if len(text) > 6 or int(text) >= MOST_POINTS:
        raise SemalignError(
            f"{where}: landmark {text[:20]} is beyond the {MOST_POINTS} that a face may have; correct it."
        )
    return int(text)


def _number(value: Any, name: str, where: str) -> float:
    """A number; NaN where nothing is written."""
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise SemalignError(f"{where}: {name} is {str(value)[:40]!r}, which is no number; correct it.") from None


def _said(value: Any, where: str) -> int:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return UNKNOWN
    known = {"0": ABSENT, "1": HIDDEN, "2": VISIBLE, "-1": UNKNOWN}
    text = str(_shared(value))
    if text not in known:
        raise SemalignError(
            f"{where}: visibility is {text[:40]!r}; write 0 (absent), 1 (hidden), 2 (visible) or nothing."
        )
    return known[text]


READER = Csv()
