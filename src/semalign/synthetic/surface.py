"""The head as a height field over the front view, its projection, its visible edge, and what each pixel sees of it.

A pose takes a point (x, y, z) of the head to the image by weak perspective: pixel = linear @ (x, y) + depth * z +
offset. So a change of height moves a point along one direction of the image, `depth`, and hides only what lies on the
same line: on each such line the head is seen between its own edge and the place where its surface reaches furthest. For
a fixed z the projection is an affine map, so one slice of the head costs one `cv2.warpAffine`: the surface is found by
sweeping slices from the back to the front, and what lies in front (a nose before the far cheek) hides what lies behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from semalign.synthetic.anatomy import STEP, Anatomy
from semalign.synthetic.traits import Expression, Identity, Pose

CELLS = 32  # cells of the height field per outer-eye distance
LEFT, TOP, RIGHT, BOTTOM = -1.0, -1.3, 1.0, 1.75  # what the height field and the texture cover
CENTRE = np.array([0.0, 0.25])  # the head's outline is star-shaped about it
CHORD = 1.5 * np.linspace(0.0, 1.0, 20)[1:] ** 2  # how far to look back from an edge for what hides it
DIRECTIONS = np.linspace(-np.pi, np.pi, 721)
Box = tuple[int, int, int, int]  # x0, y0, x1, y1: pixels x0 to x1 - 1


@dataclass(frozen=True)
class HeightField:
    """z over the front view, sampled at `CELLS` per unit; `smooth` is the head without its nose."""

    full: np.ndarray  # (h, w) float32
    smooth: np.ndarray  # (h, w) float32

    def at(self, xy: np.ndarray) -> np.ndarray:
        """Heights (n,) at points (n, 2) of the head with its nose."""
        return _sample(self.full, xy[:, :1], xy[:, 1:])[:, 0].astype(float)


def _sample(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values (m, n) float32 of one of a height field's arrays at points of the front view, x and y (m, n)."""
    column, row = ((x - LEFT) * CELLS).astype(np.float32), ((y - TOP) * CELLS).astype(np.float32)
    return cv2.remap(field, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Projection:
    """Weak perspective: pixel = linear @ (x, y) + depth * z + offset."""

    linear: np.ndarray  # (2, 2)
    depth: np.ndarray  # (2,)
    offset: np.ndarray  # (2,)

    def __call__(self, xyz: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) of the head."""
        return xyz[..., :2] @ self.linear.T + xyz[..., 2:] * self.depth + self.offset

    def scaled(self, factor: float, shift: np.ndarray) -> Projection:
        """The same followed by p -> factor * p + shift."""
        return Projection(self.linear * factor, self.depth * factor, self.offset * factor + shift)

    @property
    def unit(self) -> float:
        """Pixels per outer-eye distance across the line of sight."""
        return float(np.linalg.norm(np.column_stack([self.linear, self.depth])[0]))


def rotation(pose: Pose) -> np.ndarray:
    """Head to camera (3, 3): yaw, then pitch, then roll."""
    yaw, pitch, roll = np.deg2rad([pose.yaw, pose.pitch, pose.roll])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    lean = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return lean @ nod @ turn


def project_with(pose: Pose) -> Projection:
    """The projection of a pose at one pixel per outer-eye distance, the origin at pixel 0, 0."""
    matrix = rotation(pose)
    return Projection(matrix[:2, :2], matrix[:2, 2], np.zeros(2))


def build_height(anatomy: Anatomy, identity: Identity, expression: Expression) -> HeightField:
    """A rounded mask over the outline, with brow ridge, eye sockets, cheeks, nose, lips and chin."""
    x, y = _axes()
    smooth = _mask(anatomy)
    mouth_y, chin = float(anatomy.mouth()[0][2 * STEP, 1]), anatomy.chin
    eye_x = 0.355 + identity.eye_spacing
    smile = max(expression.smile, 0.0)
    bumps = [  # height, x, y, width, tall; those off the middle stand on both sides
        (-0.085, eye_x - 0.03, -0.02, 0.15, 0.10),  # eye sockets
        (0.05, eye_x, 0.0, 0.10, 0.06),  # eyeballs
        (0.05, 0.34, -0.20, 0.24, 0.07),  # brow ridge
        (0.05 + 0.03 * smile + 0.015 * identity.cheek, 0.44, 0.34, 0.17, 0.15),  # cheek bones
        (-0.03, 0.50, 0.72, 0.14, 0.2),  # hollow cheeks
        (-0.03 - 0.02 * smile, 0.30, 0.58, 0.06, 0.13),  # folds beside the mouth
        (0.05, 0.0, mouth_y, 0.26, 0.10),  # lips
        (-0.035, 0.0, mouth_y + 0.20, 0.20, 0.05),  # below them
        (0.075, 0.0, chin - 0.13, 0.17, 0.10),
        (0.04, 0.0, -0.55, 0.42, 0.25),  # forehead
    ]
    size, at_x, at_y, wide, tall = np.array(bumps).T[:, :, None]
    columns = np.exp(-(((np.abs(x) - at_x) / wide) ** 2))
    rows = size * np.exp(-(((y - at_y) / tall) ** 2))
    smooth = cv2.GaussianBlur(smooth + (rows.T @ columns).astype(np.float32), (3, 3), 0)
    return HeightField(smooth + cv2.GaussianBlur(_nose(anatomy, identity), (3, 3), 0), smooth)


@lru_cache(maxsize=1)
def _axes() -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(int((RIGHT - LEFT) * CELLS) + 1) / CELLS + LEFT
    y = np.arange(int((BOTTOM - TOP) * CELLS) + 1) / CELLS + TOP
    return x, y


@lru_cache(maxsize=1)
def _polar() -> tuple[np.ndarray, np.ndarray]:
    """Of every cell the direction from `CENTRE`, as an index of `DIRECTIONS`, and the distance."""
    x, y = _axes()
    dx, dy = np.meshgrid(x - CENTRE[0], y - CENTRE[1])
    nearest = np.rint((np.arctan2(dx, dy) + np.pi) * ((len(DIRECTIONS) - 1) / (2 * np.pi)))
    return nearest.astype(np.intp), np.hypot(dx, dy).astype(np.float32)


def _mask(anatomy: Anatomy) -> np.ndarray:
    """A dome over the outline, whose rim has the outline's own height; it falls off steeply outside."""
    nearest, radius = _polar()
    edge = anatomy.outline[:, :2] - CENTRE
    angle = np.arctan2(edge[:, 0], edge[:, 1])
    order = np.argsort(angle)
    size = np.hypot(edge[:, 0], edge[:, 1])
    reach = np.interp(DIRECTIONS, angle[order], size[order], period=2 * np.pi).astype(np.float32)[nearest]
    rim = np.interp(DIRECTIONS, angle[order], anatomy.outline[order, 2], period=2 * np.pi).astype(np.float32)[nearest]
    share = radius / reach
    inside = np.minimum(share, 1.0)
    dome = np.sqrt(1.0 - inside * inside * np.sqrt(inside))
    return rim + (np.float32(0.84) - rim) * dome - np.float32(2.5) * (share - inside)


def _nose(anatomy: Anatomy, identity: Identity) -> np.ndarray:
    x, y = _axes()
    top, tip, base = anatomy.ridge[0, 1], anatomy.ridge[-1, 1], anatomy.nose_base[2 * STEP, 1]
    deep = identity.nose_depth
    knots = [top - 0.16, top, top + 0.5 * (tip - top), tip - 0.05, tip + 0.01, base - 0.02, base + 0.06]
    ridge = np.interp(y, knots, np.array([0.0, 0.07, 0.19 + 0.03 * identity.nose_hook, 0.34, 0.345, 0.11, 0.0]) * deep)
    ridge = np.convolve(np.pad(ridge, 2, mode="edge"), np.array([1, 2, 3, 2, 1]) / 9.0, mode="valid")
    width = np.interp(y, knots, np.array([0.10, 0.075, 0.085, 0.115, 0.125, 0.13, 0.13])) * identity.nose_width
    lean = np.interp(y, [top, tip], [0.0, anatomy.ridge[-1, 0]])
    aside = (x[None] - lean[:, None]) / width[:, None]
    bump = ridge[:, None] * np.exp(-(aside * aside))
    ala = 0.115 * identity.nose_width
    wing = np.exp(-(((np.abs(x) - ala) / 0.05) ** 2))
    bump += (0.10 * np.exp(-(((y - base + 0.06) / 0.06) ** 2)))[:, None] * wing
    return bump.astype(np.float32)


def _lines_of_sight(projection: Projection) -> tuple[np.ndarray, np.ndarray]:
    """The image direction in which height moves a point, and the one over the front view that is seen along it."""
    far = float(np.hypot(projection.depth[0], projection.depth[1]))
    towards = projection.depth / far if far > 1e-9 else np.array([1.0, 0.0])
    back = np.linalg.solve(projection.linear, towards)
    return towards, back / np.hypot(back[0], back[1])


def _furthest(reach: np.ndarray) -> np.ndarray:
    """The maximum of each row (n, steps), to a fraction of a step."""
    rows = np.arange(len(reach))
    best = np.clip(reach.argmax(1), 1, reach.shape[1] - 2)
    a, b, c = reach[rows, best - 1], reach[rows, best], reach[rows, best + 1]
    bend = np.minimum(a - 2 * b + c, -1e-12)
    step = np.clip(0.5 * (c - a) / -bend, -1.0, 1.0)
    return np.maximum(b + 0.5 * (c - a) * step + 0.5 * bend * step * step, reach.max(1))


def _hidden(xy: np.ndarray, pixels: np.ndarray, field: np.ndarray, projection: Projection) -> np.ndarray:
    """By how much (n, 2) the surface behind points (n, 2), projected to `pixels`, reaches further than they."""
    towards, back = _lines_of_sight(projection)
    lead = (xy @ projection.linear.T + projection.offset - pixels) @ towards
    flat = lead[:, None] - CHORD * float(projection.linear @ back @ towards)
    rise = _sample(field, xy[:, :1] - CHORD * back[0], xy[:, 1:] - CHORD * back[1])
    beyond = np.maximum(_furthest(flat + rise * float(projection.depth @ towards)), 0.0)
    return beyond[:, None] * towards


def visible_edge(anatomy: Anatomy, field: np.ndarray, projection: Projection) -> np.ndarray:
    """The head's visible edge (OUTLINE_SAMPLES, 2) in pixels, in step with `anatomy.outline`.

    On the near side that is the outline itself; on the far side of a turned head it is the place on the same line of
    sight where the surface turns away. `field` is the height field's array with or without the nose.
    """
    xy = anatomy.outline[:, :2]
    rim = projection(np.column_stack([xy, _sample(field, xy[:, :1], xy[:, 1:])]))
    move = _hidden(xy, rim, field, projection)
    for _ in range(2):
        ring = np.concatenate([move[-1:], move, move[:1]])
        move = 0.5 * move + 0.25 * (ring[:-2] + ring[2:])
    return rim + move


def place(xy: np.ndarray, height: HeightField, projection: Projection) -> np.ndarray:
    """Pixels (n, 2) of points (n, 2) of the front view.

    What the head's own curvature hides lies on the visible edge, as people mark it; what the nose hides, where it is.
    """
    pixels = projection(np.column_stack([xy, height.at(xy)]))
    return pixels + _hidden(xy, pixels, height.smooth, projection)


def see(height: HeightField, projection: Projection, box: Box) -> np.ndarray:
    """For each pixel of a box, the height z (h, w) float32 at which its line of sight meets the head.

    Pixels that just miss the head hold the height of their neighbours, others that of the rearmost slice.
    """
    x0, y0, x1, y1 = box
    inverse = np.linalg.inv(projection.linear)
    slant = inverse @ projection.depth  # how far a line of sight moves over the front view per unit of z
    count = 4 + int(np.ceil(7.0 * min(float(np.hypot(slant[0], slant[1])), 1.8)))
    levels = np.linspace(-0.15, float(height.full.max()) + 1e-3, count)
    gap = np.float32(levels[1] - levels[0])
    corner = np.array([x0, y0]) - projection.offset
    shape = (x1 - x0, y1 - y0)
    seen = np.full(shape[::-1], levels[0], np.float32)
    slope = np.full_like(seen, -1.0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    below: np.ndarray | None = None
    for level in levels:
        start = (inverse @ corner - slant * level - (LEFT, TOP)) * CELLS
        matrix = np.column_stack([inverse * CELLS, start])
        above = cv2.warpAffine(height.full, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        above -= np.float32(level)
        if below is not None:
            crossed = np.flatnonzero((below >= 0) & (above < 0))
            under = below.ravel()[crossed]
            drop = above.ravel()[crossed] - under
            seen.ravel()[crossed] = np.float32(level) - gap - gap * under / drop
            slope.ravel()[crossed] = drop / gap
        below = above
    missed = seen == np.float32(levels[0])
    error = _sample(height.full, *front_view(projection, box, seen)) - seen
    seen -= np.clip(error / np.minimum(slope, -0.2), -gap, gap)
    seen[missed] = levels[0]
    np.copyto(seen, cv2.dilate(seen, None, iterations=2), where=missed)
    return seen


def front_view(projection: Projection, box: Box, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where on the front view each pixel of a box looks, given the heights from `see`: x and y (h, w) float32."""
    x0, y0, x1, y1 = box
    inverse = np.linalg.inv(projection.linear)
    slant = (inverse @ projection.depth).astype(np.float32)
    column = np.outer(inverse[:, 0], np.arange(x0, x1) - projection.offset[0]).astype(np.float32)
    row = np.outer(inverse[:, 1], np.arange(y0, y1) - projection.offset[1]).astype(np.float32)
    x, y = (column[axis] + (row[axis][:, None] - slant[axis] * seen) for axis in (0, 1))
    return x, y


def back_to_front(projection: Projection, pixels: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The points (n, 2) of the front view that lie at heights (n,) on the lines of sight of pixels (n, 2)."""
    flat = pixels - projection.offset - heights[:, None] * projection.depth
    return flat @ np.linalg.inv(projection.linear).T
