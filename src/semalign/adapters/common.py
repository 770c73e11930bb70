"""What all adapters share: faces by picture, what an audit says of them, and data sets of faces that come from elsewhere.

Shape legend: n landmarks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from semalign.auditing.kinds import NAMES
from semalign.data.formats.common import face_id
from semalign.data.samples import Dataset, Sample, Split
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme

if TYPE_CHECKING:  # what only a caller who has one brings needs no network's package here
    from semalign.auditing import Audit


@contextmanager
def needs(package: str) -> Iterator[None]:
    """A block that imports a package which is not installed with Semalign.

    Raises:
        SemalignError: it is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise SemalignError(f"this needs {package}; install it with: pip install 'semalign[{package}]'.") from error


def by_picture(dataset: Dataset, package: str) -> dict[Path, list[Sample]]:
    """The faces of each picture, in order of appearance.

    Raises:
        SemalignError: faces that lie in the frames of videos.
    """
    found: dict[Path, list[Sample]] = {}
    for sample in dataset.samples:
        if sample.frame is not None:
            raise SemalignError(
                f"{sample.image}: is a video, and {package} gets faces of pictures; write its frames as pictures first."
            )
        found.setdefault(sample.image.absolute(), []).append(sample)
    return found


class Verdict(NamedTuple):
    """What an audit says of a face.

    Attributes:
        kind: of what is wrong; None = nothing is.
        probability: that something is.
        points: probability of each point (n,) that it is wrong by itself.
        proposal: where the points should be (n, 2), image frame; NaN where absent.
    """

    kind: str | None
    probability: float
    points: np.ndarray
    proposal: np.ndarray


def verdicts(dataset: Dataset, audit: Audit | None) -> dict[str, Verdict]:
    """What an audit says of the faces of a data set, by their ids; nothing without one.

    Raises:
        SemalignError: the audit is of other faces or landmarks.
    """
    if audit is None:
        return {}
    row = {name: index for index, name in enumerate(audit.ids)}
    strange = [name for name in dataset.ids() if name not in row]
    if strange or audit.scheme.count != dataset.scheme.count:
        what = f"face {strange[0]}" if strange else f"the {dataset.scheme.count} landmarks"
        raise SemalignError(f"{dataset.root}: the audit does not have its {what}; give the data set that was audited.")
    return {
        name: Verdict(
            NAMES[audit.face_kind[index]] if audit.face_kind[index] >= 0 else None,
            float(audit.face_probability[index]),
            audit.point_probability[index],
            audit.proposals[index],
        )
        for name in dataset.ids()
        for index in (row[name],)
    }


def scheme_of(scheme: str | Path | LandmarkScheme) -> LandmarkScheme:
    """A scheme that is given, or by its name or file."""
    return scheme if isinstance(scheme, LandmarkScheme) else load_scheme(scheme)


def refuse_count(where: str | Path, points: np.ndarray, scheme: LandmarkScheme) -> None:
    """Refuse a face (n, 2) with another number of points than the scheme's.

    Raises:
        SemalignError: it has another.
    """
    if points.shape != (scheme.count, 2):
        raise SemalignError(
            f"{where}: has a face of {len(points)} points, and {scheme.name} has {scheme.count}; give its own scheme."
        )


def joined(faces: Iterable[Sample], scheme: LandmarkScheme, name: str) -> Dataset:
    """A data set of faces from elsewhere. Those without an id get the picture's name, or with its number, if it has several.

    Raises:
        SemalignError: no faces, another number of points, or two faces of one id.
    """
    found = list(faces)
    if not found:
        raise SemalignError(f"{name} gives no faces with points; check what is given, and the field of the points.")
    for face in found:
        refuse_count(face.image, face.points, scheme)
    root = Path(os.path.commonpath([face.image.absolute().parent for face in found]))
    samples = [replace(face, id=id) for face, id in zip(found, _ids(found, root), strict=True)]
    twice = [id for id, count in Counter(face.id for face in samples).items() if count > 1]
    if twice:
        raise SemalignError(f"{name}: has two faces of the id {twice[0]}; give each face once.")
    return Dataset(root, name, scheme, tuple(samples))


def _ids(faces: Sequence[Sample], root: Path) -> Iterator[str]:
    times, numbers = Counter(face.image for face in faces), Counter[Path]()
    for face in faces:
        numbers[face.image] += 1
        name = face.image.absolute().relative_to(root).as_posix()
        yield face.id or (name if times[face.image] == 1 else face_id("", name, numbers[face.image]))


def split_of(value: object) -> Split:
    """Training, unless it says test."""
    return "test" if value == "test" else "train"
