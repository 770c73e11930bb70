"""LabelMe's JSON: a document for each picture, with a shape for each point.

Coordinates count from the first pixel's corner, as the tool draws them. Points are shapes of the type `point`, with the
landmark's name as their label and the face's number as `group_id`; the flag `occluded` says that a point is hidden. A
rectangle of the same group is the face's box. Other shapes are passed over. `landmarks` lists the landmarks where their scheme
is one's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from semalign.data.formats.base import Written
from semalign.data.formats.common import usable_box
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, head_of
from semalign.data.formats.jsontext import (
    Part,
    declared_landmarks,
    number_places,
    part,
    read_json_document,
    with_numbers,
)
from semalign.data.formats.kept import (
    BOXES,
    HIDING,
    NAMES,
    TRACKS,
    UNSAID,
    PictureFaces,
    by_picture,
    is_shipped,
    lost,
    size_of,
)
from semalign.data.formats.numbers import all_moved, moved, written
from semalign.data.samples import ABSENT, HIDDEN, UNKNOWN, Box, Dataset, Sample
from semalign.errors import SemalignError
from semalign.files import atomic_folder, inside, write_bytes
from semalign.schemes import LandmarkScheme

VERSION = "5.5.0"  # of LabelMe, whose shape of a document is written
HIDDEN_FLAGS = ("occluded", "hidden")


class _Document(Part):
    imagePath: str  # noqa: N815
    shapes: list[Any]
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815
    landmarks: Any = None


class _Shape(Part):
    label: str = ""
    points: list[list[float]] = Field(default_factory=list)
    shape_type: str | None = "polygon"
    group_id: int | None = None
    flags: dict[str, Any] | None = None


class LabelMe(DocumentFormat):
    """LabelMe's JSON; a data set is a folder of such files, at any depth of which pictures may lie."""

    title, wanted = "LabelMe JSON", "a .json with shapes for each picture"
    short = "labelme"
    origin = 0.5
    endings: ClassVar[tuple[str, ...]] = (".json",)
    several: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """Whether it is an object with shapes and the picture's path."""
        head = head_of(path)
        if not head.startswith(b"{") or b'"shapes"' not in head:
            return False
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            return b'"imagePath"' in head or b'"imagePath"' in file.read()

    def documents(self, place: Path) -> list[Path]:
        """The documents of a folder and of those in it, by name."""
        if not place.is_dir():
            return super().documents(place)
        return sorted(
            path
            for path in place.rglob("*.json")
            if not any(part.startswith(".") for part in path.relative_to(place).parts) and self._is_one(path)
        )

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The faces of a picture."""
        document = part(_Document, read_json_document(data, path), str(path))
        shapes = [part(_Shape, shape, f"{path}: shape {row} (from 0)") for row, shape in enumerate(document.shapes)]
        groups: dict[int | None, list[tuple[int, _Shape]]] = {}
        for row, shape in enumerate(shapes):
            if shape.shape_type == "point" and len(shape.points) == 1:
                groups.setdefault(shape.group_id, []).append((row, shape))
        boxes = [shape for shape in shapes if shape.shape_type == "rectangle" and len(shape.points) in (2, 4)]
        size = None
        if document.imageWidth and document.imageHeight and min(document.imageWidth, document.imageHeight) > 0:
            size = document.imageWidth, document.imageHeight
        faces = []
        for group, members in groups.items():
            own = [shape for shape in boxes if shape.group_id == group and (group is not None or len(groups) == 1)]
            box = _box(own[0]) if len(own) == 1 else None
            faces.append(_face(document.imagePath, members, box, size, path))
        others = sum(shape.shape_type not in ("point", "rectangle") for shape in shapes)
        notes = (f"{path.name}: {others} shapes that are no points are passed over.",) if others else ()
        landmarks = declared_landmarks({"landmarks": document.landmarks})
        return Parsed(tuple(faces), (Kind("", landmarks),), notes)

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The numbers of shapes are replaced."""
        places = number_places(data)["shapes"]
        texts = {}
        for edit in edits:
            for axis, new in edit.changed():
                texts[places[edit.spot]["points"][0][axis]] = written(moved(new, "0.5"))
        return with_numbers(data, texts)

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """Nothing: there is no document of all pictures.

        Raises:
            SemalignError: always.
        """
        raise SemalignError("LabelMe has a document for each picture; write a folder.")

    def write(self, dataset: Dataset, out: Path, overwrite: bool = False) -> Written:
        """Write a folder with a document for each picture, which names it as if it lay beside it."""
        self.refuse_frames(dataset)
        texts: dict[str, str] = {}
        for picture in by_picture(dataset):
            path = PurePosixPath(picture.name)
            name = str(path.with_suffix(".json"))
            if name in texts:
                name = f"{path}.json"
            texts[name] = _document(picture, dataset.scheme, size_of(picture, self.title))
        with atomic_folder(out, "LabelMe files", overwrite) as folder:
            for name, text in texts.items():
                write_bytes(inside(folder, name), text.encode("utf-8"))
        notes = lost(dataset, (HIDING, UNSAID, BOXES, TRACKS, NAMES), self.title)
        other = sum(bool(sample.track) and not sample.track.isdecimal() for sample in dataset.samples)
        if other:
            notes = (*notes, f"LabelMe's groups are numbers: the tracks of {other} faces are not kept.")
        return Written(tuple(out / name for name in texts), notes)


def _document(picture: PictureFaces, scheme: LandmarkScheme, size: tuple[int, int]) -> str:
    numbers = _groups(picture.samples)
    shapes: list[Mapping[str, Any]] = []
    for sample, group in zip(picture.samples, numbers, strict=True):
        if sample.box is not None:
            x0, y0, x1, y1 = (moved(side, "0.5") for side in sample.box)
            shapes.append(_shape("face", [[x0, y0], [x1, y1]], group, "rectangle", {}))
        rows = zip(scheme.landmarks, all_moved(sample.points, "0.5").tolist(), sample.visibility.tolist(), strict=True)
        for name, pair, said in rows:
            if said != ABSENT:
                flags = {} if said == UNKNOWN else {HIDDEN_FLAGS[0]: said == HIDDEN}
                shapes.append(_shape(name, [pair], group, "point", flags))
    document: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(picture.name).name,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }
    if not is_shipped(scheme):
        document["landmarks"] = list(scheme.landmarks)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _groups(samples: Sequence[Sample]) -> list[int | None]:
    """The numbers of faces' groups: their tracks, else, where a picture has several, the next that is free."""
    tracks = [int(sample.track) if sample.track.isdecimal() else None for sample in samples]
    if len(samples) == 1:
        return [*tracks]
    free = iter(number for number in range(1, 2 * len(samples) + 1) if number not in tracks)
    return [next(free) if track is None else track for track in tracks]


def _shape(
    label: str, points: list[list[float]], group: int | None, kind: str, flags: dict[str, bool]
) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": group, "description": "", "shape_type": kind, "flags": flags}


def _face(
    picture: str, members: list[tuple[int, _Shape]], box: Box | None, size: tuple[int, int] | None, path: Path
) -> Face:
    labels = tuple(shape.label for _, shape in members)
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise SemalignError(
            f"{path}: has two points {twice[0][:60]!r} for one face; give the points of each face a group_id of their own."
        )
    pairs = [shape.points[0] for _, shape in members]
    if any(len(pair) != 2 for pair in pairs):
        raise SemalignError(f"{path}: has a point that is no pair of numbers; correct it.")
    said = any(flag in (shape.flags or {}) for _, shape in members for flag in HIDDEN_FLAGS)
    hidden = [any((shape.flags or {}).get(flag) is True for flag in HIDDEN_FLAGS) for _, shape in members]
    group = members[0][1].group_id
    return Face(
        picture,
        all_moved(np.array(pairs, dtype=np.float64).reshape(-1, 2), "-0.5"),
        str(path),
        labels=labels,
        visible=~np.array(hidden, dtype=bool) if said else None,
        box=box,
        size=size,
        track="" if group is None else str(group),
        spots=tuple(row for row, _ in members),
    )


def _box(shape: _Shape) -> Box | None:
    if any(len(pair) != 2 for pair in shape.points):
        return None
    corners = all_moved(np.array(shape.points, dtype=np.float64), "-0.5")
    return usable_box(np.array([*corners.min(axis=0), *corners.max(axis=0)]))


READER = LabelMe()
