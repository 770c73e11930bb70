"""Coordinate regression ('Reg' of Table 7): a ResNet that gives the landmarks' coordinates directly, and its files.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semalign.data.crops import CropSettings
from semalign.models.checkpoint import load_kind, refuse_other_scheme, save_tensors, weights_of
from semalign.models.network import initialised
from semalign.paper.networks import settings_in
from semalign.paper.resnet import ResNet, check_shape, in_full_precision, start_near_zero
from semalign.schemes import LandmarkScheme

FORMAT = 1
KIND = "regressor"


@dataclass(frozen=True)
class RegressorSettings:
    """Shape of the network."""

    input_size: int = 256
    width: int = 64  # channels of the first stage, doubled in each later one
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # of each stage; each but the first halves the resolution

    def __post_init__(self) -> None:
        check_shape(self.input_size, self.width, self.blocks)


PRESETS = {
    "compact": RegressorSettings(input_size=128, width=24, blocks=(1, 1, 1, 1)),
    "standard": RegressorSettings(),  # ResNet-18
}


class Regressor(nn.Module):
    """RGB images in [0, 1] to points of the input frame.

    The head works in sides of the input, from its middle: its outputs are of the order of 1 at any resolution.

    Args:
        settings: the network's shape.
        landmarks: number of points n.
        mean: points of the input frame that the network begins with; the middle of the input where not given or NaN.
    """

    def __init__(
        self, settings: RegressorSettings, landmarks: int, mean: Float[Tensor, "{landmarks} 2"] | None = None
    ) -> None:
        super().__init__()
        self.settings, self.landmarks = settings, landmarks
        self.trunk = ResNet(settings.width, settings.blocks)
        self.head = nn.Linear(self.trunk.channels, 2 * landmarks)
        start_near_zero(self.head)
        if mean is not None:
            sides = (mean - self._middle) / settings.input_size
            with torch.no_grad():
                self.head.bias.copy_(sides.nan_to_num(nan=0.0).flatten())

    @property
    def _middle(self) -> float:
        return (self.settings.input_size - 1) / 2

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n 2"]:
        """Points in pixels of the input, float32."""
        features = self.trunk(images).float().mean(dim=(2, 3))
        sides = in_full_precision(self.head, features).unflatten(1, (self.landmarks, 2))
        return sides * self.settings.input_size + self._middle


def build_regressor(
    settings: RegressorSettings, landmarks: int, seed: int, mean: Float[Tensor, "{landmarks} 2"] | None = None
) -> Regressor:
    """A freshly initialised network, the same for the same seed, without touching the global generator."""
    return initialised(lambda: Regressor(settings, landmarks, mean), seed)


@dataclass(frozen=True)
class RegressorModel:
    """A network and what it needs: its landmarks and the square that it sees.

    Attributes:
        about: where it comes from (data, labels, seed, versions), JSON values only.
    """

    network: Regressor
    scheme: LandmarkScheme
    crop: CropSettings
    about: Mapping[str, Any] = field(default_factory=dict)


def save_regressor(path: Path, model: RegressorModel) -> None:
    """Write a regressor's file atomically."""
    description = {
        "format": FORMAT,
        "kind": KIND,
        "network": asdict(model.network.settings),
        "scheme": model.scheme.to_dict(),
        "crop": asdict(model.crop),
        "about": dict(model.about),
    }
    save_tensors(path, weights_of(model.network), description)


def load_regressor(path: Path, scheme: LandmarkScheme | None = None) -> RegressorModel:
    """Read a regressor's file; the network is in evaluation mode on the CPU.

    Args:
        path: the file.
        scheme: the landmarks of the data that the network is wanted for.

    Raises:
        SemalignError: no such file, one of another kind or format, a damaged one, or one of another landmark scheme.
    """

    def build(tensors: dict[str, Tensor], description: dict[str, Any]) -> RegressorModel:
        own = LandmarkScheme.from_dict(description["scheme"])
        network = build_regressor(settings_in(description, RegressorSettings), own.count, seed=0)
        network.load_state_dict(tensors)
        return RegressorModel(network.eval(), own, CropSettings(**description["crop"]), description["about"])

    model = load_kind(path, "coordinate regressor", KIND, FORMAT, build)
    refuse_other_scheme(path, model.scheme, scheme)
    return model
