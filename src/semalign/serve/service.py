"""What the page asks for: the faces of a picture, and the heatmap of one landmark.

Nothing is kept from one question to the next: for a heatmap the page sends the picture again. Shape legend: n landmarks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from semalign.errors import SemalignError
from semalign.inference import Landmarker
from semalign.serve.picture import decode_picture

if TYPE_CHECKING:
    from semalign.models.checkpoint import Model


class FoundFace(Protocol):
    """A face in the image frame."""

    @property
    def points(self) -> np.ndarray:
        """(n, 2)."""

    @property
    def confidence(self) -> np.ndarray:
        """(n,), 0 to 1."""

    @property
    def box(self) -> Any:
        """x0, y0, x1, y1."""

    @property
    def score(self) -> float | None:
        """Of the face detector, where it gives one."""


class Finder(Protocol):
    """What `semalign.detect.Detector` does."""

    def __call__(self, image: np.ndarray, /) -> Sequence[FoundFace]:
        """The faces of an image (h, w, 3) uint8 RGB; safe to call from several threads."""


@dataclass(frozen=True)
class Service:
    """A detector and the model in it.

    Attributes:
        detector: finds faces and their landmarks.
        model: the same network, or its landmarker, asked for heatmaps.
        name: as shown on the page.
    """

    detector: Finder
    model: Model | Landmarker
    name: str

    def describe(self) -> dict[str, Any]:
        """What the page must know about the model, ready for JSON."""
        scheme = self.model.scheme
        return {
            "name": self.name,
            "scheme": scheme.name,
            "landmarks": list(scheme.landmarks),
            "curves": [{"landmarks": list(curve.landmarks), "closed": curve.closed} for curve in scheme.curves],
            "regions": {name: list(members) for name, members in scheme.regions.items()},
            "terms": str(self.model.about.get("terms", "")),
        }

    def faces(self, upload: bytes) -> dict[str, Any]:
        """The picture's size and its faces, largest first, image frame, ready for JSON.

        Raises:
            SemalignError: the upload is no picture, or one too large.
        """
        image = decode_picture(upload)
        faces = sorted(self.detector(image), key=lambda face: -_extent(face.points))
        return {"width": image.shape[1], "height": image.shape[0], "faces": [_face(face) for face in faces]}

    def heatmap(self, upload: bytes, landmark: int, box: Sequence[float]) -> dict[str, Any]:
        """What the network answers for one landmark of the face whose landmarks lie in a box.

        Args:
            upload: the picture.
            landmark: from 0.
            box: x0, y0, x1, y1, image frame.

        Returns:
            size (pixels a side), values (base64 of size² bytes by rows, 255 = 1.0), peak, and the square that the map
            covers in the image frame: x, y of its upper left corner and side.

        Raises:
            SemalignError: no picture, no such landmark, a box that is none; or heatmaps need PyTorch, which is not installed.
        """
        image = decode_picture(upload)
        if not 0 <= landmark < self.model.scheme.count:
            raise SemalignError(f"there is no landmark {landmark}; give one from 0 to {self.model.scheme.count - 1}.")
        corners = np.array(box, dtype=np.float64)
        if corners.shape != (4,) or not np.isfinite(corners).all() or np.abs(corners).max() > 1e6:
            raise SemalignError("the box is not x0, y0, x1, y1 in pixels; give four numbers.")
        landmarker = self.model if isinstance(self.model, Landmarker) else Landmarker(self.model)
        maps, to_image = landmarker.heatmaps(image, corners)
        size, heatmap = maps.shape[-1], maps[landmark]
        low, high = (to_image[:, :2] @ [edge, edge] + to_image[:, 2] for edge in (-0.5, size - 0.5))
        return {
            "size": size,
            "values": base64.b64encode((heatmap.clip(0, 1) * 255).round().astype(np.uint8).tobytes()).decode(),
            "peak": float(heatmap.max()),
            "x": float(low[0]),
            "y": float(low[1]),
            "side": float(high[0] - low[0]),
        }


def _extent(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max())


def _face(face: FoundFace) -> Mapping[str, Any]:
    score = face.score
    return {
        "points": np.asarray(face.points, dtype=np.float64).round(3).tolist(),
        "confidence": np.asarray(face.confidence, dtype=np.float64).round(4).tolist(),
        "box": np.asarray(face.box, dtype=np.float64).round(2).tolist(),
        "score": None if score is None else round(float(score), 4),
    }
