"""A network for faces that has seen many before it sees the first of yours: MediaPipe's face mesh, trained on.

It looks twice. A first look, by the mesh's trunk as it came, says where the face is and how it is turned; the second one sees
it upright and as large as the mesh has learned faces. What the mesh's points mean in the annotators' terms is a linear map,
learned by ridge regression before the training begins, and fixed from then on; by features around the points so found each
landmark is then corrected. Mesh and correction are trained together.

Of each landmark it says where it lies and how sure that is, and draws a Gaussian of that width and height: the mean of the
target's Gaussian under a Gaussian doubt. So whatever reads heatmaps reads these.

Shape legend: b images, n landmarks, h heatmap, s side of the input, c channels, k places around a point, d hidden values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semalign.core.affine import compose, rescaling, transform_points
from semalign.core.carrying import alike
from semalign.core.heatmaps import render_gaussians
from semalign.core.warp import resampled
from semalign.models.face_mesh import INPUT, POINTS, FaceMesh, Scales, Trunk, face_mesh, upright
from semalign.models.network import HeatmapNetwork

RIDGE = 0.03  # of the map's beginning, per squared half side of the picture
TURN, GROW, SHIFT = 0.14, 0.07, 4.0  # how training varies the second look: radians, share, pixels; standard deviations
PRIMES = (7919.0, 9973.0, 12553.0, 15313.0)  # what a picture's mean is multiplied by to draw from it
WIDTH = 1 / 40  # of a heatmap's Gaussian before any training, sides of the heatmap
NEAR = 5.0  # pixels between the places at which fine features are looked at; twice as much for the middle ones
STEP = 4.0  # pixels of a correction of 1
LOCAL = 9 * 32 + 5 * 64 + 128  # values of the features around a point
HIDDEN, SQUEEZED = 32, 8  # values of each landmark, and what the others hear of them


@dataclass(frozen=True)
class MeshSettings:
    """Shape of the network. The face should take up two thirds of the input: `crop.scale = 1.6`."""

    kind: Literal["mesh"] = field(default="mesh", kw_only=True)
    input_size: int = 192
    heatmap_size: int = 48

    def network(self, landmarks: int) -> MeshNetwork:
        """A network of this shape; `semalign.models.network.build_network` makes one for a seed."""
        return MeshNetwork(self, landmarks)


class MeshNetwork(HeatmapNetwork):
    """RGB images in [0, 1] to two sets of heatmaps: of the mesh's points in the annotators' terms, and of these corrected.

    Args:
        settings: the network's shape.
        landmarks: number of heatmaps n.
    """

    settings: MeshSettings
    of_the_mesh = True

    def __init__(self, settings: MeshSettings, landmarks: int) -> None:
        super().__init__(settings.input_size, settings.heatmap_size, landmarks)
        self.settings = settings
        weights = face_mesh().state_dict()
        self.first, self.second = Trunk().requires_grad_(False), FaceMesh()
        self.first.load_state_dict({name: weights[name] for name in self.first.state_dict()})
        self.second.load_state_dict(weights)
        self.map = nn.Linear(3 * POINTS, 2 * landmarks).requires_grad_(False)
        usual = WIDTH * self.heatmap_size
        self.correction = Correction(landmarks, usual)
        self.width = nn.Parameter(torch.full((landmarks,), usual))  # of the first set, heatmap pixels

    @property
    def pretrained(self) -> Iterable[nn.Parameter]:
        """The mesh's own."""
        return self.second.parameters()

    def begin(self, meshes: Float[np.ndarray, "b 478 3"], landmarks: Float[np.ndarray, "b n 2"]) -> None:
        """Give the map its first values.

        Args:
            meshes: of faces, as the mesh that nobody has trained on finds them, in any frames.
            landmarks: of the same frames; NaN, where absent, is no face's to learn from.
        """
        known, wanted = torch.from_numpy(meshes), torch.from_numpy(landmarks)
        to_picture = upright(known[..., :2])
        depth = known[..., 2:] * to_picture[:, 0, :2].norm(dim=-1)[:, None, None]
        x = centred(torch.cat([transform_points(known[..., :2], to_picture), depth], -1)).flatten(1)
        y = centred(transform_points(wanted, to_picture)).flatten(1)
        weight, bias = linear_map(x, y, RIDGE)
        with torch.no_grad():
            self.map.weight.copy_(weight)
            self.map.bias.copy_(bias)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b n h h"]]:
        """Both sets of heatmaps."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            to_input = undone(self._second_look(images))
            pictures = resampled(images, to_input, INPUT).contiguous(memory_format=torch.channels_last)
            to_heatmap = compose(rescaling(self.input_size, self.heatmap_size).to(to_input), to_input)
        mesh, features = self.second.seen(pictures)
        points = in_pixels(self.map(centred(mesh).flatten(1)).unflatten(1, (-1, 2)))
        step, width, height = self.correction(points.detach(), features)
        found, corrected = (transform_points(p, to_heatmap) for p in (points, points.detach() + step))
        return [
            render_gaussians(found, self.heatmap_size, self.width[None, :, None]),
            height[..., None, None] * render_gaussians(corrected, self.heatmap_size, width[..., None]),
        ]

    def _second_look(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 2 3"]:
        """From the input to the picture that the second look sees, a similarity."""
        to_picture = upright_in(self.first, images)
        return compose(_varied(images), to_picture) if self.training else to_picture


def upright_in(trunk: Trunk, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 2 3"]:
    """From pictures to those in which the mesh sees their faces upright, by where it finds them at one look."""
    side = images.shape[-1]
    first = images if side == INPUT else functional.interpolate(images, (INPUT, INPUT), mode="bilinear")
    seen = trunk.mesh(first)[0][..., :2] - 0.5
    return upright(transform_points(seen, rescaling(INPUT, side).to(seen)))


class LocalFeatures(nn.Module):
    """The mesh's features around points: at nine places of the finest scale, five of the middle one, one of the coarsest."""

    fine: Float[Tensor, "k 2"]
    middle: Float[Tensor, "k 2"]

    def __init__(self) -> None:
        super().__init__()
        fine = [(x, y) for x in (-NEAR, 0.0, NEAR) for y in (-NEAR, 0.0, NEAR)]
        middle = [(0.0, 0.0), (2 * NEAR, 0.0), (-2 * NEAR, 0.0), (0.0, 2 * NEAR), (0.0, -2 * NEAR)]
        self.register_buffer("fine", torch.tensor(fine), persistent=False)
        self.register_buffer("middle", torch.tensor(middle), persistent=False)

    def forward(self, points: Float[Tensor, "b n 2"], features: Scales) -> Float[Tensor, "b n f"]:
        """`LOCAL` values for each point; points in pixels of the mesh's picture."""
        places = (self.fine, self.middle, self.middle[:1])
        return torch.cat([_sampled(scale, points, p) for scale, p in zip(features, places, strict=True)], -1)


class Correction(nn.Module):
    """From features around each landmark to a step, and how wide and how high its heatmap is.

    Args:
        landmarks: n.
        width: of a heatmap before any training, its pixels.
    """

    def __init__(self, landmarks: int, width: float) -> None:
        super().__init__()
        self.width, self.around = width, LocalFeatures()
        self.hidden = nn.Parameter(torch.randn(landmarks, LOCAL, HIDDEN) / LOCAL**0.5)
        self.bias = nn.Parameter(torch.zeros(landmarks, HIDDEN))
        self.own = nn.Parameter(torch.zeros(landmarks, HIDDEN, 4))
        self.squeezed = nn.Parameter(torch.randn(landmarks, HIDDEN, SQUEEZED) / HIDDEN**0.5)
        self.others = nn.Linear(landmarks * SQUEEZED, 2 * landmarks)
        nn.init.zeros_(self.others.weight)
        nn.init.zeros_(self.others.bias)

    def forward(
        self, points: Float[Tensor, "b n 2"], features: Scales
    ) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """The step in pixels of the picture, the width in pixels of the heatmap, the height from 0 to 1."""
        around = self.around(points, features)
        hidden = functional.gelu(torch.einsum("bnc,ncd->bnd", around, self.hidden) + self.bias)
        own = torch.einsum("bnd,ndk->bnk", hidden, self.own)
        heard = torch.einsum("bnd,nde->bne", hidden, self.squeezed).flatten(1)
        step = own[..., :2] + self.others(heard).unflatten(1, (-1, 2))
        return STEP * step, self.width * torch.exp(own[..., 2].clamp(-1, 2)), torch.sigmoid(own[..., 3] + 2)


def centred(points: Tensor) -> Tensor:
    """From pixels of the picture to half sides from its middle; depth has no middle."""
    middle = torch.tensor([(INPUT - 1) / 2, (INPUT - 1) / 2, 0.0][: points.shape[-1]], dtype=points.dtype)
    return (points - middle.to(points.device)) / (INPUT / 2)


def in_pixels(points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
    """The inverse of `centred`."""
    return points * (INPUT / 2) + (INPUT - 1) / 2


def linear_map(
    x: Float[Tensor, "b f"], y: Float[Tensor, "b g"], ridge: float
) -> tuple[Float[Tensor, "g f"], Float[Tensor, " g"]]:
    """Weights and bias (float32) of a ridge regression; a NaN of y is no row's to learn from, and a column of them gives 0."""
    weight, bias = torch.zeros(y.shape[1], x.shape[1]), torch.zeros(y.shape[1])
    for columns, rows in alike((~y.isnan()).numpy()):
        if len(rows) > 1:
            weight[columns], bias[columns] = _ridge(x[rows], y[rows][:, columns], ridge)
    return weight, bias


def _ridge(
    x: Float[Tensor, "b f"], y: Float[Tensor, "b g"], ridge: float
) -> tuple[Float[Tensor, "g f"], Float[Tensor, " g"]]:
    mean_x, mean_y = x.mean(0), y.mean(0)
    rest = x - mean_x
    matrix = rest.T @ rest + ridge * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(matrix, rest.T @ (y - mean_y)).T
    return weight.float(), (mean_y - weight @ mean_x).float()


def _varied(images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 2 3"]:
    """Small changes of the second look in training.

    They are drawn from the pictures themselves, which are augmented, so that a training that is resumed, or shared by several
    processes, has the same.
    """
    number = images.double().mean((1, 2, 3)) + images.double().std((1, 2, 3))
    uniform = torch.frac(number[:, None] * torch.tensor(PRIMES, device=images.device)).clamp(1e-3, 1 - 1e-3)
    angle, growth, x, y = torch.special.ndtri(uniform).to(images).unbind(1)
    angle, factor = angle * TURN, torch.exp(growth * GROW)
    cosine, sine = torch.cos(angle) * factor, torch.sin(angle) * factor
    linear = torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))
    middle = (INPUT - 1) / 2
    offset = middle - linear.sum(-1) * middle + torch.stack([x, y], 1) * SHIFT
    return torch.cat([linear, offset[..., None]], dim=2)


def undone(similarity: Float[Tensor, "#b 2 3"]) -> Float[Tensor, "#b 2 3"]:
    """The map back of a similarity, mirrored or not, by what ONNX knows."""
    linear, offset = similarity[..., :2], similarity[:, None, :, 2]
    back = linear.transpose(1, 2) / (linear[:, :1] ** 2).sum(2, keepdim=True).clamp_min(1e-12)
    return torch.cat([back, -(back * offset).sum(2, keepdim=True)], dim=2)


def _sampled(
    features: Float[Tensor, "b c i i"], points: Float[Tensor, "b n 2"], places: Float[Tensor, "k 2"]
) -> Float[Tensor, "b n f"]:
    """The features at the places around each point, f = c·k; between pixels linear, 0 beyond the border."""
    where = (points[:, :, None] + places + 0.5) * 2 / INPUT - 1
    found = functional.grid_sample(features.float(), where, align_corners=False)  # (b, c, n, k)
    return found.permute(0, 2, 1, 3).flatten(2)
