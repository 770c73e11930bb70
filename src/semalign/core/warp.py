"""Batched affine image warps on the device.

Shape legend: b images, c channels, hs ws source height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

from semalign.core.affine import invert


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; what a GPU has still to do is not waited for."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def warp(
    images: Num[Tensor, "b c hs ws"],
    source_to_target: Float[Tensor, "#b 2 3"],
    size: int,
    displacement: Float[Tensor, "b {size} {size} 2"] | None = None,
) -> Float[Tensor, "b c {size} {size}"]:
    """The images resampled (bilinear, zeros outside) into a size×size target frame, in float32 (float64 stays).

    What lies at source point p is found at target point `transform_points(p, source_to_target)`. With a displacement
    (target pixels) the target pixel q shows what would be at q + displacement(q) without it. There is no low-pass
    filter: a map that shrinks by much more than two skips source pixels. The map may lie on the CPU, where its inverse is
    not waited for, as it is on a GPU.

    Raises:
        torch.linalg.LinAlgError: a map is singular.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    target_to_source = sent(invert(source_to_target.double()).to(images.dtype), images.device)
    return resampled(images, target_to_source, size, displacement)


def resampled(
    images: Float[Tensor, "b c hs ws"],
    target_to_source: Float[Tensor, "#b 2 3"],
    size: int,
    displacement: Float[Tensor, "b {size} {size} 2"] | None = None,
) -> Float[Tensor, "b c {size} {size}"]:
    """As `warp`, by the map back, which is of the images' type."""
    height, width = images.shape[-2:]
    maps = target_to_source[:, None, None]  # (b, 1, 1, 2, 3)
    steps = torch.arange(size, dtype=images.dtype, device=images.device)
    x, y = steps[:, None], steps[:, None, None]
    if displacement is not None:
        x, y = x + displacement[..., :1], y + displacement[..., 1:]
    source = x * maps[..., 0] + y * maps[..., 1] + maps[..., 2]  # (b, size, size, 2)
    extent = sent(torch.tensor([width, height], dtype=images.dtype), images.device)
    grid = ((2 * source + 1) / extent - 1).expand(images.shape[0], -1, -1, -1)  # `len` would fix it in a graph
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
