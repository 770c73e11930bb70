"""What a network that PyTorch computes saw of a set of faces, with its heatmaps.

Shape legend: b faces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from semalign.core.sizes import REFERENCE
from semalign.data.crops import CropCache
from semalign.inference.heatmaps import Decoding, heatmap_to_image, heatmaps_of, predict, quick
from semalign.inference.landmarks import Landmarks
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme
from semalign.searches.evidence import ALIKE, Heatmaps

PointsOf = Callable[[CropCache, np.ndarray], Landmarks]


class NetworkEvidence:
    """A fixed network and the faces it is asked about.

    Args:
        network: gives the heatmaps, with the weights that it has when it is asked first; put in evaluation mode.
        crops: plain crops of the faces.
        sigma: of the Gaussians that the network was trained on, in pixels of its heatmaps.
        scheme: the landmarks.
        tta: test-time augmentation: versions of a crop whose mean heatmap counts, 1 to 4; 1 is the paper's.
        precision: of the network, 'fp32' or 'bf16'; heatmaps are float32.
        rows: the faces, by their rows in the crops; default all.
        predictions: where they are known already.
        points: gives the same predictions in another way, for who needs no heatmaps: of crops and rows.
    """

    def __init__(
        self,
        network: HeatmapNetwork,
        crops: CropCache,
        sigma: float,
        scheme: LandmarkScheme,
        tta: int = 1,
        precision: str = "fp32",
        rows: Int[np.ndarray, " b"] | None = None,
        predictions: Landmarks | None = None,
        points: PointsOf | None = None,
    ) -> None:
        self.network, self.crops, self.sigma, self.scheme = network, crops, sigma, scheme
        self.tta, self.precision = tta, precision
        self.heatmap_size, self.correlation = network.heatmap_size, ALIKE
        self._rows = np.arange(len(crops)) if rows is None else rows
        self._predictions, self.points = predictions, points

    def __len__(self) -> int:
        """Number of faces."""
        return len(self._rows)

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """As `Evidence`."""
        to_image = heatmap_to_image(self.network, self.crops, self._rows)
        side: np.ndarray = to_image[:, 0, :2].norm(dim=1).numpy()
        return side * self.heatmap_size / REFERENCE

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """As `Evidence`; all of them are decoded on the way, unless their predictions are known."""
        decoding = Decoding(self.sigma, self.scheme) if rows is None and self._predictions is None else None
        wanted = np.arange(len(self)) if rows is None else rows
        maps = heatmaps_of(
            self._computed,
            self.crops,
            precision=self.precision,
            tta=self.tta,
            flip_index=self.scheme.flip_index,
            rows=self._rows[wanted],
        )
        done = 0
        for batch, heatmaps in maps:
            to_image = heatmap_to_image(self.network, self.crops, batch)
            if decoding is not None:
                decoding.take(heatmaps, to_image)
            yield wanted[done : done + len(batch)], heatmaps, to_image
            done += len(batch)
        if decoding is not None:
            self._predictions = decoding.landmarks()

    @property
    def predictions(self) -> Landmarks:
        """As `Evidence`; computed once."""
        if self._predictions is None and self.points is not None:
            self._predictions = self.points(self.crops, self._rows)
        if self._predictions is None:
            self._predictions = predict(
                self._computed,
                self.crops,
                self.sigma,
                self.scheme,
                precision=self.precision,
                tta=self.tta,
                rows=self._rows,
            )
        return self._predictions

    @property
    def members(self) -> tuple[Landmarks, ...]:
        """The network alone."""
        return (self.predictions,)

    @cached_property
    def _computed(self) -> HeatmapNetwork:
        return quick(self.network)
