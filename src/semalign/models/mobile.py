"""A light network for CPUs: inverted residuals (MobileNetV2 to V4) down to coarse scales, and a thin decoder back up.

An inverted residual widens a pixel's features, filters each channel by itself and narrows them again, for a small part of what
a full convolution costs. Everything is convolution, batch normalisation, ReLU and addition, so that it quantises to 8 bits.

Shape legend: b images, n landmarks, h heatmap, s side of the input, c channels, t side of the finest decoded scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from semalign.models.head import HeatmapHead
from semalign.models.network import HeadedNetwork
from semalign.models.norm import BatchNorm

STEM = 16  # channels at half the input's resolution
FINEST = 4  # pixels of the input for one of the finest scale


@dataclass(frozen=True)
class MobileSettings:
    """Shape of the network.

    The scales have 1/4, 1/8, ... of the input's resolution. The decoder goes back up to one of them, and the head enlarges
    from there.
    """

    kind: Literal["mobile"] = field(default="mobile", kw_only=True)
    input_size: int = 128
    heatmap_size: int = 32
    width: int = 16  # channels of the finest scale
    growth: float = 2.0  # channels of a scale, in those of the scale above it
    scales: int = 4
    blocks: int = 3  # inverted residuals of a scale; the finest has one
    expansion: int = 4  # how many times as wide as its input an inverted residual is inside
    decoder: int = 32  # channels on the way back up
    stride: Literal[4, 8] = 4  # pixels of the input for one of the decoder's last scale

    def __post_init__(self) -> None:
        coarsest = FINEST * 2 ** (self.scales - 1)
        if self.scales < 2 or self.input_size % coarsest:
            raise ValueError(
                f"input_size must be a multiple of {coarsest} for {self.scales} scales, of which there must be 2"
            )
        side, factor = self.input_size // self.stride, self.upsampling_factor
        if side * factor != self.heatmap_size or factor not in (1, 2, 4, 8):
            raise ValueError(f"heatmap_size must be 1, 2, 4 or 8 times input_size / {self.stride}")
        if self.growth < 1 or self.blocks < 1:
            raise ValueError("growth and blocks must be at least 1")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every scale, finest first; multiples of 8 below the first."""
        return (self.width, *(8 * round(self.width * self.growth**scale / 8) for scale in range(1, self.scales)))

    @property
    def upsampling_factor(self) -> int:
        """Heatmap pixels for one pixel of the decoder's last scale."""
        return self.heatmap_size // (self.input_size // self.stride)

    def network(self, landmarks: int) -> MobileNetwork:
        """A network of this shape; `semalign.models.network.build_network` makes one for a seed."""
        return MobileNetwork(self, landmarks)


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """A convolution with batch normalisation and, if wanted, ReLU."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), BatchNorm(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class InvertedResidual(nn.Module):
    """1×1 to more channels, a 3×3 filter for each of them, 1×1 to the outputs; around an identity where shapes are the same."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        inner = expansion * inputs
        self.body = nn.Sequential(
            convolution(inputs, inner, 1),
            convolution(inner, inner, 3, stride, groups=inner),
            convolution(inner, outputs, 1, relu=False),
        )
        self.identity = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Height and width are those of x over the stride; the narrow features may be negative."""
        narrow: Tensor = self.body(x)
        return x + narrow if self.identity else narrow


class Join(nn.Module):
    """A step of the decoder: a scale's own features and those of the coarser one, enlarged."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.side = convolution(inputs, width, 1, relu=False)
        self.enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True), convolution(width, width, 3, groups=width), convolution(width, width, 1)
        )

    def forward(self, own: Tensor, coarser: Tensor | None) -> Tensor:
        """(b, width, ...) of the size of the scale's own features; the coarsest scale has none below it."""
        joined: Tensor = self.side(own)
        mixed: Tensor = self.mix(joined if coarser is None else joined + self.enlarge(coarser))
        return mixed


class MobileNetwork(HeadedNetwork):
    """RGB images in [0, 1] to one set of heatmaps.

    Args:
        settings: the network's shape.
        landmarks: number of heatmaps n.
    """

    settings: MobileSettings

    def __init__(self, settings: MobileSettings, landmarks: int) -> None:
        super().__init__(settings.input_size, settings.heatmap_size, landmarks)
        self.settings = settings
        finest, *below = settings.widths
        self.stem = nn.Sequential(convolution(3, STEM, 3, stride=2), convolution(STEM, finest, 3, stride=2))
        self.scales = nn.ModuleList([InvertedResidual(finest, finest, settings.expansion)])
        inputs = finest
        for outputs in below:
            first = InvertedResidual(inputs, outputs, settings.expansion, stride=2)
            rest = [InvertedResidual(outputs, outputs, settings.expansion) for _ in range(settings.blocks - 1)]
            self.scales.append(nn.Sequential(first, *rest))
            inputs = outputs
        self.left_out = 0 if settings.stride == FINEST else 1  # finest scales that the decoder does not come back to
        self.joins = nn.ModuleList(Join(width, settings.decoder) for width in settings.widths[self.left_out :])
        self.head = HeatmapHead(settings.decoder, landmarks, settings.upsampling_factor, "shuffle")

    @property
    def last_head(self) -> HeatmapHead:
        """The only one."""
        return self.head

    def last_features(
        self, images: Float[Tensor, "b 3 s s"]
    ) -> tuple[list[Float[Tensor, "b n h h"]], Float[Tensor, "b c t t"]]:
        """No earlier heatmaps, and what the head makes its heatmaps of."""
        x = self.stem((images - 0.5) * 4)
        seen = []
        for scale in self.scales:
            x = scale(x)
            seen.append(x)
        decoded: Tensor | None = None
        for own, join in zip(reversed(seen[self.left_out :]), reversed(self.joins), strict=True):
            decoded = join(own, decoded)
        assert decoded is not None
        return [], decoded
