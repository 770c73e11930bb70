"""The plainest search: a weighted mean of the observation and the network's prediction.

It is what every other search must beat. It looks at what people marked, not at labels found before, which already hold the
network's word: however often it is asked, it says the same.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, Observations


@dataclass(frozen=True)
class AverageSettings:
    """How much the network's word counts."""

    method: Literal["average"] = "average"
    prediction_weight: float = 0.5  # 0 = the observation, 1 = the prediction

    def __post_init__(self) -> None:
        if not 0 <= self.prediction_weight <= 1:
            raise ValueError("prediction_weight must be 0 to 1")


class Average:
    """ŷ = (1 - w)·o + w·p, with p the peak of the heatmap."""

    def __init__(self, settings: AverageSettings) -> None:
        self.settings = settings

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; the likelihood's cost is ‖p - ŷ‖².

        The spread takes the weight for the right one of two witnesses whose errors are normal and independent: then
        v = var(p - o), which is measured over the faces, landmark by landmark, is the sum of their variances, and w(1 - w)·v
        is that of the mean.
        """
        weight, o, p = self.settings.prediction_weight, observations.annotations, evidence.predictions.points
        points = o + weight * (p - o)
        pixel = evidence.reference_pixels[:, None]
        prior, likelihood = (((witness - points) ** 2).sum(axis=-1) / pixel**2 for witness in (o, p))
        absent = np.isnan(o)
        differences = np.ma.array(p - o, mask=absent) / pixel[..., None]
        spread = np.sqrt(weight * (1 - weight)) * differences.std(axis=0).filled(np.nan) * pixel[..., None]
        if advance is not None:
            advance(len(points))
        there = ~absent.any(axis=-1)
        confidence = np.where(there, evidence.predictions.confidence, np.nan)
        spread = np.where(absent, np.nan, spread)
        return FoundLabels(points, prior, likelihood, confidence, there & (weight > 0), spread)
