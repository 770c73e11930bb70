"""The global heatmap correction unit of Table 1: from a network's heatmaps straight to a whole face shape.

Six convolutions of stride 2 and two fully connected layers see all heatmaps at once and give all landmarks at once, so that the
result is always shaped like a face, whatever single heatmaps do. What the table does not say is ours: batch normalisation and
ReLU follow each convolution, ReLU the first fully connected layer, and the last bias begins as the mean shape.

The table is for heatmaps of 256×256, and most of its cost there is its first layer. For smaller ones the layers that follow the
first are left out, as many as it takes for the last map to stay 4×4 (3×3 where the side is 3 times a power of two): 128×128
lacks Conv2, 64×64 and 48×48 lack Conv2 and Conv3. Larger heatmaps than wanted are averaged down first.

Shape legend: b images, n landmarks, h w heatmap, s side of the unit's input.
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

from semalign.core.fusion import Fusion
from semalign.core.gate import Gate
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_kind, save_tensors, weights_of
from semalign.models.described import about_in, check_settings
from semalign.models.network import initialised
from semalign.models.norm import BatchNorm
from semalign.schemes import LandmarkScheme

FORMAT = 2
KIND = "ghcu"
COVARIANCE = "fusion.covariance"
LARGEST = 256
FIRST = (5, 64)  # kernel and channels of Conv1
FOLLOWING = ((3, 64), (3, 32), (3, 32), (3, 16), (3, 16))  # of Conv2 to Conv6
LAST_SIDE = 4  # of the last map, at most
HIDDEN = 256  # outputs of FC1


@dataclass(frozen=True)
class GhcuSettings:
    """The unit's input resolution."""

    input_size: int = LARGEST  # side to which larger heatmaps are averaged; smaller ones are taken as they are

    def __post_init__(self) -> None:
        if not 2 * LAST_SIDE <= self.input_size <= LARGEST:
            raise ValueError(f"input_size must be {2 * LAST_SIDE} to {LARGEST}")

    def fitted(self, heatmap_size: int) -> GhcuSettings:
        """The settings for heatmaps of a given side: the input is never larger than they are.

        Raises:
            ValueError: heatmaps that are larger, but no multiple of the input.
        """
        fitted = GhcuSettings(min(self.input_size, heatmap_size))
        if heatmap_size % fitted.input_size:
            raise ValueError(f"input_size must divide the heatmaps' side {heatmap_size}")
        return fitted

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Kernel and channels of the convolutions that remain of Table 1."""
        count, side = 0, self.input_size
        while side > LAST_SIDE:
            count, side = count + 1, -(-side // 2)
        return (FIRST, *FOLLOWING[len(FOLLOWING) - (count - 1) :])

    @property
    def last_side(self) -> int:
        """Side of the last convolution's map."""
        return -(-self.input_size // 2 ** len(self.layers))


class GhcuNetwork(nn.Module):
    """Heatmaps to points of their normalised square.

    Args:
        settings: the input's side.
        landmarks: number of heatmaps n.
    """

    def __init__(self, settings: GhcuSettings, landmarks: int) -> None:
        super().__init__()
        self.settings, self.landmarks = settings, landmarks
        layers: list[nn.Module] = []
        inputs = landmarks
        for kernel, outputs in settings.layers:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False)
            layers += [convolution, BatchNorm(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(inputs * settings.last_side**2, HIDDEN)
        self.output = nn.Linear(HIDDEN, 2 * landmarks)
        nn.init.normal_(self.output.weight, std=1e-3)

    def forward(self, heatmaps: Float[Tensor, "b n h h"]) -> Float[Tensor, "b n 2"]:
        """The shape: (x, y) from -0.5 to 0.5 across the heatmaps' extent; a point may lie beyond it."""
        features = self.convolutions(reduce_heatmaps(heatmaps, self.settings.input_size))
        hidden = F.relu(self.hidden(features.flatten(1)))
        return self.output(hidden).view(-1, self.landmarks, 2)


def reduce_heatmaps(heatmaps: Float[Tensor, "b n h h"], size: int) -> Float[Tensor, "b n {size} {size}"]:
    """The heatmaps averaged down to the given side, which must divide theirs; the same tensor where it is theirs.

    Raises:
        ValueError: it does not divide theirs.
    """
    side = heatmaps.shape[-1]
    if side % size:
        raise ValueError(f"the heatmaps' side {side} must be a multiple of {size}")
    return heatmaps if side == size else F.avg_pool2d(heatmaps, side // size)


def build_ghcu(
    settings: GhcuSettings, landmarks: int, seed: int, mean_shape: Float[Tensor, "n 2"] | None = None
) -> GhcuNetwork:
    """A freshly initialised unit, the same for the same seed, without touching the global generator.

    Args:
        settings: its input's side, see `GhcuSettings.fitted`.
        landmarks: n.
        seed: of the weights.
        mean_shape: what it gives at first whatever it sees, in the normalised square; the square's middle if not given.
    """
    network = initialised(lambda: GhcuNetwork(settings, landmarks), seed)
    with torch.no_grad():
        if mean_shape is None:
            network.output.bias.zero_()
        else:
            network.output.bias.copy_(mean_shape.flatten())
    return network


def to_square(points: Float[Tensor, "b n 2"], size: int) -> Float[Tensor, "b n 2"]:
    """Points of a frame of `size` pixels in its normalised square, -0.5 to 0.5 across its extent."""
    return (points + 0.5) / size - 0.5


def from_square(points: Float[Tensor, "b n 2"], size: int) -> Float[Tensor, "b n 2"]:
    """The inverse of `to_square`."""
    return (points + 0.5) * size - 0.5


@dataclass(frozen=True)
class Ghcu:
    """A trained unit and what it needs.

    Attributes:
        gate: None if it was not calibrated.
        fusion: the same.
        about: where it comes from (base network, data, seed, versions), JSON values only.
    """

    network: GhcuNetwork
    scheme: LandmarkScheme
    gate: Gate | None = None
    fusion: Fusion | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def save_ghcu(path: Path, ghcu: Ghcu) -> None:
    """Write a unit's file atomically."""
    tensors, fusion = weights_of(ghcu.network), ghcu.fusion
    description = {
        "format": FORMAT,
        "kind": KIND,
        "settings": asdict(ghcu.network.settings),
        "scheme": ghcu.scheme.to_dict(),
        "gate": None if ghcu.gate is None else asdict(ghcu.gate),
        "fusion": None,
        "about": dict(ghcu.about),
    }
    if fusion is not None:
        tensors = {**tensors, COVARIANCE: fusion.covariance}
        description["fusion"] = {"low": fusion.low, "distance": fusion.distance, "offset": fusion.offset}
    save_tensors(path, tensors, description)


def load_ghcu(path: Path, scheme: LandmarkScheme | None = None) -> Ghcu:
    """Read a unit's file; the network is in evaluation mode on the CPU.

    Args:
        path: the file.
        scheme: the landmarks of the network whose heatmaps are to be corrected.

    Raises:
        SemalignError: no such file, not a unit's file, a damaged one, or one of another landmark scheme.
    """

    def build(tensors: dict[str, Tensor], description: dict[str, Any]) -> Ghcu:
        own = LandmarkScheme.from_dict(description["scheme"])
        settings = GhcuSettings(**description["settings"])
        check_settings(settings)
        covariance = tensors.pop(COVARIANCE, None)
        if own.count > sum(value.numel() for value in tensors.values()):
            raise ValueError("more landmarks than weights")
        network = build_ghcu(settings, own.count, seed=0)
        network.load_state_dict(tensors)
        gate = None if description["gate"] is None else Gate(**description["gate"])
        fusion = None if covariance is None else Fusion(covariance, **description["fusion"])
        if fusion is not None and fusion.covariance.shape != (2, own.count, own.count):
            raise ValueError("a covariance of another number of landmarks")
        return Ghcu(network.eval(), own, gate, fusion, about_in(description))

    ghcu = load_kind(path, "correction unit", KIND, FORMAT, build)
    if scheme is not None and ghcu.scheme != scheme:
        raise SemalignError(
            f"{path}: corrects the landmark scheme {ghcu.scheme.name!r} ({ghcu.scheme.count} points), but the network has "
            f"{scheme.name!r} ({scheme.count} points); train a unit for that network."
        )
    return ghcu
