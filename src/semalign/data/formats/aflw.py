"""AFLW-Full: the revised annotation of AFLW with 19 points a face, hidden ones included.

ROOT/AFLWinfo_release.mat          24,386 faces: `data` (x of all points, then y), `bbox` (x0, x1, y0, y1), `mask_new`
                                   (1 = visible), `nameList`, and in `ra` (from 1) an order: 20,000 train, 4,386 test
ROOT/flickr/{0,2,3}/image*.jpg     or data/flickr, as AFLW is packed, or images; several faces share an image
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.formats.base import Entry, Reader
from semalign.data.formats.common import count_note, face_id, load_extra, usable_box
from semalign.data.samples import Sample, Split
from semalign.data.truth import DESCRIPTION, read_description
from semalign.errors import SemalignError
from semalign.files import inside, reason

ANNOTATION = "AFLWinfo_release.mat"
IMAGE_FOLDERS = ("flickr", "data/flickr", "images")
FACES, TRAIN_FACES = 24386, 20000  # of the official set
POINTS = 19
MOST_VALUES = 5_000_000  # of an array of the file; the official one's have a million
FRONTAL = "frontal"


@dataclass(frozen=True)
class Annotation:
    """The file's contents, a row a face."""

    names: list[str]  # paths of the images within flickr
    points: np.ndarray  # (b, 19, 2)
    boxes: np.ndarray  # (b, 4) x0, y0, x1, y1
    visible: np.ndarray  # (b, 19) bool
    order: np.ndarray  # (b,) rows from 0, training faces first


class Aflw(Reader):
    """Samples come in the order of `ra`. Coordinates are taken as they are, from 0, as all published code does.

    The face box is the file's. Test faces all of whose points are visible have the group "frontal": AFLW-Frontal.
    (Published counts of it differ, 1,165 and 1,314, so it is not checked.)
    """

    name, title, wanted, scheme = "aflw", "AFLW", ANNOTATION, "aflw19"

    def holds(self, place: Path) -> bool:
        """Whether there is the annotation of AFLW-Full."""
        return (place / ANNOTATION).is_file()

    def entries(self, place: Path) -> Iterator[Entry]:
        """The rows of the file.

        Raises:
            SemalignError: the file is damaged or another one, SciPy is not installed.
        """
        annotation = _read(place / ANNOTATION)
        train = _train_faces(place, len(annotation.names))
        images = next((place / name for name in IMAGE_FOLDERS if (place / name).is_dir()), place / IMAGE_FOLDERS[0])
        for number, row in enumerate(annotation.order.tolist()):
            split: Split = "train" if number < train else "test"
            read = partial(_sample, annotation, row, images, split)
            yield Entry(_id(annotation, row), f"{place / ANNOTATION}: face {row} (from 0)", read)

    def notes(self, place: Path, samples: Sequence[Sample]) -> Iterator[str]:
        """Numbers of faces that are not the official ones."""
        have = sum(sample.split == "train" for sample in samples)
        yield from count_note("The training set", have, TRAIN_FACES)
        yield from count_note("The test set", len(samples) - have, FACES - TRAIN_FACES)


def _id(annotation: Annotation, row: int) -> str:
    name = annotation.names[row]
    try:
        return face_id("flickr", name, row)
    except ValueError:  # no name of a file, which reading the face will say
        return f"flickr/{row:05d}"


def _sample(annotation: Annotation, row: int, images: Path, split: Split) -> Sample:
    visible = annotation.visible[row]
    group = FRONTAL if split == "test" and visible.all() else ""
    image, box = inside(images, annotation.names[row]), usable_box(annotation.boxes[row])
    return Sample(_id(annotation, row), image, annotation.points[row], split, split, group, box, visible=visible)


def _train_faces(folder: Path, faces: int) -> int:
    """How many of the faces, in the file's order, are training faces.

    Raises:
        SemalignError: neither the official number of faces nor a synthetic data set that says it.
    """
    if faces == FACES:
        return TRAIN_FACES
    description = read_description(folder)
    if description is None:
        raise SemalignError(
            f"{folder / ANNOTATION}: holds {faces} faces where the official file has {FACES}; replace it."
        )
    if description.train is None:
        raise SemalignError(
            f"{folder / DESCRIPTION}: does not say how many faces are for training; make the data set again."
        )
    return description.train


def _read(path: Path) -> Annotation:
    scipy_io = load_extra("scipy.io", path)
    try:
        if any(math.prod(shape) > MOST_VALUES for _, shape, _ in scipy_io.whosmat(str(path))):
            raise ValueError("an array is larger than those of AFLW")
        content = scipy_io.loadmat(str(path), variable_names=("nameList", "data", "bbox", "mask_new", "ra"))
    except NotImplementedError:
        raise SemalignError(f"{path}: is a MATLAB 7.3 file, which the official one is not; replace it.") from None
    except Exception as error:  # SciPy raises whatever a damaged file leads it to
        raise SemalignError(f"{path}: cannot be read as a MATLAB file ({reason(error)}); replace it.") from error
    try:
        return _annotation(content)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise SemalignError(f"{path}: is not the annotation of AFLW-Full ({reason(error)}); replace it.") from error


def _annotation(content: dict[str, Any]) -> Annotation:
    names = [str(cell[0]) for cell in content["nameList"].ravel()]
    faces = len(names)
    if any(content[name].dtype.kind not in "fiub" for name in ("data", "bbox", "ra", "mask_new")):
        raise ValueError("an array holds no numbers")
    data = content["data"].astype(np.float64).reshape(faces, 2, POINTS)
    bbox = content["bbox"].astype(np.float64).reshape(faces, 4)
    if not (np.abs(content["ra"]) <= MOST_VALUES).all():
        raise ValueError("ra is no order of the faces")
    order = content["ra"].astype(np.int64).ravel() - 1
    if not np.array_equal(np.sort(order), np.arange(faces)):
        raise ValueError("ra is no order of the faces")
    return Annotation(
        names=names,
        points=np.ascontiguousarray(data.transpose(0, 2, 1)),
        boxes=bbox[:, [0, 2, 1, 3]],
        visible=content["mask_new"].reshape(faces, POINTS) != 0,
        order=order,
    )


READER = Aflw()
