"""A light network for faces that says where each landmark lies, from MediaPipe's face mesh on.

The first layers are the trunk of the mesh (`semalign.models.face_mesh`), which has seen many faces before it sees the first of
yours; its activations become ReLU, which runtimes join with the convolution before. From its coarsest features come first
points, by a map that ridge regression begins. A thin decoder brings all scales together at a quarter of the input's resolution,
and stage after stage looks at the features around each point so far and moves it.

Of each landmark it says how far from it that may be, too. So it draws heatmaps only where somebody asks for them
(`semalign.models.network.PointNetwork`).

Shape legend: b images, n landmarks, s side of the input, t side of the decoded features, c channels, d hidden values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semalign.models.face_mesh import Residual, Trunk, as_tensorflow, face_mesh
from semalign.models.mesh_network import linear_map
from semalign.models.mobile import convolution
from semalign.models.network import Located, PointNetwork

STRIDE = 4  # pixels of the input for one of the decoded features
STEP = 4.0  # pixels of a move of 1
LEAST_HEATMAP = 30  # pixels, so that a Gaussian of 1/40 of them is as wide as decoding needs (σ ≥ 0.75)
HEARD = 8  # values of each landmark that the others hear
RIDGE = 0.01  # of the first points' map, for standardised features, a face
_COARSEST, _KNOWN = 64, 32  # pixels of the input for one of the trunk's last features, and their channels


@dataclass(frozen=True)
class CascadeSettings:
    """Shape of the network. The face should take up 70 % of the input: `crop.scale = 1.4`."""

    kind: Literal["cascade"] = field(default="cascade", kw_only=True)
    input_size: int = 160
    heatmap_size: int = 40
    width: int = 32  # channels of the decoder
    features: int = 16  # of each decoded pixel
    reaches: tuple[int, ...] = (2, 1)  # of each stage: how many decoded pixels apart it looks around a point
    hidden: int = 16  # values of a landmark in a stage

    def __post_init__(self) -> None:
        if self.input_size % (8 * STRIDE) or self.input_size < 3 * 8 * STRIDE:
            raise ValueError(f"input_size must be a multiple of {8 * STRIDE}, at least {3 * 8 * STRIDE}")
        if self.heatmap_size < LEAST_HEATMAP:
            raise ValueError(
                f"heatmap_size must be at least {LEAST_HEATMAP}: on fewer pixels its peaks are not found exactly"
            )
        if not self.reaches or min(self.reaches) < 1 or max(self.reaches) > self.input_size // STRIDE // 4:
            raise ValueError("reaches must be one or several numbers from 1 to a quarter of the decoded features' side")

    def network(self, landmarks: int) -> CascadeNetwork:
        """A network of this shape; `semalign.models.network.build_network` makes one for a seed."""
        return CascadeNetwork(self, landmarks)


class CascadeNetwork(PointNetwork):
    """RGB images in [0, 1] to points, stage by stage.

    Args:
        settings: the network's shape.
        landmarks: n.
    """

    settings: CascadeSettings
    of_the_mesh = True

    def __init__(self, settings: CascadeSettings, landmarks: int) -> None:
        super().__init__(settings.input_size, settings.heatmap_size, landmarks)
        self.settings = settings
        self.stem, self.fine, self.coarse, self.squeeze = _trunk()
        self.first = nn.Conv2d(_KNOWN, 2 * landmarks, -(-settings.input_size // _COARSEST))
        widths = (*[settings.width] * 3, settings.features)
        self.sides = nn.ModuleList(convolution(c, settings.width, 1, relu=False) for c in (128, 128, 64, 32))
        self.joins = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                convolution(settings.width, settings.width, 3, groups=settings.width),
                convolution(settings.width, width, 1),
            )
            for width in widths
        )
        self.stages = nn.ModuleList(
            Stage(landmarks, settings.features, reach, settings.hidden) for reach in settings.reaches
        )

    @property
    def pretrained(self) -> Iterable[nn.Parameter]:
        """The mesh's, and the map that ridge regression begins."""
        return (p for part in (self.stem, self.fine, self.coarse, self.squeeze, self.first) for p in part.parameters())

    @torch.no_grad()
    def begin(self, pictures: Iterable[Float[Tensor, "_ 3 s s"]], landmarks: Float[np.ndarray, "b n 2"]) -> None:
        """Give the map to the first points its first values, by ridge regression.

        Args:
            pictures: of faces, batch by batch.
            landmarks: of all of them, input frame; NaN, where absent, is no face's to learn from.
        """
        known = torch.cat([self._seen(batch)[0].flatten(1) for batch in pictures]).double()
        wanted = (torch.from_numpy(landmarks) - self._middle) / (self.input_size / 2)
        scale = known.std(0).clamp_min(1e-6)
        weight, bias = linear_map(known / scale, wanted.flatten(1), RIDGE * len(known))
        self.first.weight.copy_((weight / scale).view_as(self.first.weight))
        assert self.first.bias is not None
        self.first.bias.copy_(bias)

    def located(self, images: Float[Tensor, "b 3 s s"]) -> Located:
        """The points of every stage, and how far from the last ones the landmarks may lie."""
        last, scales = self._seen(images)
        decoded: Tensor | None = None
        for own, side, join in zip(scales, self.sides, self.joins, strict=True):
            joined = side(own)
            decoded = join(joined if decoded is None else joined + F.interpolate(decoded, scale_factor=2.0))
        assert decoded is not None
        points = self.first(last).flatten(1).unflatten(1, (-1, 2)) * (self.input_size / 2) + self._middle
        found, doubt = [points], points[..., 0]
        flat = decoded.permute(0, 2, 3, 1).flatten(0, 2)
        for stage in self.stages:
            step, doubt = stage(points.detach(), flat, decoded.shape[-1])
            points = points.detach() + step
            found.append(points)
        return Located(found, torch.exp(doubt))

    @property
    def _middle(self) -> float:
        return (self.input_size - 1) / 2

    def _seen(self, images: Tensor) -> tuple[Float[Tensor, "b 32 k k"], Sequence[Tensor]]:
        """What the first points are made of, and the features at four scales, the coarsest first."""
        fine = self.fine(self.stem(as_tensorflow(images)))
        middle = self.coarse[:5](fine)
        coarse = self.coarse[5:8](middle)
        coarser = self.coarse[8:11](coarse)
        even = as_tensorflow(coarser) if coarser.shape[-1] % 2 else coarser
        return self.squeeze(self.coarse[11:](even)), (coarser, coarse, middle, fine)


class Stage(nn.Module):
    """Moves each point by the features at nine places around it and by what the other points' features say.

    Args:
        landmarks: n.
        channels: c.
        reach: decoded pixels between the places.
        hidden: d.
    """

    def __init__(self, landmarks: int, channels: int, reach: int, hidden: int) -> None:
        super().__init__()
        self.reach = reach
        self.hidden = nn.Parameter(torch.randn(landmarks, 9 * channels, hidden) / (9 * channels) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(landmarks, 1, hidden))
        heard = torch.randn(landmarks, hidden, HEARD) / hidden**0.5
        self.own = nn.Parameter(torch.cat([torch.zeros(landmarks, hidden, 3), heard], 2))  # step, doubt, heard
        self.others = nn.Linear(landmarks * (HEARD + 2), 2 * landmarks)
        nn.init.zeros_(self.others.weight)
        nn.init.zeros_(self.others.bias)

    def forward(
        self, points: Float[Tensor, "b n 2"], features: Float[Tensor, "p c"], side: int
    ) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n"]]:
        """The step in pixels of the input, and the logarithm of the doubt.

        Args:
            points: input frame.
            features: the decoded pixels of all images, row by row, p = b·t·t.
            side: t.
        """
        around = self._around(points, features, side).transpose(0, 1)
        hidden = F.gelu(around @ self.hidden + self.bias)
        step, doubt, heard = (hidden @ self.own).transpose(0, 1).split([2, 1, HEARD], dim=2)
        shape = (points - points.mean(1, keepdim=True)) / (side * STRIDE / 2)
        others = self.others(torch.cat([heard.flatten(1), shape.flatten(1)], 1)).unflatten(1, (-1, 2))
        return STEP * (step + others), doubt[..., 0]

    def _around(self, points: Tensor, features: Tensor, side: int) -> Float[Tensor, "b n f"]:
        """Features at nine places around each point, between pixels linear, f = 9c; points keep `reach` from the border.

        All nine lie equally far from their pixels, so that rows are gathered once and weighed together.
        """
        reach, device = self.reach, points.device
        place = (points / STRIDE - (STRIDE - 1) / (2 * STRIDE)).clamp(float(reach), side - 1 - reach - 1e-3)
        pixel = place.floor()
        after = place - pixel
        both = torch.cat([1 - after, after], -1)  # left, above, right, below
        weights = both[..., [0, 2, 0, 2]] * both[..., [1, 1, 3, 3]]
        first = torch.arange(points.shape[0], device=device)[:, None] * side**2
        corner = (pixel @ torch.tensor([1.0, float(side)], device=device)).long() + first
        steps = [
            (y + row * reach) * side + x + column * reach
            for y in (0, 1)
            for x in (0, 1)
            for row in (-1, 0, 1)
            for column in (-1, 0, 1)
        ]
        rows = corner[..., None] + torch.tensor(steps, device=device)
        gathered = F.embedding(rows, features).unflatten(2, (4, 9)).flatten(3)
        return (weights[..., None, :] @ gathered)[..., 0, :]


class _Narrowing(nn.Module):
    """The trunk's step to half the side; what it pads with nothing begins so here, and learns."""

    def __init__(self, known: Residual) -> None:
        super().__init__()
        self.depthwise, self.pointwise = known.depthwise, known.pointwise
        self.around = nn.Conv2d(known.depthwise.in_channels, known.pointwise.out_channels, 1, bias=False)
        nn.init.dirac_(self.around.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Features of half the side."""
        return F.relu(self.pointwise(self.depthwise(as_tensorflow(x))) + self.around(F.max_pool2d(x, 2)))


class _Rectified(nn.Module):
    """A residual of the trunk with ReLU at its end."""

    def __init__(self, known: Residual) -> None:
        super().__init__()
        self.depthwise, self.pointwise = known.depthwise, known.pointwise

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same size."""
        return F.relu(x + self.pointwise(self.depthwise(x)))


def _trunk() -> tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]:
    """The mesh's stem, fine and coarse layers, and those that make few features of the last ones, without their PReLUs."""
    trunk, weights = Trunk(), face_mesh().state_dict()
    trunk.load_state_dict({name: weights[name] for name in trunk.state_dict()})
    squeeze = list(trunk.output)[:3]
    return _rectified(trunk.stem), _rectified(trunk.fine), _rectified(trunk.coarse), _rectified(squeeze)


def _rectified(layers: Iterable[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(_with_relu(layer) for layer in layers))


def _with_relu(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Residual):
        return _Narrowing(layer) if layer.narrow else _Rectified(layer)
    return nn.ReLU() if isinstance(layer, nn.PReLU) else layer
