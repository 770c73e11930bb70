"""Exported models with onnxruntime: from crops to points, as the PyTorch path does it.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from semalign.core.affine import compose, invert, transform_points
from semalign.data.crops import CropCache, CropSettings
from semalign.errors import SemalignError
from semalign.export.landmarker import Pixels
from semalign.export.onnx import INPUT, INSTALL, OUTPUTS, parse_description
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.schemes import LandmarkScheme
from semalign.training.inference import Predictions, detect


class CropPoints(NamedTuple):
    """Points (x, y) of the input frame and the heatmaps' peaks."""

    points: Float[np.ndarray, "b n 2"]
    confidence: Float[np.ndarray, "b n"]


class OnnxModel:
    """A model file that `semalign export` wrote, ready to use on the CPU; calls from several threads are safe.

    Args:
        path: the file.
        threads: of one call; None is one per core.

    Attributes:
        scheme: the landmarks.
        crop: which square of an image the model sees.
        input_size: s, in pixels.
        pixels: type of the crops' values: "uint8" (0 to 255) or "float32" (0 to 1).
        precision: "float32" or "int8".
        about: where the model comes from.

    Raises:
        SemalignError: onnxruntime is not installed; no such file, no ONNX file, or none of ours.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self._session = _session(Path(path), threads)
        description = parse_description(path, self._session.get_modelmeta().custom_metadata_map)
        self.scheme = LandmarkScheme.from_dict(description["scheme"])
        self.crop = CropSettings(**description["crop"])
        self.sigma: float = description["sigma"]
        self.input_size: int = description["input"]["size"]
        self.pixels: Pixels = description["input"]["pixels"]
        self.precision: str = description["precision"]
        self.about: dict[str, Any] = description["about"]

    def __call__(self, images: UInt8[np.ndarray, "b 3 s s"] | Float[np.ndarray, "b 3 s s"]) -> CropPoints:
        """Points and confidences of RGB crops.

        Raises:
            ValueError: crops of another size or type than the model's.
        """
        wanted = (3, self.input_size, self.input_size)
        if images.shape[1:] != wanted or images.dtype != self.pixels:
            raise ValueError(
                f"crops of shape {images.shape[1:]} and type {images.dtype} for {wanted} and {self.pixels}"
            )
        return CropPoints(*self._session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(images)}))

    def predict(
        self, crops: CropCache, batch_size: int = 32, advance: Callable[[int], None] | None = None
    ) -> Predictions:
        """The landmarks on every crop in the image frames, as `semalign.training.inference.detect` gives them."""
        parts = []
        for start in range(0, len(crops), batch_size):
            rows = np.arange(start, min(start + batch_size, len(crops)))
            parts.append(self(input_squares(crops, rows, self.pixels)))
            if advance is not None:
                advance(len(rows))
        points = torch.from_numpy(np.concatenate([part.points for part in parts]).astype(np.float64))
        to_input = compose(crops.crop_to_input[None], torch.from_numpy(crops.image_to_crop))
        confidence = np.concatenate([part.confidence for part in parts]).astype(np.float64)
        return Predictions(transform_points(points, invert(to_input)).numpy(), confidence)


def open_model(name_or_path: str | Path) -> Model | OnnxModel:
    """A shipped model by its name, a model file, or an exported one (.onnx); raises as each of them does."""
    path = pretrained.resolve(name_or_path)
    return OnnxModel(path) if path.suffix == pretrained.EXPORTED else pretrained.load(name_or_path)


def landmarks(
    model: Model | OnnxModel,
    crops: CropCache,
    batch_size: int = 32,
    views: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Predictions:
    """What either kind of model finds on every crop, in the image frames; views as for `semalign.training.inference.detect`.

    Raises:
        SemalignError: views for an exported model, whose graph has its own.
    """
    refuse_views(model, views)
    if isinstance(model, OnnxModel):
        return model.predict(crops, batch_size, advance)
    return detect(model, crops, batch_size, views=views, advance=advance)


def refuse_views(model: Model | OnnxModel, views: int | None) -> None:
    """Raises a SemalignError where views are wanted of an exported model."""
    if isinstance(model, OnnxModel) and views is not None:
        raise SemalignError("an exported model has its views in its graph; leave them out, or use the model file.")


def input_squares(
    crops: CropCache, rows: np.ndarray, pixels: Pixels = "uint8"
) -> UInt8[np.ndarray, "b 3 s s"] | Float[np.ndarray, "b 3 s s"]:
    """The plain input squares of some crops, which lie in their middle on whole pixels."""
    inset = (crops.images.shape[1] - crops.input_size) // 2
    inner = slice(inset, inset + crops.input_size)
    images = np.ascontiguousarray(crops.images[rows][:, inner, inner].transpose(0, 3, 1, 2))
    return images if pixels == "uint8" else images.astype(np.float32) / np.float32(255)


def _session(path: Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise SemalignError(f"ONNX models need the package onnxruntime; {INSTALL}.") from error
    if not path.is_file():
        raise SemalignError(f"{path}: there is no such model file; check the path.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise SemalignError(f"{path}: cannot be read as an ONNX file; it may be damaged, export it again.") from error
