"""What a network saw of a set of faces: the witness that a label search hears beside the annotation.

Shape legend: b faces, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from semalign.core.search import REFERENCE
from semalign.data.crops import CropCache
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.inference.landmarks import Landmarks
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme


class Evidence:
    """A fixed network and the faces it is asked about.

    Args:
        network: gives the heatmaps; put in evaluation mode.
        crops: plain crops of the faces.
        sigma: of the Gaussians that the network was trained on, in pixels of its heatmaps.
        scheme: the landmarks.
        tta: test-time augmentation: versions of a crop whose mean heatmap counts, 1 to 4; 1 is the paper's.
        precision: of the network, 'fp32' or 'bf16'; heatmaps are float32.
    """

    def __init__(
        self,
        network: HeatmapNetwork,
        crops: CropCache,
        sigma: float,
        scheme: LandmarkScheme,
        tta: int = 1,
        precision: str = "fp32",
    ) -> None:
        self.network, self.crops, self.sigma, self.scheme = network, crops, sigma, scheme
        self.tta, self.precision = tta, precision

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.crops)

    @property
    def heatmap_size(self) -> int:
        """Side of a heatmap."""
        return self.network.heatmap_size

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """For each face the side of a pixel of a 256×256 heatmap, in pixels of its image."""
        to_image = heatmap_to_image(self.network, self.crops, np.arange(len(self)))
        side: np.ndarray = to_image[:, 0, :2].norm(dim=1).numpy()
        return side * self.heatmap_size / REFERENCE

    def heatmaps(self) -> Iterator[tuple[np.ndarray, Float[Tensor, "b n h w"], Float[Tensor, "b 2 3"]]]:
        """Faces' rows, their heatmaps and heatmap_to_image (float64), batch by batch; computed anew at each call."""
        maps = heatmaps_of(
            self.network, self.crops, precision=self.precision, tta=self.tta, flip_index=self.scheme.flip_index
        )
        for rows, heatmaps in maps:
            yield rows, heatmaps, heatmap_to_image(self.network, self.crops, rows)

    @cached_property
    def predictions(self) -> Landmarks:
        """The peaks of all heatmaps, in the image frames; computed once."""
        return predict(self.network, self.crops, self.sigma, self.scheme, precision=self.precision, tta=self.tta)
