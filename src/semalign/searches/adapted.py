"""A search that knows what the network does systematically differently from the annotators.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from semalign.core.adaptation import systematic_offsets
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, LabelSearch, Observations


class Adapted:
    """Another search, with label adaptation around it (`semalign.core.adaptation`).

    What the network's predictions differ from the annotations as a function of the shape is added to the observations before
    the search and taken off the labels after it, so that labels do not drift towards the network's own bias.

    Args:
        search: any.
        components: principal components of the shapes on which the difference depends; 0 = its mean alone.
    """

    def __init__(self, search: LabelSearch, components: int) -> None:
        self.search, self.components = search, components

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; costs are those of the search inside."""
        offsets = systematic_offsets(evidence.predictions.points, observations.annotations, self.components)
        moved = Observations(observations.points + offsets, observations.annotations + offsets)
        found = self.search(moved, evidence, advance)
        points = np.where(found.moved[..., None], found.points - offsets, observations.points)
        return replace(found, points=points)
