"""What a network that PyTorch computes saw of a set of faces, with its heatmaps.

Shape legend: b faces.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float

from semalign.core.sizes import REFERENCE
from semalign.data.crops import CropCache
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.inference.landmarks import Landmarks
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme
from semalign.searches.evidence import ALIKE, Heatmaps


class NetworkEvidence:
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
        self.heatmap_size, self.correlation = network.heatmap_size, ALIKE

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.crops)

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """As `Evidence`."""
        to_image = heatmap_to_image(self.network, self.crops, np.arange(len(self)))
        side: np.ndarray = to_image[:, 0, :2].norm(dim=1).numpy()
        return side * self.heatmap_size / REFERENCE

    def heatmaps(self) -> Heatmaps:
        """As `Evidence`."""
        maps = heatmaps_of(
            self.network, self.crops, precision=self.precision, tta=self.tta, flip_index=self.scheme.flip_index
        )
        for rows, heatmaps in maps:
            yield rows, heatmaps, heatmap_to_image(self.network, self.crops, rows)

    @cached_property
    def predictions(self) -> Landmarks:
        """As `Evidence`; computed once."""
        return predict(self.network, self.crops, self.sigma, self.scheme, precision=self.precision, tta=self.tta)

    @property
    def members(self) -> tuple[Landmarks, ...]:
        """The network alone."""
        return (self.predictions,)
