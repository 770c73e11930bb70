"""MediaPipe's face mesh with attention: 478 points of a face, by a network that has seen none of 300W.

What makes it worth having is that it has learned from nobody whose annotations are searched. The architecture is
`face_landmark_with_attention` of MediaPipe 0.10.14 (Kartynnik et al., arXiv 1907.06724; Grishchenko et al., arXiv 2006.10962),
written anew for PyTorch; the weights are its own (Apache License 2.0, `face_mesh.LICENSE`), as half-precision numbers. A trunk
finds the whole mesh; three branches look again at lips and eyes, in features cut out where the mesh says that these are.

Shape legend: b faces, c channels, h w features.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from semalign.errors import SemalignError

WEIGHTS = Path(__file__).with_name("face_mesh.safetensors")
INPUT = 192  # side of the picture that the network sees
POINTS = 478  # of the mesh, the last ten on the irises
STRIDE = 4  # pixels of the picture for one of the finest features
MESH = 468  # of the points, the face without irises
EYES = (33, 263)  # outer corners
AROUND = 1.5  # side of the picture, in sides of the mesh's box
_IRIS, _CUT = 5, 16  # points of an iris; side of what a branch sees
_MARGIN = 1.5  # what a branch sees, in sides of its part's box

# What the branches find anew: lips, left eye and right eye (in the image).
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14, 317,
    402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74,
    73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
_LEFT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243, 247,
    30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35, 124, 46, 53,
    52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
_RIGHT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256, 341,
    463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
PARTS = (_LIPS, _LEFT_EYE, _RIGHT_EYE)
_AXES = ((61, 291), (33, 133), (362, 263))  # corners of each part, left to right


class Scales(NamedTuple):
    """What the trunk knows of a picture, at three scales."""

    fine: Float[Tensor, "b 32 48 48"]
    middle: Float[Tensor, "b 64 24 24"]
    coarse: Float[Tensor, "b 128 12 12"]


class Residual(nn.Module):
    """A 3×3 filter for each channel, 1×1 over channels, around an identity; with `narrow` to half the side."""

    def __init__(self, inputs: int, outputs: int, narrow: bool = False) -> None:
        super().__init__()
        stride, padding = (2, 0) if narrow else (1, 1)
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.activation = nn.PReLU(outputs)
        self.narrow, self.more = narrow, outputs - inputs

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """Features of the same or half the side, whose new channels come from the filters alone."""
        seen = self.pointwise(self.depthwise(as_tensorflow(x) if self.narrow else x))
        if self.narrow:
            x = functional.pad(functional.max_pool2d(x, 2), (0, 0, 0, 0, 0, self.more))
        out: Tensor = self.activation(x + seen)
        return out


def as_tensorflow(x: Tensor) -> Tensor:
    """A border on the right and below, where TensorFlow has it for a filter that goes in steps of two."""
    return functional.pad(x, (0, 1, 0, 1))


def _widening(*channels: int) -> list[Residual]:
    """Two residuals of each width after a step to half the side; the first width has no step."""
    first, blocks = channels[0], [Residual(channels[0], channels[0]) for _ in range(2)]
    for width in channels[1:]:
        blocks += [Residual(first, width, narrow=True), Residual(width, width), Residual(width, width)]
        first = width
    return blocks


def _output(inputs: int, values: int, side: int) -> nn.Sequential:
    """From the coarsest features to numbers."""
    return nn.Sequential(
        nn.Conv2d(inputs, 32, 1), nn.PReLU(32), Residual(32, 32), nn.Conv2d(32, values, side), nn.Flatten()
    )


class Branch(nn.Module):
    """What looks again at a part of the face: features (b, 32, 16, 16) to points (b, k, 2) in 64ths of the part's square."""

    def __init__(self, *points: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(*_widening(32, 64, 128)[:-2])
        self.outputs = nn.ModuleList(
            nn.Sequential(
                *_widening(128, 128),
                *_output(128, 2 * count, 2),
            )
            for count in points
        )

    def forward(self, features: Float[Tensor, "b 32 16 16"]) -> Float[Tensor, "b k 2"]:
        """The points of all outputs."""
        shared = self.shared(features)
        return torch.cat([output(shared).unflatten(1, (-1, 2)) for output in self.outputs], dim=1)


class Trunk(nn.Module):
    """From pictures of faces to their meshes, at one look."""

    def __init__(self) -> None:
        super().__init__()
        blocks = _widening(16, 32, 64, 128, 128, 128)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.PReLU(16))
        self.fine, self.coarse = (
            nn.Sequential(*blocks[:3]),
            nn.Sequential(*blocks[3:]),
        )  # the branches see the fine ones
        self.output = _output(128, 3 * MESH, 3)

    def mesh(self, pictures: Float[Tensor, "b 3 192 192"]) -> tuple[Float[Tensor, "b 468 3"], Scales]:
        """Points in pixels from the picture's corner, and the features of which they are made."""
        fine = self.fine(self.stem(as_tensorflow(pictures)))
        middle = self.coarse[:5](fine)
        coarse = self.coarse[5:8](middle)
        return self.output(self.coarse[8:](coarse)).unflatten(1, (MESH, 3)), Scales(fine, middle, coarse)


class FaceMesh(Trunk):
    """From pictures of faces to their meshes, with a second look at lips and eyes."""

    parts: Int[Tensor, " k"]
    mirror: Int[Tensor, " 478"]  # the points' exchange in a mirrored picture

    def __init__(self) -> None:
        super().__init__()
        self.lips, self.left_eye, self.right_eye = (
            Branch(len(_LIPS)),
            *(Branch(len(_LEFT_EYE), _IRIS) for _ in range(2)),
        )
        irises = (range(MESH, MESH + _IRIS), range(MESH + _IRIS, POINTS))
        found = (*_LIPS, *_LEFT_EYE, *irises[0], *_RIGHT_EYE, *irises[1])
        self.register_buffer("parts", torch.tensor(found), persistent=False)
        self.register_buffer("mirror", torch.arange(POINTS))

    def forward(self, pictures: Float[Tensor, "b 3 192 192"]) -> Float[Tensor, "b 478 3"]:
        """Points in pixels of the picture, whose first pixel's middle is 0; depth in the same unit, 0 on the irises.

        Args:
            pictures: RGB from 0 to 1; a face upright, in the middle, as large as two thirds of the side.
        """
        return self.seen(pictures)[0]

    def seen(self, pictures: Float[Tensor, "b 3 192 192"]) -> tuple[Float[Tensor, "b 478 3"], Scales]:
        """The points, and the trunk's features."""
        mesh, scales = self.mesh(pictures)
        found = []
        for branch, part, corners in zip((self.lips, self.left_eye, self.right_eye), PARTS, _AXES, strict=True):
            to_picture = square_around(mesh[:, part, :2], mesh[:, corners, :2])
            seen = branch(_cut(scales.fine, to_picture))
            found.append(seen / (_CUT * STRIDE) @ to_picture[..., :2].transpose(1, 2) + to_picture[:, None, :, 2])
        whole = functional.pad(mesh, (0, 0, 0, POINTS - MESH))
        flat = torch.cat(found, dim=1)
        whole[:, self.parts, :2] = flat
        whole[..., :2] -= 0.5
        return whole, scales


def upright(mesh: Float[Tensor, "b k 2"]) -> Float[Tensor, "b 2 3"]:
    """From the frame of a mesh to a picture for the network: the face upright in its middle, as large as it has learned it."""
    axis = mesh[:, EYES[1]] - mesh[:, EYES[0]]
    axis = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-9)
    turn = torch.stack([axis, torch.stack([-axis[:, 1], axis[:, 0]], dim=1)], dim=1)  # to the face's own axes
    own = mesh[:, :MESH] @ turn.transpose(1, 2)
    low, high = own.amin(1), own.amax(1)
    scale = INPUT / (AROUND * (high - low).amax(1)).clamp_min(1e-9)
    linear = turn * scale[:, None, None]
    middle = (INPUT - 1) / 2 - (low + high) / 2 * scale[:, None]
    return torch.cat([linear, middle[..., None]], dim=2)


def square_around(points: Float[Tensor, "b k 2"], corners: Float[Tensor, "b 2 2"]) -> Float[Tensor, "b 2 3"]:
    """From the unit square to where a part of the face lies: its box along the line of its corners, enlarged."""
    x, y = (corners[:, 1] - corners[:, 0]).unbind(1)
    length = torch.sqrt(x * x + y * y)  # ONNX knows no hypot
    cosine, sine = x / length, y / length
    rotation = torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(
        1, (2, 2)
    )  # from the part's frame to the picture's
    own = points @ rotation
    low, high = own.amin(1), own.amax(1)
    linear = rotation * (_MARGIN * (high - low))[:, None]
    middle = (rotation @ ((low + high) / 2)[..., None])[..., 0]
    return torch.cat([linear, (middle - linear.sum(-1) / 2)[..., None]], dim=2)


def _cut(features: Float[Tensor, "b c h w"], to_picture: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b c 16 16"]:
    """The features in a square, between pixels linear, 0 beyond the border."""
    side = features.shape[-1] * STRIDE
    steps = (torch.arange(_CUT, device=features.device, dtype=features.dtype) + 0.5) / _CUT
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    unit = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    grid = unit.flatten(0, 1) @ to_picture.transpose(1, 2) * 2 / side - 1
    return functional.grid_sample(
        features, grid.unflatten(1, (_CUT, _CUT)), mode="bilinear", padding_mode="zeros", align_corners=False
    )


@lru_cache(maxsize=1)
def face_mesh() -> FaceMesh:
    """The network with its weights, ready to be asked; loaded once.

    Raises:
        SemalignError: the weights are missing or damaged.
    """
    try:
        # Whoever asks first has the same draws after it as whoever asks later, and may be making a network without memory.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            network, weights = FaceMesh(), load_file(WEIGHTS)
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise SemalignError(
            f"{WEIGHTS.name} cannot be read ({error}); install semalign again, for it came with it."
        ) from error
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
