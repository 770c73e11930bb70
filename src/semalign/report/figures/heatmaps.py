"""Heatmaps of a strong and of a weak landmark in two and three dimensions (Fig. 2a of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]

from semalign.report.theme import FONT_SIZE, GREY

SIDE = 300.0  # CSS pixels of a picture
REACH = 0.14  # half the side of the window around the peak, as a share of the heatmap
_STOPS = ("#27476e", "#1f6f8f", "#2b9c8c", "#7fc26a", "#f2d548", "#fff6b0")
COLORS = LinearSegmentedColormap.from_list("response", _STOPS)


@dataclass(frozen=True)
class Response:
    """One heatmap over the face that it belongs to; the map covers the whole picture."""

    image: np.ndarray  # (s, s, 3) uint8
    heatmap: np.ndarray  # (h, w)
    top: float  # the value that is drawn in the brightest colour

    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the heatmap around its peak."""
        height, width = self.heatmap.shape
        reach = max(6, round(REACH * height))
        row, column = np.unravel_index(int(np.nanargmax(self.heatmap)), self.heatmap.shape)
        top = int(np.clip(row - reach, 0, max(0, height - 2 * reach - 1)))
        left = int(np.clip(column - reach, 0, max(0, width - 2 * reach - 1)))
        return slice(top, min(height, top + 2 * reach + 1)), slice(left, min(width, left + 2 * reach + 1))


def spread(heatmap: np.ndarray) -> tuple[float, float]:
    """Length and width of the response around its peak: standard deviations along its main axes, in heatmap pixels.

    Values under a tenth of the peak, which are background, count as nothing.
    """
    weights = np.where(heatmap >= 0.1 * heatmap.max(), heatmap, 0.0).astype(np.float64)
    if weights.sum() <= 0:
        return 0.0, 0.0
    rows, columns = np.indices(heatmap.shape)
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    shares = weights.ravel() / weights.sum()
    offset = points - shares @ points
    values = np.linalg.eigvalsh((offset * shares[:, None]).T @ offset)
    small, large = np.sqrt(np.maximum(values, 0.0))
    return float(large), float(small)


def flat_view(response: Response) -> Figure:
    """The face around the peak in grey, the response over it in colour, its half height as a line."""
    figure = Figure(figsize=(SIDE / 72, SIDE / 72), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    scale = response.image.shape[0] / response.heatmap.shape[0]
    rows, columns = response.window()
    grey = response.image.astype(np.float64) @ (0.299, 0.587, 0.114) / 255.0
    top, left = int(rows.start * scale), int(columns.start * scale)
    part = grey[top : int(rows.stop * scale) + 1, left : int(columns.stop * scale) + 1]
    extent = (left - 0.5, left + part.shape[1] - 0.5, top + part.shape[0] - 0.5, top - 0.5)
    axes.imshow(0.92 * part, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="none")

    values = np.clip(response.heatmap[rows, columns] / response.top, 0, 1)
    colors = COLORS(values)
    colors[..., 3] = np.clip(1.6 * values, 0, 0.82)
    edges = [edge * scale - 0.5 for edge in (columns.start, columns.stop, rows.stop, rows.start)]
    axes.imshow(colors, extent=(edges[0], edges[1], edges[2], edges[3]), interpolation="none")
    x = (np.arange(columns.start, columns.stop) + 0.5) * scale - 0.5
    y = (np.arange(rows.start, rows.stop) + 0.5) * scale - 0.5
    half = response.heatmap.max() / 2
    if values.max() > 0:
        axes.contour(x, y, response.heatmap[rows, columns], levels=[half], colors="white", linewidths=1.4)
    axes.set_xlim(edges[0], edges[1])
    axes.set_ylim(edges[2], edges[3])
    return figure


def solid_view(response: Response) -> Figure:
    """The same window of the heatmap as a surface; its colours suit light and dark pages."""
    figure = Figure(figsize=(SIDE / 72, SIDE / 72), dpi=72)
    axes = cast(Axes3D, figure.add_axes((-0.06, -0.04, 1.04, 1.12), projection="3d"))
    rows, columns = response.window()
    part = _finer(np.clip(response.heatmap[rows, columns], 0, None))
    y, x = (np.linspace(s.start, s.stop - 1, count) for s, count in zip((rows, columns), part.shape, strict=True))
    look = {"cmap": COLORS, "vmin": 0, "vmax": response.top, "linewidth": 0, "antialiased": False}
    axes.plot_surface(*np.meshgrid(x, y), part, rcount=80, ccount=80, **look)
    axes.set_zlim(0, response.top)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.92)
    axes.view_init(elev=28, azim=-58)
    axes.invert_yaxis()
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set_color(GREY)
        axis.line.set_linewidth(0.8)
    axes.set_xticks(_ticks(columns))
    axes.set_yticks(_ticks(rows))
    axes.zaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(colors=GREY, labelsize=0.85 * FONT_SIZE, pad=-1)
    return figure


def _finer(values: np.ndarray) -> np.ndarray:
    """A smooth surface through the values: cubic at steps of a quarter pixel, or as they are if these are many."""
    if values.shape[0] > 40:
        return values
    size = (4 * (values.shape[1] - 1) + 1, 4 * (values.shape[0] - 1) + 1)
    quarter = np.array([[0.25, 0, 0], [0, 0.25, 0]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.maximum(cv2.warpAffine(values, quarter, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), 0)


def _ticks(span: slice) -> list[int]:
    middle = (span.start + span.stop - 1) // 2
    step = max(1, (span.stop - span.start) // 3)
    return [middle - step, middle, middle + step]
