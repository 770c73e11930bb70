"""The label versions of an alternation, for all of its processes: the first one writes, all read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from semalign.core.search import SearchSettings
from semalign.data.crops import box_sides, face_boxes
from semalign.data.labels import LabelStore, LabelVersion, Provenance
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.pipeline.recipe import Recipe
from semalign.schemes import scheme_text
from semalign.searches import FoundLabels
from semalign.training.trainer import make_accelerator


class Versions:
    """Label versions in a folder; version 0 are the annotations of the data set.

    Args:
        folder: of the label store.
        dataset: the training faces.
        provenance: kept with every version that is found.
    """

    def __init__(self, folder: Path, dataset: Dataset, provenance: Provenance) -> None:
        self.store, self.dataset = LabelStore(folder), dataset
        self.provenance = dict(provenance) | {"scheme": scheme_text(dataset.scheme)}
        self._accelerator = make_accelerator()
        self._sides = box_sides(face_boxes(dataset.samples))
        if self.store.versions() and self.store.read().ids != dataset.ids():
            raise SemalignError(f"{folder}: holds labels of other images than {dataset.root}; choose another folder.")
        if self._accelerator.is_main_process:
            self.store.start(dataset, {"source": "annotations", "scheme": self.provenance["scheme"]})
        self._accelerator.wait_for_everyone()

    def up_to(self, index: int) -> LabelVersion:
        """The last version that is not after `index`."""
        return self.store.read(max(there for there in self.store.versions() if there <= index))

    def next(
        self, before: LabelVersion, find: Callable[[], FoundLabels], prepare: Callable[[], None] | None = None
    ) -> LabelVersion:
        """The version after another one: found and written, or read where a killed run had written it; it is the same.

        Args:
            before: the other one.
            find: what the first process does.
            prepare: what all processes do before that.
        """
        index = before.index + 1
        there = index in self.store.versions()
        self._accelerator.wait_for_everyone()  # all have looked before the first one writes: they must take the same way
        if not there and prepare is not None:
            prepare()
        if not there and self._accelerator.is_main_process:
            append_found(self.store, before, find(), self.provenance)
        self._accelerator.wait_for_everyone()
        return self.store.read(index)

    def movement(self, version: LabelVersion) -> float:
        """Mean movement of the labels that there are from the version before, % of the face box's side."""
        if version.index == 0:
            return 0.0
        return float(np.nanmean(version.movement / self._sides[:, None]) * 100)


def append_found(store: LabelStore, before: LabelVersion, found: FoundLabels, provenance: Provenance) -> LabelVersion:
    """Write what a search found as the version after another one."""
    return store.append(
        before.ids,
        found.points,
        iteration=before.iteration + 1,
        provenance=provenance,
        prior_cost=found.prior_cost,
        likelihood_cost=found.likelihood_cost,
        confidence=found.confidence,
        spread=found.spread,
        index=before.index + 1,
    )


def search_provenance(recipe: Recipe) -> dict[str, str | int | float]:
    """The search's settings, as they are kept with every label version."""
    search, alternation = recipe.search, recipe.alternation
    settings: dict[str, str | int | float] = {"method": search.method}
    if isinstance(search, SearchSettings):
        settings |= {
            "likelihood_weight": search.likelihood_weight,
            "region": search.region,
            "template": search.template,
            "precision": search.precision,
        }
    return settings | {
        "update": int(alternation.update),
        "tta": alternation.tta,
        "adaptation_components": alternation.adaptation_components,
        "mesh": int(alternation.mesh),
    }
