"""A network over a data set's plain (un-augmented) crops.

Shape legend: b images, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.data.crops import CropCache
from semalign.models.checkpoint import Model
from semalign.models.hourglass import StackedHourglass
from semalign.training.views import mean_heatmaps


class Predictions(NamedTuple):
    """Points of the image frames (float64) and the heatmaps' peaks."""

    points: np.ndarray  # (b, n, 2)
    confidence: np.ndarray  # (b, n)


def heatmaps_of(
    network: StackedHourglass,
    crops: CropCache,
    batch_size: int = 32,
    precision: str = "fp32",
    views: int = 1,
    flip_index: tuple[int, ...] = (),
) -> Iterator[tuple[np.ndarray, Float[Tensor, "b n h w"]]]:
    """Rows of the crops and their heatmaps (last stack, float32, on the network's device), batch by batch.

    With more than one of the `views` of `semalign.training.views`, their mean; mirrored ones need the scheme's flip index.
    """
    network.eval()
    device = next(network.parameters()).device
    for start in range(0, len(crops), batch_size):
        rows = np.arange(start, min(start + batch_size, len(crops)))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            pictures = crops.batch(rows).to(device)
            heatmaps = mean_heatmaps(network, pictures, crops.crop_to_input, views, flip_index)
        yield rows, heatmaps


def heatmap_to_image(network: StackedHourglass, crops: CropCache, rows: np.ndarray) -> Float[Tensor, "b 2 3"]:
    """Maps (float64) from the heatmaps of plain crops to the image frames."""
    settings = network.settings
    crop_to_input = crops.crop_to_input.expand(len(rows), 2, 3)
    image_to_input = compose(crop_to_input, torch.from_numpy(crops.image_to_crop[rows]))
    return invert(compose(rescaling(settings.input_size, settings.heatmap_size, len(rows)), image_to_input))


def predict(
    network: StackedHourglass,
    crops: CropCache,
    sigma: float,
    batch_size: int = 32,
    precision: str = "fp32",
    views: int = 1,
    flip_index: tuple[int, ...] = (),
    advance: Callable[[int], None] | None = None,
) -> Predictions:
    """The network's landmarks on every crop; views as for `heatmaps_of`."""
    points, confidence = [], []
    for rows, heatmaps in heatmaps_of(network, crops, batch_size, precision, views, flip_index):
        decoded = decode_heatmaps(heatmaps, sigma)
        to_image = heatmap_to_image(network, crops, rows)
        points.append(transform_points(decoded.points.cpu().double(), to_image).numpy())
        confidence.append(decoded.confidence.cpu().numpy())
        if advance is not None:
            advance(len(rows))
    return Predictions(np.concatenate(points), np.concatenate(confidence).astype(np.float64))


def detect(
    model: Model,
    crops: CropCache,
    batch_size: int = 32,
    precision: str = "fp32",
    views: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Predictions:
    """A model's landmarks on every crop: the network's, without what is systematic in them where the model knows it.

    Views are the model's own unless they are given.
    """
    flip, looks = model.scheme.flip_index, model.views if views is None else views
    found = predict(model.network, crops, model.sigma, batch_size, precision, looks, flip, advance)
    return found if model.dialect is None else found._replace(points=model.dialect.corrected(found.points))
