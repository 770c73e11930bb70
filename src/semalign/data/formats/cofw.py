"""COFW, faces that are partly covered: 29 points with a flag for hidden ones, and the images in the same MATLAB files.

ROOT/COFW_train_color.mat     1,345 faces (845 of LFPW, 500 covered ones): IsTr, phisTr, bboxesTr
ROOT/COFW_test_color.mat        507 faces: IsT, phisT, bboxesT

The files are MATLAB 7.3, which is HDF5: arrays come with their axes reversed. A row of phis is 29 x, 29 y, 29 flags (1 =
hidden), a row of bboxes left, top, width, height, all from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semalign.data.formats.base import Bad, Entry, Reader
from semalign.data.formats.common import count_note, load_extra, usable_box
from semalign.data.samples import Sample, Split
from semalign.errors import SemalignError
from semalign.files import parse_json, reason, write_bytes, write_json

IMAGES = "COFW_images"
POINTS = 29
MOST_FACES, MOST_VALUES = 100_000, 300_000_000  # of a file, and of an image


@dataclass(frozen=True)
class Part:
    """One of the two files."""

    file: str
    split: Split
    suffix: str  # of the arrays' names
    count: int  # faces in the official file


OFFICIAL = (Part("COFW_train_color.mat", "train", "Tr", 1345), Part("COFW_test_color.mat", "test", "T", 507))


@dataclass(frozen=True)
class Cofw(Reader):
    """Samples come in the order of the files, with their face boxes; `visible` are the flags.

    The images are written as PNG files, once: again only when a .mat file has changed.
    """

    name, title, scheme = "cofw", "COFW", "cofw29"
    origin = 1
    wanted = " or ".join(part.file for part in OFFICIAL)
    images: Path | None = None  # folder of the written images; None = COFW_images beside the .mat files

    def holds(self, place: Path) -> bool:
        """Whether there is one of the files."""
        return any((place / part.file).is_file() for part in OFFICIAL)

    def entries(self, place: Path) -> Iterator[Entry | Bad]:
        """The faces of both files; images that are not there yet are written.

        Raises:
            SemalignError: a damaged file, h5py is not installed, a folder that cannot be written.
        """
        for part in OFFICIAL:
            path, images = place / part.file, (self.images or place / IMAGES) / part.split
            if not path.is_file():
                continue
            shapes, boxes, failed = _read_file(path, part, images)
            for index, (shape, box) in enumerate(zip(shapes, boxes, strict=True)):
                name = f"{part.split}/{image_name(index)}"
                if str(index) in failed:
                    yield Bad(name, SemalignError(failed[str(index)]))
                else:
                    read = partial(_sample, name, images / image_name(index), part.split, shape, box)
                    yield Entry(name, f"{path}: face {name}", read)

    def notes(self, place: Path, samples: Sequence[Sample]) -> Iterator[str]:
        """A file that is missing, and numbers of faces that are not the official ones."""
        for part in OFFICIAL:
            if (place / part.file).is_file():
                yield from count_note(part.file, sum(sample.split == part.split for sample in samples), part.count)
            else:
                yield f"{part.file} is missing ({part.count} faces in the official set)."


def _read_file(path: Path, part: Part, images: Path) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Rows of phis (b, 87) and bboxes (b, 4) of a file, and what is wrong with some of its images, by their index."""
    h5py = load_extra("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            names = (f"{name}{part.suffix}" for name in ("phis", "bboxes", "Is"))
            shapes, boxes, cells = (np.asarray(_own(h5py, file, name, MOST_FACES * 3 * POINTS)) for name in names)
            if shapes.dtype.kind not in "iuf" or boxes.dtype.kind not in "iuf":
                raise ValueError("its points or boxes are no real numbers")
            shapes, boxes, cells = shapes.astype(np.float64).T, boxes.astype(np.float64).T, cells.ravel()
            if cells.dtype != object or not all(isinstance(cell, h5py.Reference) for cell in cells):
                raise ValueError("its images are no references")
            if shapes.shape != (len(cells), 3 * POINTS) or boxes.shape != (len(cells), 4):
                raise ValueError(f"{len(cells)} images, points {shapes.shape}, boxes {boxes.shape}")
            failed = _write_images(h5py, file, cells, path, images)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError, cv2.error) as error:
        raise SemalignError(
            f"{path}: cannot be read as a file of COFW ({reason(error)}); replace it by the official one."
        ) from error
    return shapes, boxes, failed


def _sample(name: str, image: Path, split: Split, shape: np.ndarray, box: np.ndarray) -> Sample:
    points = shape[: 2 * POINTS].reshape(2, POINTS).T - 1.0
    corner = box[:2] - 1.0
    given = usable_box(np.concatenate([corner, corner + box[2:]]))
    return Sample(name, image, points, split, split, box=given, visible=shape[2 * POINTS :] == 0)


def image_name(index: int) -> str:
    """The name under which image `index` (from 0) of a file is written."""
    return f"{index + 1:06d}.png"


def _own(h5py: Any, file: Any, place: Any, most: int) -> Any:
    """An array of a file, by its name or a reference, of so many values at most.

    Raises:
        KeyError, ValueError: there is none, it is larger, or its values lie in another file.
    """
    if isinstance(place, str) and not isinstance(file.get(place, getlink=True), h5py.HardLink):
        raise ValueError(f"{place} is no array of its own")
    found = file[place]
    if not isinstance(found, h5py.Dataset) or found.size is None or found.size > most:
        raise ValueError("an array is no array, or larger than those of COFW")
    if found.is_virtual or found.external:
        raise ValueError("an array lies in another file")
    return found


def _write_images(h5py: Any, file: Any, cells: np.ndarray, path: Path, images: Path) -> dict[str, str]:
    """Write the images of a file unless they are there; returns what is wrong with some, by their index."""
    stat, done = path.stat(), images / "images.json"
    source = {"file": path.name, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
    known = _read_json(done)
    failed: dict[str, str] = known.get("failed", {})
    wanted = (images / image_name(index) for index in range(len(cells)) if str(index) not in failed)
    if known.get("source") == source and all(image.is_file() for image in wanted):
        return failed
    if done.is_file():
        done.unlink()
    failed = {}
    for index, cell in enumerate(cells):
        # MATLAB's (w, h) or (3, w, h), turned into (h, w) or (h, w, 3)
        image = np.asarray(_own(h5py, file, cell, MOST_VALUES)).T
        if image.dtype != np.uint8 or not image.size or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
            failed[str(index)] = (
                f"{path}: image {index} (from 0) is an array {image.shape} of {image.dtype}; replace the file."
            )
            continue
        _, data = cv2.imencode(".png", image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1]))
        write_bytes(images / image_name(index), data.tobytes())
    write_json(done, {"source": source, "failed": failed})
    return failed


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file of ours; empty where there is none, so that it is made again."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


READER = Cofw()
