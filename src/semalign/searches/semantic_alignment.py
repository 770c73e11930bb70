"""The paper's search (Sec. 4.2, 4.3): each label where Gaussian prior and chi-square likelihood agree best.

The cost and its minimum are `semalign.core.search`; here it goes over a set of faces.

Shape legend: b faces, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import invert, transform_points
from semalign.core.search import SearchSettings, search_labels
from semalign.core.sizes import REFERENCE
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, Observations


class SemanticAlignment:
    """ŷ = argmin ‖o - y‖² + likelihood_weight · χ²(y) in the region around o, for each landmark on its own (Eq. 8)."""

    def __init__(self, settings: SearchSettings) -> None:
        self.settings = settings

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; the paper's procedure does not say how sure a label is."""
        scale = (REFERENCE / evidence.heatmap_size) ** 2
        parts: list[tuple[np.ndarray, ...]] = []
        for rows, heatmaps, to_image in evidence.heatmaps():
            o = transform_points(torch.from_numpy(observations.points[rows]), invert(to_image))
            found = search_labels(heatmaps, o.to(heatmaps), evidence.sigma, self.settings)
            points = transform_points(found.points.double().cpu(), to_image).numpy()
            moved = found.moved.cpu().numpy()
            points = np.where(moved[..., None], points, observations.points[rows])
            costs = (found.prior.cpu().numpy() * scale, found.chi_square.cpu().numpy() * scale)
            parts.append((rows, points, *costs, value_at(heatmaps, found.points), moved))
            if advance is not None:
                advance(len(rows))
        order, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        back = np.argsort(order)  # evidence may come fold by fold
        points, prior, likelihood, confidence, moved = (column[back] for column in columns)
        absent = np.isnan(points).any(axis=-1)
        prior, likelihood, confidence = (
            np.where(absent, np.nan, part.astype(np.float64)) for part in (prior, likelihood, confidence)
        )
        return FoundLabels(points, prior, likelihood, confidence, moved & ~absent)


def value_at(heatmaps: Float[Tensor, "b n h w"], points: Float[Tensor, "b n 2"]) -> Float[np.ndarray, "b n"]:
    """Each heatmap's value at the pixel nearest to its point, clamped to [0, 1], 0 beyond the border."""
    b, n, h, w = heatmaps.shape
    x, y = points.round().long().unbind(-1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    index = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    values = heatmaps.reshape(b, n, h * w).gather(2, index[..., None])[..., 0]
    return (values.clamp(0, 1) * inside).cpu().numpy()
