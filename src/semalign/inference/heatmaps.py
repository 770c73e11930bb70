"""A network over a data set's plain (un-augmented) crops.

Shape legend: b images, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, peak_spread
from semalign.data.crops import CropCache
from semalign.inference.landmarks import Landmarks
from semalign.inference.tta import mean_heatmaps
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme


def heatmaps_of(
    network: HeatmapNetwork,
    crops: CropCache,
    batch_size: int = 32,
    precision: str = "fp32",
    tta: int = 1,
    flip_index: tuple[int, ...] = (),
) -> Iterator[tuple[np.ndarray, Float[Tensor, "b n h w"]]]:
    """Rows of the crops and their heatmaps (last stack, float32, on the network's device), batch by batch.

    With `tta` above 1 the mean over so many versions of a crop (`semalign.inference.tta`); mirrored ones need the scheme's flip
    index.
    """
    network.eval()
    device = network.device
    for start in range(0, len(crops), batch_size):
        rows = np.arange(start, min(start + batch_size, len(crops)))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            pictures = crops.batch(rows).to(device)
            heatmaps = mean_heatmaps(network, pictures, crops.crop_to_input, tta, flip_index)
        yield rows, heatmaps


def heatmap_to_image(network: HeatmapNetwork, crops: CropCache, rows: np.ndarray) -> Float[Tensor, "b 2 3"]:
    """Maps (float64) from the heatmaps of plain crops to the image frames."""
    crop_to_input = crops.crop_to_input.expand(len(rows), 2, 3)
    image_to_input = compose(crop_to_input, torch.from_numpy(crops.image_to_crop[rows]))
    return invert(compose(rescaling(network.input_size, network.heatmap_size, len(rows)), image_to_input))


def predict(
    network: HeatmapNetwork,
    crops: CropCache,
    sigma: float,
    scheme: LandmarkScheme,
    batch_size: int = 32,
    precision: str = "fp32",
    tta: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Landmarks:
    """The network's landmarks on every crop; `tta` as for `heatmaps_of`, `advance` is told how many more are done."""
    points, confidence, spread = [], [], []
    for rows, heatmaps in heatmaps_of(network, crops, batch_size, precision, tta, scheme.flip_index):
        decoded = decode_heatmaps(heatmaps, sigma)
        to_image = heatmap_to_image(network, crops, rows)
        points.append(transform_points(decoded.points.cpu().double(), to_image).numpy())
        confidence.append(decoded.confidence.cpu().numpy())
        side = to_image[:, 0, :2].norm(dim=1)[:, None, None]  # of a heatmap's pixel, in pixels of the image
        spread.append((peak_spread(heatmaps, decoded.points, sigma).cpu().double() * side).numpy())
        if advance is not None:
            advance(len(rows))
    return Landmarks(
        np.concatenate(points), np.concatenate(confidence).astype(np.float64), scheme, np.concatenate(spread)
    )
