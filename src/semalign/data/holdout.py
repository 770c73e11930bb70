"""Test faces for a data set that has none: a share of its photographs, drawn at random and left out of training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from semalign.data.duplicates import photographs
from semalign.data.samples import Dataset
from semalign.data.thumbnails import Progress

# What is added to a photograph's name for one of its faces or versions: photo_2, photo-03, photo_mirror, photo (1).
_VERSION = re.compile(
    r"(?P<photo>.+?)(?:[ _-]*\(\d{1,2}\)|[ _-]+(?:\d{1,2}|mirror|flip|flipped|crop|copy))", re.IGNORECASE
)
_NUMBERED = re.compile(r".*\d{3}")


def hold_out(dataset: Dataset, share: float, seed: int, progress: Progress | None = None) -> Dataset:
    """The data set with about this share of its faces, at least one, made test faces; whole photographs at a time.

    Faces of one file, files of one photograph by their names (photo.jpg and photo_2.jpg) and pictures of one photograph or
    moment (`find_near_duplicates`) stay on one side. Where all faces are of one photograph, nothing is held out. The draw
    depends on the seed and the faces alone. A picture that cannot be read is no near-duplicate of any.
    """
    groups = photographs(dataset, progress, extra=_named_alike(dataset.ids()))
    names, sizes = np.unique(groups, return_counts=True)
    if share <= 0 or len(names) < 2:
        return dataset
    wanted = max(1, round(share * len(dataset)))
    order = np.random.default_rng(seed).permutation(len(names))
    drawn: list[int] = []
    for index in order:
        if sum(sizes[drawn]) + sizes[index] <= wanted:
            drawn.append(int(index))
    if not drawn:  # every photograph has more faces than are wanted
        drawn = [int(order[np.argmin(sizes[order])])]
    chosen = np.isin(groups, names[drawn])
    samples = tuple(
        replace(sample, split="test") if held else sample for sample, held in zip(dataset.samples, chosen, strict=True)
    )
    return replace(dataset, samples=samples)


def _named_alike(ids: tuple[str, ...]) -> list[tuple[int, int]]:
    """Pairs of rows whose names say that they are of one photograph."""
    first: dict[PurePosixPath, int] = {}
    stems = [PurePosixPath(name).with_suffix("") for name in ids]
    there = set(stems)
    pairs = []
    for row, stem in enumerate(stems):
        match = _VERSION.fullmatch(stem.name)
        photo = stem
        if match is not None:
            base = stem.with_name(match["photo"])
            if base in there or _NUMBERED.fullmatch(base.name):
                photo = base
        pairs.append((first.setdefault(photo, row), row))
    return pairs
