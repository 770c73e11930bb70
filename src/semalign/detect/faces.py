"""Where the faces of a picture are: OpenCV's own cascades, which need no download, or a YuNet network from a file.

Networks see a square around the *landmarks' box* (brows to chin, ear to ear). Every face detector draws another box, so each
has a fixed relation from its own to the landmarks', measured by `benchmarks/face_boxes.py` on the training faces of 300W.
What remains of the difference is taken out by the detector's refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import cv2.data
import numpy as np

from semalign.errors import SemalignError
from semalign.inference.processes import PerThread
from semalign.shapes import Float, UInt8


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """What a finder that sees turned faces gives.

    Attributes:
        boxes: (k, 4) landmarks' boxes x0, y0, x1, y1, pixels: the box stands around its own middle, turned by the angle.
        angles: (k,) radians by which the faces are turned in the picture, clockwise; 0 is upright.
        scores: (k,) how sure the finder is, 0 to 1.
    """

    boxes: Float[np.ndarray, "k 4"]
    angles: Float[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.boxes)


# Finds faces: from a picture (h, w, 3) uint8 RGB to landmarks' boxes (k, 4) float64, x0, y0, x1, y1 in pixels of the image;
# (0, 4) for a picture without a face; or `FoundFaces`, where they may be turned. Must be safe to call from several threads.
FaceFinder = Callable[[np.ndarray], np.ndarray | FoundFaces]


@dataclass(frozen=True)
class BoxRelation:
    """From a face detector's box to the square landmarks' box, in sides of the face detector's box."""

    right: float  # from its centre to the landmarks' box's centre
    down: float
    scale: float  # larger side of the landmarks' box

    def __call__(self, boxes: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, "k 4"]:
        """Squares around the same faces."""
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + side * np.array([self.right, self.down])
        half = side * self.scale / 2
        return np.concatenate([centre - half, centre + half], axis=1)


@dataclass(frozen=True)
class Cascade:
    """One of OpenCV's cascades and the relation of its boxes to the landmarks'; mirrored for faces that look right."""

    name: str
    relation: BoxRelation
    mirrored: bool = False

    def boxes(self, classifier: Any, grey: UInt8[np.ndarray, "h w"], least: int) -> Float[np.ndarray, "k 4"]:
        """The cascade's own boxes in a grey picture; faces are at least so many pixels wide."""
        seen = np.ascontiguousarray(grey[:, ::-1]) if self.mirrored else grey
        found = classifier.detectMultiScale(seen, scaleFactor=1.1, minNeighbors=3, minSize=(least, least))
        corners = np.array(found, dtype=np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        corners -= 0.5  # a pixel reaches half a pixel beyond its centre
        if self.mirrored:
            corners[:, [0, 2]] = grey.shape[1] - 1 - corners[:, [2, 0]]
        return corners


# Medians over the training faces of 300W (benchmarks/face_boxes.py). Later groups are asked only where the former saw nothing.
_PROFILE = BoxRelation(right=-0.1, down=0.161, scale=0.81)
CASCADES: tuple[tuple[Cascade, ...], ...] = (
    (Cascade("haarcascade_frontalface_default", BoxRelation(right=0.0, down=0.146, scale=0.869)),),
    (
        Cascade("haarcascade_frontalface_alt2", BoxRelation(right=0.0, down=0.154, scale=0.889)),
        Cascade("haarcascade_profileface", _PROFILE),
        Cascade("haarcascade_profileface", BoxRelation(-_PROFILE.right, _PROFILE.down, _PROFILE.scale), mirrored=True),
    ),
)


class CascadeFinder:
    """OpenCV's cascades: frontal faces first, half profiles where there are none.

    Args:
        smallest: width of the smallest face that is looked for, in longer sides of the picture. It decides on the speed:
            the picture is shrunk until such a face has `pixels`.
        pixels: width in pixels at which cascades still see a face.
    """

    def __init__(self, smallest: float = 0.06, pixels: int = 36) -> None:
        if not 0 < smallest <= 1 or pixels < 24:
            raise ValueError("smallest must lie in (0, 1] and pixels be at least 24")
        self.smallest, self.pixels = smallest, pixels
        self._own = PerThread()  # a classifier keeps its last picture, so each thread has its own

    def __call__(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "k 4"]:
        """Landmarks' boxes; see `FaceFinder`. One face may be found twice, and not all boxes hold one."""
        grey, scale = self._shrunk(picture)
        for group in CASCADES:
            boxes = np.concatenate(
                [c.relation(c.boxes(self._classifier(c.name), grey, self._least(grey))) for c in group]
            )
            if len(boxes):
                return (boxes + 0.5) * scale - 0.5
        return np.empty((0, 4))

    def _shrunk(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The grey picture at the size at which it is searched, and the factors (x0, y0, x1, y1) back."""
        height, width = picture.shape[:2]
        share = min(1.0, self.pixels / self.smallest / max(height, width))
        size = max(1, round(width * share)), max(1, round(height * share))
        if share < 1.0:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.tile([width / size[0], height / size[1]], 2)

    def _least(self, grey: np.ndarray) -> int:
        return max(24, round(self.smallest * max(grey.shape)))

    def _classifier(self, name: str) -> Any:
        loaded: dict[str, Any] = self._own.__dict__
        if name not in loaded:
            path = Path(cv2.data.haarcascades) / f"{name}.xml"
            classifier = cv2.CascadeClassifier(str(path)) if path.is_file() else None
            if classifier is None or classifier.empty():
                raise SemalignError(
                    f"{path}: OpenCV's face cascade cannot be read; install opencv-python-headless 4 again."
                )
            loaded[name] = classifier
        return loaded[name]


class YuNetFinder:
    """YuNet (OpenCV's FaceDetectorYN) from an ONNX file of the user's.

    Its five points, not its box, give the landmarks' box: the centre is their mean moved along the lines from the eyes to the
    mouth and from the mean to the nose, the side a multiple of their spread. The constants come from the annotations of
    300W alone (benchmarks/face_boxes.py); centre within 5 %, side within 6 % of the side (one sd) if YuNet were exact.

    Args:
        path: the file, such as face_detection_yunet_2023mar.onnx.
        certainty: least score of a face, 0 to 1.
        longest: larger pictures are shrunk to so many pixels.

    Raises:
        SemalignError: no such file, or one that is no YuNet network.
    """

    DOWN, NOSE, SPREAD = 0.162, -1.114, 3.666

    def __init__(self, path: str | Path, certainty: float = 0.6, longest: int = 640) -> None:
        self.path, self.certainty, self.longest = Path(path), certainty, longest
        if not self.path.is_file():
            raise SemalignError(f"{path}: there is no such file; give the ONNX file of a YuNet face detector.")
        self._own = PerThread()  # a network keeps the size of its input, so each thread has its own
        self(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "k 4"]:
        """Landmarks' boxes; see `FaceFinder`."""
        height, width = picture.shape[:2]
        share = min(1.0, self.longest / max(height, width))
        size = max(1, round(width * share)), max(1, round(height * share))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if share < 1.0 else picture
        try:
            network = self._network()
            network.setInputSize(size)
            _, found = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise SemalignError(f"{self.path}: is no YuNet network that OpenCV can run; give another file.") from error
        rows = np.empty((0, 15)) if found is None else np.asarray(found, dtype=np.float64)
        points = (rows[:, 4:14].reshape(-1, 5, 2) + 0.5) * (width / size[0], height / size[1]) - 0.5
        return self.landmarks_boxes(points)

    @classmethod
    def landmarks_boxes(cls, points: Float[np.ndarray, "k 5 2"]) -> Float[np.ndarray, "k 4"]:
        """Landmarks' boxes from both eyes, the nose tip and both mouth corners, in YuNet's order."""
        mean = points.mean(axis=1)
        down = (points[:, 3] + points[:, 4] - points[:, 0] - points[:, 1]) / 2
        centre = mean + cls.DOWN * down + cls.NOSE * (points[:, 2] - mean)
        spread = np.sqrt(((points - mean[:, None]) ** 2).sum(axis=2).mean(axis=1, keepdims=True))
        half = cls.SPREAD * spread / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def _network(self) -> Any:
        if not hasattr(self._own, "network"):
            self._own.network = cv2.FaceDetectorYN.create(str(self.path), "", (64, 64), self.certainty)
        return self._own.network
