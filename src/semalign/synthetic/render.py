"""One synthetic face: draw its traits, build head and pose, paint, light and photograph it, and hand over the exact landmarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from semalign.synthetic import scene as stage
from semalign.synthetic.anatomy import EAR, Anatomy, build_anatomy
from semalign.synthetic.camera import photograph
from semalign.synthetic.draw import blend, fill
from semalign.synthetic.paint import Picture, paint_face
from semalign.synthetic.polyline import arc_length, evenly, point_at, position_on
from semalign.synthetic.settings import FaceSettings
from semalign.synthetic.surface import (
    LEFT,
    TOP,
    HeightField,
    Projection,
    build_height,
    front_view,
    place,
    project_with,
    see,
    visible_edge,
)
from semalign.synthetic.traits import draw_expression, draw_identity, draw_light, draw_look, draw_pose

SUPERSAMPLE = 2  # scenes are drawn this many times larger than the photograph


@dataclass(frozen=True)
class FaceCurve:
    """A smooth curve of a face in the image, dense, with the places of its landmarks: what annotators slide along."""

    name: str
    landmarks: tuple[int, ...]
    line: np.ndarray  # (k, 2) pixels; a closed curve repeats its first point at the end
    positions: np.ndarray  # (len(landmarks),) arc length of each landmark, pixels
    closed: bool


@dataclass(frozen=True)
class Face:
    """A rendered face. Points are (x, y) in pixels of the image, pixel centres at integers."""

    image: np.ndarray  # (size, size, 3) uint8 RGB
    points: np.ndarray  # (68, 2) float64, exact
    visible: np.ndarray  # (68,) bool: neither turned away nor covered
    curves: tuple[FaceCurve, ...]
    parameters: dict[str, Any]  # identity, expression, pose, look, light, occluder


def render_face(rng: np.random.Generator, settings: FaceSettings | None = None) -> Face:
    """Draw and render one face; everything about it comes from `rng`."""
    settings = settings or FaceSettings()
    identity, expression = draw_identity(rng), draw_expression(rng, settings.expression)
    pose, light = draw_pose(rng, settings), draw_light(rng)
    look = draw_look(rng, settings, identity.age)

    anatomy = build_anatomy(identity, expression)
    height = build_height(anatomy, identity, expression)
    projection = _frame(rng, anatomy, height, project_with(pose), settings)
    edge = visible_edge(anatomy, height, projection)
    points, curves = _landmarks(anatomy, height, projection, edge)

    fine = projection.scaled(SUPERSAMPLE, np.full(2, (SUPERSAMPLE - 1) / 2))
    side = settings.size * SUPERSAMPLE
    to_fine = (SUPERSAMPLE - 1) / 2
    scene = stage.Scene(
        image=stage.background(rng, side),
        covered=np.zeros((side, side), np.uint8),
        projection=fine,
        pose=pose,
        edge=edge * SUPERSAMPLE + to_fine,
        unit=fine.unit,
        level=light.ambient + light.diffuse * 0.75,
    )
    picture = paint_face(rng, anatomy, height, identity, expression, look, light, pose, texel=1.15 * fine.unit)
    layer = stage.hair_layer(scene, look, light)
    stage.hair_behind(rng, scene, identity, look, layer)
    stage.body(rng, scene, look, light)
    stage.ears(scene, identity, look)
    seen = _project_face(scene, picture, anatomy, height, projection)
    stage.hair_front(rng, scene, identity, look, height, layer)
    covering = "none"
    if rng.random() < settings.occlusion:
        covering = stage.occluder(rng, scene, look, points * SUPERSAMPLE + to_fine, layer)

    visible = _visible(anatomy, scene.covered, picture, seen, points)
    parameters = {
        "identity": asdict(identity),
        "expression": asdict(expression),
        "pose": asdict(pose),
        "look": asdict(look),
        "light": asdict(light),
        "occluder": covering,
    }
    return Face(photograph(rng, scene.image, settings), points, visible, curves, parameters)


def _frame(
    rng: np.random.Generator, anatomy: Anatomy, height: HeightField, projection: Projection, settings: FaceSettings
) -> Projection:
    """Scale and shift so that the landmarks' box has its share of the image, near the middle."""
    edge = visible_edge(anatomy, height, projection)[np.r_[-EAR : EAR + 1]]
    inner = place(anatomy.points[17:], height, projection)
    everything = np.concatenate([edge, inner])
    low, high = everything.min(0), everything.max(0)
    share = settings.box_share * (1.0 + 0.05 * np.clip(rng.standard_normal(), -2, 2))
    scale = share * settings.size / float((high - low).max())
    middle = (settings.size - 1) / 2 + 0.025 * settings.size * np.clip(rng.standard_normal(2), -2, 2)
    return projection.scaled(scale, middle - scale * 0.5 * (low + high))


def _landmarks(
    anatomy: Anatomy, height: HeightField, projection: Projection, edge: np.ndarray
) -> tuple[np.ndarray, tuple[FaceCurve, ...]]:
    """The exact points, and the curves on which they lie."""
    lines = {
        "left brow": (tuple(range(17, 22)), anatomy.brows[0]),
        "right brow": (tuple(range(22, 27)), anatomy.brows[1]),
        "nose ridge": (tuple(range(27, 31)), anatomy.ridge),
        "nose base": (tuple(range(31, 36)), anatomy.nose_base),
        "left eye": (tuple(range(36, 42)), _ring(*anatomy.lids[0])),
        "right eye": (tuple(range(42, 48)), _ring(*anatomy.lids[1])),
        "outer lips": (tuple(range(48, 60)), _ring(*anatomy.lips)),
        "inner lips": (tuple(range(60, 68)), _ring(*anatomy.mouth)),
    }
    flat = np.concatenate([anatomy.points[17:], *(line for _, line in lines.values())])
    placed = place(flat, height, projection)
    points = np.empty((68, 2))
    points[17:] = placed[:51]
    curves, start = [], 51
    for name, (landmarks, flat_line) in lines.items():
        line = placed[start : start + len(flat_line)]
        start += len(flat_line)
        curves.append(_curve(name, landmarks, line, points, closed=len(landmarks) in (6, 8, 12)))
    jaw = edge[np.r_[EAR : -EAR - 1 : -1]]  # from ear to ear by the chin
    points[0:9], points[8:17] = evenly(jaw[: EAR + 1], 9), evenly(jaw[EAR:], 9)
    longer = edge[np.r_[EAR + 20 : -EAR - 21 : -1]]  # people slide beyond the ends as well
    return points, (_curve("jaw", tuple(range(17)), longer, points, closed=False), *curves)


def _ring(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Upper and lower edge as one closed line, from the image's left corner over the top."""
    return np.concatenate([upper, lower[::-1]])


def _curve(name: str, landmarks: tuple[int, ...], line: np.ndarray, points: np.ndarray, closed: bool) -> FaceCurve:
    positions = position_on(line, points[list(landmarks)])
    return FaceCurve(name, landmarks, line, positions, closed)


def _project_face(
    scene: stage.Scene, picture: Picture, anatomy: Anatomy, height: HeightField, projection: Projection
) -> tuple[tuple[int, int, int, int], np.ndarray, np.ndarray]:
    """Lay the painted face over the scene; returns the box of the photograph that it covers and what is seen there."""
    size = scene.image.shape[0] // SUPERSAMPLE
    bridge = np.column_stack([anatomy.ridge, height.at(anatomy.ridge)])
    nose = cv2.convexHull(np.concatenate([projection(bridge), place(anatomy.nose_base, height, projection)]).astype(np.float32)).reshape(-1, 2)
    outline = (scene.edge - (SUPERSAMPLE - 1) / 2) / SUPERSAMPLE
    everything = np.concatenate([outline, nose])
    low = np.clip(np.floor(everything.min(0)).astype(int) - 2, 0, size - 1)
    high = np.clip(np.ceil(everything.max(0)).astype(int) + 3, 1, size)
    box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    seen = see(height, projection, box)
    fine_box = tuple(SUPERSAMPLE * value for value in box)
    x0, y0, x1, y1 = fine_box
    fine_seen = cv2.resize(seen, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    x, y = front_view(scene.projection, (x0, y0, x1, y1), fine_seen)
    texel = np.float32(picture.texel)
    x, y = (x - np.float32(LEFT)) * texel, (y - np.float32(TOP)) * texel
    colour = cv2.remap(picture.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(colour.shape[:2], np.uint8)
    fill(mask, scene.edge - (x0, y0), 255)
    fill(mask, nose * SUPERSAMPLE + (SUPERSAMPLE - 1) / 2 - (x0, y0), 255)
    scene.image[y0:y1, x0:x1] = blend(scene.image[y0:y1, x0:x1], colour, mask)
    return box, *front_view(projection, box, seen)


def _visible(
    anatomy: Anatomy,
    covered: np.ndarray,
    picture: Picture,
    seen: tuple[tuple[int, int, int, int], np.ndarray, np.ndarray],
    points: np.ndarray,
) -> np.ndarray:
    """Which points are inside the image, uncovered, and on the side of the head that is seen."""
    size = covered.shape[0] // SUPERSAMPLE
    pixel = np.rint(points).astype(int)
    inside = ((pixel >= 0) & (pixel < size)).all(1)
    fine = np.clip(np.rint(points * SUPERSAMPLE + (SUPERSAMPLE - 1) / 2).astype(int), 0, covered.shape[0] - 1)
    visible = inside & (covered[fine[:, 1], fine[:, 0]] < 128)
    (x0, y0, x1, y1), front_x, front_y = seen
    column, row = np.clip(pixel[17:, 0] - x0, 0, x1 - x0 - 1), np.clip(pixel[17:, 1] - y0, 0, y1 - y0 - 1)
    apart = np.hypot(front_x[row, column] - anatomy.points[17:, 0], front_y[row, column] - anatomy.points[17:, 1])
    visible[17:] &= apart < 0.09
    at = np.rint(picture.to(anatomy.points[17:])).astype(int)
    visible[17:] &= picture.hidden[at[:, 1], at[:, 0]] < 128
    return visible


__all__ = ["Face", "FaceCurve", "arc_length", "point_at", "render_face"]
