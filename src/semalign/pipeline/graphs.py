"""What a shipped network sees in a search, by ONNX Runtime: its points alone, in a quarter of PyTorch's time on a CPU.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from semalign.ahead import made_ahead, side_by_side
from semalign.core.affine import invert, transform_points
from semalign.core.heatmaps import WIDEST
from semalign.data.crops import CropCache
from semalign.export.bare import bare_graph
from semalign.files import forget
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import CropPoints, OnnxBackend, input_squares
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.models.network import TARGET, PointNetwork

BATCH = 8  # faces at once: what is computed of more does not stay in the processor's cache


def graph_of(name: str | Path | Model, model: Model, tta: int) -> PointGraph | None:
    """The graph that gives the same points, to rounding, as a model's network by PyTorch does; None where none is at hand.

    There is one of a shipped model that is given by its name, in float32, for the test-time augmentation that it was exported
    with; and of networks that give points also for that with the mirror image.

    Args:
        name: as the user has given it.
        model: what it stands for, on the CPU.
        tta: test-time augmentation that is wanted.
    """
    file = None if isinstance(name, Model) else pretrained.exported(name)
    mirrored = tta == 2 and model.tta == 1
    if file is None or model.network.device.type != "cpu" or not (tta == model.tta or mirrored):
        return None
    if mirrored and not isinstance(model.network, PointNetwork):
        return None
    try:
        change = None if model.adaptation is None else bare_graph
        backend = OnnxBackend(file, threads=1, change=change)
    except (ImportError, ValueError):
        return None
    return PointGraph(backend, model, mirrored) if backend.precision == "float32" else None


class PointGraph:
    """A network's points on plain crops.

    Args:
        backend: the graph, without label adaptation.
        model: of which it is.
        mirrored: whether the mean with the mirror image counts, which is not in the graph.
    """

    def __init__(self, backend: OnnxBackend, model: Model, mirrored: bool = False) -> None:
        self.backend, self.mirrored = backend, mirrored
        self._flip_index = list(model.scheme.flip_index)
        self._drawn = model.network.heatmap_size if isinstance(model.network, PointNetwork) else None
        self._widest = WIDEST * model.sigma * model.input_size / model.network.heatmap_size  # pixels of the input

    def __call__(
        self,
        crops: CropCache,
        rows: Int[np.ndarray, " b"] | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Landmarks:
        """The landmarks of these rows of the crops, default all, in the image frames; `advance` hears how many more."""
        wanted = np.arange(len(crops)) if rows is None else rows
        batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]

        def read(batch: np.ndarray) -> np.ndarray:
            pictures: np.ndarray = input_squares(crops, batch, self.backend.pixels)
            forget(crops.images)
            return pictures

        seen: list[CropPoints] = []
        looks = side_by_side(self._looked, made_ahead(read, batches), torch.get_num_threads())
        for batch, look in zip(batches, looks, strict=True):
            seen.append(self._as_drawn(look))
            if advance is not None:
                advance(len(batch))
        points, confidence, spread = (np.concatenate(column).astype(np.float64) for column in zip(*seen, strict=True))
        to_image = invert(crops.image_to_input[wanted])
        side = np.hypot(to_image[:, 0, 0], to_image[:, 0, 1])[:, None, None]  # of a pixel of the input, in the image's
        return Landmarks(transform_points(points, to_image), confidence, self.backend.scheme, spread * side)

    def _looked(self, pictures: np.ndarray) -> CropPoints:
        if not self.mirrored:
            return self.backend(pictures)
        both, count = self.backend(np.concatenate([pictures, pictures[..., ::-1]])), len(pictures)
        return self._mean(both, count)

    def _as_drawn(self, found: CropPoints) -> CropPoints:
        """With the highest pixels of the heatmaps that PyTorch draws as confidences; the graph gives peaks between pixels."""
        if self._drawn is None:
            return found
        size, height = self._drawn, found.confidence
        points = (found.points + 0.5) * (size / self.backend.input_size) - 0.5
        off = points - np.rint(points).clip(0, size - 1)
        narrow = height / (TARGET * size) ** 2  # the inverse of the square of the width
        return found._replace(confidence=height * np.exp(-(off**2).sum(-1) * narrow / 2))

    def _mean(self, both: CropPoints, count: int) -> CropPoints:
        """As `semalign.models.network.MirroredPoints`: means of points and of doubts, of which heights and widths tell."""
        size, flip = self.backend.input_size, self._flip_index
        back: Float[np.ndarray, "b n 2"] = both.points[count:, flip]
        back = np.stack([size - 1 - back[..., 0], back[..., 1]], axis=-1)
        doubt = np.sqrt(np.maximum(1 / both.confidence - 1, 0))  # as a share of a sure landmark's width
        together = 1 + ((doubt[:count] + doubt[count:, flip]) / 2) ** 2
        width = np.minimum(TARGET * size * np.sqrt(together), self._widest)
        spread = np.repeat(width[..., None], 2, axis=-1)
        return CropPoints((both.points[:count] + back) / 2, 1 / together, spread)
