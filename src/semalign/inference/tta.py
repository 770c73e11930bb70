"""Test-time augmentation: the mean heatmap of several versions of a crop is steadier than that of any one of them.

The flat top of a weak landmark's heatmap has its highest pixel anywhere; slightly turned, enlarged and mirrored pictures put it
elsewhere each time, and what they agree on remains. The first version is the plain crop, as the paper uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose, invert, rescaling
from semalign.core.warp import warp
from semalign.models.network import HeatmapNetwork


@dataclass(frozen=True)
class Transform:
    """A change of the input square: a turn and a zoom about its middle, a shift, then perhaps a mirror."""

    mirrored: bool = False
    turn: float = 0.0  # degrees
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # sides of the square

    def matrix(self, size: int) -> Float[Tensor, "2 3"]:
        """input_to_transformed, float64, for a square of `size` pixels."""
        cosine, sine = self.zoom * math.cos(math.radians(self.turn)), self.zoom * math.sin(math.radians(self.turn))
        linear = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
        middle = torch.full((2,), (size - 1) / 2, dtype=torch.float64)
        offset = middle + size * torch.tensor(self.shift, dtype=torch.float64) - linear @ middle
        matrix = torch.cat([linear, offset[:, None]], dim=1)
        if self.mirrored:
            mirror = torch.tensor([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
            matrix = compose(mirror[None], matrix[None])[0]
        return matrix


TRANSFORMS = (
    Transform(),
    Transform(mirrored=True),
    Transform(turn=7.0, zoom=1.05, shift=(0.015, -0.01)),
    Transform(mirrored=True, turn=-7.0, zoom=0.95, shift=(-0.01, 0.015)),
)


def mean_heatmaps(
    network: HeatmapNetwork,
    crops: Float[Tensor, "b 3 s s"],
    crop_to_input: Float[Tensor, "2 3"],
    tta: int,
    flip_index: tuple[int, ...],
) -> Float[Tensor, "b n h w"]:
    """The mean of the last stack's heatmaps over the first `tta` of TRANSFORMS, in the plain crop's frame, float32.

    Args:
        network: in evaluation mode.
        crops: with their margin, in [0, 1].
        crop_to_input: map to the plain input square, float64.
        tta: 1 to 4.
        flip_index: the landmarks' exchange in a mirrored picture.
    """
    size = network.input_size
    total: Tensor | None = None
    for transform in TRANSFORMS[:tta]:
        matrix = transform.matrix(size)
        to_transformed = compose(matrix[None], crop_to_input[None]).to(crops.device)
        images = warp(crops, to_transformed.expand(len(crops), 2, 3), size)
        heatmaps = network(images.contiguous(memory_format=torch.channels_last))[-1].float()
        if transform.mirrored:
            heatmaps = heatmaps[:, list(flip_index)]
        if transform != Transform():
            scale = rescaling(size, heatmaps.shape[-1]).to(crops.device)
            inverse = invert(matrix[None]).to(crops.device)
            back = compose(scale, compose(inverse, invert(scale)))
            heatmaps = warp(heatmaps, back.expand(len(crops), 2, 3), heatmaps.shape[-1])
        total = heatmaps if total is None else total.add_(heatmaps)
    assert total is not None
    return total.div_(tta)
