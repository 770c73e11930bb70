"""dlib's and imglab's XML: an element for each image, in it a box for each face, in that a part for each point.

Numbers are whole pixels from 0 with their centres at whole numbers; a box covers `width` pixels from `left` on. Parts that are
not there are absent points. Parts are named by numbers, so that dlib, which sorts the names, keeps their order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Parsed, box_of, head_of, tell_own_box
from semalign.data.formats.kept import BOXES, by_picture, lost
from semalign.data.formats.revising import spliced
from semalign.data.formats.xmltext import Node, attribute_span, attributes, read_xml, root_name
from semalign.data.samples import Box, Dataset, Sample
from semalign.errors import SemalignError

OWN_BOX = 0.75  # px by which a box of whole pixels may differ from the points' own and says no more than they


class Dlib(DocumentFormat):
    """dlib's XML."""

    title, wanted = "dlib XML", "an .xml whose root is dataset"
    short, ending = "dlib", ".xml"
    endings: ClassVar[tuple[str, ...]] = (".xml",)

    def recognises(self, path: Path) -> bool:
        """Whether the root is called dataset and holds images."""
        head = head_of(path)
        return root_name(head) == "dataset" and b"<images" in head

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The boxes that have parts."""
        root = read_xml(data, path)
        images = root.first("images")
        if root.tag != "dataset" or images is None:
            raise SemalignError(f"{path}: holds no images in a dataset; give a file of dlib or imglab.")
        faces: list[Face | Bad] = []
        passed = 0
        for image in images.all("image"):
            name = image.attributes.get("file", "")
            for number, box in enumerate(image.all("box")):
                where = f"{path}: box {number} (from 0) of {name[:200]!r}"
                parts = list(box.all("part"))
                if not parts or box.attributes.get("ignore") == "1":
                    passed += 1
                    continue
                try:
                    faces.append(_face(name, image, box, parts, where, path, data))
                except SemalignError as error:
                    faces.append(Bad(name or where, error))
        return Parsed(tuple(faces), notes=(f"{passed} boxes without parts are passed over.",) if passed else ())

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The attributes x and y are replaced."""
        return spliced(data, [(edit.spot[axis], b"%d" % _whole(new)) for edit in edits for axis, new in edit.changed()])

    def revision_notes(self, edits: Sequence[Edit]) -> Sequence[str]:
        """How far new points were moved."""
        return _rounding(np.array([edit.new for edit in edits]).reshape(-1, 2))

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A document of whole pixels."""
        digits = len(str(dataset.scheme.count - 1))
        lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<dataset>", "<images>"]
        for picture in by_picture(dataset):
            size = picture.samples[0].size
            sides = "" if size is None else attributes(width=size[0], height=size[1])
            lines.append(f"  <image{attributes(file=picture.name)}{sides}>")
            for sample in picture.samples:
                lines += _box_lines(sample, max(digits, 2))
            lines.append("  </image>")
        lines += ["</images>", "</dataset>", ""]
        every = dataset.points().reshape(-1, 2)
        notes = (*lost(dataset, (BOXES,), self.title), *_rounding(every[np.isfinite(every).all(axis=1)]))
        return "\n".join(lines).encode("utf-8"), notes


def _whole(value: float) -> int:
    return math.floor(value + 0.5)


def _rounding(points: np.ndarray) -> tuple[str, ...]:
    """How far rounding moves points (k, 2) at most, in a sentence."""
    far = np.linalg.norm(np.floor(points + 0.5) - points, axis=1).max(initial=0.0)
    return (f"dlib XML holds whole pixels: points moved by up to {far:.2f} px.",) if far > 0 else ()


def _box_lines(sample: Sample, digits: int) -> list[str]:
    x0, y0, x1, y1 = box_of(sample)
    if sample.box is None:  # from the first point's pixel to the last one's
        left, top, right, bottom = _whole(x0), _whole(y0), _whole(x1) + 1, _whole(y1) + 1
    else:
        left, top, right, bottom = (_whole(side + 0.5) for side in (x0, y0, x1, y1))
    sides = attributes(top=top, left=left, width=max(right - left, 1), height=max(bottom - top, 1))
    parts = [
        f"      <part{attributes(name=f'{index:0{digits}d}', x=_whole(x), y=_whole(y))}/>"
        for index, (x, y) in enumerate(sample.points.tolist())
        if math.isfinite(x)
    ]
    return [f"    <box{sides}>", *parts, "    </box>"]


def _face(name: str, image: Node, box: Node, parts: Sequence[Node], where: str, path: Path, data: bytes) -> Face:
    labels = [part.attributes.get("name", "") for part in parts]
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise SemalignError(f"{where}: has two parts called {twice[0][:60]!r}; correct it.")
    points = np.array([[_number(part, axis, where) for axis in "xy"] for part in parts], dtype=np.float64)
    known = "width" in image.attributes and "height" in image.attributes
    size = (int(_number(image, "width", where)), int(_number(image, "height", where))) if known else None
    return Face(
        name,
        points,
        where,
        labels=tuple(labels),
        box=tell_own_box(points, _box(box, where), OWN_BOX),
        size=size,
        spots=tuple((attribute_span(data, part, "x", path), attribute_span(data, part, "y", path)) for part in parts),
    )


def _number(node: Node, name: str, where: str) -> float:
    try:
        value = float(node.attributes[name])
    except (KeyError, ValueError):
        raise SemalignError(f"{where}: {name} is missing or no number; correct it.") from None
    if not math.isfinite(value):
        raise SemalignError(f"{where}: {name} is not finite; correct it.")
    return value


def _box(box: Node, where: str) -> Box | None:
    left, top, width, height = (_number(box, name, where) for name in ("left", "top", "width", "height"))
    return usable_box(np.array([left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5]))


READER = Dlib()
