"""Looks at every file of a data set before somebody trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from semalign.ahead import results_of
from semalign.data.endings import lacks_its_end
from semalign.data.faults import outside
from semalign.data.opening import scan_dataset
from semalign.data.samples import ABSENT, HIDDEN, Dataset, Sample
from semalign.data.video import by_video, read_pictures
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

WORKERS = 4  # threads that decode images


@dataclass(frozen=True)
class Problem:
    """One bad or suspicious sample."""

    file: str  # relative to the data set's root
    message: str  # the sentence that training would stop with


@dataclass(frozen=True)
class CheckReport:
    """What was found in a data set."""

    root: Path
    name: str  # as `Dataset.name`
    scheme: str
    counts: Mapping[str, int]  # usable faces by subset
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]  # what is missing or unusual, but no reason to stop
    dataset: Dataset  # all samples whose annotations can be used, readable pictures or not
    suspicious: tuple[Problem, ...] = ()  # faces that can be used and are kept, but look wrong

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
    """Read every annotation and decode every image and video of a data set, of any format that `open_dataset` knows.

    `progress` is called with (images done, images in all).

    Raises:
        SemalignError: there is no data set in the folder, or an empty one. Bad samples are in the report instead.
    """
    dataset = scan_dataset(root, scheme, keep_going=True)
    problems = [Problem(*item) for item in dataset.skipped]
    suspicious = [Problem(*item) for item in dataset.suspicious]
    beyond: dict[int, float] = {}
    done = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for looks in results_of(pool, lambda rows: _look(dataset.samples, rows), by_video(dataset.samples)):
            for row, result in looks:
                if isinstance(result, float):
                    beyond[row] = result
                    suspicious += _cut_off(dataset.samples[row])
                else:
                    problems.append(Problem(dataset.samples[row].id, result))
                done += 1
                if progress is not None:
                    progress(done, len(dataset))
    usable = tuple(dataset.samples[row] for row in sorted(beyond))
    return CheckReport(
        root=dataset.root,
        name=dataset.name,
        scheme=dataset.scheme.name,
        counts=Dataset(dataset.root, dataset.name, dataset.scheme, usable).subsets(),
        problems=tuple(sorted(problems, key=lambda problem: problem.file)),
        dataset=dataset,
        suspicious=tuple(sorted(suspicious, key=lambda problem: problem.file)),
        notes=(*dataset.notes, *_visibility_note(usable), *_outside_note(list(beyond.values()))),
    )


def _look(samples: Sequence[Sample], rows: list[int]) -> list[tuple[int, float | str]]:
    """How far each row's points reach outside its picture in pixels, or what is wrong with the picture."""
    looks: list[tuple[int, float | str]] = []
    for row, picture in read_pictures(samples, rows):
        if isinstance(picture, SemalignError):
            looks.append((row, str(picture)))
        else:
            size = picture.shape[1], picture.shape[0]
            looks.append((row, float(outside(samples[row].points, size).max())))
    return looks


def _cut_off(sample: Sample) -> list[Problem]:
    """What is said of a picture that lacks its last bytes and is read nevertheless."""
    if sample.frame is not None or not lacks_its_end(sample.image):
        return []
    return [Problem(sample.id, f"{sample.image}: lacks its last bytes; copy it again.")]


def _visibility_note(samples: Sequence[Sample]) -> tuple[str, ...]:
    """How many points are absent and how many hidden, where any are."""
    kinds = Counter(chain.from_iterable(sample.visibility.tolist() for sample in samples))
    of = f"of {kinds.total()} points"
    absent = (f"{kinds[ABSENT]} {of} are absent: they are neither searched nor trained on.",) if kinds[ABSENT] else ()
    return (*absent, f"{kinds[HIDDEN]} {of} are marked as hidden.") if kinds[HIDDEN] else absent


def _outside_note(beyond: list[float]) -> tuple[str, ...]:
    faces = sum(distance > 0.0 for distance in beyond)
    if not faces:
        return ()
    if faces == 1:
        return (f"1 face has points outside its image, by {max(beyond):.1f} px at most; it is kept.",)
    return (f"{faces} faces have points outside their image, by {max(beyond):.1f} px at most; they are kept.",)
