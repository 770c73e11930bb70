"""A network over a data set's plain (un-augmented) crops.

Shape legend: b images, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from semalign.ahead import made_ahead
from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, peak_spread
from semalign.data.crops import CropCache, as_pictures
from semalign.inference.landmarks import Landmarks
from semalign.inference.tta import mean_heatmaps
from semalign.models.network import HeadedNetwork, HeatmapNetwork
from semalign.models.norm import folded
from semalign.schemes import LandmarkScheme


def heatmaps_of(
    network: HeatmapNetwork,
    crops: CropCache,
    batch_size: int = 32,
    precision: str = "fp32",
    tta: int = 1,
    flip_index: tuple[int, ...] = (),
    rows: Int[np.ndarray, " b"] | None = None,
) -> Iterator[tuple[np.ndarray, Float[Tensor, "b n h w"]]]:
    """Rows of the crops and their heatmaps (last stack, float32, on the network's device), batch by batch.

    With `tta` above 1 the mean over so many versions of a crop (`semalign.inference.tta`); mirrored ones need the scheme's flip
    index. `rows` are those that are wanted, default all. Batches are read ahead and become float on the device.
    """
    network.eval()
    device = network.device
    wanted = np.arange(len(crops)) if rows is None else rows
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    for batch, pixels in zip(batches, made_ahead(partial(crops.pixels, device=device), batches), strict=True):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            pictures = as_pictures(pixels, device)
            heatmaps = mean_heatmaps(network, pictures, crops.crop_to_input, tta, flip_index)
        yield batch, heatmaps


def quick(network: HeatmapNetwork) -> HeatmapNetwork:
    """What is computed for a network: on a CPU a copy that gives the same to rounding and is faster; else the network."""
    quicker = network.device.type == "cpu" and isinstance(network, HeadedNetwork)
    return folded(network.eval()) if quicker else network


def heatmap_to_image(network: HeatmapNetwork, crops: CropCache, rows: np.ndarray) -> Float[Tensor, "b 2 3"]:
    """Maps (float64) from the heatmaps of plain crops to the image frames."""
    crop_to_input = crops.crop_to_input.expand(len(rows), 2, 3)
    image_to_input = compose(crop_to_input, torch.from_numpy(crops.image_to_crop[rows]))
    return invert(compose(rescaling(network.input_size, network.heatmap_size, len(rows)), image_to_input))


class Decoding:
    """Landmarks in the making: heatmaps in, batch by batch, and what their peaks say out.

    Args:
        sigma: of the Gaussians that the network was trained on, heatmap pixels.
        scheme: the landmarks.
    """

    def __init__(self, sigma: float, scheme: LandmarkScheme) -> None:
        self.sigma, self.scheme = sigma, scheme
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def take(self, heatmaps: Float[Tensor, "b n h w"], to_image: Float[Tensor, "b 2 3"]) -> None:
        """Hear the next faces; `to_image` are their heatmaps' maps to the image frames, float64."""
        decoded = decode_heatmaps(heatmaps, self.sigma)
        points = transform_points(decoded.points.cpu().double(), to_image).numpy()
        side = to_image[:, 0, :2].norm(dim=1)[:, None, None]  # of a heatmap's pixel, in pixels of the image
        spread = (peak_spread(heatmaps, decoded.points, self.sigma).cpu().double() * side).numpy()
        self._parts.append((points, decoded.confidence.cpu().numpy().astype(np.float64), spread))

    def landmarks(self) -> Landmarks:
        """Those of all faces so far."""
        points, confidence, spread = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return Landmarks(points, confidence, self.scheme, spread)


def predict(
    network: HeatmapNetwork,
    crops: CropCache,
    sigma: float,
    scheme: LandmarkScheme,
    batch_size: int = 32,
    precision: str = "fp32",
    tta: int = 1,
    advance: Callable[[int], None] | None = None,
    rows: Int[np.ndarray, " b"] | None = None,
) -> Landmarks:
    """The network's landmarks on the crops; `tta` and `rows` as for `heatmaps_of`, `advance` hears how many more are done."""
    decoding = Decoding(sigma, scheme)
    for batch, heatmaps in heatmaps_of(network, crops, batch_size, precision, tta, scheme.flip_index, rows):
        decoding.take(heatmaps, heatmap_to_image(network, crops, batch))
        if advance is not None:
            advance(len(batch))
    return decoding.landmarks()
