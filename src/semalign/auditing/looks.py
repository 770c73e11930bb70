"""Looking at faces, which is most of an audit's work, shared out between processes; judging is done by one, in what all saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from semalign.auditing.witnesses import Witnesses, heard, joined, packed, unpacked
from semalign.data.crops import face_boxes
from semalign.data.samples import Dataset
from semalign.data.video import by_video, read_pictures
from semalign.errors import SemalignError
from semalign.parts import Arrays, Parts, Share
from semalign.progress import Progress
from semalign.searches.builders import EvidenceBuilder, Looking

LOOKING = "looking at the faces"


class Looks:
    """What witnesses say of faces, part by part.

    Args:
        folder: of the parts.
        dataset: the faces.
        builder: of evidence, which says of each face the same whichever others it is asked about.
        depends: what its evidence depends on.

    Raises:
        SemalignError: the folder holds parts of other work alone.
    """

    def __init__(self, folder: Path, dataset: Dataset, builder: EvidenceBuilder, depends: Any) -> None:
        self.dataset, self.builder = dataset, builder
        images = [(str(sample.image), sample.frame) for sample in dataset.samples]
        known = [list(dataset.scheme.landmarks), dataset.ids(), images, face_boxes(dataset.samples)]
        self.parts = Parts(folder, [depends, *known], len(dataset))
        self.parts.refuse_others()

    def work(self, share: Share, progress: Progress) -> None:
        """Look at this share of the faces, as far as nobody has.

        Raises:
            SemalignError: the faces have other landmarks than the witnesses, or the parts cannot be written.
        """
        with progress.stage(LOOKING, len(self.dataset) // share.count) as advance:
            self.parts.work(share, self._look, advance)

    def together(self, progress: Progress) -> tuple[Dataset, Witnesses]:
        """The faces whose pictures can be read, and what is said of them, once the rest is done, too.

        Raises:
            SemalignError: as `work`; or no picture can be read.
        """
        self.work(Share(), progress)
        self.parts.commit()
        parts = [arrays for _, arrays in self.parts.read()]
        kept = np.concatenate([part["kept"] for part in parts])
        skipped = [(str(name), str(why)) for part in parts for name, why in part["skipped"]]
        if not len(kept):
            raise SemalignError(f"{self.dataset.root}: no picture can be read: {skipped[0][1]}")
        samples = tuple(self.dataset.samples[row] for row in kept)
        dataset = replace(self.dataset, samples=samples, skipped=(*self.dataset.skipped, *skipped))
        return dataset, joined([unpacked(part, self.dataset.scheme) for part in parts if len(part["kept"])])

    def _look(self, rows: np.ndarray) -> Arrays:
        """Which of some faces could be read, what is said of them, and why the others could not be read."""
        part = replace(self.dataset, samples=tuple(self.dataset.samples[row] for row in rows), skipped=())
        try:
            left = self.builder.readable(part) if isinstance(self.builder, Looking) else part
        except SemalignError:
            seen = [one for group in by_video(part.samples) for one in read_pictures(part.samples, group)]
            bad = sorted((row, str(read)) for row, read in seen if isinstance(read, SemalignError))
            if len(bad) < len(part):
                raise
            left = replace(part, samples=(), skipped=tuple((part.samples[row].id, why) for row, why in bad))
        there = set(left.ids())
        found = {
            "kept": rows[[name in there for name in part.ids()]],
            "skipped": np.array(left.skipped, str).reshape(-1, 2),
        }
        return found | (packed(heard(self.builder(left, left))) if len(left) else {})
