"""What the readers of AFLW, 300-VW, WFLW and COFW share: finding the folder, bad samples, missing images, the truth."""

from __future__ import annotations

import importlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from semalign.data.faults import check_finite, check_points
from semalign.data.images import image_size
from semalign.data.samples import Box, Dataset, Sample
from semalign.data.truth import DESCRIPTION, read_description, read_truth
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme


def find_folder(given: Path, has_layout: Callable[[Path], bool], wanted: str) -> Path:
    """The folder with a layout: the given one, or its only child that has it; `wanted` says what it should hold.

    Raises:
        SemalignError: the folder is missing or unreadable, there is none with the layout, or a choice of them.
    """
    if not os.path.isdir(given):
        what = "is a file, not a folder" if os.path.exists(given) else "there is no such folder"
        raise SemalignError(f"{given}: {what}; give the folder that holds {wanted}.")
    if has_layout(given):
        return given
    children = [child for child in subfolders(given) if has_layout(child)]
    if len(children) > 1:
        names = ", ".join(child.name for child in children)
        raise SemalignError(f"{given}: holds several data sets ({names}); give the folder of one of them.")
    if not children:
        raise SemalignError(f"{given}: holds no {wanted}; give the folder that does.")
    return children[0]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, by name.

    Raises:
        SemalignError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise SemalignError(f"{folder}: cannot be read ({error.strerror}); check the folder's permissions.") from error


def load_extra(module: str, path: Path) -> Any:
    """A module of the optional extra `mat`, which reads MATLAB files.

    Raises:
        SemalignError: it is not installed; names `path`, which needs it, and the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SemalignError(
            f"{path}: reading it needs {module.partition('.')[0]}; install it with pip install 'semalign[mat]'."
        ) from None


def scheme_for(given: LandmarkScheme | None, name: str, what: str) -> LandmarkScheme:
    """The given scheme if it fits the points of a data set (`what`) annotated as scheme `name`, by default that one.

    Raises:
        SemalignError: another number of landmarks.
    """
    own = load_scheme(name)
    if given is not None and given.count != own.count:
        raise SemalignError(
            f"{what} has {own.count} points a face, the scheme {given.name} {given.count}; choose the scheme {name}."
        )
    return own if given is None else given


def usable_box(box: np.ndarray) -> Box | None:
    """The box (4,) of x0, y0, x1, y1, or None where it is empty or not finite."""
    x0, y0, x1, y1 = (float(value) for value in box)
    good = bool(np.isfinite(box).all()) and x0 < x1 and y0 < y1
    return (x0, y0, x1, y1) if good else None


def face_id(prefix: str, name: str, number: int) -> str:
    """A unique id for face `number` of a list, made like the path of its image, which may hold several faces."""
    path = PurePosixPath(name)
    return str(PurePosixPath(prefix) / path.with_name(f"{path.stem}-{number:05d}{path.suffix}"))


def synthetic_train_count(root: Path) -> int | None:
    """How many faces of a synthetic data set are for training, the first ones; None where it is not synthetic.

    Raises:
        SemalignError: a description that cannot be read or does not say.
    """
    if read_description(root) is None:
        return None
    try:
        return int(json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))["train"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SemalignError(
            f"{root / DESCRIPTION}: does not say how many faces are for training ({error!r}); make the data set again."
        ) from error


@dataclass
class Reading:
    """The samples of a data set that is being read.

    Attributes:
        keep_going: put bad samples into `skipped` instead of stopping at the first.
        samples: the good ones so far.
        skipped: (id, why) of the bad ones.
        missing: faces whose image's folder is not there at all, by folder: the set is partial.
    """

    keep_going: bool
    samples: list[Sample] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    _sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def face(self, name: str) -> Iterator[None]:
        """A block that adds the sample `name`; with `keep_going`, what it raises goes into `skipped`."""
        try:
            yield
        except SemalignError as error:
            self.skip(name, error)

    def skip(self, name: str, error: SemalignError) -> None:
        """Put a bad sample into `skipped`, or raise its error."""
        if not self.keep_going:
            raise error
        self.skipped.append((name, str(error)))

    def lacks_folder_of(self, image: Path, root: Path) -> bool:
        """Whether the image's folder is missing, which is counted in `missing` instead of being an error."""
        if image.parent.is_dir():
            return False
        self.missing[image.parent.relative_to(root).as_posix()] += 1
        return True

    def check(self, points: np.ndarray, image: Path, where: str) -> None:
        """Refuse points (n, 2) that are not finite, coincide or lie far off the image.

        Raises:
            SemalignError: naming `where`; or an unreadable image.
        """
        check_finite(points, where)
        if image not in self._sizes:
            self._sizes[image] = image_size(image)
        check_points(points, self._sizes[image], where)

    def missing_notes(self) -> tuple[str, ...]:
        """A sentence for each folder of images that is not there."""
        return tuple(
            f"{folder} is missing ({count} faces of the annotations)." for folder, count in self.missing.items()
        )

    def dataset(self, root: Path, name: str, scheme: LandmarkScheme, notes: tuple[str, ...]) -> Dataset:
        """The data set; one that synthetic.json describes is named "synthetic", has its truth and no notes.

        Raises:
            SemalignError: a synthetic data set that is unfinished or damaged.
        """
        dataset = Dataset(root, name, scheme, tuple(self.samples), notes, tuple(self.skipped))
        if read_description(root) is None:
            return dataset
        truth = read_truth(root, scheme.count, dataset.ids())
        return replace(dataset, name="synthetic", notes=(), truth=truth)


def refuse_empty(dataset: Dataset, wanted: str) -> Dataset:
    """The data set, if it has samples.

    Raises:
        SemalignError: it has none.
    """
    if not dataset.samples:
        why = "no usable face" if dataset.skipped else "no annotated face"
        raise SemalignError(f"{dataset.root}: holds {why} ({wanted}); choose another folder.")
    return dataset


def count_note(title: str, have: int, official: int, what: str = "faces") -> tuple[str, ...]:
    """A sentence where a set and the official one differ in their number of faces, else none."""
    if have == official:
        return ()
    return (f"{title} has {have} of the official {official} {what}.",)
