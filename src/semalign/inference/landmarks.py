"""What a landmarker finds.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, Int

TOLD = ("spread", "visibility", "uncertainty", "presence")  # what is known beside places and peaks, or is not


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of some faces, each in the frame of its image: (x, y), pixel centres at integers, first pixel 0.

    Attributes:
        points: pixels, float64, sub-pixel.
        confidence: height of each landmark's heatmap at its peak, 0 to 1.
        scheme: what the landmarks are.
        spread: standard deviation of each heatmap's peak along x and along y, in pixels of the image: how far the network
            spreads its answer. None where nothing tells it, as in files that version 0.1 exported.
        visibility: probability that each landmark is visible, not behind something; None where nothing tells it.
        uncertainty: standard deviation of each point's error along x and along y, pixels of the image, as it was on faces that
            the network had not seen (`semalign.core.error_scale`); None where nothing tells it.
        presence: probability that there is a face in the box, were every other box without one; None where nothing tells it.
    """

    points: Float[np.ndarray, "b n 2"]
    confidence: Float[np.ndarray, "b n"]
    scheme: LandmarkScheme
    spread: Float[np.ndarray, "b n 2"] | None = None
    visibility: Float[np.ndarray, "b n"] | None = None
    uncertainty: Float[np.ndarray, "b n 2"] | None = None
    presence: Float[np.ndarray, " b"] | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.points)

    def take(self, rows: Int[np.ndarray, " k"]) -> Landmarks:
        """Those of some faces, in the order of the rows."""
        known = {name: getattr(self, name) for name in TOLD}
        told = {name: value[rows] for name, value in known.items() if value is not None}
        return replace(self, points=self.points[rows], confidence=self.confidence[rows], **told)


def joined(parts: Sequence[Landmarks]) -> Landmarks:
    """Those of all parts, one after the other; of what not all of them know, nothing is known."""
    known = {name: [getattr(part, name) for part in parts] for name in TOLD}
    told = {name: np.concatenate(own) for name, own in known.items() if all(value is not None for value in own)}
    points, confidence = (np.concatenate([getattr(part, name) for part in parts]) for name in ("points", "confidence"))
    return Landmarks(points, confidence, parts[0].scheme, **told)
