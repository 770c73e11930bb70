"""2×3 affine maps between frames, in batches.

A map from frame *a* to frame *b* is called `a_to_b`; points are (x, y) with pixel centres at integers. A batch of one
map serves any number of images. Everything is written as sums of products, not as matrix products: autocast and TF32
would round those to whole pixels. Maps and points are arrays of NumPy or tensors of PyTorch (`semalign.core.arrays`).

Shape legend: b images, n points.
"""

from __future__ import annotations

import numpy as np

from semalign.core.arrays import Array, Tensor, library
from semalign.shapes import Float


def transform_points(points: Float[Array, "b n 2"], source_to_target: Float[Array, "#b 2 3"]) -> Float[Array, "b n 2"]:
    """Map points of the source frame into the target frame; NaN stays NaN."""
    maps = source_to_target[:, None]
    return points[..., :1] * maps[..., 0] + points[..., 1:] * maps[..., 1] + maps[..., 2]


def compose(second: Float[Array, "#b 2 3"], first: Float[Array, "#b 2 3"]) -> Float[Array, "#b 2 3"]:
    """The map that applies `first`, then `second`."""
    columns = second[:, :, :1] * first[:, :1] + second[:, :, 1:2] * first[:, 1:]
    moved = columns[:, :, 2:] + second[:, :, 2:]
    return library(columns).concatenate([columns[:, :, :2], moved], axis=2)


def invert(source_to_target: Float[Array, "b 2 3"]) -> Float[Array, "b 2 3"]:
    """The map back from the target to the source frame.

    Raises:
        LinAlgError: a map is singular; NumPy's, or PyTorch's of a tensor.
    """
    xp = library(source_to_target)
    linear = xp.linalg.inv(source_to_target[:, :, :2])
    offset = source_to_target[:, None, :, 2]
    return xp.concatenate([linear, -(linear * offset).sum(axis=2, keepdims=True)], axis=2)


def rescaling(source_size: int, target_size: int, batch: int = 1) -> Float[Tensor, "{batch} 2 3"]:
    """The map of a change of resolution: x → (x + 0.5)·s - 0.5 with s = target_size / source_size; float64, CPU."""
    import torch

    scale = target_size / source_size
    offset = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0.0, offset], [0.0, scale, offset]])
    return torch.from_numpy(matrix).repeat(batch, 1, 1)


def square_crop(centre: Float[Array, "b 2"], side: Float[Array, " b"], size: int) -> Float[Array, "b 2 3"]:
    """image_to_crop for the axis-aligned square of the given centre and side, resampled to size×size pixels.

    The square spans centre ± side/2 in continuous image coordinates; the crop spans -0.5 … size-0.5.
    """
    xp, scale = library(side), size / side
    zero = xp.zeros_like(scale)
    linear = xp.stack([scale, zero, zero, scale], axis=1).reshape(-1, 2, 2)
    offset = (size - 1) / 2 - scale[:, None] * centre
    return xp.concatenate([linear, offset[:, :, None]], axis=2)
