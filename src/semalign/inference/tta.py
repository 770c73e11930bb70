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
from semalign.models.head import MirroredHead
from semalign.models.network import HeadedNetwork, HeatmapNetwork, MirroredPoints, PointNetwork


@dataclass(frozen=True)
class Transform:
    """A change of the input square: a turn and a zoom about its middle, a shift, then perhaps a mirror."""

    mirrored: bool = False
    turn: float = 0.0  # degrees
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # sides of the square

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel goes to a pixel: as it is or mirrored."""
        return (self.turn, self.zoom, self.shift) == (0.0, 1.0, (0.0, 0.0))

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

    Of a network of points and two versions it is what `MirroredPoints` draws: the mean of the points, not of the maps.

    Args:
        network: in evaluation mode.
        crops: with their margin, in [0, 1].
        crop_to_input: map to the plain input square, float64.
        tta: 1 to 4.
        flip_index: the landmarks' exchange in a mirrored picture.
    """
    size = network.input_size
    both: Tensor
    if tta == 2 and isinstance(network, HeadedNetwork) and type(network).forward is HeadedNetwork.forward:
        plain, mirrored = (
            network.last_features(_transformed(crops, crop_to_input, transform, size))[1]
            for transform in TRANSFORMS[:2]
        )
        both = MirroredHead(network.last_head, flip_index)(plain, mirrored)
        return both.float()
    if tta == 2 and isinstance(network, PointNetwork):
        both = MirroredPoints(network, flip_index)(_transformed(crops, crop_to_input, TRANSFORMS[0], size))[-1]
        return both.float()
    total: Tensor | None = None
    for transform in TRANSFORMS[:tta]:
        heatmaps = network(_transformed(crops, crop_to_input, transform, size))[-1].float()
        if transform.mirrored:
            heatmaps = heatmaps[:, list(flip_index)]
        heatmaps = _back(heatmaps, transform, size)
        total = heatmaps if total is None else total.add_(heatmaps)
    assert total is not None
    return total if tta == 1 else total.div_(tta)


def _transformed(
    crops: Float[Tensor, "b 3 s s"], crop_to_input: Float[Tensor, "2 3"], transform: Transform, size: int
) -> Float[Tensor, "b 3 {size} {size}"]:
    """What the network sees of crops, channels last in memory: cut out where each pixel stays one, else resampled."""
    inset = -int(crop_to_input[0, 2])
    whole = torch.tensor([[1.0, 0.0, -inset], [0.0, 1.0, -inset]], dtype=torch.float64)
    if transform.keeps_pixels and inset >= 0 and torch.equal(crop_to_input, whole):
        images = crops[:, :, inset : inset + size, inset : inset + size]
        images = images.flip(-1) if transform.mirrored else images
    else:
        matrix = compose(transform.matrix(size)[None], crop_to_input[None])
        images = warp(crops, matrix.expand(len(crops), 2, 3), size)
    return images.contiguous(memory_format=torch.channels_last)


def _back(heatmaps: Float[Tensor, "b n h h"], transform: Transform, size: int) -> Float[Tensor, "b n h h"]:
    """Heatmaps of transformed crops in the plain crop's frame."""
    if transform.keeps_pixels:
        return heatmaps.flip(-1) if transform.mirrored else heatmaps
    scale = rescaling(size, heatmaps.shape[-1])
    back = compose(scale, compose(invert(transform.matrix(size)[None]), invert(scale)))
    return warp(heatmaps, back.expand(len(heatmaps), 2, 3), heatmaps.shape[-1])
