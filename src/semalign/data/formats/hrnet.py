"""HRNet's CSV, as its repository has for 300W, WFLW, AFLW and COFW: a row for each face.

Columns: image_name, scale, center_w, center_h, and x and y of each point. Coordinates count from 0 with centres at whole
numbers, as HRNet's code takes them. Middle and scale (the larger side / 200) are those of a square face box. An absent point is
-1, -1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from semalign.data.formats.base import Bad
from semalign.data.formats.csvtext import Row, csv_line, read_rows, with_fields
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Parsed, box_of, head_of
from semalign.data.formats.kept import BOXES, by_picture, lost
from semalign.data.formats.numbers import written
from semalign.data.formats.revising import new_texts
from semalign.data.samples import Box, Dataset
from semalign.errors import SemalignError

COLUMNS = ("image_name", "scale", "center_w", "center_h")
UNIT = 200.0  # px that a scale of 1 is
OWN_BOX = 1.5  # px by which middle and side may differ from those of the points' box: files are rounded to whole pixels


class HrNet(DocumentFormat):
    """HRNet's CSV."""

    title, wanted = "HRNet CSV", "a .csv that begins with image_name,scale,center_w,center_h"
    short, ending = "hrnet", ".csv"
    endings: ClassVar[tuple[str, ...]] = (".csv",)

    def recognises(self, path: Path) -> bool:
        """Whether the first columns are these."""
        head = head_of(path).split(b"\n")[0].decode("utf-8", "replace").replace('"', "")
        return tuple(name.strip() for name in head.split(",")[:4]) == COLUMNS

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The rows."""
        rows = list(read_rows(data, path))
        if not rows or rows[0].fields[:4] != COLUMNS:
            raise SemalignError(
                f"{path}: does not begin with the columns {', '.join(COLUMNS)}; give a file of HRNet's kind."
            )
        faces: list[Face | Bad] = []
        for row in rows[1:]:
            where = f"{path}: line {row.line}"
            try:
                faces.append(_face(row, len(rows[0].fields), where))
            except SemalignError as error:
                faces.append(Bad(row.fields[0] or where, error))
        return Parsed(tuple(faces))

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The fields of points are replaced."""
        return with_fields(data, new_texts(edits))

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A table with HRNet's names of columns."""
        points = [f"original_{index}_{axis}" for index in range(dataset.scheme.count) for axis in "xy"]
        lines = [",".join([*COLUMNS, *points])]
        square = 0
        for picture in by_picture(dataset):
            for sample in picture.samples:
                x0, y0, x1, y1 = box_of(sample)
                square += sample.box is not None and abs((x1 - x0) - (y1 - y0)) > OWN_BOX
                whole = (max(x1 - x0, y1 - y0) / UNIT, (x0 + x1) / 2, (y0 + y1) / 2)
                values = np.where(np.isfinite(sample.points), sample.points, -1.0).ravel().tolist()
                lines.append(csv_line([picture.name, *map(written, whole), *map(written, values)]))
        notes = lost(dataset, (BOXES,), self.title)
        if square:
            notes = (
                *notes,
                f"HRNet CSV has square face boxes: those of {square} of {len(dataset)} faces were made so.",
            )
        return "\n".join([*lines, ""]).encode("utf-8"), notes


def _face(row: Row, columns: int, where: str) -> Face:
    if len(row.fields) != columns or columns % 2:
        raise SemalignError(f"{where}: has {len(row.fields)} fields where the head has {columns}; correct the line.")
    try:
        numbers = np.array(row.fields[1:], dtype=np.float64)
    except ValueError:
        raise SemalignError(f"{where}: holds a field that is no number; correct the line.") from None
    points = numbers[3:].reshape(-1, 2)
    absent = (points == -1.0).all(axis=1)
    points[absent] = np.nan
    spots = row.spans[4:]
    return Face(
        row.fields[0],
        points,
        where,
        box=_box(numbers[:3], points),
        spots=tuple(zip(spots[::2], spots[1::2], strict=True)),
    )


def _box(whole: np.ndarray, points: np.ndarray) -> Box | None:
    """The square box, or None where it is that of the points."""
    scale, x, y = (float(value) for value in whole)
    there = points[np.isfinite(points).all(axis=1)]
    half = scale * UNIT / 2
    if not math.isfinite(half + x + y) or half <= 0:
        return None
    if len(there):
        low, high = there.min(axis=0), there.max(axis=0)
        own = [*((low + high) / 2), (high - low).max()]
        if np.abs(np.subtract(own, (x, y, 2 * half))).max() <= OWN_BOX:
            return None
    return x - half, y - half, x + half, y + half


READER = HrNet()
