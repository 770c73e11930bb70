"""The face mesh of every crop of a data set.

A first look finds the face in the crop; two more, one of them mirrored, at the face as it was found, upright and as large as
the network was trained on, give the mesh, their mean.

Shape legend: b faces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose, invert, transform_points
from semalign.core.warp import warp
from semalign.data.crops import CropCache
from semalign.models.face_mesh import INPUT, FaceMesh, face_mesh, upright

FIRST = 1.28  # side of the square looked at first, in sides of the crop's input square


def meshes_of(
    crops: CropCache, batch_size: int = 32, advance: Callable[[int], None] | None = None
) -> Float[np.ndarray, "b 478 3"]:
    """The meshes in the image frames, pixels; depth in the same unit.

    Args:
        crops: plain crops of faces.
        batch_size: faces at once.
        advance: told how many more are done.
    """
    found = []
    network = face_mesh()
    for start in range(0, len(crops), batch_size):
        rows = np.arange(start, min(start + batch_size, len(crops)))
        to_image = invert(torch.from_numpy(crops.image_to_crop[rows]))
        with torch.inference_mode():
            mesh = _mesh(network, crops.batch(rows).contiguous(), crops.input_size).double()
        depth = mesh[..., 2] * to_image[:, 0, :2].norm(dim=1)[:, None]
        found.append(torch.cat([transform_points(mesh[..., :2], to_image), depth[..., None]], dim=-1).numpy())
        if advance is not None:
            advance(len(rows))
    return np.concatenate(found) if found else np.empty((0, network.mirror.numel(), 3))


def _mesh(network: FaceMesh, pictures: Float[Tensor, "b 3 s s"], input_size: int) -> Float[Tensor, "b 478 3"]:
    """In the crops' frame."""
    side = INPUT / (FIRST * input_size)
    middle = (INPUT - 1) / 2 - (pictures.shape[-1] - 1) / 2 * side
    first = torch.tensor([[side, 0.0, middle], [0.0, side, middle]], dtype=torch.float64).expand(len(pictures), 2, 3)
    around = upright(_looked(network, pictures, first)[..., :2].double())
    mirrored = compose(torch.tensor([[[-1.0, 0.0, INPUT - 1.0], [0.0, 1.0, 0.0]]], dtype=torch.float64), around)
    return (_looked(network, pictures, around) + _looked(network, pictures, mirrored)[:, network.mirror]) / 2


def _looked(
    network: FaceMesh, pictures: Float[Tensor, "b 3 s s"], crop_to_picture: Float[Tensor, "b 2 3"]
) -> Float[Tensor, "b 478 3"]:
    """What the network finds in a square of each crop, in the crop's frame."""
    seen = warp(pictures, crop_to_picture, INPUT).contiguous(memory_format=torch.channels_last)
    mesh = network(seen)
    back = invert(crop_to_picture).to(mesh)
    return torch.cat(
        [transform_points(mesh[..., :2], back), mesh[..., 2:] * back[:, :1, :2].norm(dim=-1)[..., None]], -1
    )
