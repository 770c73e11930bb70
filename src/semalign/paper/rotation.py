"""The network that predicts the in-plane rotation of a face ('Norm' of Table 2), and its files.

It is trained on turned pictures, in which the scene turns with the face and the crop's border shows by how much. In a test
picture the scene is upright and only the face is turned. The network sees a disc and nothing outside it, so that neither
corners nor the crop's border can give the angle away in training.

Shape legend: b images, s side of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semalign.data.crops import CropSettings
from semalign.models.checkpoint import load_kind, save_tensors, weights_of
from semalign.models.network import initialised
from semalign.paper.networks import settings_in
from semalign.paper.resnet import ResNet, check_shape, in_full_precision, reduction, start_near_zero

FORMAT = 1
KIND = "rotation"


@dataclass(frozen=True)
class RotationSettings:
    """Shape of the network."""

    input_size: int = 64  # pictures of another size are brought to this one
    width: int = 16  # channels of the first stage, doubled in each later one
    blocks: tuple[int, ...] = (1, 1, 1, 1)  # of each stage; each but the first halves the resolution
    disc: float = 1.0  # diameter of what is seen, in sides of the input square

    def __post_init__(self) -> None:
        check_shape(self.input_size, self.width, self.blocks)
        if self.disc <= 0:
            raise ValueError("disc must be positive")


class RotationNetwork(nn.Module):
    """RGB images in [0, 1], of any size, to the cosine and the sine of the face's rotation."""

    seen: Tensor

    def __init__(self, settings: RotationSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("seen", _disc(settings), persistent=False)
        self.trunk = ResNet(settings.width, settings.blocks)
        side = settings.input_size // reduction(settings.blocks)
        self.head = nn.Linear(self.trunk.channels * side**2, 2)  # flattened: where something is seen tells the angle
        start_near_zero(self.head)
        with torch.no_grad():
            self.head.bias[0] = 1.0  # upright

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 2"]:
        """(cos, sin) of each face's rotation, float32; not of length 1, which tells how sure the network is."""
        size = self.settings.input_size
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
        grey = torch.where(self.seen, images, 0.5)
        return in_full_precision(self.head, self.trunk(grey).flatten(1))


def _disc(settings: RotationSettings) -> Tensor:
    """(1, 1, s, s) bool: the pixels whose centre lies in the disc."""
    steps = (torch.arange(settings.input_size) + 0.5) / settings.input_size - 0.5
    return (steps[:, None].square() + steps.square() <= (settings.disc / 2) ** 2)[None, None]


def build_rotation(settings: RotationSettings, seed: int) -> RotationNetwork:
    """A freshly initialised network, the same for the same seed, without touching the global generator."""
    return initialised(lambda: RotationNetwork(settings), seed)


@dataclass(frozen=True)
class RotationModel:
    """A network and the square that it sees.

    Attributes:
        about: where it comes from (data, labels, seed, versions), JSON values only.
    """

    network: RotationNetwork
    crop: CropSettings
    about: Mapping[str, Any] = field(default_factory=dict)


def save_rotation(path: Path, model: RotationModel) -> None:
    """Write a rotation network's file atomically."""
    description = {
        "format": FORMAT,
        "kind": KIND,
        "network": asdict(model.network.settings),
        "crop": asdict(model.crop),
        "about": dict(model.about),
    }
    save_tensors(path, weights_of(model.network), description)


def load_rotation(path: Path) -> RotationModel:
    """Read a rotation network's file; the network is in evaluation mode on the CPU.

    Raises:
        SemalignError: no such file, one of another kind or format, or a damaged one.
    """

    def build(tensors: dict[str, Tensor], description: dict[str, Any]) -> RotationModel:
        network = build_rotation(settings_in(description, RotationSettings), seed=0)
        network.load_state_dict(tensors)
        return RotationModel(network.eval(), CropSettings(**description["crop"]), description["about"])

    return load_kind(path, "rotation network", KIND, FORMAT, build)
