"""Label Studio's JSON: a list of tasks, each with a picture and annotations, whose results are key points and rectangles.

Coordinates are percent of the picture's sides, so that they count from the first pixel's corner. A face's key points name its
rectangle as their parent (`parentID`); without one, all key points of a task are one face. The first annotation that was not
cancelled counts. Absent points have no result; that a point is hidden cannot be said. `meta` of the first task lists the
landmarks where their scheme is one's own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pydantic import Field

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, box_of, head_of, tell_own_box
from semalign.data.formats.jsontext import (
    Part,
    declared_landmarks,
    number_places,
    part,
    read_json_document,
    with_numbers,
)
from semalign.data.formats.kept import BOXES, NAMES, by_picture, is_shipped, lost, size_of
from semalign.data.formats.numbers import written
from semalign.data.formats.xmltext import attributes
from semalign.data.samples import Box, Dataset, Sample
from semalign.errors import SemalignError

OWN_BOX = 0.01  # px by which a rectangle may differ from the points' own box and says no more than they
POINTS, RECTANGLE = "keypointlabels", "rectanglelabels"
_UPLOAD = re.compile(r"/?data/upload/\d+/(?:[0-9a-f]{8}-)?(.+)")


class _Task(Part):
    data: dict[str, Any]
    annotations: list[Any] | None = None
    completions: list[Any] | None = None  # as old exports call them
    meta: dict[str, Any] | None = None


class _Annotation(Part):
    result: list[Any] = Field(default_factory=list)
    was_cancelled: bool | None = None


class _Result(Part):
    id: str | int = ""
    type: str = ""
    parentID: str | int | None = None  # noqa: N815
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float | None = 0
    value: dict[str, Any] = Field(default_factory=dict)


class _Place(Part):
    x: float
    y: float
    width: float = 0.0
    height: float = 0.0
    rotation: float = 0.0
    keypointlabels: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)


class LabelStudio(DocumentFormat):
    """Label Studio's JSON, in full (not JSON-MIN)."""

    title, wanted = "Label Studio JSON", "a .json with a list of tasks"
    short, ending = "label-studio", ".json"
    origin = 0.5
    endings: ClassVar[tuple[str, ...]] = (".json",)

    def recognises(self, path: Path) -> bool:
        """Whether it is a list of objects with data and annotations."""
        head = head_of(path)
        return head.startswith(b"[") and b'"data"' in head and (b'"annotations"' in head or b'"completions"' in head)

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The faces of all tasks."""
        tasks = read_json_document(data, path)
        if not isinstance(tasks, list):
            raise SemalignError(f"{path}: is no list of tasks; export it from Label Studio as JSON.")
        faces: list[Face | Bad] = []
        further, landmarks = 0, None
        for index, value in enumerate(tasks):
            where = f"{path}: task {index} (from 0)"
            try:
                task = part(_Task, value, where)
                found, more = _faces(task, index, where)
                faces += found
                further += more
                landmarks = landmarks or declared_landmarks(task.meta or {})
            except SemalignError as error:
                faces.append(Bad(where, error))
        note = f"{further} tasks have further annotations, of which the first counts."
        return Parsed(tuple(faces), (Kind("", landmarks),), (note,) if further else ())

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The values x and y of results are replaced."""
        places = number_places(data)
        texts = {}
        for edit in edits:
            task, key, annotation, result, size = edit.spot
            value = places[task][key][annotation]["result"][result]["value"]
            for axis, new in edit.changed():
                texts[value["xy"[axis]]] = written(_percent(new, size[axis]))
        return with_numbers(data, texts)

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A list of tasks to be imported."""
        tasks: list[dict[str, Any]] = []
        for number, picture in enumerate(by_picture(dataset), 1):
            size = size_of(picture, self.title)
            results: list[dict[str, Any]] = []
            for index, sample in enumerate(picture.samples):
                results += _results(sample, dataset.scheme.landmarks, size, f"{number}-{index}")
            annotation = {"id": number, "was_cancelled": False, "ground_truth": False, "result": results}
            tasks.append(
                {"id": number, "data": {"image": picture.name}, "annotations": [annotation], "predictions": []}
            )
        if tasks and not is_shipped(dataset.scheme):
            tasks[0]["meta"] = {"landmarks": list(dataset.scheme.landmarks)}
        body = ",\n".join(json.dumps(task, allow_nan=False) for task in tasks)
        return f"[\n{body}\n]\n".encode(), lost(dataset, (BOXES, NAMES), self.title)


def label_config(landmarks: Sequence[str]) -> str:
    """The labelling interface that tasks of these landmarks need, to be pasted into a project's settings."""
    rows = [f"    <Label{attributes(value=name, model_index=index)}/>" for index, name in enumerate(landmarks)]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image"/>',
            '  <RectangleLabels name="faces" toName="image"><Label value="face"/></RectangleLabels>',
            '  <KeyPointLabels name="landmarks" toName="image">',
            *rows,
            "  </KeyPointLabels>",
            "</View>",
            "",
        ]
    )


def _percent(value: float, side: int) -> float:
    return (value + 0.5) * 100.0 / side


def _pixel(percent: float, side: int) -> float:
    return percent * side / 100.0 - 0.5


def _results(sample: Sample, names: Sequence[str], size: tuple[int, int], key: str) -> list[dict[str, Any]]:
    width, height = size
    whole = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    x0, y0, x1, y1 = box_of(sample)
    rectangle = {
        "x": _percent(x0, width),
        "y": _percent(y0, height),
        "width": (x1 - x0) * 100.0 / width,
        "height": (y1 - y0) * 100.0 / height,
        "rotation": 0,
        RECTANGLE: ["face"],
    }
    results = [{"id": f"face-{key}", "type": RECTANGLE, "from_name": "faces", **whole, "value": rectangle}]
    for index, (name, (x, y)) in enumerate(zip(names, sample.points.tolist(), strict=True)):
        if np.isfinite(x):
            value = {"x": _percent(x, width), "y": _percent(y, height), "width": 0.5, POINTS: [name]}
            kind = {"id": f"point-{key}-{index}", "type": POINTS, "from_name": "landmarks", "parentID": f"face-{key}"}
            results.append({**kind, **whole, "value": value})
    return results


def _faces(task: _Task, index: int, where: str) -> tuple[list[Face], bool]:
    """The faces of a task, and whether it has further annotations.

    Raises:
        SemalignError: results that are not understood.
    """
    key = "completions" if task.annotations is None else "annotations"
    annotations = [part(_Annotation, value, where) for value in (task.annotations or task.completions or [])]
    kept = [row for row, annotation in enumerate(annotations) if not annotation.was_cancelled]
    if not kept:
        return [], False
    rows = [part(_Result, value, where) for value in annotations[kept[0]].result]
    boxes = {str(row.id): row for row in rows if "rectangle" in row.type}
    groups: dict[str, list[tuple[int, _Result]]] = {}
    for number, row in enumerate(rows):
        if row.type in (POINTS, "keypoint"):
            groups.setdefault("" if row.parentID is None else str(row.parentID), []).append((number, row))
    name = _picture(task, where)
    return [
        _face(name, members, boxes.get(parent), (index, key, kept[0]), where) for parent, members in groups.items()
    ], len(kept) > 1


def _face(
    name: str, members: list[tuple[int, _Result]], rectangle: _Result | None, spot: tuple[int, str, int], where: str
) -> Face:
    labels, points, spots = [], [], []
    sizes = {(row.original_width or 0, row.original_height or 0) for _, row in members}
    if len(sizes) > 1 or min(min(size) for size in sizes) < 1:
        raise SemalignError(f"{where}: its key points do not say the picture's size (original_width, original_height).")
    if any(row.image_rotation for _, row in members):
        raise SemalignError(f"{where}: its picture was turned in Label Studio, which is not read; turn it back.")
    (size,) = sizes
    for number, row in members:
        value = part(_Place, row.value, where)
        own = value.keypointlabels or value.labels
        labels.append(own[0] if own else "")
        points.append((_pixel(value.x, size[0]), _pixel(value.y, size[1])))
        spots.append((*spot, number, size))
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise SemalignError(
            f"{where}: has two key points {twice[0][:60]!r} for one face; give each face a rectangle that is their parent."
        )
    coordinates = np.array(points, dtype=np.float64).reshape(-1, 2)
    box = None if rectangle is None else _box(part(_Place, rectangle.value, where), size)
    return Face(
        name,
        coordinates,
        where,
        labels=tuple(labels),
        box=tell_own_box(coordinates, box, OWN_BOX),
        size=size,
        spots=tuple(spots),
    )


def _box(place: _Place, size: tuple[int, int]) -> Box | None:
    if place.rotation:
        return None
    x0, y0 = _pixel(place.x, size[0]), _pixel(place.y, size[1])
    return usable_box(np.array([x0, y0, x0 + place.width * size[0] / 100.0, y0 + place.height * size[1] / 100.0]))


def _picture(task: _Task, where: str) -> str:
    """The picture's name: that in the address of a file that was uploaded or is served from a folder.

    Raises:
        SemalignError: the task names none.
    """
    texts = [value for value in (task.data.get("image"), *task.data.values()) if isinstance(value, str) and value]
    if not texts:
        raise SemalignError(f"{where}: names no picture in its data; correct or remove it.")
    name = texts[0]
    if "local-files/?d=" in name:
        try:
            return parse_qs(urlsplit(name).query).get("d", [name])[0]
        except ValueError:
            return name
    if match := _UPLOAD.fullmatch(name):
        return match[1]
    if re.match(r"[a-z][a-z0-9+.-]+://", name):
        return unquote(re.split(r"[?#]", name)[0].rpartition("/")[2])
    return name


READER = LabelStudio()
