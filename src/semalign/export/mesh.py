"""The face mesh as an ONNX graph: all looks at a crop (`semalign.inference.meshes`) in one.

Shape legend: b faces, s side of a crop.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from semalign.core.affine import compose, transform_points
from semalign.export.onnx import in_half, traced, write_graph
from semalign.inference.meshes import INPUTS, SIDE, first_look
from semalign.models.face_mesh import face_mesh, upright
from semalign.models.mesh_network import undone


class MeshGraph(nn.Module):
    """Crops to the meshes of the faces in them."""

    mirror: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = deepcopy(face_mesh())
        for block in list(self.network.modules()):
            for name, layer in block.named_children():
                if isinstance(layer, nn.PReLU):
                    setattr(block, name, Bent(layer.weight))
        turned = torch.tensor([[[-1.0, 0.0, SIDE - 1.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
        self.register_buffer("mirror", turned, persistent=False)
        self.eval()

    def forward(self, pictures: UInt8[Tensor, "b 3 s s"], first: Float[Tensor, "1 2 3"]) -> Float[Tensor, "b 478 3"]:
        """In the crops' frame.

        Args:
            pictures: RGB.
            first: the map from crops to the pictures of the first look, float64.
        """
        crops = pictures.float() / 255
        around = upright(self._looked(crops, first)[..., :2].double())
        mirrored = compose(self.mirror, around)
        return (self._looked(crops, around) + self._looked(crops, mirrored)[:, self.network.mirror]) / 2

    def _looked(self, crops: Float[Tensor, "b 3 s s"], to_picture: Float[Tensor, "#b 2 3"]) -> Float[Tensor, "b 478 3"]:
        """What the network finds in a square of each crop, in the crop's frame."""
        back = undone(to_picture).to(crops.dtype)
        mesh = self.network(_cut(crops, back))
        depth = mesh[..., 2:] * back[:, :1, :2].square().sum(-1, keepdim=True).sqrt()
        return torch.cat([transform_points(mesh[..., :2], back), depth], -1)


class Bent(nn.Module):
    """A PReLU, to the bit, in operations that ONNX Runtime computes in a quarter of the time of its own."""

    def __init__(self, slopes: Float[Tensor, " c"]) -> None:
        super().__init__()
        self.slopes = nn.Parameter(slopes[:, None, None])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Values below 0 times their channel's slope."""
        return x.relu() + self.slopes * x.clamp(max=0.0)


def _cut(crops: Float[Tensor, "b 3 s s"], back: Float[Tensor, "#b 2 3"]) -> Float[Tensor, "b 3 {SIDE} {SIDE}"]:
    """`semalign.core.warp.resampled` to rounding; but for one sum, all arithmetic is on columns and rows by themselves."""
    extent = torch.tensor([crops.shape[3], crops.shape[2]], dtype=crops.dtype)
    steps = torch.arange(SIDE, dtype=crops.dtype)
    columns = (2 * (steps[:, None] * back[:, None, :, 0] + back[:, None, :, 2]) + 1) / extent - 1  # (b, side, 2)
    rows = 2 * steps[:, None] * back[:, None, :, 1] / extent
    grid = (columns[:, None] + rows[:, :, None]).expand(crops.shape[0], -1, -1, -1)
    return functional.grid_sample(crops, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def export_face_mesh(path: Path) -> None:
    """Write the graph, its weights as float16 as the network's file has them, atomically.

    Raises:
        SemalignError: ONNX is not installed, or the file cannot be written.
    """
    example = torch.zeros(2, 3, 160, 160, dtype=torch.uint8), torch.from_numpy(first_look(160, 128))
    faces, side = torch.export.Dim("b"), torch.export.Dim("s")
    shapes: Any = ({0: faces, 2: side, 3: side}, None)
    graph = traced(MeshGraph(), example, INPUTS, ("mesh",), shapes)
    graph.graph.name = "face mesh"
    in_half(graph)
    write_graph(path, graph)
