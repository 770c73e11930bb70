"""CVAT for images 1.1: one XML file with an element for each image and its shapes.

Coordinates count from the first pixel's corner, so that its centre is 0.5, 0.5. A face is a `skeleton`, whose points have a
label each, `outside` (absent) and `occluded` (hidden); or one `points` shape of all points; or, where no image has two faces,
`points` shapes of one point with a label each. A `box` of the same `group_id` is the face's box; the group is its track.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from semalign.data.formats.base import Bad
from semalign.data.formats.common import usable_box
from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, head_of
from semalign.data.formats.kept import BOXES, HIDING, NAMES, TRACKS, absent_points, by_picture, lost, size_of
from semalign.data.formats.layout import numbered
from semalign.data.formats.numbers import all_moved, moved, written
from semalign.data.formats.revising import spliced
from semalign.data.formats.xmltext import Node, attribute_span, attributes, read_xml, root_name
from semalign.data.samples import ABSENT, HIDDEN, Box, Dataset, Sample, Split
from semalign.errors import SemalignError

BOX_LABEL = "face box"
IN_GROUPS = "single points"  # kind of faces that are made of shapes of one point each


@dataclass(frozen=True)
class Cvat(DocumentFormat):
    """CVAT for images.

    Attributes:
        shape: how faces are written: as skeletons, or each as one shape of points, which has no names, no absent points, and
            one flag for all.
    """

    shape: Literal["skeleton", "points"] = "skeleton"

    title, wanted = "CVAT for images 1.1", "an .xml whose root is annotations"
    short, ending = "cvat", ".xml"
    origin = 0.5
    endings: ClassVar[tuple[str, ...]] = (".xml",)

    def recognises(self, path: Path) -> bool:
        """Whether the root is called annotations."""
        return root_name(head_of(path)) == "annotations"

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The faces of all images."""
        root = read_xml(data, path)
        if root.tag != "annotations":
            raise SemalignError(f"{path}: its root is {root.tag[:60]!r}, not annotations; give an export of CVAT.")
        if root.first("track") is not None:
            raise SemalignError(f"{path}: holds tracks of a video; export it from CVAT as 'CVAT for images 1.1'.")
        faces: list[Face | Bad] = []
        passed: Counter[str] = Counter()
        for image in root.all("image"):
            where = f"{path}: image {image.attributes.get('name', '')[:200]!r}"
            try:
                faces += _faces(image, where, path, data)
                passed.update(child.tag for child in image.children if child.tag not in ("skeleton", "points", "box"))
            except SemalignError as error:
                faces.append(Bad(image.attributes.get("name") or where, error))
        kinds = _kinds(root, faces)
        notes = tuple(f"{count} {tag} elements are no landmarks and are passed over." for tag, count in passed.items())
        return Parsed(tuple(faces), kinds, notes)

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The coordinates in the attributes `points` are replaced."""
        changes: dict[tuple[int, int], list[str]] = {}
        for edit in edits:
            (start, end), pair = edit.spot
            texts = changes.setdefault((start, end), data[start:end].decode("utf-8").split(";"))
            texts[pair] = ",".join(
                text if edit.new[axis] == edit.old[axis] else written(moved(edit.new[axis], "0.5"))
                for axis, text in enumerate(texts[pair].split(","))
            )
        return spliced(data, [(span, ";".join(texts).encode()) for span, texts in changes.items()])

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A document of skeletons, or of shapes of points."""
        self._refuse_absent(dataset)
        label = "face" if dataset.scheme.names_eyes else dataset.scheme.name
        pictures = by_picture(dataset)
        groups = _Groups(dataset)
        lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
        lines += self._meta(dataset, label, len(pictures))
        for number, picture in enumerate(pictures):
            width, height = size_of(picture, self.title)
            lines.append(f"  <image{attributes(id=number, name=picture.name, width=width, height=height)}>")
            for sample in picture.samples:
                lines += self._face(sample, label, dataset.scheme.landmarks, groups.of(sample))
            lines.append("  </image>")
        keeps = (HIDING, BOXES, TRACKS, NAMES) if self.shape == "skeleton" else (BOXES, TRACKS)
        notes = (*lost(dataset, keeps, self.title), *groups.notes())
        return "\n".join([*lines, "</annotations>", ""]).encode("utf-8"), notes

    def _refuse_absent(self, dataset: Dataset) -> None:
        absent = absent_points(dataset)
        if self.shape == "points" and absent:
            raise SemalignError(
                f"{dataset.root}: {absent} points are absent, which one shape cannot say; write skeletons."
            )

    def _meta(self, dataset: Dataset, label: str, count: int) -> Iterator[str]:
        def entry(name: str, kind: str, parent: str = "") -> str:
            above = f"<parent>{_text(parent)}</parent>" if parent else ""
            return f"      <label><name>{_text(name)}</name><type>{kind}</type><attributes></attributes>{above}</label>"

        yield f"  <meta><task><name>{_text(dataset.name)}</name><size>{count}</size><mode>annotation</mode><labels>"
        yield entry(label, self.shape)
        if self.shape == "skeleton":
            yield from (entry(name, "points", label) for name in dataset.scheme.landmarks)
        if any(sample.box is not None for sample in dataset.samples):
            yield entry(BOX_LABEL, "rectangle")
        yield "  </labels></task></meta>"

    def _face(self, sample: Sample, label: str, names: Sequence[str], group: str | None) -> Iterator[str]:
        if sample.box is not None:
            x0, y0, x1, y1 = (written(moved(value, "0.5")) for value in sample.box)
            sides = attributes(xtl=x0, ytl=y0, xbr=x1, ybr=y1, z_order=0, group_id=group)
            yield f"    <box{attributes(label=BOX_LABEL, source='manual', occluded=0)}{sides}></box>"
        texts = [",".join(map(written, pair)) for pair in all_moved(sample.points, "0.5").tolist()]
        whole = attributes(label=label, source="manual")
        if self.shape == "points":
            points = attributes(occluded=0, points=";".join(texts), z_order=0, group_id=group)
            yield f"    <points{whole}{points}></points>"
            return
        yield f"    <skeleton{whole}{attributes(z_order=0, group_id=group)}>"
        for name, text, said in zip(names, texts, sample.visibility.tolist(), strict=True):
            gone = said == ABSENT
            flags = attributes(outside=int(gone), occluded=int(said == HIDDEN), points="0.0,0.0" if gone else text)
            yield f"      <points{attributes(label=name, source='manual')}{flags}></points>"
        yield "    </skeleton>"


class _Groups:
    """Numbers of groups: a face's track if that is a number, else, where its box has to be told from others, one of its own."""

    def __init__(self, dataset: Dataset) -> None:
        tracks = {sample.track for sample in dataset.samples if _is_group(sample.track)}
        self.samples = dataset.samples
        self.next = max(map(int, tracks), default=0) + 1
        pictures = Counter(sample.image for sample in dataset.samples)
        self.crowded = {image for image, count in pictures.items() if count > 1}

    def of(self, sample: Sample) -> str | None:
        if _is_group(sample.track):
            return sample.track
        if sample.box is None or sample.image not in self.crowded:
            return None
        self.next += 1
        return str(self.next - 1)

    def notes(self) -> Iterator[str]:
        other = sum(bool(sample.track) and not _is_group(sample.track) for sample in self.samples)
        if other:
            yield f"CVAT's groups are numbers: the tracks of {other} of {len(self.samples)} faces are not kept."


def _is_group(track: str) -> bool:
    return track.isascii() and track.isdecimal() and track[0] != "0" and len(track) < 10


def _text(text: str) -> str:
    attributes(text=text)  # refuses what XML cannot hold
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _kinds(root: Node, faces: Sequence[Face | Bad]) -> tuple[Kind, ...]:
    """The labels that faces have; the points of a skeleton as the document lists them, if it does."""
    children: dict[str, list[str]] = {}
    for labels in _labels(root):
        for label in labels.all("label"):
            if parent := label.text_of("parent"):
                children.setdefault(parent, []).append(label.text_of("name"))
    names = dict.fromkeys(face.kind for face in faces if isinstance(face, Face))
    skeletons = {face.kind for face in faces if isinstance(face, Face) and face.labels is not None}
    return tuple(
        Kind(
            name, tuple(numbered(children[name]) or children[name]) if name in children and name in skeletons else None
        )
        for name in names
    )


def _labels(root: Node) -> Iterator[Node]:
    for kind in ("task", "project", "job"):
        found = root.first("meta", kind, "labels")
        if found is not None:
            yield found


def _faces(image: Node, where: str, path: Path, data: bytes) -> Iterator[Face]:
    """The faces of an image.

    Raises:
        SemalignError: shapes that are not understood.
    """
    name = image.attributes.get("name", "")
    size = _size(image, where)
    split: Split | None = None
    if (subset := image.attributes.get("subset", "").lower()) in ("train", "test", "val", "validation"):
        split = "train" if subset == "train" else "test"
    boxes = [(box.attributes.get("group_id", "0"), _box(box, where)) for box in image.all("box")]
    shapes = [shape for shape in image.children if shape.tag in ("skeleton", "points")]
    whole = [shape for shape in shapes if shape.tag == "skeleton" or ";" in shape.attributes.get("points", "")]
    single: dict[str, list[Node]] = {}
    for shape in shapes:
        if shape not in whole:
            single.setdefault(shape.attributes.get("group_id", "0"), []).append(shape)
    alone = len(whole) + len(single) == 1
    for shape in whole:
        group = shape.attributes.get("group_id", "0")
        kind = shape.attributes.get("label", "")
        members = list(shape.all("points")) if shape.tag == "skeleton" else None
        yield _face(shape, members, kind, group, _of_group(boxes, group, alone), (name, size, split, where), path, data)
    for group, members in single.items():
        box = _of_group(boxes, group, alone)
        yield _face(image, members, IN_GROUPS, group, box, (name, size, split, where), path, data)


def _of_group(boxes: Sequence[tuple[str, Box | None]], group: str, alone: bool) -> Box | None:
    own = [box for number, box in boxes if number == group and (group != "0" or alone)]
    return own[0] if len(own) == 1 else None


def _face(
    shape: Node,
    members: list[Node] | None,
    kind: str,
    group: str,
    box: Box | None,
    image: tuple[str, tuple[int, int] | None, Split | None, str],
    path: Path,
    data: bytes,
) -> Face:
    name, size, split, where = image
    track = "" if group == "0" else group
    if members is None:
        points = _points(shape, where)
        span = attribute_span(data, shape, "points", path)
        hidden = shape.attributes.get("occluded") == "1"
        return Face(
            name, points, where, None, np.full(len(points), not hidden), box, size, track, split, (), kind,
            tuple((span, pair) for pair in range(len(points))),
        )  # fmt: skip
    labels = [member.attributes.get("label", "") for member in members]
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise SemalignError(
            f"{where}: has two points with the label {twice[0][:60]!r} for one face; group the points of each face, or draw "
            "skeletons."
        )
    rows = [_points(member, where) for member in members]
    if any(len(row) != 1 for row in rows):
        raise SemalignError(f"{where}: a point of a skeleton has several coordinates; correct it.")
    gone = np.array([member.attributes.get("outside") == "1" for member in members], dtype=bool)
    points = np.concatenate(rows) if rows else np.empty((0, 2))
    return Face(
        name,
        np.where(gone[:, None], np.nan, points),
        where,
        labels=tuple(labels),
        visible=np.array([member.attributes.get("occluded") != "1" for member in members], dtype=bool),
        box=box,
        size=size,
        track=track,
        split=split,
        kind=kind,
        spots=tuple((attribute_span(data, member, "points", path), 0) for member in members),
    )


def _points(shape: Node, where: str) -> np.ndarray:
    try:
        pairs = [pair.split(",") for pair in shape.attributes.get("points", "").split(";")]
        values = [[moved(float(x), "-0.5"), moved(float(y), "-0.5")] for x, y in pairs]
    except ValueError:
        raise SemalignError(f"{where}: has a shape whose points are no pairs of numbers; correct it.") from None
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def _size(image: Node, where: str) -> tuple[int, int] | None:
    try:
        width, height = int(image.attributes.get("width", 0)), int(image.attributes.get("height", 0))
    except ValueError:
        raise SemalignError(f"{where}: its width or height is no number; correct it.") from None
    return (width, height) if width > 0 and height > 0 else None


def _box(box: Node, where: str) -> Box | None:
    try:
        sides = [moved(float(box.attributes[side]), "-0.5") for side in ("xtl", "ytl", "xbr", "ybr")]
    except (KeyError, ValueError):
        raise SemalignError(f"{where}: has a box without its four sides; correct it.") from None
    return usable_box(np.array(sides))


READER = Cvat()
