"""The last layer of a network that draws heatmaps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
