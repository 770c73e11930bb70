"""What a format has no place for, counted in the faces and points of a data set, and the faces by their pictures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semalign.data.archives import is_file
from semalign.data.formats.pictures import check_name, clean_name, split_of
from semalign.data.images import image_size
from semalign.data.samples import ABSENT, HIDDEN, UNKNOWN, Dataset, Sample
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

HIDING = "hidden"  # which points are hidden
UNSAID = "unsaid"  # that nothing is said of a point's visibility
BOXES = "boxes"
TRACKS = "tracks"
NAMES = "names"  # of the landmarks
TAGS = "tags"
SPLITS = "splits"  # which faces are for testing


@dataclass(frozen=True, eq=False)
class PictureFaces:
    """A picture and its faces, in their order."""

    name: str
    image: Path
    samples: tuple[Sample, ...]


def lost(dataset: Dataset, keeps: Collection[str], title: str) -> tuple[str, ...]:
    """A sentence for each thing that the data set has and a format of this title does not keep."""
    samples, notes = dataset.samples, []
    points = dataset.visibility()
    there = f"of {points.size} points"
    hidden, unsaid = int((points == HIDDEN).sum()), int((points == UNKNOWN).sum())
    if hidden and HIDING not in keeps:
        notes.append(f"{title} does not say which points are hidden: {hidden} {there}.")
    if unsaid and HIDING in keeps and UNSAID not in keeps:
        notes.append(
            f"{title} says of each point whether it is visible: {unsaid} {there}, of which the data do not, are written as "
            "visible."
        )
    boxes = sum(sample.box is not None for sample in samples)
    if boxes and BOXES not in keeps:
        notes.append(f"{title} has no face boxes: those of {boxes} of {len(samples)} faces are not kept.")
    tracks = sum(bool(sample.track) for sample in samples)
    if tracks and TRACKS not in keeps:
        notes.append(f"{title} has no tracks: those of {tracks} of {len(samples)} faces are not kept.")
    tags = sum(bool(sample.tags) for sample in samples)
    if tags and TAGS not in keeps:
        notes.append(f"{title} has no attributes of faces: those of {tags} of {len(samples)} faces are not kept.")
    if NAMES not in keeps and not is_shipped(dataset.scheme):
        notes.append(
            f"{title} has no names of landmarks: the {dataset.scheme.count} of {dataset.scheme.name} are not kept."
        )
    named = [split_of(picture_name(dataset, sample), Path("")) == sample.split for sample in samples]
    if not all(named) and SPLITS not in keeps:
        notes.append(
            f"{title} does not say which faces are for testing: of {len(named) - sum(named)} of {len(named)} faces the "
            "picture's folder does not tell."
        )
    return tuple(notes)


def absent_points(dataset: Dataset) -> int:
    """How many points are absent."""
    return int((dataset.visibility() == ABSENT).sum())


def picture_name(dataset: Dataset, sample: Sample) -> str:
    """The name of a face's picture in a new document: that in its own, else the path relative to the data set."""
    if sample.name:
        return sample.name
    try:
        return clean_name(sample.image.relative_to(dataset.root).as_posix())
    except ValueError:
        return clean_name(sample.image.name)


def by_picture(dataset: Dataset) -> list[PictureFaces]:
    """The faces by their pictures, in order of appearance.

    Raises:
        SemalignError: two pictures would have one name, or one that no document can hold.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        name = picture_name(dataset, sample)
        check_name(name, sample.image)
        if name != shown(name):
            raise SemalignError(f"{shown(name)}: the name of the picture is no UTF-8; rename it.")
        groups.setdefault(name, []).append(sample)
        if groups[name][0].image != sample.image:
            raise SemalignError(f"{sample.image}: has the same name as {groups[name][0].image}; rename one of them.")
    return [PictureFaces(name, samples[0].image, tuple(samples)) for name, samples in groups.items()]


def size_of(picture: PictureFaces, title: str) -> tuple[int, int]:
    """(width, height) of a picture, as its document says, else as it has.

    Raises:
        SemalignError: neither tells.
    """
    if picture.samples[0].size is not None:
        return picture.samples[0].size
    if not is_file(picture.image):
        raise SemalignError(
            f"{picture.image}: there is no such picture, and {title} needs its size; give the pictures with --images."
        )
    return image_size(picture.image)


def visibility_number(sample: Sample) -> np.ndarray:
    """(n,) COCO's numbers: 0 absent, 1 hidden, 2 visible or nothing said."""
    said = sample.visibility
    return np.where(said == UNKNOWN, 2, said)


def is_shipped(scheme: LandmarkScheme) -> bool:
    """Whether a scheme is one that ships, which its landmarks' names or number tell."""
    return scheme.name in shipped_schemes() and load_scheme(scheme.name) == scheme
