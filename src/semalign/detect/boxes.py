"""Face boxes from a person's file: CSV, JSON or COCO, by image and, for videos, by frame."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from semalign.detect.detector import as_boxes
from semalign.errors import SemalignError
from semalign.files import parse_json, reason, shown
from semalign.shapes import Float

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
COLUMNS: dict[BoxFormat, tuple[tuple[str, ...], ...]] = {
    "xyxy": (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax")),
    "xywh": (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height")),
    "cxcywh": (("cx", "cy", "w", "h"), ("cx", "cy", "width", "height")),
}
_LARGEST = 1e6  # pixels; no picture is as wide
Row = tuple[str, str, int, Any]  # where it stands, image, frame, numbers


class BoxFile:
    """Boxes (x0, y0, x1, y1, pixels from 0) of faces, about brows to chin.

    A CSV file has the columns image and x0, y0, x1, y1 (or those of another format) and for videos frame (from 0); JSON is
    an object of image -> list of boxes, or for videos of image -> object of frame -> list of boxes. A COCO file (`images`,
    `annotations`) is taken as it is: its `bbox` are corner and sides, from the first pixel's corner; where it has a
    category named face, only those of that. Images are named by their path, absolute or relative to the file's folder or to
    the working folder, or by the file's name alone.

    Args:
        path: the file.
        kind: what the four numbers are; None takes what a CSV file's columns say, else corners.

    Raises:
        SemalignError: the file is missing, cannot be read, or has a row that is no box.
    """

    def __init__(self, path: str | Path, kind: BoxFormat | None = None) -> None:
        self.path = Path(path)
        if kind is not None and kind not in get_args(BoxFormat):
            raise SemalignError(f"the box format {kind!r} is unknown; choose from {', '.join(get_args(BoxFormat))}.")
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise SemalignError(f"{path}: there is no such file; give a CSV or JSON file of boxes.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SemalignError(
                f"{path}: cannot be read as text ({reason(error)}); give a CSV or JSON file of boxes."
            ) from error
        if self.path.suffix.lower() == ".json":
            rows, kind = _from_json(self.path, text, kind)
        else:
            rows, kind = _from_csv(self.path, text, kind)
        lists: dict[str, dict[int, list[np.ndarray]]] = {}
        for place, image, frame, numbers in rows:
            lists.setdefault(image, {}).setdefault(frame, []).append(_checked(self.path, place, numbers, kind))
        self._boxes = {
            image: {frame: np.concatenate(boxes) for frame, boxes in frames.items()} for image, frames in lists.items()
        }
        self._by_path: dict[str, str] = {}
        for base in (os.getcwd(), str(self.path.parent.resolve())):  # what is relative to the file's folder comes first
            for image in self._boxes:
                self._by_path[_key(os.path.normpath(os.path.join(base, image)))] = image
        self._by_name = {_key(image): image for image in self._boxes}
        self._ambiguous: dict[str, tuple[str, str]] = {}

    def expect(self, images: Iterable[str | Path]) -> None:
        """Say which images there are: a name alone that several of them have stands for none of them."""
        first: dict[str, str] = {}
        for image in images:
            name = os.path.basename(image)
            if self._at(image) is None and _key(name) in self._by_name:
                other = first.setdefault(_key(name), str(image))
                if other != str(image):
                    self._ambiguous[_key(name)] = other, str(image)

    def of(self, image: str | Path) -> Mapping[int, Float[np.ndarray, "k 4"]]:
        """Boxes by frame (0 for a picture) of an image or a video.

        Raises:
            SemalignError: the file has none for it, or has them under a name that several images have.
        """
        found = self._at(image)
        if found is None:
            key = _key(os.path.basename(image))
            if key in self._ambiguous:
                one, other = map(shown, self._ambiguous[key])
                raise SemalignError(
                    f"{self.path}: {self._by_name[key]} may be {one} or {other}; write the paths with their folders there."
                )
            found = self._by_name.get(key)
        if found is None:
            raise SemalignError(f"{self.path}: has no box for {shown(image)}; add one, or leave the image out.")
        return self._boxes[found]

    def _at(self, image: str | Path) -> str | None:
        """The image's name in the file, if that is its path."""
        text = str(image)
        if text in self._boxes and os.path.basename(text) != text:
            return text
        path = os.path.abspath(text)
        found = self._by_path.get(_key(path))
        return found if found is not None else self._by_path.get(_key(os.path.realpath(path)))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", shown(name))


def _checked(path: Path, place: str, numbers: Any, kind: BoxFormat) -> Float[np.ndarray, "1 4"]:
    """A row's box by its corners; a sentence that names the row if it is none."""
    try:
        box = np.array([numbers], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SemalignError(f"{path}: {place}: {numbers!r} is no box; give four numbers.") from None
    if box.shape != (1, 4):
        raise SemalignError(f"{path}: {place}: a box has the shape {box.shape}; give four numbers.")
    width, height = box[0, 2:]
    if kind != "xyxy":
        half = np.array([width, height]) / 2
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            centre = box[0, :2] + (0 if kind == "cxcywh" else half)
            box = np.concatenate([centre - half, centre + half])[None]
    try:
        box = as_boxes(box)
    except SemalignError as error:
        hint = ""
        if kind == "xyxy" and np.isfinite([width, height]).all() and width > 0 and height > 0:
            hint = " (or --box-format xywh or cxcywh, if they are sides)"
        raise SemalignError(f"{path}: {place}: {str(error).removesuffix('.')}{hint}.") from None
    sides = box[0, 2:] - box[0, :2]
    if sides.max() <= 1.5 and np.abs(box).max() <= 1.5:
        raise SemalignError(
            f"{path}: {place}: {box[0].tolist()} is no larger than a pixel; give pixels, not shares of the picture."
        )
    if np.abs(box).max() > _LARGEST:
        raise SemalignError(f"{path}: {place}: {box[0].tolist()} is beyond any picture; correct it.")
    return box


def _from_csv(path: Path, text: str, kind: BoxFormat | None) -> tuple[Iterable[Row], BoxFormat]:
    try:
        rows, kind = _csv_table(path, text, kind)
        return list(rows), kind
    except csv.Error as error:
        raise SemalignError(f"{path}: is no table of boxes ({reason(error)}); correct it.") from error


def _csv_table(path: Path, text: str, kind: BoxFormat | None) -> tuple[Iterator[Row], BoxFormat]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    fitting = [(k, c) for k, variants in COLUMNS.items() for c in variants if set(c) <= set(names)]
    wanted = [(k, c) for k, c in fitting if kind in (None, k)]
    usual = ("image", *COLUMNS[kind or "xyxy"][0])
    if "image" not in names or not fitting:
        missing = next(name for name in usual if name not in names)
        raise SemalignError(f"{path}: has no column {missing!r}; its first line must name {', '.join(usual)}.")
    if not wanted:
        raise SemalignError(
            f"{path}: has the columns {', '.join(fitting[0][1])}, which are {fitting[0][0]} and not {kind}; "
            "leave --box-format out, or rename them."
        )
    chosen, columns = wanted[0]
    return _csv_rows(path, reader, columns), chosen


def _csv_rows(path: Path, reader: csv.DictReader, columns: tuple[str, ...]) -> Iterator[Row]:
    for row in reader:
        place = f"line {reader.line_num}"
        try:
            box = [float(row[name]) for name in columns]
            image, frame = row["image"].strip(), int(row.get("frame") or 0)
        except (TypeError, ValueError, AttributeError):
            raise SemalignError(f"{path}: {place} is no box; give image, {', '.join(columns)} there.") from None
        if not image or frame < 0:
            raise SemalignError(
                f"{path}: {place} names no image, or a frame below 0; give image, {', '.join(columns)}."
            )
        yield f"{place} ({image})", image, frame, box


def _from_json(path: Path, text: str, kind: BoxFormat | None) -> tuple[Iterable[Row], BoxFormat]:
    rows: list[Row] = []
    try:
        content = parse_json(text)
        if _is_coco(content):
            if kind not in (None, "xywh"):
                raise SemalignError(
                    f"{path}: is a COCO file, whose boxes are xywh and not {kind}; leave --box-format out."
                )
            return _from_coco(path, content), "xywh"
        for image, value in content.items():
            frames = value if isinstance(value, dict) else {"0": value}
            for frame, boxes in frames.items():
                where = f"{image}, frame {frame}" if isinstance(value, dict) else image
                rows += [(f"{where}, box {number}", image, int(frame), box) for number, box in enumerate(boxes, 1)]
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise SemalignError(
            f"{path}: is no JSON object of image -> list of boxes ({reason(error)}); correct it."
        ) from error
    return rows, kind or "xyxy"


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in ("images", "annotations"))


def _from_coco(path: Path, content: Mapping[str, Any]) -> list[Row]:
    """The boxes of a COCO file, half a pixel to the left and up: there the first pixel spans 0 to 1."""
    try:
        places = {image["id"]: (str(image["file_name"]), int(image.get("frame") or 0)) for image in content["images"]}
        faces = {kind["id"] for kind in content.get("categories") or () if str(kind["name"]).strip().lower() == "face"}
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise SemalignError(
            f"{path}: has an image or a category without id or name ({reason(error)}); correct it."
        ) from error
    rows = []
    for number, annotation in enumerate(content["annotations"]):
        place = f"annotations[{number}]"
        try:
            if faces and annotation.get("category_id") not in faces:
                continue
            image, frame = places[annotation["image_id"]]
            x, y, width, height = map(float, annotation["bbox"])
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            raise SemalignError(
                f"{path}: {place} has no image_id of an image, or no bbox of four numbers; correct it."
            ) from None
        rows.append((f"{place} ({image})", image, frame, [x - 0.5, y - 0.5, width, height]))
    return rows
