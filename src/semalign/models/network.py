"""What the rest of the package knows of a network that draws heatmaps, and how one from outside becomes such a network.

Search, training, correction unit, test-time augmentation and export ask a network for nothing that is not in `HeatmapNetwork`.

Shape legend: b images, n landmarks, h heatmap, s side of the input, c channels, t side of the features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semalign.core.heatmaps import render_gaussians, under_doubt
from semalign.errors import SemalignError
from semalign.models.head import HeatmapHead

TARGET = 1 / 40  # σ of the Gaussian that a network of points draws where it has no doubt, sides of the heatmap
Built = TypeVar("Built", bound=nn.Module)


@runtime_checkable
class Sizes(Protocol):
    """Something that fixes what a network sees and draws: its settings, or the network itself."""

    @property
    def input_size(self) -> int:
        """s, pixels."""

    @property
    def heatmap_size(self) -> int:
        """h, pixels."""


@runtime_checkable
class NetworkSettings(Sizes, Protocol):
    """The settings of a kind of network: a frozen dataclass whose `kind` is its name in recipes and model files."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def kind(self) -> str:
        """Name of the kind, the same for all settings of one class."""

    def network(self, landmarks: int) -> HeatmapNetwork:
        """A network of these settings, its weights drawn from the global generator; see `build_network`."""


class HeatmapNetwork(nn.Module, ABC):
    """A module that draws a heatmap for each landmark.

    A class and not a structural type: a network is moved, trained and exported as the module that it is.

    Args:
        input_size: side s of the square pictures that it sees, pixels.
        heatmap_size: side h of its heatmaps, pixels.
        landmarks: number of heatmaps n.
    """

    settings: NetworkSettings | None = None  # what a model file keeps of its shape; None: it cannot be written as one
    of_the_mesh: ClassVar[bool] = False  # whether it began as MediaPipe's face mesh, and errs as that does

    def __init__(self, input_size: int, heatmap_size: int, landmarks: int) -> None:
        super().__init__()
        self.input_size, self.heatmap_size, self.landmarks = input_size, heatmap_size, landmarks

    @abstractmethod
    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Sequence[Float[Tensor, "b n h h"]]:
        """Heatmaps of RGB pictures in [0, 1]: one set or several, of which training uses all; the last is the prediction."""

    @property
    def name(self) -> str:
        """What it is called in messages and files."""
        return type(self).__name__

    @property
    def pretrained(self) -> Iterable[nn.Parameter]:
        """Weights that an earlier training on other faces has left: they learn more slowly than the rest."""
        return ()

    @property
    def learner(self) -> nn.Module:
        """The module whose outputs training compares with targets: one of the same weights."""
        return self

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        return next(chain(self.parameters(), self.buffers()), torch.empty(0)).device


class HeadedNetwork(HeatmapNetwork):
    """A network whose last heatmaps a `HeatmapHead` draws: there export joins a crop and its mirror image, which is quicker."""

    @property
    @abstractmethod
    def last_head(self) -> HeatmapHead:
        """What draws the last heatmaps."""

    @abstractmethod
    def last_features(
        self, images: Float[Tensor, "b 3 s s"]
    ) -> tuple[list[Float[Tensor, "b n h h"]], Float[Tensor, "b c t t"]]:
        """All heatmaps but the last, and what the last head makes its heatmaps of."""

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b n h h"]]:
        """All heatmaps, the last one the prediction."""
        earlier, features = self.last_features(images)
        return [*earlier, self.last_head(features)]


class Located(NamedTuple):
    """Where a network that gives points sees the landmarks.

    Attributes:
        stages: points (b, n, 2) of each of its stages, input frame; the last ones are the prediction.
        doubt: (b, n) how far from those the landmarks may lie, mean distance, pixels of the input.
    """

    stages: list[Tensor]
    doubt: Tensor

    @property
    def points(self) -> Float[Tensor, "b n 2"]:
        """The prediction."""
        return self.stages[-1]


class PointNetwork(HeatmapNetwork):
    """A network that gives points and how sure they are, and draws heatmaps from that for whoever asks.

    Of each landmark it draws the mean of the target's Gaussian under a Gaussian doubt, which is a Gaussian, wider and lower by
    it. So whatever reads heatmaps reads these, and their peaks lie where the points are.
    """

    @property
    def learner(self) -> nn.Module:
        """What gives the points of all stages."""
        return Locating(self)

    @abstractmethod
    def located(self, images: Float[Tensor, "b 3 s s"]) -> Located:
        """The landmarks in RGB pictures in [0, 1]."""

    def peaks(self, doubt: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Width (σ, pixels of the heatmap) and height of the Gaussians that it draws."""
        distance = doubt * self.heatmap_size / self.input_size
        return under_doubt(TARGET * self.heatmap_size, distance.square() * 2 / math.pi)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b n h h"]]:
        """One set of heatmaps."""
        found = self.located(images)
        width, height = self.peaks(found.doubt)
        points = (found.points + 0.5) * (self.heatmap_size / self.input_size) - 0.5
        return [height[..., None, None] * render_gaussians(points, self.heatmap_size, width[..., None])]


class Locating(nn.Module):
    """A network of points as a module that gives points."""

    def __init__(self, network: PointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Located:
        """Where the network sees the landmarks."""
        return self.network.located(images)


class MirroredPoints(PointNetwork):
    """The mean of what a network of points sees in a picture and in its mirror image, turned back.

    Args:
        network: of points.
        flip_index: the landmarks' exchange in a mirrored picture.
    """

    def __init__(self, network: PointNetwork, flip_index: Sequence[int]) -> None:
        super().__init__(network.input_size, network.heatmap_size, network.landmarks)
        self.network, self.flip_index = network, list(flip_index)

    def located(self, images: Float[Tensor, "b 3 s s"]) -> Located:
        """Means of both, points and doubts alike."""
        both, count = self.network.located(torch.cat([images, images.flip(-1)])), images.shape[0]
        turned = [points[count:, self.flip_index] for points in both.stages]
        back = [torch.stack([self.input_size - 1 - points[..., 0], points[..., 1]], -1) for points in turned]
        stages = [(points[:count] + other) / 2 for points, other in zip(both.stages, back, strict=True)]
        return Located(stages, (both.doubt[:count] + both.doubt[count:, self.flip_index]) / 2)


class HeatmapModule(HeatmapNetwork):
    """Any module that gives heatmaps, as a network of ours.

    Args:
        module: from RGB pictures (b, 3, s, s) in [0, 1] to heatmaps (b, n, h, h), or to a sequence of such, the last of
            which is the prediction. A heatmap is about 1 at its landmark and 0 elsewhere.
        input_size: s, pixels.
        heatmap_size: h, pixels.
        landmarks: n.

    Raises:
        SemalignError: when it is called and the module gives something else.
    """

    def __init__(self, module: nn.Module, input_size: int, heatmap_size: int, landmarks: int) -> None:
        super().__init__(input_size, heatmap_size, landmarks)
        self.module = module

    @property
    def name(self) -> str:
        """The module's class."""
        return type(self.module).__name__

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b n h h"]]:
        """What the module gives."""
        outputs = self.module(images)
        every = [outputs] if isinstance(outputs, Tensor) else outputs
        if not isinstance(every, Sequence) or not every:
            raise SemalignError(
                f"{self.name}: gives {_in_words(outputs)}, not heatmaps; let its forward return a tensor or a list of tensors."
            )
        wanted = (images.shape[0], self.landmarks, self.heatmap_size, self.heatmap_size)
        for heatmaps in every:
            if not isinstance(heatmaps, Tensor) or heatmaps.ndim != 4 or tuple(heatmaps.shape) != wanted:
                raise SemalignError(
                    f"{self.name}: gives {_in_words(heatmaps)} for pictures {_in_words(images)}, but heatmaps {wanted} were "
                    "promised; change the module, or the sizes given to HeatmapModule."
                )
        return list(every)


def _in_words(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"an object of type {type(value).__name__}"


def build_network(settings: NetworkSettings, landmarks: int, seed: int) -> HeatmapNetwork:
    """A freshly initialised network of any kind, the same for the same seed, without touching the global generator."""
    return initialised(lambda: settings.network(landmarks), seed)


def initialised(make: Callable[[], Built], seed: int) -> Built:
    """What `make` gives when the global generator has the seed, channels last in memory; the generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
