"""2×3 affine maps between frames, in batches.

A map from frame *a* to frame *b* is called `a_to_b`; points are (x, y) with pixel centres at integers. A batch of one
map serves any number of images. Everything is written as sums of products, not as matrix products: autocast and TF32
would round those to whole pixels.

Shape legend: b images, n points.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def transform_points(
    points: Float[Tensor, "b n 2"], source_to_target: Float[Tensor, "#b 2 3"]
) -> Float[Tensor, "b n 2"]:
    """Map points of the source frame into the target frame; NaN stays NaN."""
    maps = source_to_target[:, None]
    return points[..., :1] * maps[..., 0] + points[..., 1:] * maps[..., 1] + maps[..., 2]


def compose(second: Float[Tensor, "#b 2 3"], first: Float[Tensor, "#b 2 3"]) -> Float[Tensor, "#b 2 3"]:
    """The map that applies `first`, then `second`."""
    columns = second[:, :, :1] * first[:, :1] + second[:, :, 1:2] * first[:, 1:]
    return torch.cat([columns[:, :, :2], columns[:, :, 2:] + second[:, :, 2:]], dim=2)


def invert(source_to_target: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b 2 3"]:
    """The map back from the target to the source frame.

    Raises:
        torch.linalg.LinAlgError: a map is singular.
    """
    linear = torch.linalg.inv(source_to_target[:, :, :2])
    offset = source_to_target[:, None, :, 2]
    return torch.cat([linear, -(linear * offset).sum(dim=2, keepdim=True)], dim=2)


def rescaling(source_size: int, target_size: int, batch: int = 1) -> Float[Tensor, "{batch} 2 3"]:
    """The map of a change of resolution: x → (x + 0.5)·s - 0.5 with s = target_size / source_size; float64, CPU."""
    scale = target_size / source_size
    offset = 0.5 * scale - 0.5
    matrix = torch.tensor([[scale, 0.0, offset], [0.0, scale, offset]], dtype=torch.float64)
    return matrix.repeat(batch, 1, 1)


def square_crop(centre: Float[Tensor, "b 2"], side: Float[Tensor, " b"], size: int) -> Float[Tensor, "b 2 3"]:
    """image_to_crop for the axis-aligned square of the given centre and side, resampled to size×size pixels.

    The square spans centre ± side/2 in continuous image coordinates; the crop spans -0.5 … size-0.5.
    """
    scale = size / side
    zero = torch.zeros_like(scale)
    linear = torch.stack([scale, zero, zero, scale], dim=1).view(-1, 2, 2)
    offset = (size - 1) / 2 - scale[:, None] * centre
    return torch.cat([linear, offset[:, :, None]], dim=2)
