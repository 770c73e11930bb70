"""What a detector gives for one face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.pts import write_pts
from semalign.data.samples import Box
from semalign.detect.draw import draw_landmarks
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, UInt8


@dataclass(frozen=True, eq=False)
class Face:
    """The landmarks of one face. Points are (x, y) in the image frame: pixel centres at integers, first pixel 0.

    Attributes:
        points: pixels, float64, sub-pixel; read-only.
        confidence: height of each landmark's heatmap at its peak, 0 to 1; read-only.
        scheme: what the landmarks are.
        track: number of the face in a video, the same from frame to frame; None in a picture.
        spread: standard deviation of each heatmap's peak along x and y, pixels of the image (`semalign.inference.Landmarks`);
            None where the model does not tell it; read-only.
        visibility: probability that each landmark is visible, not behind something; None where nothing tells it; read-only.
        uncertainty: standard deviation of each point's error along x and y, pixels of the image
            (`semalign.inference.Landmarks`); None where nothing tells it; read-only.
        presence: probability that there is a face in the box that was looked at, were every other box without one; None where
            nothing tells it.
    """

    points: Float[np.ndarray, "n 2"]
    confidence: Float[np.ndarray, " n"]
    scheme: LandmarkScheme
    track: int | None = None
    spread: Float[np.ndarray, "n 2"] | None = None
    visibility: Float[np.ndarray, " n"] | None = None
    uncertainty: Float[np.ndarray, "n 2"] | None = None
    presence: float | None = None

    def __post_init__(self) -> None:
        """Keep the arrays from being changed."""
        for name in ("points", "confidence", "spread", "visibility", "uncertainty"):
            if getattr(self, name) is not None:
                value = np.array(getattr(self, name), dtype=np.float64)
                value.flags.writeable = False
                object.__setattr__(self, name, value)

    @property
    def score(self) -> float:
        """How sure it is that there is a face, 0 to 1: the mean confidence of its landmarks."""
        return float(self.confidence.mean())

    @property
    def box(self) -> Box:
        """The smallest box around the landmarks, (x0, y0, x1, y1) in pixels."""
        (x0, y0), (x1, y1) = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        return x0, y0, x1, y1

    def draw(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """A copy of the picture (RGB) with the landmarks on it, coloured by confidence."""
        label = "" if self.track is None else f"{self.track}"
        return draw_landmarks(picture, self.points, self.confidence, self.scheme, label)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: scheme, score, box and points in pixels (to a thousandth), confidence; presence, visibility and
        uncertainty (pixels along x and y) where they are known; and track in a video.
        """
        values: dict[str, Any] = {
            "scheme": self.scheme.name,
            "score": round(self.score, 4),
            "box": [round(value, 3) for value in self.box],
            "points": np.round(self.points, 3).tolist(),
            "confidence": np.round(self.confidence, 4).tolist(),
        }
        if self.presence is not None:
            values["presence"] = round(float(self.presence), 4)
        if self.visibility is not None:
            values["visibility"] = np.round(self.visibility, 4).tolist()
        if self.uncertainty is not None:
            values["uncertainty"] = np.round(self.uncertainty, 3).tolist()
        return values if self.track is None else {"track": self.track, **values}

    def to_pts(self, path: str | Path) -> None:
        """Write the points as an iBUG `.pts` file (1-based there), atomically.

        Raises:
            SemalignError: the file cannot be written.
        """
        write_pts(path, self.points)
