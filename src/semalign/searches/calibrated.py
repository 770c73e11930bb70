"""A search that weighs annotation and witnesses by how far each errs: the mean of ŷ given all, with how sure it is.

The error model (`semalign.core.error_model`) is estimated from the faces themselves, without the truth. It takes two witnesses
that have not seen the annotations: a network and the face mesh, or two networks.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semalign.core.error_model import fit_error_model
from semalign.core.metrics import distances
from semalign.errors import SemalignError
from semalign.searches.adapted import Adapted, Components, offsets
from semalign.searches.average import Average, AverageSettings
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, Observations

LEAST_FACES = 60  # from fewer nothing can be learned of errors
STEPS = 6  # correlations that are tried


@dataclass(frozen=True)
class CalibratedSettings:
    """Nothing to set: the faces tell how far each errs, and the evidence how alike its witnesses are."""

    method: Literal["calibrated"] = "calibrated"


class Calibrated:
    """ŷ = o + A (A + P)⁻¹ (p - o), with the error covariances A of the annotators and P of what the witnesses say together.

    It looks at what people marked, not at labels found before: a label that has been found already holds the networks' word.
    What each witness does systematically differently from the annotators is taken off it first, of each by itself, so that a
    poor one does not spoil a good one.

    Args:
        settings: none.
        components: of the label adaptation (`semalign.searches.adapted.offsets`).
    """

    def __init__(self, settings: CalibratedSettings, components: Components = -1) -> None:
        self.settings, self.components = settings, components

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; the likelihood's cost is ‖p - ŷ‖².

        Fewer than 60 faces do not tell how far anybody errs; their labels are half way to the prediction.

        Raises:
            SemalignError: there are not two witnesses.
        """
        o = observations.annotations
        if len(o) < LEAST_FACES:
            return Adapted(Average(AverageSettings()), self.components)(observations, evidence, advance)
        if len(evidence.members) != 2:
            raise SemalignError(
                f"search.method 'calibrated' weighs two witnesses that have not seen the faces, and there are "
                f"{len(evidence.members)}; set alternation.mesh = true, use 'semalign crossfit', or choose another method."
            )
        first, second = (seen.points - offsets(seen.points, o, self.components) for seen in evidence.members)
        correlations = tuple(np.linspace(*evidence.correlation, STEPS))
        labels = fit_error_model(o, first, second, correlations).posterior(o, first, second)
        found, pixel = evidence.predictions, evidence.reference_pixels[:, None]
        prior, likelihood = ((distances(p, labels.points) / pixel) ** 2 for p in (o, (first + second) / 2))
        there = ~np.isnan(o).any(axis=-1)
        if advance is not None:
            advance(len(o))
        confidence = np.where(there, found.confidence, np.nan)
        return FoundLabels(labels.points, prior, likelihood, confidence, there, labels.spread)
