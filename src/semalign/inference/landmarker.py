"""The landmarker: pictures and boxes of faces in, landmarks out. Everything that looks at faces goes through it.

Shape legend: k faces of a picture, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.data.crops import CropCache, crop_maps, cut
from semalign.errors import SemalignError
from semalign.extras import needs_training
from semalign.inference.backend import Backend
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import OnnxBackend
from semalign.inference.processes import own_settings
from semalign.models import pretrained
from semalign.models.correction import Correction
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, UInt8

if TYPE_CHECKING:
    from torch import device as TorchDevice

    from semalign.models.checkpoint import Model

    Device = str | TorchDevice | None
else:
    Device = Model = Any


class Landmarker:
    """Finds the landmarks of faces whose boxes are known. Nothing in it changes by use: threads may share one.

    Args:
        model: a model, computed by PyTorch, or any backend.
        device: such as "cpu" or "cuda:0"; None leaves the network where it is.
        tta: test-time augmentation: mean heatmap of so many versions of a crop, 1 to 4; None = the model's own.
        batch_size: crops at a time.
        precision: of a network that PyTorch computes, 'fp32' or 'bf16'.
        correction: says which landmarks are visible; None = nothing does.
        correct: whether the correction also moves the landmarks that the network is not sure of.

    Raises:
        SemalignError: a device that cannot be used; `tta`, or a device but the CPU, for an exported model; a correction of
            another landmark scheme, or none to correct by.
    """

    def __init__(
        self,
        model: Model | Backend,
        device: Device = None,
        tta: int | None = None,
        batch_size: int = 32,
        precision: str = "fp32",
        correction: Correction | None = None,
        correct: bool = False,
    ) -> None:
        _refuse_misfit(correction, model.scheme, correct)
        self.correction, self.correct = correction, correct
        self.backend: Backend
        if not isinstance(model, Backend):
            from semalign.inference.torch_backend import TorchBackend, torch_device

            place = None if device is None else torch_device(device)
            self.backend = TorchBackend(model, place, tta, batch_size, precision)
            return
        if tta is not None:
            raise SemalignError(
                "an exported model has its test-time augmentation in its graph; leave tta out, or use the model file."
            )
        if not on_cpu(device):
            raise SemalignError(
                f"an exported model is computed on the CPU, not on {str(device)!r}; leave the device out."
            )
        self.backend = model

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        device: Device = None,
        tta: int | None = None,
        batch_size: int = 32,
    ) -> Landmarker:
        """With a shipped model by its name, a model file, or a file that `semalign export` wrote (.onnx).

        A shipped model is computed by ONNX Runtime, as it was exported, unless `tta` or a device but the CPU is asked for;
        that, and model files, PyTorch computes. Heatmaps of a shipped model are PyTorch's in any case.

        Raises:
            SemalignError: an unknown name, a file that is no model, what needs PyTorch where that is not installed, and as
                above.
        """
        return cls(open_model(name_or_path, exported=on_cpu(device) and tta is None), device, tta, batch_size)

    @property
    def scheme(self) -> LandmarkScheme:
        """What the landmarks are."""
        return self.backend.scheme

    @property
    def about(self) -> Mapping[str, Any]:
        """Where the model comes from."""
        return self.backend.about

    def __call__(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        boxes: Sequence[Float[np.ndarray, "_ 4"]],
        angles: Sequence[Float[np.ndarray, " _"]] | None = None,
    ) -> list[Landmarks]:
        """The landmarks of the face in each box of each picture, all of them in common batches.

        Args:
            pictures: RGB.
            boxes: (k, 4) x0, y0, x1, y1 for each picture, about those of the landmarks, in its pixels.
            angles: (k,) for each picture: radians by which the faces are turned, clockwise, each with its box around the
                box's middle; the network then sees them upright. None: all are upright. A turned face's spread is
                along its own axes.

        Returns:
            For each picture the landmarks of its k faces, in their order.
        """
        counts = [len(own) for own in boxes]
        with own_settings(self._device):
            found = self.on_crops(self._crops(pictures, boxes, angles)) if sum(counts) else self._none()
        return [found.take(np.arange(first, last)) for first, last in pairwise([0, *np.cumsum(counts).tolist()])]

    def on_crops(self, crops: CropCache, advance: Callable[[int], None] | None = None) -> Landmarks:
        """The landmarks on every crop of a data set, in the image frames; `advance` is told how many more are done."""
        found = self.backend.predict(crops, advance)
        if self.correction is None:
            return found
        judged = self.correction(found.points, found.confidence, found.spread, self.correct)
        return replace(found, **judged._asdict())

    def heatmaps(
        self, picture: UInt8[np.ndarray, "_ _ 3"], box: Float[np.ndarray, " 4"]
    ) -> tuple[Float[np.ndarray, "n h w"], Float[np.ndarray, "2 3"]]:
        """The heatmaps of the face in a box, from the plain crop alone, and heatmap_to_image.

        Raises:
            SemalignError: an exported model, whose graph ends in points.
        """
        crops = self._crops([picture], [box[None]])
        with needs_training("a heatmap"):
            from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of

            network = self._model.network
        (rows, maps), *_ = heatmaps_of(network, crops)
        return maps[0].cpu().numpy(), heatmap_to_image(network, crops, rows)[0].numpy()

    @cached_property
    def _model(self) -> Model:
        """What draws heatmaps: PyTorch's model, or the model file that the exported one was made of."""
        backend = self.backend
        if isinstance(backend, OnnxBackend) and backend.origin is not None:
            from semalign.inference.torch_backend import load_model

            return load_model(backend.origin)
        model: Model | None = getattr(backend, "model", None)
        if model is None:
            raise SemalignError("an exported model gives points and no heatmaps; use the model file.")
        return model

    @property
    def _device(self) -> Any:
        """Where PyTorch's network lies; None for an exported model."""
        model: Model | None = getattr(self.backend, "model", None)
        return None if model is None else model.network.device

    def _crops(
        self,
        pictures: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        angles: Sequence[np.ndarray] | None = None,
    ) -> CropCache:
        crop = replace(self.backend.crop, margin=self.backend.margin)
        maps, size = crop_maps(np.concatenate(list(boxes)), crop, self.backend.input_size)
        if angles is not None:
            maps = turned_back(maps, np.concatenate(list(angles)), size)
        owners = [picture for picture, own in zip(pictures, boxes, strict=True) for _ in own]
        images = np.stack([cut(picture, matrix, size) for picture, matrix in zip(owners, maps, strict=True)])
        return CropCache(tuple(map(str, range(len(maps)))), images, maps, self.backend.input_size)

    def _none(self) -> Landmarks:
        count = self.scheme.count
        return Landmarks(np.empty((0, count, 2)), np.empty((0, count)), self.scheme)


def _refuse_misfit(correction: Correction | None, scheme: LandmarkScheme, correct: bool) -> None:
    if correct and correction is None:
        raise SemalignError(
            "this model has no correction for hidden landmarks; leave --correct (correct=True) out, or use the model 'default'."
        )
    if correction is not None and correction.scheme != scheme:
        raise SemalignError(
            f"the correction is for the landmark scheme {correction.scheme.name!r}, the model for {scheme.name!r}; "
            "use one that was fitted for this model."
        )


def turned_back(
    image_to_crop: Float[np.ndarray, "k 2 3"], angles: Float[np.ndarray, " k"], size: int
) -> Float[np.ndarray, "k 2 3"]:
    """The maps to crops (size × size) that are turned counter-clockwise around their middles, by angles in radians."""
    cos, sin, middle = np.cos(angles), np.sin(angles), (size - 1) / 2
    turn = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
    shifted = image_to_crop - np.array([[0.0, 0.0, middle]] * 2)
    maps = turn @ shifted + np.array([[0.0, 0.0, middle]] * 2)
    return np.where((angles == 0.0)[:, None, None], image_to_crop, maps)


def open_model(name_or_path: str | Path, exported: bool = False) -> Model | OnnxBackend:
    """A shipped model by its name, a model file, or an exported one (.onnx); raises as each of them does.

    Args:
        name_or_path: the model.
        exported: a shipped model as it was exported, where it was: without PyTorch, on the CPU, with its own test-time
            augmentation.

    Raises:
        SemalignError: as each of them, or PyTorch is needed and not installed.
    """
    path = pretrained.resolve(name_or_path)
    if path.suffix == pretrained.EXPORTED or _is_onnx(path):
        return OnnxBackend(path)
    beside = pretrained.exported(name_or_path) if exported else None
    if beside is not None:
        return OnnxBackend(beside, origin=path)
    asked = pretrained.exported(name_or_path) is not None
    what = "what is asked for beyond the exported model (device, tta, precision)" if asked else "computing a model file"
    with needs_training(f"{name_or_path}: {what}"):
        from semalign.inference.torch_backend import load_model
    return load_model(path)


def on_cpu(device: Device) -> bool:
    """Whether a device is the CPU, or left to the model."""
    return device is None or str(device).partition(":")[0] == "cpu"


def _is_onnx(path: Path) -> bool:
    """Whether a file of another name begins as an exported model does (its first field, the format's version)."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return head[:1] == b"\x08" and head[2:3] == b"\x12" and head[8:9] != b"{"
