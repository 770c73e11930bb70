"""Looks at every file of a data set before somebody trains on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from semalign.data.images import read_image
from semalign.data.samples import Dataset, Sample
from semalign.data.w300 import outside, refuse_empty, scan_300w
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

WORKERS = 4  # threads that decode images


@dataclass(frozen=True)
class Problem:
    """One bad sample."""

    file: str  # relative to the data set's root
    message: str  # the sentence that training would stop with


@dataclass(frozen=True)
class CheckReport:
    """What was found in a data set."""

    root: Path
    name: str  # "300w" or "synthetic"
    scheme: str
    counts: Mapping[str, int]  # usable faces by subset
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]  # what is missing or unusual, but no reason to stop

    @property
    def ok(self) -> bool:
        """Whether every sample can be used."""
        return not self.problems

    @property
    def usable(self) -> int:
        """Number of usable faces."""
        return sum(self.counts.values())


def check_dataset(
    root: str | Path, scheme: LandmarkScheme | None = None, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Read every annotation and decode every image; `progress` is called with (images done, images in all).

    Raises:
        SemalignError: there is no data set in the folder, or an empty one. Bad samples are in the report instead.
    """
    dataset = scan_300w(root, scheme, keep_going=True)
    if not dataset.skipped:
        refuse_empty(dataset)
    problems = [Problem(*item) for item in dataset.skipped]
    usable: list[Sample] = []
    remarks: list[float] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for done, (sample, result) in enumerate(
            zip(dataset.samples, pool.map(_look, dataset.samples), strict=True), start=1
        ):
            if isinstance(result, float):
                usable.append(sample)
                remarks.append(result)
            else:
                problems.append(Problem(sample.id, result))
            if progress is not None:
                progress(done, len(dataset))
    return CheckReport(
        root=dataset.root,
        name=dataset.name,
        scheme=dataset.scheme.name,
        counts=Dataset(dataset.root, dataset.name, dataset.scheme, tuple(usable)).subsets(),
        problems=tuple(sorted(problems, key=lambda problem: problem.file)),
        notes=(*dataset.notes, *_outside_note(remarks)),
    )


def _look(sample: Sample) -> float | str:
    """How far the sample's points reach outside its image in pixels, or what is wrong with the image."""
    try:
        height, width = read_image(sample.image).shape[:2]
    except SemalignError as error:
        return str(error)
    return float(outside(sample.points, (width, height)).max())


def _outside_note(beyond: list[float]) -> tuple[str, ...]:
    faces = sum(distance > 0.0 for distance in beyond)
    if not faces:
        return ()
    if faces == 1:
        return (f"1 face has points outside its image, by {max(beyond):.1f} px at most; it is kept.",)
    return (f"{faces} faces have points outside their image, by {max(beyond):.1f} px at most; they are kept.",)
