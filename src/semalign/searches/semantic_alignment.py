"""The paper's search (Sec. 4.2, 4.3): each label where Gaussian prior and chi-square likelihood agree best.

The cost and its minimum are `semalign.core.search`; here it goes over a set of faces.

Shape legend: b faces, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import invert, transform_points
from semalign.core.likelihood import windows_in
from semalign.core.search import SearchSettings, nearest_pixels, scaled_radius, search_labels
from semalign.core.sizes import REFERENCE
from semalign.searches.adapted import Components, offsets
from semalign.searches.evidence import Evidence
from semalign.searches.labels import FoundLabels, Observations
from semalign.searches.windows import View, Windows

MARGIN = (
    33  # side of the square in which label adaptation may move an observation without another look, as of the region
)


class SemanticAlignment:
    """ŷ = argmin ‖o - y‖² + likelihood_weight · χ²(y) in the region around o, for each landmark on its own (Eq. 8).

    With label adaptation (`semalign.searches.adapted`) o is moved by what the network's predictions differ systematically from
    the annotations, which is known once all faces have been seen. So that they are seen once, what the heatmaps show around
    the observations is kept on the way; a face whose observations are moved farther than that is looked at again.

    Args:
        settings: weight and sizes.
        components: of the label adaptation (`semalign.searches.adapted.offsets`).
    """

    def __init__(self, settings: SearchSettings, components: Components = -1) -> None:
        self.settings, self.components = settings, components

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """As `semalign.searches.labels.LabelSearch`; the paper's procedure does not say how sure a label is."""
        o, windows, off = observations.points, observations.windows, np.zeros(2)
        if windows is None and self.components != -1:
            windows = self.look(o, evidence, advance)
        if self.components != -1:
            off = offsets(evidence.predictions.points, observations.annotations, self.components)
        views = _whole(evidence, advance) if windows is None else self._shown(windows, o + off, evidence)
        found = [self._searched(view, o + off, evidence) for view in views]
        order, *columns = (np.concatenate(column) for column in zip(*found, strict=True))
        back = np.argsort(order)  # evidence may come fold by fold
        points, prior, likelihood, confidence, moved = (column[back] for column in columns)
        points = np.where(moved[..., None], points - off, o)
        absent = np.isnan(points).any(axis=-1)
        prior, likelihood, confidence = (
            np.where(absent, np.nan, part.astype(np.float64)) for part in (prior, likelihood, confidence)
        )
        return FoundLabels(points, prior, likelihood, confidence, moved & ~absent)

    def look(
        self, o: Float[np.ndarray, "b n 2"], evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> Windows:
        """What the heatmaps show around observations, in one pass: as much as the search needs and label adaptation moves."""
        windows = Windows(len(evidence), self.radius(evidence.heatmap_size))
        for view in _whole(evidence, advance):
            windows.keep(view.rows, view.maps, _in_heatmaps(o, view), view.to_image)
        return windows

    def _shown(self, windows: Windows, o: Float[np.ndarray, "b n 2"], evidence: Evidence) -> Iterator[View]:
        """The windows of the faces in which all that the search needs is seen, and the whole heatmaps of the others."""
        reach, others = self._reach(evidence.heatmap_size), [np.empty(0, int)]
        for view in windows.views():
            seen = windows.cover(_in_heatmaps(o, view), view.corners, reach)
            others.append(view.rows[~seen.cpu().numpy()])
            if seen.any():
                yield view.take(seen)
        if len(rows := np.sort(np.concatenate(others))):
            yield from _whole(evidence, None, rows)

    def radius(self, size: int) -> int:
        """Of the windows that `look` keeps of heatmaps of this size."""
        return self._reach(size) + scaled_radius(MARGIN, size)

    def _reach(self, size: int) -> int:
        """How far from an observation's pixel a search looks, pixels of a heatmap."""
        return scaled_radius(self.settings.region, size) + scaled_radius(self.settings.template, size)

    def _searched(self, view: View, o: Float[np.ndarray, "b n 2"], evidence: Evidence) -> tuple[np.ndarray, ...]:
        """Rows, labels in the image frames, what they cost, the heatmaps' values there, and which labels moved."""
        scale = (REFERENCE / evidence.heatmap_size) ** 2
        maps, corners = view.maps, view.corners
        own = _in_heatmaps(o, view) - corners
        if not maps.is_contiguous():  # as networks draw them; a copy of all would cost more than the search
            reach, centres = self._reach(evidence.heatmap_size), nearest_pixels(own)
            maps, own, corners = windows_in(maps, centres, reach), own - (centres - reach), corners + centres - reach
        found = search_labels(maps, own, evidence.sigma, self.settings, evidence.heatmap_size)
        points = transform_points((found.points + corners).double().cpu(), view.to_image).numpy()
        costs = (found.prior.cpu().numpy() * scale, found.chi_square.cpu().numpy() * scale)
        return view.rows, points, *costs, value_at(maps, found.points), found.moved.cpu().numpy()


def _whole(evidence: Evidence, advance: Callable[[int], None] | None, rows: np.ndarray | None = None) -> Iterator[View]:
    """The heatmaps themselves."""
    for batch, heatmaps, to_image in evidence.heatmaps(rows):
        none = torch.zeros((*heatmaps.shape[:2], 2), dtype=torch.long, device=heatmaps.device)
        yield View(batch, heatmaps, none, to_image)
        if advance is not None:
            advance(len(batch))


def _in_heatmaps(points: Float[np.ndarray, "b n 2"], view: View) -> Float[Tensor, "k n 2"]:
    """Points of all faces' image frames in the whole heatmaps' frames of those in view."""
    return transform_points(torch.from_numpy(points[view.rows]), invert(view.to_image)).to(view.maps)


def value_at(heatmaps: Float[Tensor, "b n h w"], points: Float[Tensor, "b n 2"]) -> Float[np.ndarray, "b n"]:
    """Each heatmap's value at the pixel nearest to its point, clamped to [0, 1], 0 beyond the border."""
    b, n, h, w = heatmaps.shape
    x, y = points.round().long().unbind(-1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    index = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    values = heatmaps.reshape(b, n, h * w).gather(2, index[..., None])[..., 0]
    return (values.clamp(0, 1) * inside).cpu().numpy()
