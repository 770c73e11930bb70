"""A data set as every reader gives it: samples in a fixed order, their scheme, and what is missing or was skipped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

Split = Literal["train", "test"]
Box = tuple[float, float, float, float]
UNKNOWN, ABSENT, HIDDEN, VISIBLE = -1, 0, 1, 2  # what an annotation says of a point; from 0 on these are COCO's numbers


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One annotated face."""

    id: str  # unique: path of the image relative to the data set's root, with forward slashes, or made like one
    image: Path  # or the video
    points: np.ndarray  # (n, 2) float64, image frame, 0-based pixels; NaN for an absent point, which nobody annotated
    split: Split
    subset: str  # for example "afw", "helen/trainset", "ibug"
    group: str = ""  # "common" or "challenging" for test faces of 300W, "frontal" for some of AFLW, else ""
    box: Box | None = None  # face box (x0, y0, x1, y1) in the image frame; None = use the landmarks' box
    frame: int | None = None  # number from 0 of the frame where `image` is a video, else None
    visible: np.ndarray | None = None  # (n,) bool: False for a hidden point; None = the annotation does not say
    tags: tuple[str, ...] = ()  # difficulties of the face, of which it may have several, as "blur" in WFLW
    name: str = ""  # of the picture in the document that names it; "" = its path relative to the data set's root
    size: tuple[int, int] | None = None  # (width, height) of the picture as the document says, else None
    track: str = ""  # what says that faces of several pictures are one person's: a track or group of a tool

    @property
    def visibility(self) -> np.ndarray:
        """(n,) int8: `ABSENT`, `HIDDEN`, `VISIBLE`, or `UNKNOWN` for a point that is there and of which no more is said."""
        said = UNKNOWN if self.visible is None else np.where(self.visible, VISIBLE, HIDDEN)
        return np.where(np.isnan(self.points).any(axis=1), ABSENT, said).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples that share a scheme. Annotations are only ever read."""

    root: Path
    name: str
    scheme: LandmarkScheme
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()  # what of the official set is missing, in sentences
    skipped: tuple[tuple[str, str], ...] = ()  # (id, why) of bad samples that were left out on request
    suspicious: tuple[tuple[str, str], ...] = ()  # (id, why) of samples that are kept but look wrong
    truth: Mapping[str, np.ndarray] | None = None  # id -> exact points (n, 2); synthetic data only
    source: Path | None = None  # folder or document that it was opened from

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def select(
        self, split: Split | None = None, subsets: Iterable[str] | None = None, exclude: Collection[str] = ()
    ) -> Dataset:
        """The samples of a split and of some subsets without those whose ids are excluded, in the same order.

        Raises:
            SemalignError: a subset that the data set does not have.
        """
        wanted = None if subsets is None else set(subsets)
        known = sorted({sample.subset for sample in self.samples})
        for subset in sorted(wanted or ()):
            if subset not in known:
                raise SemalignError(f"{self.root}: has no subset {subset!r}; choose from {', '.join(known) or 'none'}.")
        left_out = frozenset(exclude)
        chosen = tuple(
            sample
            for sample in self.samples
            if (split is None or sample.split == split)
            and (wanted is None or sample.subset in wanted)
            and sample.id not in left_out
        )
        return replace(self, samples=chosen)

    def grouped(self, group: str) -> Dataset:
        """The same samples with a group, which also goes before their ids, so that those of two data sets never meet."""
        samples = tuple(replace(sample, id=f"{group}/{sample.id}", group=group) for sample in self.samples)
        truth = None if self.truth is None else {f"{group}/{name}": points for name, points in self.truth.items()}
        return replace(self, samples=samples, truth=truth)

    def points(self) -> np.ndarray:
        """The annotations (b, n, 2) float64 in the image frame, NaN where a point is absent, as a new array."""
        if not self.samples:
            return np.empty((0, self.scheme.count, 2))
        return np.stack([sample.points for sample in self.samples])

    def visibility(self) -> np.ndarray:
        """What the annotations say of their points (b, n) int8, see `Sample.visibility`."""
        if not self.samples:
            return np.empty((0, self.scheme.count), np.int8)
        return np.stack([sample.visibility for sample in self.samples])

    def ids(self) -> tuple[str, ...]:
        """The samples' ids in order."""
        return tuple(sample.id for sample in self.samples)

    def subsets(self) -> dict[str, int]:
        """How many samples each subset has, in order of appearance."""
        counts: dict[str, int] = {}
        for sample in self.samples:
            counts[sample.subset] = counts.get(sample.subset, 0) + 1
        return counts


def join(first: Dataset, second: Dataset) -> Dataset:
    """The samples of both, one after the other, as 300-VW's protocol trains on its own frames and on 300W.

    The result has the first one's root and name, the notes of both, and a truth if both have one.

    Raises:
        SemalignError: they have different landmark schemes, or samples of the same id (see `Dataset.grouped`).
    """
    if first.scheme != second.scheme:
        raise SemalignError(
            f"{first.root} has the landmarks {first.scheme.name!r}, {second.root} has {second.scheme.name!r}; "
            "only data sets of one scheme can be joined."
        )
    both = sorted(set(first.ids()) & set(second.ids()))
    if both:
        raise SemalignError(
            f"{first.root} and {second.root} both have a sample {both[0]!r}; give one of them a group of its own."
        )
    truth = None if first.truth is None or second.truth is None else {**first.truth, **second.truth}
    return replace(
        first,
        samples=(*first.samples, *second.samples),
        notes=(*first.notes, *second.notes),
        skipped=(*first.skipped, *second.skipped),
        suspicious=(*first.suspicious, *second.suspicious),
        truth=truth,
    )
