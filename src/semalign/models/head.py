"""The last layer of a network that draws heatmaps.

Shape legend: b images, n landmarks, h w heatmap, c channels, t side of the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init


class HeatmapHead(nn.Module):
    """From the trunk's features to heatmaps of `factor` times its resolution; starts near zero."""

    def __init__(self, width: int, landmarks: int, factor: int, upsampling: str) -> None:
        super().__init__()
        self.factor, self.upsampling = factor, upsampling
        if upsampling == "transposed" and factor > 1:
            self.predict: nn.Module = nn.ConvTranspose2d(width, landmarks, 2 * factor, factor, factor // 2)
        else:
            shuffled = landmarks * factor**2 if upsampling == "shuffle" else landmarks
            self.predict = nn.Conv2d(width, shuffled, 1)
        nn.init.normal_(self.predict.weight, std=1e-3)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(b, n, factor·h, factor·w) heatmaps, unbounded."""
        return self.enlarged(self.predict(features))

    def enlarged(self, maps: Tensor) -> Tensor:
        """The maps that the convolution gives, at the heatmaps' resolution."""
        if self.factor == 1 or self.upsampling == "transposed":
            return maps
        if self.upsampling == "shuffle":
            return F.pixel_shuffle(maps, self.factor)
        return F.interpolate(maps, scale_factor=float(self.factor), mode="bilinear", align_corners=False)


class MirroredHead(nn.Module):
    """The mean of a crop's heatmaps and its mirror image's, from the features of both, in one convolution.

    A head is a convolution of single pixels and an enlargement, so that the mean can be taken before the heatmaps are
    large: the mirrored features are turned back and meet the head's weights with left and right exchanged.

    Args:
        head: of the network.
        flip_index: the landmarks' exchange in a mirrored picture.
    """

    def __init__(self, head: HeatmapHead, flip_index: Sequence[int]) -> None:
        super().__init__()
        self.head = head
        if isinstance(self.head.predict, nn.ConvTranspose2d):
            self.flip_index, self.mean = list(flip_index), None
            return
        predict: nn.Conv2d = self.head.predict  # type: ignore[assignment]
        side = self.head.factor if self.head.upsampling == "shuffle" else 1
        channels = torch.arange(predict.out_channels).view(-1, side, side)[list(flip_index)].flip(-1).flatten()
        bias: Tensor = predict.bias  # type: ignore[assignment]
        like = {"device": predict.weight.device, "dtype": predict.weight.dtype}
        self.mean = skip_init(nn.Conv2d, 2 * predict.in_channels, predict.out_channels, 1, **like)  # draws no numbers
        with torch.no_grad():
            self.mean.weight.copy_(torch.cat([predict.weight, predict.weight[channels]], 1) / 2)
            self.mean.bias.copy_((bias + bias[channels]) / 2)

    def forward(self, plain: Float[Tensor, "b c t t"], mirrored: Float[Tensor, "b c t t"]) -> Float[Tensor, "b n h w"]:
        """The mean heatmaps in the plain crop's frame."""
        if self.mean is None:
            return (self.head(plain) + self.head(mirrored).flip(-1)[:, self.flip_index]) / 2
        return self.head.enlarged(self.mean(torch.cat([plain, mirrored.flip(-1)], 1)))
