"""A search that weighs annotation and networks by how far each errs: the mean of ŷ given both, with how sure it is.

The error model (`semalign.core.error_model`) is estimated from the faces themselves, without the truth. It takes at least two
networks that have not seen the faces.

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
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, Observations

LEAST_FACES = 50  # from fewer nothing can be learned of errors


@dataclass(frozen=True)
class CalibratedSettings:
    """What the faces do not tell."""

    method: Literal["calibrated"] = "calibrated"
    correlation: float = 0.5  # of the errors of two networks; measured on synthetic faces

    def __post_init__(self) -> None:
        if not 0 <= self.correlation < 1:
            raise ValueError("correlation must be 0 to below 1")


class Calibrated:
    """ŷ = p + P (A + P)⁻¹ (o - p), with the error covariances A of the annotators and P of the networks.

    It looks at what people marked, not at labels found before: a label that has been found already holds the networks' word.
    """

    def __init__(self, settings: CalibratedSettings) -> None:
        self.settings = settings

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; the likelihood's cost is ‖p - ŷ‖².

        Raises:
            SemalignError: fewer than two networks, one that does not say how sure it is, or too few faces.
        """
        found, spread = evidence.predictions, evidence.predictions.spread
        if len(evidence.members) < 2 or spread is None:
            raise SemalignError(
                "search.method 'calibrated' weighs two networks that have not seen the faces; "
                "search with 'semalign crossfit', or choose another method."
            )
        o = observations.annotations
        if len(o) < LEAST_FACES:
            raise SemalignError(
                f"search.method 'calibrated' learns from {LEAST_FACES} faces at least how far each witness errs, and these are "
                f"{len(o)}; choose another method."
            )
        model = fit_error_model(o, [member.points for member in evidence.members], spread, self.settings.correlation)
        labels = model.posterior(o, found.points, spread)
        pixel = evidence.reference_pixels[:, None]
        prior, likelihood = ((distances(witness, labels.points) / pixel) ** 2 for witness in (o, found.points))
        there = ~np.isnan(o).any(axis=-1)
        if advance is not None:
            advance(len(o))
        return FoundLabels(
            labels.points, prior, likelihood, np.where(there, found.confidence, np.nan), there, labels.spread
        )
