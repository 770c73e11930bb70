"""Which triangle of a solid is seen at each pixel: a depth buffer.

Shape legend: v vertices, t triangles, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NOTHING = -1  # of `Seen.triangle` where no triangle is
LEAST_AREA = 1e-6  # square pixels, doubled, of a triangle that is drawn


@dataclass(frozen=True)
class Mesh:
    """A solid's surface.

    Attributes:
        vertices: places.
        normals: unit vectors, one for each vertex, to the outside or the inside.
        triangles: three vertices each.
        part: number of the part of each triangle.
    """

    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    part: Int[np.ndarray, " t"]


@dataclass(frozen=True)
class Seen:
    """What is seen of a mesh.

    Attributes:
        triangle: at each pixel, or `NOTHING`.
        weights: of its three vertices, which add up to 1.
    """

    triangle: Int[np.ndarray, "h w"]
    weights: Float[np.ndarray, "h w 3"]


def joined(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.part for mesh in meshes]),
    )


def sheet(grid: Float[np.ndarray, "r c 3"], part: int, closed: bool = False) -> Mesh:
    """A surface through a grid of places.

    Args:
        grid: of places; it may come to a point at a row.
        part: number.
        closed: the last column is followed by the first.
    """
    rows, columns = grid.shape[:2]
    ring = np.concatenate([grid[:, -1:], grid, grid[:, :1]], axis=1) if closed else grid
    along = np.gradient(grid, axis=0)
    across = np.gradient(ring, axis=1)
    normals = np.cross(along, across[:, 1:-1] if closed else across)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    number = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(number, -1, axis=1) if closed else number[:, 1:]
    left = number if closed else number[:, :-1]
    a, b, c, d = left[:-1], right[:-1], right[1:], left[1:]
    triangles = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])
    return Mesh(grid.reshape(-1, 3), normals.reshape(-1, 3), triangles, np.full(len(triangles), part))


def rasterise(
    pixels: Float[np.ndarray, "v 2"], nearness: Float[np.ndarray, " v"], triangles: Int[np.ndarray, "t 3"], side: int
) -> Seen:
    """What is seen in a square picture.

    Args:
        pixels: of the vertices.
        nearness: of the vertices, the inverse of their depth, which is linear in the picture.
        triangles: three vertices each.
        side: of the picture, pixels.
    """
    nearest = np.zeros((side, side))
    triangle = np.full((side, side), NOTHING)
    edges, good = _edges(pixels[triangles])
    corners, near = pixels[triangles], nearness[triangles]
    low = np.maximum(np.ceil(corners.min(axis=1)).astype(int), 0)
    high = np.minimum(np.floor(corners.max(axis=1)).astype(int), side - 1)
    steps: np.ndarray = np.arange(side, dtype=np.float64)
    plane = np.einsum("tij,ti->tj", edges, near)  # nearness as a·x + b·y + c
    for index in np.flatnonzero(good & (low <= high).all(axis=1)):
        (x0, y0), (x1, y1) = low[index], high[index] + 1
        x, y = steps[x0:x1], steps[y0:y1, None]
        (a0, b0, c0), (a1, b1, c1), (a2, b2, c2) = edges[index]
        inside = (a0 * x + (b0 * y + c0) >= 0) & (a1 * x + (b1 * y + c1) >= 0) & (a2 * x + (b2 * y + c2) >= 0)
        a, b, c = plane[index]
        depth = a * x + (b * y + c)
        part = nearest[y0:y1, x0:x1]
        inside &= depth > part
        part[inside] = depth[inside]
        triangle[y0:y1, x0:x1][inside] = index
    weights = np.zeros((side, side, 3))
    down, across = np.nonzero(triangle != NOTHING)
    places = np.stack([across, down, np.ones(len(down))], -1)
    weights[down, across] = np.einsum("kij,kj->ki", edges[triangle[down, across]], places)
    return Seen(triangle, weights)


def hidden(
    points: Float[np.ndarray, "n 2"],
    nearness: Float[np.ndarray, " n"],
    corners: Float[np.ndarray, "t 3 2"],
    near: Float[np.ndarray, "t 3"],
    slack: float,
) -> np.ndarray:
    """Which points (n,) lie behind a triangle.

    Args:
        points: in the picture.
        nearness: of the points.
        corners: of the triangles, in the picture.
        near: nearness of the corners.
        slack: share by which a triangle must be nearer.
    """
    edges, good = _edges(corners)
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    weights = np.einsum("tij,nj->nti", edges, homogeneous)
    depth = np.einsum("nti,ti->nt", weights, near)
    before = (weights >= 0).all(axis=2) & good & (depth > (1 + slack) * nearness[:, None])
    found: np.ndarray = before.any(axis=1)
    return found


def _edges(corners: Float[np.ndarray, "t 3 2"]) -> tuple[Float[np.ndarray, "t 3 3"], np.ndarray]:
    """For each corner a, b, c such that a·x + b·y + c is its weight at (x, y); and which triangles have an area."""
    x, y = corners[..., 0], corners[..., 1]
    after, last = np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1)
    a, b = after[..., 1] - last[..., 1], last[..., 0] - after[..., 0]
    c = after[..., 0] * last[..., 1] - last[..., 0] * after[..., 1]
    area = a[:, 0] * x[:, 0] + b[:, 0] * y[:, 0] + c[:, 0]
    good = np.abs(area) > LEAST_AREA
    return np.stack([a, b, c], axis=-1) / np.where(good, area, 1.0)[:, None, None], good
