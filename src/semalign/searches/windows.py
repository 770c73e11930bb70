"""What heatmaps show around some points, kept on disk: of a pass over many faces all that a later search needs.

Shape legend: b faces, n landmarks, h w heatmap, k side of a window.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semalign.core.likelihood import windows_in
from semalign.core.search import nearest_pixels
from semalign.errors import SemalignError
from semalign.files import forget

BATCH = 32  # faces that are read at once


class View(NamedTuple):
    """Some faces' heatmaps, or windows of them.

    Attributes:
        rows: the faces.
        maps: the heatmaps, whole or windows, zero beyond the heatmaps' borders.
        corners: where the maps' first pixels lie, in the heatmaps' frames (x, y).
        to_image: from the whole heatmaps to the image frames, float64.
    """

    rows: Int[np.ndarray, " b"]
    maps: Float[Tensor, "b n k k"]
    corners: Int[Tensor, "b n 2"]
    to_image: Float[Tensor, "b 2 3"]

    def take(self, faces: Bool[Tensor, " b"]) -> View:
        """Some of them."""
        if faces.all():
            return self
        known = faces.cpu()
        return View(self.rows[known.numpy()], self.maps[faces], self.corners[faces], self.to_image[known])


class Windows:
    """Windows of the heatmaps of some faces, in a temporary file without a name.

    Args:
        count: of the faces.
        radius: pixels of the heatmap that a window shows to each side of its point's pixel.
    """

    def __init__(self, count: int, radius: int) -> None:
        self.count, self.radius = count, radius
        self._rows: list[np.ndarray] = []
        self._corners: list[Tensor] = []
        self._to_image: list[Tensor] = []
        self._file: np.memmap | None = None
        self._device = torch.device("cpu")

    def keep(
        self, rows: np.ndarray, heatmaps: Float[Tensor, "b n h w"], points: Float[Tensor, "b n 2"], to_image: Tensor
    ) -> None:
        """Keep what these faces' heatmaps show around points of the heatmaps' frames; otherwise as `put`."""
        centres = nearest_pixels(points)
        self.put(View(rows, windows_in(heatmaps, centres, self.radius), centres - self.radius, to_image))

    def put(self, view: View) -> None:
        """Keep windows of some more faces; each face comes once.

        Raises:
            SemalignError: there is no room for the file.
        """
        shape = (self.count, *view.maps.shape[1:])
        try:
            if self._file is None:
                self._device = view.maps.device
                with tempfile.TemporaryFile(prefix="semalign-") as file:
                    self._file = np.memmap(file, np.float32, "w+", shape=shape)
            done = sum(map(len, self._rows))
            self._file[done : done + len(view.rows)] = view.maps.cpu().numpy()
        except OSError as error:
            raise SemalignError(
                f"{tempfile.gettempdir()}: has no room for {np.prod(shape) * 4 / 2**20:.0f} MB of heatmaps ({error}); "
                "free some space, or set TMPDIR to another folder."
            ) from error
        forget(self._file)
        self._rows.append(view.rows)
        self._corners.append(view.corners.cpu())
        self._to_image.append(view.to_image)

    def cover(self, points: Float[Tensor, "b n 2"], corners: Int[Tensor, "b n 2"], reach: int) -> Bool[Tensor, " b"]:
        """Of which faces the windows show all up to `reach` pixels from the points' pixels, as far as these are finite."""
        off = (nearest_pixels(points) - corners.to(points.device) - self.radius).abs().amax(-1)
        return ((off <= self.radius - reach) | ~torch.isfinite(points).all(-1)).all(1)

    def views(self) -> Iterator[View]:
        """The windows, on the device on which the heatmaps were, batch by batch in the order in which they came."""
        if self._file is None:
            return
        rows, corners, to_image = np.concatenate(self._rows), torch.cat(self._corners), torch.cat(self._to_image)
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            maps = torch.from_numpy(np.array(self._file[part])).to(self._device)
            forget(self._file)
            yield View(rows[part], maps, corners[part].to(self._device), to_image[part])
