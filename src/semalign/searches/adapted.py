"""A search that knows what the network does systematically differently from the annotators.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from semalign.core.adaptation import choose_components, systematic_offsets
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, LabelSearch, Observations

Components = int | Literal["auto"]
CANDIDATES = (0, 5)  # more put the annotators' habits with single shapes into the labels (docs/log.md)


def offsets(
    predicted: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], components: Components
) -> Float[np.ndarray, "b n 2"]:
    """What predictions differ from annotations systematically (`semalign.core.adaptation`).

    Args:
        predicted: points of the faces, which did not learn from their annotations.
        annotated: of the same frames, NaN where absent.
        components: principal components of the shapes on which the difference depends; 0 = its mean alone, -1 = none at all;
            'auto' = as many of `CANDIDATES` as bring predictions nearest to the annotations of faces not learned from.
    """
    if components == -1:
        return np.zeros_like(predicted)
    count = choose_components(predicted, annotated, CANDIDATES) if components == "auto" else components
    return systematic_offsets(predicted, annotated, count)


class Adapted:
    """Another search, with label adaptation around it (`semalign.core.adaptation`).

    What the network's predictions differ from the annotations as a function of the shape is added to the observations before
    the search and taken off the labels after it, so that labels do not drift towards the network's own bias.

    Args:
        search: any.
        components: as of `offsets`.
    """

    def __init__(self, search: LabelSearch, components: Components) -> None:
        self.search, self.components = search, components

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; costs are those of the search inside."""
        off = offsets(evidence.predictions.points, observations.annotations, self.components)
        moved = Observations(observations.points + off, observations.annotations + off)
        found = self.search(moved, evidence, advance)
        points = np.where(found.moved[..., None], found.points - off, observations.points)
        return replace(found, points=points)
