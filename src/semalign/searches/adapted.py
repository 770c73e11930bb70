"""A search that knows what the network does systematically differently from the annotators.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from semalign.core.adaptation import choose_components, systematic_offsets
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, LabelSearch, Observations

Components = int | Literal["auto"]
CANDIDATES = (0, 5, 10, 20, 40, 60)


class Adapted:
    """Another search, with label adaptation around it (`semalign.core.adaptation`).

    What the network's predictions differ from the annotations as a function of the shape is added to the observations before
    the search and taken off the labels after it, so that labels do not drift towards the network's own bias.

    Args:
        search: any.
        components: principal components of the shapes on which the difference depends; 0 = its mean alone; 'auto' = as many of
            `CANDIDATES` as bring predictions nearest to the annotations of faces that they were not learned from.
    """

    def __init__(self, search: LabelSearch, components: Components) -> None:
        self.search, self.components = search, components

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; costs are those of the search inside."""
        predicted, annotated = evidence.predictions.points, observations.annotations
        count = choose_components(predicted, annotated, CANDIDATES) if self.components == "auto" else self.components
        offsets = systematic_offsets(predicted, annotated, count)
        moved = Observations(observations.points + offsets, observations.annotations + offsets)
        found = self.search(moved, evidence, advance)
        points = np.where(found.moved[..., None], found.points - offsets, observations.points)
        return replace(found, points=points)
