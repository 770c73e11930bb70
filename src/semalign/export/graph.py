"""A network together with its decoding: from crops to points in one module, which is what is exported and timed.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from semalign.core.adaptation import LinearAdaptation
from semalign.core.heatmaps import WIDEST, decode_heatmaps, peak_spread
from semalign.core.kernel_adaptation import KernelAdaptation
from semalign.errors import SemalignError
from semalign.inference.onnx import Pixels
from semalign.models.checkpoint import Model
from semalign.models.head import MirroredHead
from semalign.models.network import HeadedNetwork, HeatmapNetwork, MirroredPoints, PointNetwork

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


class Answer(NamedTuple):
    """What the graph gives, in the order of `semalign.inference.onnx.OUTPUTS`; pixels of the input."""

    points: Float[Tensor, "b n 2"]
    confidence: Float[Tensor, "b n"]
    spread: Float[Tensor, "b n 2"]


class LandmarkGraph(nn.Module):
    """RGB crops to sub-pixel points, confidences and spreads.

    Args:
        model: the network, σ and all else that it needs.
        pixels: what a crop's values are: bytes from 0 to 255, or float32 from 0 to 1.
    """

    def __init__(self, model: Model, pixels: Pixels = "uint8") -> None:
        super().__init__()
        self.network: HeatmapNetwork = model.network
        self.sigma, self.pixels = model.sigma, pixels
        self.input_size = model.input_size
        self.landmarks = model.network.landmarks
        if model.tta > 2:
            raise SemalignError(
                f"test-time augmentation with tta = {model.tta} has no form in one graph; 1, or 2 (with the mirror image) have."
            )
        self.mirrors, self.flip_index = model.tta == 2, list(model.scheme.flip_index)
        self.head: MirroredHead | None = None
        if self.mirrors and isinstance(self.network, PointNetwork):
            self.network, self.mirrors = MirroredPoints(self.network, self.flip_index), False
        if self.mirrors and isinstance(self.network, HeadedNetwork):
            self.head = MirroredHead(self.network.last_head, self.flip_index)
        self.correct: nn.Module = _adaptation_layer(model.adaptation)
        self.eval()

    def forward(self, images: UInt8[Tensor, "b 3 s s"] | Float[Tensor, "b 3 s s"]) -> Answer:
        """Points (x, y) in the input frame (pixels of the crop, centres at integers), the heatmaps' peaks and their widths."""
        if self.pixels == "uint8":
            images = images.float() / 255
        seen = self._points(images) if isinstance(self.network, PointNetwork) else self._peaks(images)
        scale = self.input_size / self.network.heatmap_size
        return Answer(self.correct(seen.points), seen.confidence, seen.spread * scale)

    def _points(self, images: Tensor) -> Answer:
        """What a network of points gives without its heatmaps; the spread in pixels of these."""
        assert isinstance(self.network, PointNetwork)
        found = self.network.located(images)
        width, height = self.network.peaks(found.doubt)
        spread = width.clamp(max=WIDEST * self.sigma)[..., None].expand(-1, -1, 2)
        return Answer(found.points, height, spread)

    def _peaks(self, images: Tensor) -> Answer:
        """What heatmaps say; the spread in their pixels."""
        heatmaps = self._heatmaps(images)
        decoded = decode_heatmaps(heatmaps, self.sigma)
        spread = peak_spread(heatmaps, decoded.points, self.sigma)
        scale = self.input_size / heatmaps.shape[-1]
        return Answer((decoded.points + 0.5) * scale - 0.5, decoded.confidence, spread)

    def _heatmaps(self, images: Tensor) -> Tensor:
        """As `semalign.inference.tta.mean_heatmaps`, where mirroring is exact."""
        if not self.mirrors:
            return self.network(images)[-1]
        both, count = torch.cat([images, images.flip(-1)]), images.shape[0]  # `len` would fix the number of crops
        if self.head is not None and isinstance(self.network, HeadedNetwork):
            _, features = self.network.last_features(both)
            return self.head(features[:count], features[count:])
        heatmaps = self.network(both)[-1]
        return (heatmaps[:count] + heatmaps[count:].flip(-1)[:, self.flip_index]) / 2

    def example(self, batch: int = 2) -> Tensor:
        """Black crops of the right shape and type."""
        return torch.zeros(batch, 3, self.input_size, self.input_size, dtype=DTYPES[self.pixels])


class AdaptationLayer(nn.Module):
    """A label adaptation's `corrected` as tensor arithmetic, complex numbers as their two parts, for any runtime."""

    def __init__(self, adaptation: LinearAdaptation | KernelAdaptation, axes: np.ndarray) -> None:
        super().__init__()
        mean = torch.from_numpy(adaptation.mean)
        self.register_buffer("mean", (mean / mean.square().sum()).float())
        self.register_buffer("axes", torch.from_numpy(axes).float())
        self.register_buffer("centre", torch.from_numpy(adaptation.centre).float())
        self.register_buffer("constant", torch.from_numpy(adaptation.coefficients[0]).float())
        self.register_buffer("slopes", torch.from_numpy(adaptation.coefficients[1:]).flatten(1).float())

    def features(self, places: Float[Tensor, "b k"]) -> Float[Tensor, "b j"]:
        """What the slopes weigh."""
        return places

    def forward(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
        """The points without what is systematic in them."""
        x, y = (points - points.mean(dim=1, keepdim=True)).unbind(-1)
        u, v = self.mean.unbind(-1)  # type: ignore[operator]
        real, imaginary = (x * u + y * v).sum(1, keepdim=True), (y * u - x * v).sum(1, keepdim=True)
        square = real.square() + imaginary.square()
        aligned = torch.cat([(x * real + y * imaginary) / square, (y * real - x * imaginary) / square], dim=1)
        features = self.features(aligned @ self.axes - self.centre)  # type: ignore[operator]
        a, b = (self.constant + (features @ self.slopes).unflatten(1, (-1, 2))).unbind(-1)  # type: ignore[operator]
        return points - torch.stack([a * real - b * imaginary, a * imaginary + b * real], dim=-1)


class KernelAdaptationLayer(AdaptationLayer):
    """The same for the kernel's label adaptation."""

    def __init__(self, adaptation: KernelAdaptation) -> None:
        super().__init__(adaptation, adaptation.axes)
        self.register_buffer("faces", torch.from_numpy(adaptation.faces).float())

    def features(self, places: Float[Tensor, "b k"]) -> Float[Tensor, "b t"]:
        """The kernel, from differences: the quicker expansion of the square loses float32's digits where faces are alike."""
        apart = places[:, None] - self.faces  # type: ignore[operator]
        return torch.exp(-(apart * apart).sum(-1).sqrt())


def _adaptation_layer(adaptation: LinearAdaptation | KernelAdaptation | None) -> nn.Module:
    if adaptation is None:
        return nn.Identity()
    return (
        KernelAdaptationLayer(adaptation)
        if isinstance(adaptation, KernelAdaptation)
        else AdaptationLayer(adaptation, adaptation.components)
    )
