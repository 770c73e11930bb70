"""Faces with annotation, found label and truth, as a whole and close up where labels moved furthest.

Points and windows are in the crop frame of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from semalign.report.theme import MARKS

SIDE = 300.0  # CSS pixels of a picture
CLOSE_UP = 0.22  # side of a close-up's window, as a share of the face's

LETTERS = "abcd"  # of the close-ups


@dataclass(frozen=True)
class FaceMarks:
    """One face and its labels; `found` and `truth` are None where there are none, `note` says why it is shown."""

    id: str
    image: np.ndarray  # (s, s, 3) uint8
    annotation: np.ndarray  # (n, 2)
    found: np.ndarray | None  # (n, 2)
    truth: np.ndarray | None  # (n, 2)
    note: str = ""

    def sets(self) -> dict[str, np.ndarray]:
        """The label sets that are there, in the order in which they are drawn."""
        named = {"truth": self.truth, "annotation": self.annotation, "found": self.found}
        return {name: points for name, points in named.items() if points is not None}


@dataclass(frozen=True)
class Window:
    """A square of the picture: centre and side."""

    name: str
    x: float
    y: float
    side: float

    def within(self, outer: Window) -> Window:
        """The window moved as little as needed to lie in `outer`."""
        room = (outer.side - self.side) / 2
        return replace(
            self,
            x=min(max(self.x, outer.x - room), outer.x + room),
            y=min(max(self.y, outer.y - room), outer.y + room),
        )

    def holds(self, points: np.ndarray, spare: float = 0.0) -> np.ndarray:
        """Which points (n, 2) lie in the square or at most `spare` outside it."""
        return np.abs(points - (self.x, self.y)).max(axis=1) <= self.side / 2 + spare


def face_window(face: FaceMarks) -> Window:
    """The square around all marks of a face."""
    points = np.concatenate(list(face.sets().values()))
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    x, y = (low + high) / 2
    return Window("face", float(x), float(y), 1.2 * float((high - low).max()))


def close_ups(face: FaceMarks, regions: Mapping[str, Sequence[int]], count: int = 4) -> tuple[Window, ...]:
    """Windows around the landmarks about which labels moved furthest in sum, at most one for each region.

    The regions that moved furthest are taken where there are more than `count`; windows hardly overlap. Without found
    labels the distance from annotation to truth takes the movement's place.
    """
    other = face.found if face.found is not None else face.truth
    if other is None:
        return ()
    moved = np.nan_to_num(np.linalg.norm(other - face.annotation, axis=1))
    whole = face_window(face)
    side = CLOSE_UP * whole.side
    middle = (other + face.annotation) / 2
    offers: list[tuple[float, Window]] = []
    for name, members in (regions or {"": range(len(moved))}).items():
        inside = np.isin(np.arange(len(moved)), list(members))
        for x, y in middle[inside]:
            window = Window(name, float(x), float(y), side).within(whole)
            offers.append((float(moved[inside & window.holds(middle)].sum()), window))
    chosen: list[Window] = []
    for _, window in sorted(offers, key=lambda offer: -offer[0]):
        apart = all(max(abs(window.x - other.x), abs(window.y - other.y)) > 0.8 * side for other in chosen)
        fresh = not regions or window.name not in {other.name for other in chosen}
        if apart and fresh and len(chosen) < count:
            chosen.append(window)
    order = list(regions)
    return tuple(sorted(chosen, key=lambda window: order.index(window.name)) if regions else chosen)


def draw_face(
    axes: Axes, face: FaceMarks, window: Window, scale: float = 1.0, frames: Sequence[Window] = (), smooth: str = "none"
) -> None:
    """Draw the part of a face that lies in `window` with its marks, and frames where the close-ups are.

    Args:
        axes: square axes; their ticks are removed.
        face: the face.
        window: what is seen.
        scale: of the marks, 1 for a close-up.
        frames: windows to outline, lettered if there are several.
        smooth: matplotlib's interpolation of the picture; "none" leaves it to who shows the SVG.
    """
    left, top, right, bottom = _cut(face.image, window)
    part = face.image[top:bottom, left:right]
    axes.imshow(part, extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5), interpolation=smooth)
    axes.set_xlim(window.x - window.side / 2, window.x + window.side / 2)
    axes.set_ylim(window.y + window.side / 2, window.y - window.side / 2)
    axes.set_axis_off()
    seen = window.holds(face.annotation, spare=0.1 * window.side)
    if face.found is not None:
        seen |= window.holds(face.found, spare=0.1 * window.side)
        _movement(axes, face.annotation[seen], face.found[seen], scale)
    for name, points in face.sets().items():
        draw_marks(axes, name, points[seen], scale)
    for letter, frame in zip(LETTERS, frames, strict=False):
        corner = frame.x - frame.side / 2, frame.y - frame.side / 2
        for color, width in ((f"{MARKS.halo}80", 1.9), ("white", 0.8)):
            outline = Rectangle(corner, frame.side, frame.side, fill=False, edgecolor=color, linewidth=width, zorder=2)
            axes.add_patch(outline)
        if len(frames) > 1:
            tag = {"facecolor": MARKS.halo, "alpha": 0.8, "edgecolor": "none", "pad": 1.6}
            text: dict[str, Any] = {"color": "white", "fontsize": 9, "va": "top", "bbox": tag, "zorder": 5}
            axes.annotate(letter, corner, (3.2, -3.2), textcoords="offset points", **text)


def face_picture(face: FaceMarks, window: Window, scale: float = 1.0, frames: Sequence[Window] = ()) -> Figure:
    """One square picture of `draw_face`."""
    figure = Figure(figsize=(SIDE / 72, SIDE / 72), dpi=72)
    draw_face(figure.add_axes((0, 0, 1, 1)), face, window, scale, frames)
    return figure


def _cut(image: np.ndarray, window: Window) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that the window shows, one more on each side."""
    low = np.floor(np.array([window.x, window.y]) - window.side / 2).astype(int) - 1
    high = np.ceil(np.array([window.x, window.y]) + window.side / 2).astype(int) + 2
    height, width = image.shape[:2]
    left, top = np.clip(low, 0, (width - 1, height - 1))
    right, bottom = np.clip(high, 1, (width, height))
    return int(left), int(top), int(right), int(bottom)


def _movement(axes: Axes, start: np.ndarray, end: np.ndarray, scale: float) -> None:
    segments = list(np.stack([start, end], axis=1))
    for color, width in ((MARKS.halo, 3.0), (MARKS.found, 1.3)):
        lines = LineCollection(segments, colors=color, linewidths=width * scale, zorder=3, capstyle="round")
        lines.set_gid(f"movement{width}")
        axes.add_collection(lines)


def draw_marks(axes: Axes, name: str, points: np.ndarray, scale: float) -> None:
    """Draw a ring for the truth, a cross for the annotation, a dot for the found label, each with a dark rim."""
    color = getattr(MARKS, name)
    x, y = points.T
    if name == "truth":
        looks = [("o", 10.5, 3.0, MARKS.halo), ("o", 10.5, 1.3, color)]
    elif name == "annotation":
        looks = [("x", 8.0, 3.2, MARKS.halo), ("x", 8.0, 1.5, color)]
    else:
        looks = [("o", 5.6, 0.0, MARKS.halo), ("o", 4.2, 0.0, color)]
    for layer, (marker, size, width, edge) in enumerate(looks):
        (line,) = axes.plot(
            x,
            y,
            marker,
            markersize=size * scale,
            markeredgewidth=width * scale,
            markeredgecolor=edge,
            markerfacecolor=edge if name == "found" else "none",
            zorder=4,
        )
        line.set_gid(f"{name}{layer}")
