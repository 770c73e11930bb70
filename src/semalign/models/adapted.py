"""A trained network whose points a few annotated faces have taught to be other landmarks.

It looks at a face with two networks that are not trained on: the one that was adapted, its points as they are, and MediaPipe's
face mesh, which sees the face upright. What both found is a linear map away from the landmarks; features of the mesh around
the points so found may correct each. Of each landmark it says how far off it was in faces that it had not learned from, more
where the adapted network is in doubt, and draws the mean of the target's Gaussian under such a doubt. So whatever reads
heatmaps reads these.

Shape legend: b images, n landmarks, h heatmap, s side of the input, k points of the adapted network, f values of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semalign.core.affine import compose, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, render_gaussians, under_doubt
from semalign.core.warp import resampled
from semalign.models.face_mesh import INPUT, POINTS, FaceMesh, Scales, face_mesh
from semalign.models.mesh_network import LOCAL, LocalFeatures, centred, in_pixels, undone, upright_in
from semalign.models.network import HeatmapNetwork, NetworkSettings

AROUND = 1.28  # side of the input, in sides of the square that the adapted network sees: what the mesh was trained on
FLOOR = 0.02  # of a doubt, the difference of a confidence from 1


@dataclass(frozen=True)
class AdaptedSettings:
    """Shape of the network.

    Attributes:
        base: the adapted network's.
        base_landmarks: k.
        base_sigma: of the Gaussians that it was trained on, pixels of its heatmaps.
        mirrored: whether the mean heatmap of a crop and its mirror image counts.
        input_size: s, pixels.
        heatmap_size: h, pixels.
        corner: of the square in the input that the adapted network sees, pixels.
        corrected: whether features around the points correct them.
    """

    base: NetworkSettings
    base_landmarks: int
    base_sigma: float
    mirrored: bool
    input_size: int
    heatmap_size: int
    corner: tuple[int, int]
    corrected: bool
    kind: Literal["adapted"] = field(default="adapted", kw_only=True)

    def network(self, landmarks: int) -> AdaptedNetwork:
        """A network of this shape; `semalign.models.network.build_network` makes one for a seed."""
        return AdaptedNetwork(self, landmarks)


class Look(NamedTuple):
    """What both networks see of pictures; points in half sides from the middle of the mesh's picture."""

    points: Float[Tensor, "b k 2"]
    mesh: Float[Tensor, "b 478 3"]
    confidence: Float[Tensor, "b k"]  # of the adapted network
    features: Scales  # of the mesh
    to_input: Float[Tensor, "b 2 3"]  # from the mesh's picture, pixels

    @property
    def known(self) -> Float[Tensor, "b f"]:
        """Everything that the map is of."""
        return torch.cat([self.points.flatten(1), self.mesh.flatten(1)], dim=1)


class AdaptedNetwork(HeatmapNetwork):
    """RGB images in [0, 1] to heatmaps.

    Args:
        settings: the network's shape.
        landmarks: number of heatmaps n.
    """

    settings: AdaptedSettings
    of_the_mesh = True
    flip: Tensor  # (k,) the exchange of the adapted network's points in a mirrored picture
    nearest: Tensor  # (n,) which of its points is nearest to a landmark
    doubt: Tensor  # (n,) standard deviation of a coordinate, pixels of the mesh's picture
    usual: Tensor  # (n,) mean logarithm of the doubt of that nearest point
    slope: Tensor  # () by which power of it the doubt grows

    def __init__(self, settings: AdaptedSettings, landmarks: int) -> None:
        super().__init__(settings.input_size, settings.heatmap_size, landmarks)
        self.settings = settings
        k = settings.base_landmarks
        self.base = settings.base.network(k)
        self.face = FaceMesh()  # not 'mesh', by which a model file calls a translation
        self.face.load_state_dict(face_mesh().state_dict())
        self.map = nn.Linear(2 * k + 3 * POINTS, 2 * landmarks)
        self.correction = nn.ParameterDict()
        if settings.corrected:
            self.correction["weight"] = nn.Parameter(torch.zeros(landmarks, LOCAL, 2))
            self.correction["bias"] = nn.Parameter(torch.zeros(landmarks, 2))
        self.register_buffer("flip", torch.arange(k))
        self.register_buffer("nearest", torch.zeros(landmarks, dtype=torch.int64))
        for name in ("doubt", "usual"):
            self.register_buffer(name, torch.ones(landmarks))
        self.register_buffer("slope", torch.zeros(()))
        self.around = LocalFeatures()
        self.requires_grad_(False)

    @property
    def sigma(self) -> float:
        """Of the target's Gaussians, pixels of the heatmaps."""
        base = self.settings.base
        return self.settings.base_sigma * self.heatmap_size / self.input_size * base.input_size / base.heatmap_size

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b n h h"]]:
        """The heatmaps."""
        look = self.look(images)
        with torch.autocast(images.device.type, enabled=False):
            points = self.found(look)
            to_heatmap = compose(rescaling(self.input_size, self.heatmap_size).to(look.to_input), look.to_input)
            scale = to_heatmap[:, 0].narrow(1, 0, 2).square().sum(1).sqrt()[:, None]
            width, height = under_doubt(self.sigma, (self.doubts(look.confidence) * scale).square())
            maps = render_gaussians(transform_points(points, to_heatmap), self.heatmap_size, width[..., None])
        return [height[..., None, None] * maps]

    def look(self, images: Float[Tensor, "b 3 s s"]) -> Look:
        """What both networks see."""
        x, y = self.settings.corner
        side = self.settings.base.input_size
        own = images[:, :, y : y + side, x : x + side]
        count = images.shape[0]  # `len` would fix the number in an export
        heatmaps = self.base(torch.cat([own, own.flip(-1)]) if self.settings.mirrored else own)[-1].float()
        if self.settings.mirrored:
            heatmaps = (heatmaps[:count] + heatmaps[count:].flip(-1)[:, self.flip]) / 2
        decoded = decode_heatmaps(heatmaps, self.settings.base_sigma)
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            to_picture = upright_in(self.face, images)
            to_input = undone(to_picture)
            picture = resampled(images, to_input, INPUT).contiguous(memory_format=torch.channels_last)
            both, scales = self.face.seen(torch.cat([picture, picture.flip(-1)]))
            features = Scales(*(scale[:count] for scale in scales))
            mirrored = both[count:][:, self.face.mirror]
            mesh = (both[:count] + torch.cat([INPUT - 1 - mirrored[..., :1], mirrored[..., 1:]], dim=-1)) / 2
            points = (decoded.points + 0.5) * (side / heatmaps.shape[-1]) - 0.5 + decoded.points.new_tensor([x, y])
            in_picture = transform_points(points, to_picture)
        return Look(centred(in_picture), centred(mesh), decoded.confidence, features, to_input)

    def found(self, look: Look) -> Float[Tensor, "b n 2"]:
        """The landmarks, pixels of the mesh's picture."""
        mapped: Tensor = self.map(look.known)
        points = in_pixels(mapped.unflatten(1, (-1, 2)))
        if self.settings.corrected:
            step = torch.einsum("bnf,nfc->bnc", self.around(points, look.features), self.correction["weight"])
            points = points + step + self.correction["bias"]
        return points

    def doubts(self, confidence: Float[Tensor, "b k"]) -> Float[Tensor, "b n"]:
        """Standard deviation of a coordinate of each landmark, pixels of the mesh's picture."""
        more: Tensor = log_doubt(confidence)[:, self.nearest] - self.usual
        return self.doubt * torch.exp(self.slope * more)


def log_doubt(confidence: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """How little a network is sure of a point, as a logarithm."""
    return torch.log(1 + FLOOR - confidence)
