"""Small stand-ins for FiftyOne and supervision that are called as their documentation says, where they are not installed.

What they are held to: tests/adapters/test_adapters.py also asks the real packages, where there are some (SEMALIGN_JUDGES).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

POINT_FIELDS = ("label", "points", "confidence", "index", "tags", "attributes")


class _Document:
    """Fields that are attributes and items, of which some are always there."""

    known: tuple[str, ...] = ()

    def __init__(self, **fields: Any) -> None:
        self._fields = dict.fromkeys(self.known) | fields

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(name)
        return self._fields[name]

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    def has_field(self, name: str) -> bool:
        return name in self._fields


class Keypoint(_Document):
    known = POINT_FIELDS


class Keypoints(_Document):
    known = ("keypoints",)


class ImageMetadata(_Document):
    known = ("size_bytes", "mime_type", "width", "height", "num_channels")


class Sample(_Document):
    known = ("filepath", "tags", "metadata")


class KeyPoints:
    """As supervision's since 0.29: arrays of b faces and n points, of which `data` has b values each."""

    def __init__(
        self,
        xy: np.ndarray,
        class_id: np.ndarray | None = None,
        keypoint_confidence: np.ndarray | None = None,
        detection_confidence: np.ndarray | None = None,
        visible: np.ndarray | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        faces, points = xy.shape[:2]
        assert xy.shape == (faces, points, 2)
        assert class_id is None or class_id.shape == (faces,)
        assert keypoint_confidence is None or keypoint_confidence.shape == (faces, points)
        assert detection_confidence is None or detection_confidence.shape == (faces,)
        assert visible is None or (visible.shape == (faces, points) and visible.dtype == bool)
        assert all(len(values) == faces for values in (data or {}).values())
        self.xy, self.class_id, self.visible, self.data = xy, class_id, visible, data or {}
        self.keypoint_confidence, self.detection_confidence = keypoint_confidence, detection_confidence

    @classmethod
    def empty(cls) -> KeyPoints:
        return cls(np.empty((0, 0, 2)), np.empty(0, int))

    def __len__(self) -> int:
        return len(self.xy)


def modules() -> dict[str, ModuleType]:
    """The stand-ins by the names of the packages."""
    fiftyone, supervision = ModuleType("fiftyone"), ModuleType("supervision")
    for one in (Keypoint, Keypoints, ImageMetadata, Sample):
        setattr(fiftyone, one.__name__, one)
    supervision.KeyPoints = KeyPoints  # type: ignore[attr-defined]
    return {"fiftyone": fiftyone, "supervision": supervision}
