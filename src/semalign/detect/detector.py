"""From pictures to landmarks: find the faces, find the landmarks of each, and refine them on a crop around those points.

Networks are trained on boxes around the annotated landmarks. A box from a face detector, or from a person, is another one; so
the points of the first crop give the box of the second.

Shape legend: b pictures, k faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL.Image import Image as PillowImage

from semalign.data.crops import box_sides
from semalign.data.images import Picture, open_picture
from semalign.detect.centerface import CenterFaceFinder
from semalign.detect.faces import FaceFinder, FoundFaces
from semalign.detect.result import Face
from semalign.detect.turned import angles_of_points, boxes_of_points, levelled
from semalign.errors import SemalignError
from semalign.inference import Backend, Landmarker, Landmarks, OnnxBackend
from semalign.inference.landmarker import Device, on_cpu, open_model
from semalign.inference.landmarks import TOLD
from semalign.inference.processes import own_settings
from semalign.models import pretrained
from semalign.models.correction import Correction
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, UInt8

if TYPE_CHECKING:
    from semalign.models.checkpoint import Model
else:
    Model = Any

Image = str | Path | np.ndarray | PillowImage | Picture
Boxes = Sequence[Sequence[float]] | np.ndarray


@dataclass(frozen=True)
class DetectorSettings:
    """How faces are found and refined."""

    refinements: int = 1  # how often a face is cropped anew, at the box of the points before
    # Mean heatmap of so many versions of a crop (semalign.inference.tta), 1 to 4; None = the model's own. Without left-right
    # pairs in the scheme it is 1.
    tta: int | None = None
    score_threshold: float = 0.4  # a face found with less is none; boxes that are given are always kept
    iou_threshold: float = 0.5  # of two found faces that share more of their union, the surer one stays
    max_faces: int | None = None  # of one picture, the largest; None = all. Boxes that are given are all kept
    batch_size: int = 32
    # Of a network that PyTorch computes. 'auto' is 'bf16' where the processor has instructions for it (AMX): it takes a third
    # of the time and moves points by a few hundredths of a per cent of the eyes' distance. Elsewhere it is 'fp32'.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Whether hidden landmarks are moved to where the visible ones say that they are (semalign.models.correction).
    correct: bool = False

    def __post_init__(self) -> None:
        if self.max_faces is not None and self.max_faces < 1:
            raise ValueError("max_faces must be at least 1")
        if self.refinements < 0 or not 1 <= (1 if self.tta is None else self.tta) <= 4 or self.batch_size < 1:
            raise ValueError("refinements must be at least 0, batch_size at least 1, tta between 1 and 4")


class Detector:
    """Finds faces and their landmarks: a face detector and a landmarker. Nothing in it changes by use: threads may share one.

    Args:
        model: the network, which is moved to the device, and what it needs; or an exported one, which stays on the CPU.
        device: such as "cpu" or "cuda:0"; None takes an accelerator where there is one, for a network.
        finder: finds faces where no boxes are given; default: CenterFace, which ships with the package.
        correction: says which landmarks are visible and, with `settings.correct`, where the hidden ones are; None takes the
            one that ships for the model, where there is one.
    """

    def __init__(
        self,
        model: Model | OnnxBackend,
        device: Device = None,
        finder: FaceFinder | None = None,
        settings: DetectorSettings | None = None,
        correction: Correction | None = None,
    ) -> None:
        self.settings = settings or DetectorSettings()
        self.finder: FaceFinder = finder if finder is not None else CenterFaceFinder()
        self.device: Device = device or "cpu"
        mirrors = model.scheme.mirrors
        tta = self.settings.tta if mirrors or self.settings.tta is None else 1  # half of the versions are mirrored
        chosen = self.settings.precision
        precision: str = "fp32" if chosen == "auto" else chosen
        if not isinstance(model, Backend):
            from semalign.inference.torch_backend import quick_precision, torch_device

            self.device = torch_device(device)
            precision = quick_precision(self.device) if chosen == "auto" else chosen
        with own_settings():
            shipped = correction or pretrained.correction_for(model.about, model.scheme)
        self.landmarker = Landmarker(
            model, self.device, tta, self.settings.batch_size, precision, shipped, self.settings.correct
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        device: Device = None,
        finder: FaceFinder | None = None,
        settings: DetectorSettings | None = None,
    ) -> Detector:
        """A detector with a model that came with the package, by its name, or with a model file, by its path.

        A shipped model is computed by ONNX Runtime on the CPU, as it was exported, unless another device, `settings.tta` or
        `settings.precision` is asked for; that, and model files, PyTorch computes. A file that `semalign export` wrote (.onnx)
        is computed by ONNX Runtime. A correction that lies beside a model file (`model.correction.safetensors` beside
        `model.safetensors`) is used before a shipped one.

        Raises:
            SemalignError: an unknown name, a file that is no model, a device that is not there, or what needs PyTorch where
                that is not installed.
        """
        wanted = settings or DetectorSettings()
        plain = on_cpu(device) and wanted.tta is None and wanted.precision == "auto"
        model = open_model(name_or_path, exported=plain)
        with own_settings():
            correction = pretrained.correction_beside(pretrained.resolve(name_or_path), model.scheme)
        return cls(model, device, finder, settings, correction)

    @property
    def scheme(self) -> LandmarkScheme:
        """What the landmarks are."""
        return self.landmarker.scheme

    @property
    def model(self) -> Model | OnnxBackend:
        """What it was made with; a model's network lies on the detector's device."""
        backend = self.landmarker.backend
        return backend if isinstance(backend, OnnxBackend) else backend.model  # type: ignore[attr-defined]

    def save(self, path: str | Path) -> None:
        """Write the model file, which `from_pretrained` reads again; atomic.

        Raises:
            SemalignError: the model is an exported one, which is a file already; or it cannot be written; or PyTorch is not
                installed.
        """
        model = self.model
        if isinstance(model, OnnxBackend):
            if model.origin is None:
                raise SemalignError("an exported model is a file already; copy that.")
            model = pretrained.load(model.origin)
        from semalign.models.checkpoint import save_model

        save_model(Path(path), model)

    def __call__(self, image: Image, boxes: Boxes | None = None) -> list[Face]:
        """The faces of one image.

        Args:
            image: a file, a Pillow image, or an array (h, w, 3) RGB, (h, w) grey or (h, w, 4) RGBA of any numbers
                (`semalign.data.pixels.to_rgb8` says how they are read); all give the same.
            boxes: (k, 4) x0, y0, x1, y1 of faces, about brows to chin, in pixels of the image.

        Returns:
            With boxes one face for each, in their order; without, those that are found, the largest first.

        Raises:
            SemalignError: a file that cannot be read, an array that is no picture, boxes that are none.
        """
        return self.batch([image], None if boxes is None else [boxes])[0]

    def batch(self, images: Sequence[Image], boxes: Sequence[Boxes | None] | None = None) -> list[list[Face]]:
        """As a call for each image, with the faces of all of them in common batches.

        Raises:
            SemalignError: as a call; boxes for another number of images.
        """
        if boxes is not None and len(boxes) != len(images):
            raise SemalignError(
                f"there are boxes for {len(boxes)} of {len(images)} images; give them for each, or None."
            )
        opened = [open_picture(image) for image in images]
        pictures = [picture.pixels for picture in opened]
        given = [
            None if item is None else picture.to_pixels(as_boxes(item).reshape(-1, 2, 2)).reshape(-1, 4)
            for picture, item in zip(opened, boxes if boxes is not None else [None] * len(pictures), strict=True)
        ]
        found = [as_found(self.finder(p) if g is None else g) for p, g in zip(pictures, given, strict=True)]
        about = self.landmarker.about
        results = self._landmarks(pictures, [around_landmarks(own, about) for own in found], self.settings.refinements)
        chosen = [faces if g is not None else self._chosen(faces) for faces, g in zip(results, given, strict=True)]
        return [[_in_whole(face, picture) for face in faces] for faces, picture in zip(chosen, opened, strict=True)]

    def follow(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes: Float[np.ndarray, "k 4"],
        angles: Float[np.ndarray, " k"] | None = None,
    ) -> list[Face]:
        """As a call, for boxes of landmarks (as from the frame before), which need no refinement: a face for each, in order.

        Args:
            picture: RGB.
            boxes: (k, 4), turned by the angles (`semalign.detect.turned`).
            angles: (k,) radians; None where all faces are upright.
        """
        return self._landmarks([picture], [as_found(boxes, angles)], 0)[0]

    def _chosen(self, faces: Sequence[Face]) -> list[Face]:
        """The found faces that are sure enough, each once, the largest first."""
        sure = [face for face in faces if face.score >= self.settings.score_threshold]
        kept: list[Face] = []
        for face in sorted(sure, key=lambda face: -face.score):
            if all(overlap(face.box, other.box) <= self.settings.iou_threshold for other in kept):
                kept.append(face)
        return sorted(kept, key=lambda face: -float(box_sides(np.array([face.box]))[0]))[: self.settings.max_faces]

    def _landmarks(
        self, pictures: Sequence[np.ndarray], found: Sequence[FoundFaces], refinements: int
    ) -> list[list[Face]]:
        boxes, angles = [own.boxes for own in found], [levelled(own.angles) for own in found]
        seen = self.landmarker(pictures, boxes, angles)
        for _ in range(refinements):
            angles = [angles_of_points(s.points, s.scheme, own) for s, own in zip(seen, angles, strict=True)]
            boxes = [boxes_of_points(*one) for one in zip(seen, boxes, angles, strict=True)]
            seen = self.landmarker(pictures, boxes, angles)
        return [faces_of(own) for own in seen]


def as_found(found: FoundFaces | Float[np.ndarray, "k 4"], angles: Float[np.ndarray, " k"] | None = None) -> FoundFaces:
    """What any finder gives, or boxes, with their angles: upright where none are given."""
    if isinstance(found, FoundFaces):
        return found
    return FoundFaces(found, np.zeros(len(found)) if angles is None else angles, np.ones(len(found)))


def around_landmarks(found: FoundFaces, about: Mapping[str, Any]) -> FoundFaces:
    """The boxes of a model's landmarks in faces whose boxes are found.

    They are the same, but for a model that was adapted to landmarks of a part of the face: it says where the face's box lies.
    """
    view = about.get("adapted", {}).get("face")
    if view is None:
        return found
    half = box_sides(found.boxes)[:, None] / view["side"] / 2  # of the landmarks' box, taken to be a square
    x, y = view["shift"]
    cosine, sine = np.cos(found.angles), np.sin(found.angles)
    shift = 2 * half * np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - shift
    return replace(found, boxes=np.concatenate([middle - half, middle + half], axis=1))


def _in_whole(face: Face, picture: Picture) -> Face:
    """A face of a picture's pixels in the frame of the whole picture."""
    if picture.scale == 1:
        return face
    spread, uncertainty = (
        None if length is None else length * picture.scale for length in (face.spread, face.uncertainty)
    )
    return replace(face, points=picture.to_whole(face.points), spread=spread, uncertainty=uncertainty)


def faces_of(found: Landmarks) -> list[Face]:
    """Each face's landmarks on their own."""
    known = {name: getattr(found, name) for name in TOLD}
    told = {name: value for name, value in known.items() if value is not None}
    return [
        Face(points, confidence, found.scheme, **{name: value[row] for name, value in told.items()})
        for row, (points, confidence) in enumerate(zip(found.points, found.confidence, strict=True))
    ]


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1; 0 if both are empty."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def as_boxes(boxes: Boxes) -> Float[np.ndarray, "k 4"]:
    """Boxes as float64.

    Raises:
        SemalignError: not (k, 4) numbers, or a box without width or height.
    """
    try:
        array = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise SemalignError(f"boxes are {boxes!r}; give rows of four numbers x0, y0, x1, y1.") from None
    if not array.size:
        return np.empty((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise SemalignError(f"boxes have the shape {array.shape}; give (k, 4): x0, y0, x1, y1.")
    wrong = ~(np.isfinite(array).all(axis=1) & (array[:, 2] > array[:, 0]) & (array[:, 3] > array[:, 1]))
    if wrong.any():
        raise SemalignError(f"{array[wrong][0].tolist()} is no box; give x0 < x1 and y0 < y1 in pixels.")
    return array
