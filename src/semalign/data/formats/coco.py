"""COCO keypoints: one JSON object with `images`, `annotations` and `categories`, which name the keypoints.

Keypoints are pixels from 0 with their centres at whole numbers, as in memory; boxes (`bbox`: corner and sides) count from the
first pixel's corner, which is half a pixel further. A keypoint's third number is 0 for an absent, 1 for a hidden and 2 for a
visible point. `track_id` is the track. Annotations without keypoints, and crowds, are passed over.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, box_of, tell_own_box
from semalign.data.formats.jsontext import Part, number_places, part, read_json_document, with_numbers
from semalign.data.formats.kept import BOXES, HIDING, NAMES, TRACKS, by_picture, lost, size_of, visibility_number
from semalign.data.formats.numbers import moved, written
from semalign.data.samples import HIDDEN, VISIBLE, Dataset
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

PACKED = ()  # key of packed keypoints in an annotation, which no document has
OWN_BOX = 0.01  # px by which a box may differ from the points' own and says no more than they


@dataclass(frozen=True, slots=True)
class Spots:
    """Where the points of a face stand: number of the annotation, and of the point in it."""

    annotation: int
    count: int

    def __len__(self) -> int:
        """Number of points."""
        return self.count

    def __getitem__(self, point: int) -> tuple[int, int]:
        """Of one point."""
        return self.annotation, range(self.count)[point]


class _Whole(Part):
    images: list[Any]
    annotations: list[Any]
    categories: list[Any] = Field(default_factory=list)


class _Image(Part):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(Part):
    image_id: int | str
    category_id: int | str = 1
    keypoints: list[float] | None = None
    bbox: list[float] | None = None
    iscrowd: int | bool = 0
    track_id: int | str | None = None


class _Category(Part):
    id: int | str
    name: str
    keypoints: list[str] | None = None


class Coco(DocumentFormat):
    """COCO keypoints."""

    title, wanted = "COCO keypoints", "a .json with images, annotations and categories"
    short, ending = "coco", ".json"
    endings: ClassVar[tuple[str, ...]] = (".json",)
    folders: ClassVar[tuple[str, ...]] = ("", "annotations")

    def recognises(self, path: Path) -> bool:
        """Whether it is an object with the three lists; of a long file all is looked through."""
        with open(path, "rb") as file:
            wanted = [b'"images"', b'"annotations"', b'"categories"']
            rest = b""
            first = True
            while wanted and (block := file.read(1 << 22)):
                if first and not block.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
                    return False
                first = False
                wanted = [word for word in wanted if word not in rest + block]
                rest = block[-16:]
        return not wanted

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The annotations that have keypoints."""
        whole = part(_Whole, read_json_document(data, path, _packed), str(path))
        images = {}
        for index, value in enumerate(whole.images):
            image = part(_Image, value, f"{path}: image {index} (from 0)")
            images[image.id] = image
        categories = {}
        for index, value in enumerate(whole.categories):
            category = part(_Category, value, f"{path}: category {index} (from 0)")
            categories[category.id] = category
        kinds = {category.name: Kind(category.name, _landmarks(category)) for category in categories.values()}
        faces: list[Face | Bad] = []
        passed: Counter[str] = Counter()
        for index, value in enumerate(whole.annotations):
            where = f"{path}: annotation {index} (from 0)"
            try:
                numbers = value.pop(PACKED, None) if isinstance(value, dict) else None
                annotation = part(_Annotation, value, where)
                whole.annotations[index] = None  # it is not needed any more
                numbers = annotation.keypoints if numbers is None else numbers
                if not numbers:
                    passed["without keypoints"] += 1
                elif annotation.iscrowd:
                    passed["of crowds"] += 1
                else:
                    found = categories.get(annotation.category_id)
                    faces.append(_face(annotation, numbers, index, images, found.name if found else "", where))
            except SemalignError as error:
                faces.append(Bad(where, error))
        notes = tuple(f"{count} annotations {why} are passed over." for why, count in passed.items())
        if any(isinstance(face, Face) and not face.kind for face in faces):
            kinds.setdefault("", Kind())  # of a category that the document does not list
        return Parsed(tuple(faces), tuple(kinds.values()) or (Kind(),), notes)

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The keypoints' numbers are replaced."""
        places = number_places(data)["annotations"]
        texts = {}
        for edit in edits:
            annotation, point = edit.spot
            for axis, new in edit.changed():
                texts[places[annotation]["keypoints"][3 * point + axis]] = written(new)
        return with_numbers(data, texts)

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A document with one category."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, picture in enumerate(by_picture(dataset), 1):
            width, height = size_of(picture, self.title)
            images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
            for sample in picture.samples:
                x0, y0, x1, y1 = box_of(sample)
                seen = visibility_number(sample)
                points = np.where(seen[:, None] > 0, sample.points, 0.0)
                annotation: dict[str, Any] = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": [],
                    "bbox": [moved(x0, "0.5"), moved(y0, "0.5"), x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "num_keypoints": int((seen > 0).sum()),
                    "keypoints": [
                        value for (x, y), v in zip(points.tolist(), seen.tolist(), strict=True) for value in (x, y, v)
                    ],
                }
                if sample.track:
                    annotation["track_id"] = int(sample.track) if sample.track.isdecimal() else sample.track
                annotations.append(annotation)
        scheme = dataset.scheme
        category = {
            "id": 1,
            "name": "face" if scheme.names_eyes else scheme.name,
            "supercategory": "",
            "keypoints": list(scheme.landmarks),
            "skeleton": skeleton(scheme),
        }
        lists = (("images", images), ("annotations", annotations), ("categories", [category]))
        body = ",\n".join(
            f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in items) + "\n]"
            for name, items in lists
        )
        return f"{{{body}}}\n".encode(), lost(dataset, (HIDING, BOXES, TRACKS, NAMES), self.title)


def skeleton(scheme: LandmarkScheme) -> list[list[int]]:
    """The lines of the scheme's curves, as pairs of landmarks counted from 1."""
    return [
        [first + 1, second + 1]
        for curve in scheme.curves
        for first, second in zip(
            curve.landmarks, curve.landmarks[1:] + (curve.landmarks[:1] if curve.closed else ()), strict=False
        )
    ]


def _packed(value: dict[Any, Any]) -> dict[Any, Any]:
    """An object of the document: of an annotation all numbers of keypoints become an array, a quarter of the memory."""
    numbers = value.get("keypoints") if "image_id" in value else None
    if isinstance(numbers, list) and numbers and {int, float}.issuperset(map(type, numbers)):
        with suppress(OverflowError):  # a number that no float64 holds
            value[PACKED] = array("d", numbers)
            del value["keypoints"]
    return value


def _landmarks(category: _Category) -> tuple[str, ...] | None:
    return tuple(category.keypoints) if category.keypoints else None


def _face(
    annotation: _Annotation,
    numbers: Sequence[float],
    index: int,
    images: dict[int | str, _Image],
    kind: str,
    where: str,
) -> Face:
    """The face of an annotation.

    Raises:
        SemalignError: numbers that make no keypoints or no box, or an image that is not listed.
    """
    image = images.get(annotation.image_id)
    if image is None:
        raise SemalignError(f"{where}: is of image {annotation.image_id!r}, which is not listed; correct or remove it.")
    if len(numbers) % 3:
        raise SemalignError(f"{where}: has {len(numbers)} numbers for keypoints, which no triples make; correct it.")
    triples = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    if not np.isin(triples[:, 2], (0, HIDDEN, VISIBLE)).all():
        raise SemalignError(f"{where}: says of a keypoint something else than 0, 1 or 2; correct it.")
    points = np.where(triples[:, 2:] > 0, triples[:, :2], np.nan)
    sizes = (image.width, image.height)
    return Face(
        image.file_name,
        points,
        where,
        visible=triples[:, 2] == VISIBLE,
        box=tell_own_box(points, _box(annotation.bbox, where), OWN_BOX),
        size=None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1]),
        track="" if annotation.track_id is None else str(annotation.track_id),
        kind=kind,
        spots=Spots(index, len(points)),
    )


def _box(bbox: list[float] | None, where: str) -> tuple[float, float, float, float] | None:
    if not bbox:
        return None
    if len(bbox) != 4:
        raise SemalignError(f"{where}: its bbox has {len(bbox)} numbers; give x, y, width and height.")
    corner = np.array([moved(bbox[0], "-0.5"), moved(bbox[1], "-0.5")])
    return usable_box(np.concatenate([corner, corner + bbox[2:]]))


READER = Coco()
