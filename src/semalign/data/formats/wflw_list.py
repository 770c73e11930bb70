"""A list of faces as WFLW has them, by itself: a line for each face, of 98 points, a rectangle, six attributes and a picture.

Coordinates count from 0 with centres at whole numbers. An absent point is -1 -1. Lists in the official
folders are read by `semalign.data.formats.wflw`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.csvtext import decoded, with_fields
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Parsed, head_of, tell_own_box
from semalign.data.formats.kept import BOXES, TAGS, lost
from semalign.data.formats.revising import new_texts
from semalign.data.formats.wflw import ATTRIBUTES, FIELDS, POINTS, list_text, parse_line, spans_of
from semalign.data.samples import Dataset
from semalign.errors import SemalignError

OWN_BOX = 0.01  # px by which a rectangle may differ from the points' own box and says no more than they


class WflwList(DocumentFormat):
    """One list of WFLW's kind."""

    title, wanted, scheme = "WFLW text", f"a .txt with {FIELDS + 1} fields a line", "wflw98"
    short, ending = "wflw", ".txt"
    endings: ClassVar[tuple[str, ...]] = (".txt",)

    def recognises(self, path: Path) -> bool:
        """Whether the first line has as many fields."""
        first = head_of(path).split(b"\n")[0].split(maxsplit=FIELDS)
        return len(first) == FIELDS + 1 and all(re.fullmatch(rb"[-+0-9.eEnainf]+", word) for word in first[:FIELDS])

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The lines."""
        text = decoded(data, path)
        faces: list[Face | Bad] = []
        place = 0
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            where = f"{path}: line {number}"
            if line.strip("\ufeff \t\r\n"):
                try:
                    faces.append(_face(line, place, where))
                except SemalignError as error:
                    faces.append(Bad(where, error))
            place += len(line)
        return Parsed(tuple(faces))

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The numbers of points are replaced."""
        return with_fields(data, new_texts(edits))

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A list."""
        return list_text(dataset).encode("utf-8"), lost(dataset, (BOXES, TAGS), self.title)


def _face(line: str, start: int, where: str) -> Face:
    bare = line.lstrip("\ufeff")
    values, name = parse_line(bare, where)
    points = values[: 2 * POINTS].reshape(POINTS, 2)
    points[(points == -1.0).all(axis=1)] = np.nan
    box = usable_box(values[2 * POINTS :][:4])
    flags = values[2 * POINTS + 4 :]
    return Face(
        name,
        points,
        where,
        box=tell_own_box(points, box, OWN_BOX),
        tags=tuple(tag for tag, flag in zip(ATTRIBUTES, flags, strict=True) if flag),
        spots=spans_of(bare, start + len(line) - len(bare)),
    )


READER = WflwList()
