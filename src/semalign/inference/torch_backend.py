"""PyTorch's side of `semalign.inference.Backend`.

Shape legend: b images, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from semalign.data.crops import CropCache, CropSettings
from semalign.errors import SemalignError
from semalign.inference.heatmaps import predict, quick
from semalign.inference.landmarks import Landmarks
from semalign.inference.processes import own_settings
from semalign.models import checkpoint
from semalign.models.checkpoint import Model
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme


class TorchBackend:
    """A model computed by PyTorch, with the weights that it has at the first prediction.

    Args:
        model: the network and what it needs.
        device: where to; None leaves the network where it is.
        tta: test-time augmentation: mean heatmap of so many versions of a crop, 1 to 4; None = the model's own.
        batch_size: crops at a time.
        precision: of the network, 'fp32' or 'bf16'; see `quick_precision`.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device | None = None,
        tta: int | None = None,
        batch_size: int = 32,
        precision: str = "fp32",
    ) -> None:
        network = model.network.eval()
        self.model = model if device is None else replace(model, network=network.to(device))
        self.tta = model.tta if tta is None else tta
        self.batch_size, self.precision = batch_size, precision

    @property
    def scheme(self) -> LandmarkScheme:
        """What the landmarks are."""
        return self.model.scheme

    @property
    def crop(self) -> CropSettings:
        """Which square of an image the model sees."""
        return self.model.crop

    @property
    def margin(self) -> float:
        """Turned and shifted crops need the model's margin, the plain and the mirrored one need none."""
        return self.model.crop.margin if self.tta > 2 else 1.0

    @property
    def input_size(self) -> int:
        """Side of the square, in pixels of the input."""
        return self.model.input_size

    @property
    def about(self) -> Mapping[str, Any]:
        """Where the model comes from."""
        return self.model.about

    def predict(self, crops: CropCache, advance: Callable[[int], None] | None = None) -> Landmarks:
        """The network's landmarks, without what is systematic in them where the model knows it."""
        model = self.model
        found = predict(
            self._network, crops, model.sigma, model.scheme, self.batch_size, self.precision, self.tta, advance
        )
        return found if model.adaptation is None else replace(found, points=model.adaptation.corrected(found.points))

    @cached_property
    def _network(self) -> HeatmapNetwork:
        """What is computed: the network, or on a CPU its faster copy."""
        return quick(self.model.network)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the copy, which is made anew where the pickle or the copy is used."""
        return {name: value for name, value in self.__dict__.items() if name != "_network"}


def quick_precision(device: torch.device) -> str:
    """'bf16' on processors with instructions for its matrices (AMX), where a network takes a third of the time; else 'fp32'."""
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16") else "fp32"


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


def load_model(path: Path) -> Model:
    """A model file for the landmarker, whatever the program's default type is; raises as `checkpoint.load_model`."""
    with own_settings():
        model = checkpoint.load_model(path)
    return replace(model, network=model.network.float())
