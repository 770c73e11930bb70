"""Stacked hourglass (Newell et al., ECCV 2016) with intermediate supervision on every stack.

Shape legend: b images, n landmarks, h w heatmap, k stacks, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semalign.models.head import HeatmapHead
from semalign.models.network import HeadedNetwork, initialised
from semalign.models.norm import BatchNorm


@dataclass(frozen=True)
class HourglassSettings:
    """Shape of the network.

    The trunk works at a quarter of the input; `heatmap_size` may be the trunk's size or a power of two above it.
    """

    kind: Literal["hourglass"] = field(default="hourglass", kw_only=True)
    input_size: int = 128
    heatmap_size: int = 64
    stacks: int = 2
    width: int = 96
    depth: int = 3
    growth: float = 1.0  # channels of a scale, in those of the scale above it
    block: Literal["basic", "bottleneck"] = "basic"
    upsampling: Literal["shuffle", "bilinear", "transposed"] = "shuffle"
    resampling: Literal["plain", "smooth"] = (
        "plain"  # between scales; 'smooth' hardly minds where a face lies on the grid
    )

    def __post_init__(self) -> None:
        trunk, factor = self.input_size // 4, self.heatmap_size // max(self.input_size // 4, 1)
        if self.input_size % 4 or trunk % 2**self.depth:
            raise ValueError(f"input_size must be a multiple of {4 * 2**self.depth} for depth {self.depth}")
        if trunk * factor != self.heatmap_size or factor not in (1, 2, 4, 8):
            raise ValueError("heatmap_size must be 1, 2, 4 or 8 times a quarter of input_size")
        if self.growth < 1:
            raise ValueError("growth must be at least 1")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every scale of a hourglass, finest first; multiples of 8 below the first."""
        below = (8 * round(self.width * self.growth**scale / 8) for scale in range(1, self.depth + 1))
        return (self.width, *(below if self.growth > 1 else [self.width] * self.depth))

    @property
    def upsampling_factor(self) -> int:
        """Heatmap pixels for one trunk pixel."""
        return self.heatmap_size // (self.input_size // 4)

    def network(self, landmarks: int) -> StackedHourglass:
        """A hourglass of this shape; `semalign.models.network.build_network` makes one for a seed."""
        return StackedHourglass(self, landmarks)


PRESETS = {
    "compact": HourglassSettings(),
    "standard": HourglassSettings(
        input_size=256, heatmap_size=256, stacks=4, width=256, depth=4, block="bottleneck", upsampling="bilinear"
    ),
}


class Residual(nn.Module):
    """Two 3×3 convolutions ('basic') or 1×1, 3×3, 1×1 at half width ('bottleneck') around an identity or a projection."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__()
        if kind == "basic":
            plan = [(inputs, outputs, 3), (outputs, outputs, 3)]
        else:
            plan = [(inputs, outputs // 2, 1), (outputs // 2, outputs // 2, 3), (outputs // 2, outputs, 1)]
        layers: list[nn.Module] = []
        for index, (a, b, kernel) in enumerate(plan):
            layers += [nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=False), BatchNorm(b)]
            if index < len(plan) - 1:
                layers.append(nn.ReLU(inplace=True))
        self.body = nn.Sequential(*layers)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        nn.init.constant_(self.body[-1].weight, 0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Same height and width as x."""
        return F.relu(self.skip(x) + self.body(x), inplace=True)


class SmoothHalving(nn.Module):
    """Every second pixel of the picture seen through a binomial filter (R. Zhang, ICML 2019): it has no weights.

    A maximum of two keeps whichever pixel happens to lie on the grid, so that a face moved by a pixel gives other landmarks.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (taps[:, None] * taps).expand(channels, 1, 4, 4).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Half of x's height and width."""
        kernel: Tensor = self.kernel  # type: ignore[assignment]
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=len(kernel))


class Hourglass(nn.Module):
    """One hourglass: halved and brought back for every scale below the first, with a skip branch at each."""

    def __init__(self, widths: tuple[int, ...], kind: str, resampling: str) -> None:
        super().__init__()
        width, below = widths[:2]
        if resampling == "smooth":
            self.halve: nn.Module = SmoothHalving(width)
            self.enlarge = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        else:
            self.halve = nn.MaxPool2d(2)
            self.enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.skip = Residual(width, width, kind)
        self.down = Residual(width, below, kind)
        self.inner = Hourglass(widths[1:], kind, resampling) if len(widths) > 2 else Residual(below, below, kind)
        self.up = Residual(below, width, kind)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        low = self.up(self.inner(self.down(self.halve(x))))
        result: Tensor = self.skip(x) + self.enlarge(low)
        return result


class StackedHourglass(HeadedNetwork):
    """RGB images in [0, 1] to one set of heatmaps per stack, first to last; the last is the prediction.

    Args:
        settings: the network's shape.
        landmarks: number of heatmaps n.
    """

    settings: HourglassSettings

    def __init__(self, settings: HourglassSettings, landmarks: int) -> None:
        super().__init__(settings.input_size, settings.heatmap_size, landmarks)
        self.settings = settings
        width, kind = settings.width, settings.block
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2, bias=False),
            BatchNorm(width // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
            BatchNorm(width),
            nn.ReLU(inplace=True),
            Residual(width, width, kind),
        )
        self.hourglasses = nn.ModuleList(
            Hourglass(settings.widths, kind, settings.resampling) for _ in range(settings.stacks)
        )
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), BatchNorm(width), nn.ReLU(inplace=True))
            for _ in range(settings.stacks)
        )
        self.heads = nn.ModuleList(
            HeatmapHead(width, landmarks, settings.upsampling_factor, settings.upsampling)
            for _ in range(settings.stacks)
        )
        inner_maps = [landmarks * settings.upsampling_factor**2] * (settings.stacks - 1)
        self.merge_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in inner_maps)
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(maps, width, 1) for maps in inner_maps)

    @property
    def last_head(self) -> HeatmapHead:
        """The last stack's."""
        return self.heads[-1]  # type: ignore[return-value]

    def last_features(
        self, images: Float[Tensor, "b 3 s s"]
    ) -> tuple[list[Float[Tensor, "b n h w"]], Float[Tensor, "b c t t"]]:
        """Heatmaps of the stacks before the last, and what the last head makes its heatmaps of (t: the trunk's side)."""
        trunk = self.stem((images - 0.5) * 4)
        earlier = []
        for index, merge in enumerate(self.merge_features):
            features = self.features[index](self.hourglasses[index](trunk))
            heatmaps = self.heads[index](features)
            earlier.append(heatmaps)
            folded = F.pixel_unshuffle(heatmaps, self.settings.upsampling_factor)
            trunk = trunk + merge(features) + self.merge_heatmaps[index](folded)
        return earlier, self.features[-1](self.hourglasses[-1](trunk))


def build_hourglass(settings: HourglassSettings, landmarks: int, seed: int) -> StackedHourglass:
    """As `semalign.models.network.build_network`, where the kind is known."""
    return initialised(lambda: settings.network(landmarks), seed)
