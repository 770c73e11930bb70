"""Alternation of label search and training (Sec. 4.4): the labels of each epoch.

Step 1 searches ŷ over the training set with the network fixed; step 2 trains an epoch on ŷ. With `update` the next search
starts at the labels found last, without it at the annotations. Every search appends a version to the label store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from semalign.core.adaptation import systematic_offsets
from semalign.core.affine import invert, transform_points
from semalign.core.search import REFERENCE, SearchSettings, search_labels
from semalign.data.crops import CropCache, box_sides, face_boxes
from semalign.data.labels import LabelStore, LabelVersion
from semalign.data.samples import Dataset
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.models.network import HeatmapNetwork
from semalign.schemes import LandmarkScheme
from semalign.training.settings import AlternationSettings


@dataclass(frozen=True, eq=False)
class Labels:
    """Found labels and their costs, in the order of the crops."""

    points: np.ndarray  # (b, n, 2) float64, image frame
    prior_cost: np.ndarray  # (b, n) ‖o - ŷ‖², pixels² of a 256×256 heatmap
    likelihood_cost: np.ndarray  # (b, n) χ² at ŷ, pixels² of a 256×256 heatmap, not weighted
    confidence: np.ndarray  # (b, n) the heatmap at ŷ


def search_dataset(
    network: HeatmapNetwork,
    crops: CropCache,
    observations: np.ndarray,
    sigma: float,
    search: SearchSettings,
    settings: AlternationSettings,
    scheme: LandmarkScheme,
    annotations: np.ndarray | None = None,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> Labels:
    """One search over all crops with the network fixed.

    With `settings.adaptation_components` ≥ 0 what the network's predictions differ from the annotations systematically
    (`semalign.core.adaptation`) is added to the observations before the search and taken off the labels after it.

    Args:
        network: in evaluation mode.
        crops: plain crops.
        observations: o, (b, n, 2) in the image frames.
        sigma: of the network's Gaussians, heatmap pixels.
        search: weight and sizes.
        settings: tta and adaptation_components.
        scheme: for the exchange of left and right in mirrored crops.
        annotations: what people marked, (b, n, 2); the observations where not given.
        precision: of the network, 'bf16' or 'fp32'; the search itself is float32.
        advance: told how many images are done.
    """
    size = network.heatmap_size
    offsets = np.zeros_like(observations)
    if settings.adaptation_components >= 0:
        predicted = predict(network, crops, sigma, scheme, precision=precision, tta=settings.tta)
        annotations = observations if annotations is None else annotations
        offsets = systematic_offsets(predicted.points, annotations, settings.adaptation_components)
    parts: list[tuple[np.ndarray, ...]] = []
    maps = heatmaps_of(network, crops, precision=precision, tta=settings.tta, flip_index=scheme.flip_index)
    for rows, heatmaps in maps:
        to_image = heatmap_to_image(network, crops, rows)
        o = transform_points(torch.from_numpy(observations[rows] + offsets[rows]), invert(to_image))
        found = search_labels(heatmaps, o.to(heatmaps), sigma, search)
        points = transform_points(found.points.double().cpu(), to_image).numpy() - offsets[rows]
        points = np.where(found.moved.cpu().numpy()[..., None], points, observations[rows])
        scale = (REFERENCE / size) ** 2
        costs = (found.prior.cpu().numpy() * scale, found.chi_square.cpu().numpy() * scale)
        parts.append((points, *costs, _value_at(heatmaps, found.points)))
        if advance is not None:
            advance(len(rows))
    return Labels(*(np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)))


def _value_at(heatmaps: torch.Tensor, points: torch.Tensor) -> np.ndarray:
    """(b, n): each heatmap's value at the pixel nearest to its point, 0 beyond the border."""
    b, n, h, w = heatmaps.shape
    x, y = points.round().long().unbind(-1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    index = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    values = heatmaps.reshape(b, n, h * w).gather(2, index[..., None])[..., 0]
    return (values.clamp(0, 1) * inside).cpu().numpy()


class Alternation:
    """Gives each epoch its labels: a new search's, or the last ones once searching is over.

    Args:
        store: version 0 must be the annotations of `dataset`.
        dataset: the training faces.
        crops: of the same faces, in the same order.
        sigma: of the network's Gaussians, heatmap pixels.
        search: how to search.
        settings: how often.
        accelerator: in a run of several processes the first one writes, all read.
        provenance: kept with every version.
    """

    def __init__(
        self,
        store: LabelStore,
        dataset: Dataset,
        crops: CropCache,
        sigma: float,
        search: SearchSettings,
        settings: AlternationSettings,
        accelerator: Accelerator,
        precision: str = "fp32",
        provenance: dict[str, str | int | float] | None = None,
    ) -> None:
        self.store, self.dataset, self.crops, self.sigma = store, dataset, crops, sigma
        self.search, self.settings, self.accelerator, self.precision = search, settings, accelerator, precision
        self.provenance = provenance or {}
        self.sides = box_sides(face_boxes(dataset.samples))

    def labels_of_epoch(
        self, epoch: int, network: HeatmapNetwork, advance: Callable[[int], None] | None = None
    ) -> tuple[LabelVersion, dict[str, Any]]:
        """The labels to train epoch `epoch` (from 0) on, and what to log: iteration and mean movement in % of the box side.

        A version that a killed run had written already is read instead of searched again: it is the same.
        """
        there = self.store.versions()
        self.accelerator.wait_for_everyone()  # all have looked before the first one writes: they must take the same way
        wanted = epoch + 1
        latest = self.store.read(there[-1])
        if wanted in there:
            latest = self.store.read(wanted)
        elif epoch < self.settings.searches and latest.iteration == epoch and not self._settled(latest):
            latest = self._search(latest, network, advance)
        return latest, {"iteration": latest.iteration, "movement": self._movement(latest)}

    def _search(
        self, latest: LabelVersion, network: HeatmapNetwork, advance: Callable[[int], None] | None
    ) -> LabelVersion:
        observations = latest.points if self.settings.update else self.store.read(0).points
        if self.accelerator.is_main_process:
            labels = search_dataset(
                network,
                self.crops,
                observations,
                self.sigma,
                self.search,
                self.settings,
                self.dataset.scheme,
                self.store.read(0).points,
                self.precision,
                advance,
            )
            self.store.append(
                self.dataset.ids(),
                labels.points,
                iteration=latest.iteration + 1,
                provenance=self.provenance,
                prior_cost=labels.prior_cost,
                likelihood_cost=labels.likelihood_cost,
                confidence=labels.confidence,
                index=latest.index + 1,
            )
        self.accelerator.wait_for_everyone()
        return self.store.read(latest.index + 1)

    def _movement(self, version: LabelVersion) -> float:
        if version.index == 0:
            return 0.0
        return float((version.movement / self.sides[:, None]).mean() * 100)

    def _settled(self, version: LabelVersion) -> bool:
        return version.index > 0 and self._movement(version) < self.settings.stop_movement
