"""A residual network (He et al., CVPR 2016, without the bottleneck) as the trunk of what predicts a few numbers from a picture.

Shape legend: b images, s side of the picture, c channels, h w feature map, f features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semalign.models.norm import BatchNorm


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around an identity or a projection; the first one may halve the resolution.

    The last normalisation begins at 0: each block starts as its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            BatchNorm(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            BatchNorm(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm(outputs))
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """Height and width are divided by the stride."""
        return F.relu(self.skip(x) + self.body(x), inplace=True)


class ResNet(nn.Module):
    """RGB pictures in [0, 1] to a feature map of `channels` channels.

    Args:
        width: channels of the first stage; each later stage halves the resolution and doubles the channels.
        blocks: how many in each stage; width 64 with (2, 2, 2, 2) is ResNet-18.
    """

    def __init__(self, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            BatchNorm(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        channels = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                outputs = width * 2**stage
                layers.append(BasicBlock(channels, outputs, 2 if stage > 0 and index == 0 else 1))
                channels = outputs
        self.layers = nn.Sequential(*layers)
        self.channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b c h w"]:
        """The last feature map, of a resolution lower by `reduction(blocks)`."""
        return self.layers((images - 0.5) * 4)


def reduction(blocks: tuple[int, ...]) -> int:
    """Pixels of the picture for one of the last feature map."""
    return 2 ** (len(blocks) + 1)


def check_shape(input_size: int, width: int, blocks: tuple[int, ...]) -> None:
    """Raise unless these settings make a network.

    Raises:
        ValueError: no blocks, no width, or a side that the stages do not divide.
    """
    if width < 1 or not blocks or min(blocks) < 1:
        raise ValueError("width and each of blocks must be at least 1")
    if input_size < 1 or input_size % reduction(blocks):
        raise ValueError(f"input_size must be a multiple of {reduction(blocks)} for {len(blocks)} stages of blocks")


def start_near_zero(head: nn.Linear) -> None:
    """Weights so small that the head begins with its bias."""
    nn.init.normal_(head.weight, std=1e-3)
    nn.init.zeros_(head.bias)


def in_full_precision(head: nn.Linear, features: Float[Tensor, "b f"]) -> Float[Tensor, "b m"]:
    """The head's output in float32 whatever autocast is on: bfloat16 would round coordinates to whole pixels."""
    with torch.autocast(features.device.type, enabled=False):
        return head(features.float())
