"""300W in its official folder layout, complete or in part, and the synthetic data sets that share it.

ROOT/afw/*.jpg + *.pts                           337 faces   train
ROOT/helen/trainset, ROOT/lfpw/trainset         2000, 811    train
ROOT/helen/testset, ROOT/lfpw/testset            330, 224    test, common
ROOT/ibug                                        135         test, challenging
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semalign.data.formats.base import Entry
from semalign.data.formats.pairs import Pairs, list_pairs
from semalign.data.samples import Sample, Split
from semalign.data.truth import read_description
from semalign.schemes import LandmarkScheme, load_scheme


@dataclass(frozen=True)
class Part:
    """One folder of the official set."""

    folder: str
    split: Split
    group: str
    count: int  # faces in the official set


OFFICIAL = (
    Part("afw", "train", "", 337),
    Part("helen/trainset", "train", "", 2000),
    Part("lfpw/trainset", "train", "", 811),
    Part("helen/testset", "test", "common", 330),
    Part("lfpw/testset", "test", "common", 224),
    Part("ibug", "test", "challenging", 135),
)


class W300(Pairs):
    """Samples come by folder, in the order of `OFFICIAL`, then by file name. Points may be those of any scheme."""

    name, title, wanted, scheme = "300w", "300W", "afw, helen, lfpw or ibug", "ibug68"
    origin = 1

    def holds(self, place: Path) -> bool:
        """Whether there is one of the official folders."""
        return any(os.path.isdir(place / part.folder) for part in OFFICIAL)  # False for what must not be looked at

    def whole(self, part: Path) -> Path | None:
        """The folder above an official one, or above helen or lfpw."""
        upright = part.resolve()
        for depth, parent in enumerate(list(upright.parents)[:2], start=1):
            inside = "/".join(upright.parts[-depth:])
            if self.holds(parent) and any(f"{known.folder}/".startswith(f"{inside}/") for known in OFFICIAL):
                return parent
        return None

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """Any scheme that is given."""
        return given or load_scheme(self.scheme)

    def entries(self, place: Path) -> Iterator[Entry]:
        """A face for each image; synthetic ones are of no group."""
        synthetic = read_description(place) is not None
        for part in OFFICIAL:
            yield from list_pairs(place, part.folder, part.split, part.folder, "" if synthetic else part.group)

    def notes(self, place: Path, samples: Sequence[Sample]) -> Iterator[str]:
        """Where this set and the official one differ, a sentence for each folder and for each set that is cited."""
        counts = Counter(sample.subset for sample in samples)
        for part in OFFICIAL:
            have = counts[part.folder]
            if have == 0:
                yield f"{part.folder} is missing ({part.count} faces in the official set)."
            elif have != part.count:
                yield f"{part.folder} holds {have} of the official {part.count} faces."
        sets = (
            ("train", "", "The training set"),
            ("test", "common", "The common test set"),
            ("test", "", "The full test set"),
        )
        for split, group, title in sets:
            chosen = [part for part in OFFICIAL if part.split == split and group in ("", part.group)]
            have, official = sum(counts[part.folder] for part in chosen), sum(part.count for part in chosen)
            if 0 < have != official:
                yield f"{title} has {have} of the official {official} faces."


READER = W300()
