"""A data set packed into one file: the faces' crops as small pictures, their points as NumPy, and what else a comparison needs.

`pack.py` writes it; here it is read, without readers of data sets and their libraries. Opening costs nothing but the
file; `Faces.crops` decodes the pictures and enlarges them to what a network of a given input size wants, as a crop
cache like any other.

Shape legend: b faces, n landmarks, f faces that several people marked, a people, m points that they marked.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from semalign.core.affine import compose, rescaling
from semalign.data.crops import CropCache, CropSettings
from semalign.errors import SemalignError
from semalign.evaluation.annotators import AnnotatorMarks
from semalign.files import atomic_path
from semalign.schemes import LandmarkScheme, load_scheme

CROP = CropSettings()


@dataclass(frozen=True, eq=False)
class Faces:
    """Packed faces. Points are float64 in the image frame."""

    name: str
    scheme: LandmarkScheme
    ids: tuple[str, ...]
    test: np.ndarray  # (b,) bool
    folds: np.ndarray  # (b,) of training faces, near-duplicates in one; -1 for test faces
    points: np.ndarray  # (b, n, 2) annotations
    truth: np.ndarray | None  # (b, n, 2) exact points, where they are known
    image_to_crop: np.ndarray  # (b, 2, 3) to the packed pictures
    side: int  # of a packed picture
    pictures: tuple[np.ndarray, ...]  # each as an encoded file, uint8
    marks: AnnotatorMarks | None  # what several people marked in some of the training faces

    @property
    def reference(self) -> np.ndarray:
        """What predictions are measured against: the truth where it is known, else the annotations."""
        return self.points if self.truth is None else self.truth

    def take(self, rows: np.ndarray) -> Faces:
        """Some of the faces, in the order of `rows`."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            test=self.test[rows],
            folds=self.folds[rows],
            points=self.points[rows],
            truth=None if self.truth is None else self.truth[rows],
            image_to_crop=self.image_to_crop[rows],
            pictures=tuple(self.pictures[row] for row in rows),
        )

    @property
    def marked(self) -> np.ndarray:
        """Rows of the faces that several people marked."""
        ids = set(self.marks.ids if self.marks else ())
        return np.array([row for row, name in enumerate(self.ids) if name in ids], dtype=int)

    def crops(self, input_size: int) -> CropCache:
        """The decoded crops for a network of that input size, in memory."""
        size = 2 * round(input_size * CROP.margin / 2)
        images = np.empty((len(self.ids), size, size, 3), np.uint8)
        for row, data in enumerate(self.pictures):
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if picture is None:
                raise SemalignError(f"{self.name}: the picture of {self.ids[row]} is damaged; pack the data set again.")
            shrinks = size < self.side
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            images[row] = cv2.resize(picture, (size, size), interpolation=way)[..., ::-1]
        enlarged = compose(rescaling(self.side, size), torch.from_numpy(self.image_to_crop)).numpy()
        return CropCache(self.ids, images, enlarged, input_size)


def write_faces(path: Path, faces: Faces) -> None:
    """Write a packed data set; nothing in it executes when it is read."""
    marks = faces.marks or AnnotatorMarks((), np.empty((0, 0, 0, 2)))
    arrays = {
        "name": np.array(faces.name),
        "scheme": np.array(faces.scheme.name),
        "ids": np.array(faces.ids),
        "test": faces.test,
        "folds": faces.folds.astype(np.int16),
        "points": faces.points,
        "image_to_crop": faces.image_to_crop,
        "side": np.array(faces.side),
        "lengths": np.array([len(picture) for picture in faces.pictures], np.int64),
        "pictures": np.concatenate(faces.pictures),
        "mark_ids": np.array(marks.ids, dtype=str),
        "marks": marks.points,
    }
    if faces.truth is not None:
        arrays["truth"] = faces.truth
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_faces(path: Path) -> Faces:
    """The packed data set in a file.

    Raises:
        SemalignError: there is no such file, or it is no packed data set.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        ends = np.cumsum(arrays["lengths"])
        return Faces(
            name=str(arrays["name"]),
            scheme=load_scheme(str(arrays["scheme"])),
            ids=tuple(arrays["ids"].tolist()),
            test=arrays["test"],
            folds=arrays["folds"],
            points=arrays["points"],
            truth=arrays.get("truth"),
            image_to_crop=arrays["image_to_crop"],
            side=int(arrays["side"]),
            pictures=tuple(np.split(arrays["pictures"], ends[:-1])),
            marks=AnnotatorMarks(tuple(arrays["mark_ids"].tolist()), arrays["marks"]) if len(arrays["marks"]) else None,
        )
    except FileNotFoundError:
        raise SemalignError(f"{path}: there is no such file; make it with benchmarks/gpu/pack.py.") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SemalignError(f"{path}: is no packed data set ({error}); make it with benchmarks/gpu/pack.py.") from error
