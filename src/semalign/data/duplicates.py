"""Photographs that occur twice in a data set, so that test faces do not leak into training, nor folds into each other.

Two faces are compared in a frame that their landmarks give (`semalign.data.thumbnails`): coarse looks propose pairs, those
are registered on each other, and the correlation of their fine structure decides (`likeness`). Not every face is compared
with every other (`copies`); what that takes is measured by `benchmarks/scale_duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from semalign.data.copies import Copies, find_copies
from semalign.data.samples import Dataset
from semalign.data.thumbnails import Progress, thumbnails

# (test, training) images of 300W that show the same photograph; without the ending, which differs between copies.
KNOWN_DUPLICATES_300W = (
    ("lfpw/testset/image_0007", "lfpw/trainset/image_0862"),
    ("lfpw/testset/image_0096", "lfpw/trainset/image_0828"),
    ("lfpw/testset/image_0066", "lfpw/trainset/image_0215"),
)


def leaky_training_ids(dataset: Dataset, progress: Progress | None = None, *, strict: bool = True) -> tuple[str, ...]:
    """Training images, in the data set's order, that show the same photograph as one of its test images.

    These are the known ones of 300W and those that look the same (`find_near_duplicates`). Leave them out of training
    when testing on the test set: `dataset.select("train", exclude=leaky_training_ids(dataset))`. Synthetic faces are
    all different; frames of videos are not compared.

    Raises:
        SemalignError: an image that cannot be read; unless `strict`, it is like no other.
    """
    if not _may_repeat(dataset):
        return ()
    ids = dataset.ids()
    by_stem = {str(PurePosixPath(name).with_suffix("")): name for name in ids}
    leaky = {by_stem[train] for test, train in KNOWN_DUPLICATES_300W if test in by_stem and train in by_stem}
    test = np.array([sample.split == "test" for sample in dataset.samples], dtype=bool)
    if not test.any() or test.all():
        return tuple(name for name in ids if name in leaky)
    copies = _copies(dataset, progress, strict)
    for first, second, _ in copies.pairs:
        if test[first] != test[second]:
            leaky.add(ids[second if test[first] else first])
    known = np.isin(copies.crowds, np.setdiff1d(copies.crowds[test], [-1])) & ~test
    leaky.update(ids[row] for row in np.flatnonzero(known))
    return tuple(name for name in ids if name in leaky)


def find_near_duplicates(dataset: Dataset, progress: Progress | None = None) -> list[tuple[str, str, float]]:
    """Pairs of images that show one face in the same photograph or moment, with their likeness, the most alike first.

    The likeness is the correlation of the registered inner faces' fine structure, 0.8 to 1. Of a photograph that is there
    more than 16 times, each further copy is in a pair with one other at least, not with all. Several hundred faces a second,
    1 kB of memory a face, beyond 16,000 faces also 4 kB in a temporary file; `progress` is called with (images read, images
    in all).

    Raises:
        SemalignError: an image that cannot be read.
    """
    ids = dataset.ids()
    pairs = sorted(_copies(dataset, progress, strict=True).pairs, key=lambda pair: -pair[2])
    return [(ids[first], ids[second], likeness) for first, second, likeness in pairs]


def independent_folds(
    dataset: Dataset, count: int, seed: int, progress: Progress | None = None, *, alike: bool = True
) -> np.ndarray:
    """The fold, from 0 to `count` - 1, of each sample (b,), drawn at random but for those that are no news to each other.

    Samples of one file (frames of a video, several faces of a picture) share a fold, and images of one photograph or
    moment (`find_near_duplicates`; synthetic faces are all different, frames of videos are not compared), unless it does
    not matter whether pictures are `alike`.

    Raises:
        SemalignError: an image that cannot be read.
    """
    names, groups = np.unique(_photographs(dataset, progress, alike=alike), return_inverse=True)
    folds: np.ndarray = (np.random.default_rng(seed).permutation(len(names)) % count)[groups]
    return folds


def photographs(
    dataset: Dataset, progress: Progress | None = None, extra: Iterable[tuple[int, int]] = ()
) -> np.ndarray:
    """A number (b,) for each sample, the same for those of one file, photograph or moment (see `independent_folds`).

    Args:
        dataset: the faces; a picture that cannot be read is like no other.
        progress: called with (images read, images in all).
        extra: further rows that belong together, by pairs.
    """
    return _photographs(dataset, progress, extra, strict=False)


def _photographs(
    dataset: Dataset,
    progress: Progress | None,
    extra: Iterable[tuple[int, int]] = (),
    strict: bool = True,
    alike: bool = True,
) -> np.ndarray:
    first_of_file: dict[Path, int] = {}
    groups = np.array([first_of_file.setdefault(s.image, index) for index, s in enumerate(dataset.samples)], dtype=int)
    pairs = list(extra)
    if alike and _may_repeat(dataset):
        near = sorted(_copies(dataset, progress, strict).pairs, key=lambda pair: -pair[2])
        pairs += [(first, second) for first, second, _ in near]
    return _joined(groups, pairs)


def _joined(groups: np.ndarray, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Groups (b,), numbers below b, put together by pairs of rows; both have the number of the pair's first then."""
    above, sizes, number = (list(range(len(groups))), [1] * len(groups), list(range(len(groups))))

    def top(group: int) -> int:
        while above[group] != group:
            above[group] = group = above[above[group]]
        return group

    for one, other in pairs:
        kept, joined = top(int(groups[one])), top(int(groups[other]))
        if kept == joined:
            continue
        kept_number = number[kept]
        if sizes[kept] < sizes[joined]:
            kept, joined = joined, kept
        above[joined], number[kept] = kept, kept_number
        sizes[kept] += sizes[joined]
    return np.array([number[top(int(group))] for group in groups], dtype=int)


def _may_repeat(dataset: Dataset) -> bool:
    """Whether a photograph may occur twice: synthetic faces are all different, frames of videos are not compared."""
    return dataset.name != "synthetic" and all(sample.frame is None for sample in dataset.samples)


def _copies(dataset: Dataset, progress: Progress | None, strict: bool) -> Copies:
    """The rows of copies; unless `strict`, an image that cannot be read is like no other."""
    if len(dataset) < 2:
        return Copies([], np.full(len(dataset), -1))
    return find_copies(thumbnails(dataset, progress, strict=strict), len(dataset))
