"""The landmarker: pictures and boxes of faces in, landmarks out. Everything that looks at faces goes through it.

Shape legend: k faces of a picture, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from semalign.data.crops import CropCache, crop_maps, cut
from semalign.errors import SemalignError
from semalign.inference.backend import Backend, TorchBackend
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import OnnxBackend
from semalign.inference.processes import own_settings
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.models.correction import Correction
from semalign.schemes import LandmarkScheme


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
        device: str | torch.device | None = None,
        tta: int | None = None,
        batch_size: int = 32,
        precision: str = "fp32",
        correction: Correction | None = None,
        correct: bool = False,
    ) -> None:
        _refuse_misfit(correction, model.scheme, correct)
        self.correction, self.correct = correction, correct
        self.backend: Backend
        if isinstance(model, Model):
            place = None if device is None else torch_device(device)
            self.backend = TorchBackend(model, place, tta, batch_size, precision)
            return
        if tta is not None:
            raise SemalignError(
                "an exported model has its test-time augmentation in its graph; leave tta out, or use the model file."
            )
        if device is not None and torch_device(device).type != "cpu":
            raise SemalignError(
                f"an exported model is computed on the CPU, not on {str(device)!r}; leave the device out."
            )
        self.backend = model

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        device: str | torch.device | None = None,
        tta: int | None = None,
        batch_size: int = 32,
    ) -> Landmarker:
        """With a shipped model by its name, a model file, or a file that `semalign export` wrote (.onnx).

        Raises:
            SemalignError: an unknown name, a file that is no model, and as above.
        """
        return cls(open_model(name_or_path), device, tta, batch_size)

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
        return replace(found, points=judged.points, visibility=judged.visibility)

    def heatmaps(
        self, picture: UInt8[np.ndarray, "_ _ 3"], box: Float[np.ndarray, " 4"]
    ) -> tuple[Float[np.ndarray, "n h w"], Float[np.ndarray, "2 3"]]:
        """The heatmaps of the face in a box, from the plain crop alone, and heatmap_to_image.

        Raises:
            SemalignError: an exported model, whose graph ends in points.
        """
        if not isinstance(self.backend, TorchBackend):
            raise SemalignError("an exported model gives points and no heatmaps; use the model file.")
        crops, network = self._crops([picture], [box[None]]), self.backend.model.network
        (rows, maps), *_ = heatmaps_of(network, crops)
        return maps[0].cpu().numpy(), heatmap_to_image(network, crops, rows)[0].numpy()

    @property
    def _device(self) -> torch.device | None:
        """Where the network lies; None for an exported model."""
        return self.backend.model.network.device if isinstance(self.backend, TorchBackend) else None

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


def open_model(name_or_path: str | Path) -> Model | OnnxBackend:
    """A shipped model by its name, a model file, or an exported one (.onnx); raises as each of them does."""
    path = pretrained.resolve(name_or_path)
    exported = path.suffix == pretrained.EXPORTED or _is_onnx(path)
    if exported:
        return OnnxBackend(path)
    with own_settings():
        model = pretrained.load(name_or_path)
    return replace(model, network=model.network.float())  # whatever the program's default type is


def _is_onnx(path: Path) -> bool:
    """Whether a file of another name begins as an exported model does (its first field, the format's version)."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return head[:1] == b"\x08" and head[2:3] == b"\x12" and head[8:9] != b"{"


def torch_device(name: str | torch.device | None) -> torch.device:
    """The device of that name; None is an accelerator where there is one, else the CPU.

    Raises:
        SemalignError: it cannot be used here.
    """
    if name is None:
        accelerator: Any = torch.accelerator.current_accelerator(check_available=True)
        return torch.device(accelerator if accelerator is not None else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SemalignError(f"the device {str(name)!r} cannot be used here; give 'cpu', or leave it out.") from error
    return device
