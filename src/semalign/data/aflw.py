"""AFLW-Full: the revised annotation of AFLW with 19 points a face, hidden ones included.

ROOT/AFLWinfo_release.mat          24,386 faces: `data` (x of all points, then y), `bbox` (x0, x1, y0, y1), `mask_new`
                                   (1 = visible), `nameList`, and in `ra` (from 1) an order: 20,000 train, 4,386 test
ROOT/flickr/{0,2,3}/image*.jpg     or data/flickr, as AFLW is packed, or images; several faces share an image
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.layout import (
    Reading,
    count_note,
    face_id,
    find_folder,
    load_extra,
    refuse_empty,
    scheme_for,
    synthetic_train_count,
    usable_box,
)
from semalign.data.samples import Dataset, Sample, Split
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

ANNOTATION = "AFLWinfo_release.mat"
IMAGE_FOLDERS = ("flickr", "data/flickr", "images")
FACES, TRAIN_FACES = 24386, 20000  # of the official set
WANTED = f"{ANNOTATION} with the images in flickr"
POINTS = 19
FRONTAL = "frontal"


@dataclass(frozen=True)
class _Annotation:
    """The file's contents, a row a face."""

    names: list[str]  # paths of the images within flickr
    points: np.ndarray  # (b, 19, 2)
    boxes: np.ndarray  # (b, 4) x0, y0, x1, y1
    visible: np.ndarray  # (b, 19) bool
    order: np.ndarray  # (b,) rows from 0, training faces first


def open_aflw(root: str | Path, scheme: LandmarkScheme | None = None, *, keep_going: bool = False) -> Dataset:
    """AFLW-Full in the folder `root` or in its only sub-folder that holds it, named "aflw", in the order of `ra`.

    Coordinates are taken as they are, from 0, as all published code does. The face box is the file's. Test faces all
    of whose points are visible have the group "frontal": AFLW-Frontal. (Published counts of it differ, 1,165 and 1,314,
    so it is not checked.) Faces whose folder of images is missing are left out, which `notes` says.

    Raises:
        SemalignError: no such data set or an empty one, a damaged annotation file, SciPy is not installed; and, unless
            `keep_going` puts it into `skipped`, the first bad face: no image, points that are not finite, coincide or
            lie far off the image.
    """
    return refuse_empty(scan_aflw(root, scheme, keep_going), WANTED)


def scan_aflw(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """As `open_aflw`, but a data set without any sample is given back, too."""
    folder = find_folder(Path(root), has_aflw, WANTED)
    scheme = scheme_for(scheme, "aflw19", "AFLW-Full")
    annotation = _read(folder / ANNOTATION)
    train = _train_faces(folder, len(annotation.names))
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), folder / IMAGE_FOLDERS[0])
    reading = Reading(keep_going)
    for place, row in enumerate(annotation.order.tolist()):
        image = images / annotation.names[row]
        if not reading.lacks_folder_of(image, folder):
            name = face_id("flickr", annotation.names[row], row)
            split: Split = "train" if place < train else "test"
            with reading.face(name):
                reading.samples.append(_sample(reading, annotation, folder / ANNOTATION, row, image, name, split))
    have = sum(sample.split == "train" for sample in reading.samples)
    notes = (
        *reading.missing_notes(),
        *count_note("The training set", have, TRAIN_FACES),
        *count_note("The test set", len(reading.samples) - have, FACES - TRAIN_FACES),
    )
    return reading.dataset(folder, "aflw", scheme, notes)


def has_aflw(folder: Path) -> bool:
    """Whether the folder holds the annotation of AFLW-Full."""
    return (folder / ANNOTATION).is_file()


def _sample(
    reading: Reading, annotation: _Annotation, path: Path, row: int, image: Path, name: str, split: Split
) -> Sample:
    points, visible = annotation.points[row], annotation.visible[row]
    reading.check(points, image, f"{path}: face {row} (from 0)")
    group = FRONTAL if split == "test" and visible.all() else ""
    box = usable_box(annotation.boxes[row])
    return Sample(name, image, points, split, split, group, box, visible=visible)


def _train_faces(folder: Path, faces: int) -> int:
    """How many of the faces, in the file's order, are training faces.

    Raises:
        SemalignError: neither the official number of faces nor a synthetic data set.
    """
    if faces == FACES:
        return TRAIN_FACES
    train = synthetic_train_count(folder)
    if train is None:
        raise SemalignError(
            f"{folder / ANNOTATION}: holds {faces} faces where the official file has {FACES}; replace it."
        )
    return train


def _read(path: Path) -> _Annotation:
    loadmat = load_extra("scipy.io", path).loadmat
    try:
        content = loadmat(str(path), variable_names=("nameList", "data", "bbox", "mask_new", "ra"))
    except NotImplementedError:
        raise SemalignError(f"{path}: is a MATLAB 7.3 file, which the official one is not; replace it.") from None
    except Exception as error:  # SciPy raises whatever a damaged file leads it to
        raise SemalignError(f"{path}: cannot be read as a MATLAB file ({error}); replace it.") from error
    try:
        return _annotation(content)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise SemalignError(f"{path}: is not the annotation of AFLW-Full ({error}); replace it.") from error


def _annotation(content: dict[str, Any]) -> _Annotation:
    names = [str(cell[0]) for cell in content["nameList"].ravel()]
    faces = len(names)
    data = content["data"].astype(np.float64).reshape(faces, 2, POINTS)
    bbox = content["bbox"].astype(np.float64).reshape(faces, 4)
    order = content["ra"].astype(np.int64).ravel() - 1
    if not np.array_equal(np.sort(order), np.arange(faces)):
        raise ValueError("ra is no order of the faces")
    return _Annotation(
        names=names,
        points=np.ascontiguousarray(data.transpose(0, 2, 1)),
        boxes=bbox[:, [0, 2, 1, 3]],
        visible=content["mask_new"].reshape(faces, POINTS) != 0,
        order=order,
    )
