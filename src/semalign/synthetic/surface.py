"""The head as a height field over the front view, its projection, its visible edge, and which part of it each pixel sees.

A pose takes a point (x, y, z) of the head to the image by weak perspective: pixel = linear @ (x, y) + depth * z + offset.
For a fixed z that is an affine map, so one slice of the head costs one `cv2.warpAffine`: the surface is found by sweeping slices
from the back to the front, and what lies in front (a nose before the far cheek) hides what lies behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from semalign.synthetic.anatomy import CENTRE, Anatomy
from semalign.synthetic.traits import Expression, Identity, Pose

CELLS = 40  # cells of the height field per outer-eye distance
LEFT, TOP, RIGHT, BOTTOM = -1.0, -1.3, 1.0, 1.75  # what the height field and the texture cover


@dataclass(frozen=True)
class HeightField:
    """z over the front view, sampled at `CELLS` per unit; `smooth` is the head without its nose."""

    full: np.ndarray  # (h, w) float32
    smooth: np.ndarray  # (h, w) float32

    def at(self, xy: np.ndarray, smooth: bool = False) -> np.ndarray:
        """Heights (...,) at points (..., 2)."""
        cells = ((xy.reshape(1, -1, 2) - (LEFT, TOP)) * CELLS).astype(np.float32)
        field = self.smooth if smooth else self.full
        return cv2.remap(field, cells, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(xy.shape[:-1]).astype(float)


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
        return float(np.linalg.norm(np.column_stack([self.linear, self.depth]), axis=1).mean())


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
    x = np.arange(int((RIGHT - LEFT) * CELLS) + 1) / CELLS + LEFT
    y = np.arange(int((BOTTOM - TOP) * CELLS) + 1) / CELLS + TOP
    smooth = _mask(anatomy, x, y)
    mouth_y, chin = float(anatomy.points[62, 1]), anatomy.chin
    eye_x = 0.355 + identity.eye_spacing
    smile = max(expression.smile, 0.0)
    bumps = (
        # height, x, y, width, tall; those off the middle stand on both sides
        (-0.085, eye_x - 0.03, -0.02, 0.15, 0.10), (0.05, eye_x, 0.0, 0.10, 0.06), (0.05, 0.34, -0.20, 0.24, 0.07),
        (0.05 + 0.03 * smile + 0.015 * identity.cheek, 0.44, 0.34, 0.17, 0.15), (-0.03, 0.50, 0.72, 0.14, 0.2),
        (0.05, 0.0, mouth_y, 0.26, 0.10), (-0.035, 0.0, mouth_y + 0.20, 0.20, 0.05), (0.075, 0.0, chin - 0.13, 0.17, 0.10),
        (0.04, 0.0, -0.55, 0.42, 0.25), (-0.03 - 0.02 * smile, 0.30, 0.58, 0.06, 0.13),
    )  # fmt: skip
    for height, at_x, at_y, wide, tall in bumps:
        row = np.exp(-(((x - at_x) / wide) ** 2))
        if at_x:
            row += np.exp(-(((x + at_x) / wide) ** 2))
        smooth += (height * np.exp(-(((y - at_y) / tall) ** 2)))[:, None] * row
    smooth = cv2.GaussianBlur(smooth.astype(np.float32), (3, 3), 0)
    return HeightField(smooth + cv2.GaussianBlur(_nose(anatomy, identity, x, y), (3, 3), 0), smooth)


def _mask(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    dx, dy = np.meshgrid(x - CENTRE[0], y - CENTRE[1])
    angle, radius = np.arctan2(dx, dy), np.hypot(dx, dy)  # 0 at the chin, growing to the image's right
    edge = anatomy.outline[:, :2] - CENTRE
    edge_angle = np.arctan2(edge[:, 0], edge[:, 1])
    order = np.argsort(edge_angle)
    table = np.linspace(-np.pi, np.pi, 361)
    reach = np.interp(table, edge_angle[order], np.hypot(edge[:, 0], edge[:, 1])[order], period=2 * np.pi)
    rim = np.interp(table, edge_angle[order], anatomy.outline[order, 2], period=2 * np.pi)
    index = (angle + np.pi) * (360 / (2 * np.pi))
    low = np.minimum(index.astype(np.intp), 359)
    part = index - low
    reach, rim = reach[low] + part * (reach[low + 1] - reach[low]), rim[low] + part * (rim[low + 1] - rim[low])
    share = radius / reach
    inside = np.maximum(1.0 - np.minimum(share, 1.0) ** 2.6, 0.0) ** 0.6
    return rim + (0.84 - rim) * inside - 2.5 * np.maximum(share - 1.0, 0.0)


def _nose(anatomy: Anatomy, identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    top, tip, base = anatomy.ridge[0, 1], anatomy.ridge[-1, 1], anatomy.nose_base[20, 1]
    deep = identity.nose_depth
    knots = [top - 0.16, top, top + 0.5 * (tip - top), tip - 0.05, tip + 0.01, base - 0.02, base + 0.06]
    ridge = np.interp(y, knots, np.array([0.0, 0.07, 0.19 + 0.03 * identity.nose_hook, 0.34, 0.345, 0.11, 0.0]) * deep)
    ridge = np.convolve(np.pad(ridge, 2, mode="edge"), np.array([1, 2, 3, 2, 1]) / 9.0, mode="valid")
    width = np.interp(y, knots, np.array([0.10, 0.075, 0.085, 0.115, 0.125, 0.13, 0.13])) * identity.nose_width
    lean = np.interp(y, [top, tip], [0.0, anatomy.ridge[-1, 0]])
    bump = ridge[:, None] * np.exp(-(np.abs((x[None] - lean[:, None]) / width[:, None]) ** 2.2))
    ala = 0.115 * identity.nose_width
    wing = np.exp(-(((x - ala) / 0.05) ** 2)) + np.exp(-(((x + ala) / 0.05) ** 2))
    bump += (0.10 * np.exp(-(((y - base + 0.06) / 0.06) ** 2)))[:, None] * wing
    return bump.astype(np.float32)


def visible_edge(anatomy: Anatomy, height: HeightField, projection: Projection) -> np.ndarray:
    """The head's visible edge (OUTLINE_SAMPLES, 2) in pixels, in step with `anatomy.outline`.

    On the near side it is the outline itself; on the far side of a turned head, the line where the surface turns away. Along
    each ray from the face's middle to the outline the point that reaches furthest out is taken, where "out" is first the ray's
    direction and then the normal of the edge found with it.
    """
    share = np.linspace(0.3, 1.0, 29)
    spoke = anatomy.outline[:, :2] - CENTRE
    xy = CENTRE + share[None, :, None] * spoke[:, None]
    z = height.at(xy, smooth=True)
    z[:, -1] = anatomy.outline[:, 2]
    pixels = projection(np.concatenate([xy, z[..., None]], axis=2))
    out = spoke @ projection.linear.T
    for _ in range(3):
        edge = _furthest(pixels, out)
        along = np.roll(edge, -2, axis=0) - np.roll(edge, 2, axis=0)
        out = np.stack([along[:, 1], -along[:, 0]], axis=1)
    edge = _furthest(pixels, out)
    for _ in range(2):
        edge = 0.25 * np.roll(edge, 1, axis=0) + 0.5 * edge + 0.25 * np.roll(edge, -1, axis=0)
    return edge


def _furthest(pixels: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The point of each row (rays, steps, 2) furthest along its direction (rays, 2), to a fraction of a step."""
    rows = np.arange(len(pixels))
    reach = (pixels * out[:, None]).sum(2)
    best = reach.argmax(1)
    middle = np.clip(best, 1, pixels.shape[1] - 2)
    a, b, c = reach[rows, middle - 1], reach[rows, middle], reach[rows, middle + 1]
    curve = a - 2 * b + c
    step = np.where((best == middle) & (curve < -1e-12), 0.5 * (a - c) / np.where(curve < -1e-12, curve, -1.0), best - middle)
    step = step[:, None]
    p, q, r = pixels[rows, middle - 1], pixels[rows, middle], pixels[rows, middle + 1]
    return q + 0.5 * step * (r - p) + 0.5 * step**2 * (p - 2 * q + r)


def place(xy: np.ndarray, height: HeightField, projection: Projection) -> np.ndarray:
    """Pixels (n, 2) of points (n, 2) of the front view; what has turned out of sight lies on the visible edge, as people mark it."""
    steps = np.linspace(0.3, 1.0, 15)
    line = np.stack([xy[:, None, 0] * steps, np.broadcast_to(xy[:, None, 1], (len(xy), 15))], axis=2)
    base = projection(np.concatenate([line, height.at(line, smooth=True)[..., None]], axis=2))
    across = projection.linear[:, 0] / np.linalg.norm(projection.linear[:, 0])
    reach = (base * across).sum(2) * np.sign(xy[:, :1])
    pixels = projection(np.column_stack([xy, height.at(xy)]))
    hidden = np.maximum(reach.max(1) - reach[:, -1], 0.0)
    return pixels + (hidden * np.sign(xy[:, 0]))[:, None] * across


def see(height: HeightField, projection: Projection, box: tuple[int, int, int, int]) -> np.ndarray:
    """For each pixel of a box (x0, y0, x1, y1), the height z (h, w) float32 at which its line of sight meets the head.

    Pixels that miss the head hold the height of the rearmost slice.
    """
    x0, y0, x1, y1 = box
    inverse = np.linalg.inv(projection.linear)
    slant = inverse @ projection.depth  # how far a line of sight moves over the front view per unit of z
    highest = float(height.full.max()) + 1e-3
    count = 3 + int(np.ceil(14.0 * min(float(np.hypot(slant[0], slant[1])), 1.8)))
    levels = np.linspace(-0.15, highest, count)
    gap = np.float32(levels[1] - levels[0])
    corner = np.array([x0, y0]) - projection.offset
    seen = np.full((y1 - y0, x1 - x0), levels[0], np.float32)
    slope = np.full_like(seen, -1.0)
    below: np.ndarray | None = None
    for level in levels:
        start = (inverse @ corner - slant * level - (LEFT, TOP)) * CELLS
        matrix = np.column_stack([inverse * CELLS, start])
        above = cv2.warpAffine(height.full, matrix, seen.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
        above -= np.float32(level)
        if below is not None:
            crossed = (below >= 0) & (above < 0)
            drop = np.where(crossed, above - below, np.float32(-1.0))
            np.copyto(seen, np.float32(level) - gap - gap * below / drop, where=crossed)
            np.copyto(slope, drop / gap, where=crossed)
        below = above
    grid_x, grid_y = front_view(projection, box, seen)
    error = cv2.remap(height.full, (grid_x - np.float32(LEFT)) * CELLS, (grid_y - np.float32(TOP)) * CELLS, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - seen
    return seen - np.clip(error / np.minimum(slope, -0.2), -gap, gap) * (seen > levels[0])


def front_view(projection: Projection, box: tuple[int, int, int, int], seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (h, w) of the front view that each pixel of a box sees, given the heights from `see`."""
    x0, y0, x1, y1 = box
    inverse = np.linalg.inv(projection.linear)
    slant = (inverse @ projection.depth).astype(np.float32)
    column = np.arange(x0, x1) - projection.offset[0]
    row = (np.arange(y0, y1) - projection.offset[1])[:, None]
    x = (inverse[0, 0] * column + inverse[0, 1] * row).astype(np.float32)
    y = (inverse[1, 0] * column + inverse[1, 1] * row).astype(np.float32)
    return x - slant[0] * seen, y - slant[1] * seen
