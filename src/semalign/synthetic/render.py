"""One synthetic face: draw its traits, build the head in its pose, paint, light and photograph it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from semalign.schemes import load_scheme
from semalign.synthetic import body, hair, occluders
from semalign.synthetic.anatomy import CURVES, EAR, STEP, Anatomy, build_anatomy
from semalign.synthetic.backdrop import backdrop
from semalign.synthetic.camera import photograph
from semalign.synthetic.draw import blend, fill_exactly
from semalign.synthetic.paint import paint_face
from semalign.synthetic.picture import Picture
from semalign.synthetic.polyline import arc_length, evenly, point_at
from semalign.synthetic.scene import Scene
from semalign.synthetic.settings import FaceSettings
from semalign.synthetic.surface import (
    Box,
    HeightField,
    Projection,
    back_to_front,
    build_height,
    front_view,
    place,
    project_with,
    see,
    visible_edge,
)
from semalign.synthetic.traits import Traits, draw_traits

SUPERSAMPLE = 2  # scenes are drawn this many times larger than the photograph
FINE = 0.5 * (SUPERSAMPLE - 1)  # pixel p of the photograph is at SUPERSAMPLE * p + FINE of the scene
BEYOND = 20  # outline samples by which the jaw line goes on behind the ears: people slide beyond the ends as well
SCHEME = load_scheme("ibug68")


@dataclass(frozen=True)
class FaceCurve:
    """A smooth curve of a face in the image, with the places of its landmarks: what annotators slide along."""

    name: str  # as in the scheme
    landmarks: tuple[int, ...]
    closed: bool
    line: Float[np.ndarray, "k 2"]  # pixels; a closed curve repeats its first point at the end
    lengths: Float[np.ndarray, " k"]  # of the line up to each of its vertices, pixels
    vertices: slice  # those of the landmarks

    @property
    def positions(self) -> Float[np.ndarray, " m"]:
        """Where the landmarks are along the line, pixels from its start."""
        return self.lengths[self.vertices]

    def slid(self, distance: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m 2"]:
        """The landmarks moved along the line by so many pixels each, beyond an open line's ends straight on."""
        position = self.positions + distance
        if self.closed:
            position %= self.lengths[-1]
        return point_at(self.line, position, self.lengths)


@dataclass(frozen=True)
class Face:
    """A rendered face. Points are (x, y) in pixels of the image, pixel centres at integers."""

    image: UInt8[np.ndarray, "s s 3"]  # RGB
    points: Float[np.ndarray, "68 2"]  # exact, float64
    visible: Bool[np.ndarray, " 68"]  # neither turned away nor covered
    curves: tuple[FaceCurve, ...]  # as in the scheme
    traits: Traits
    occluder: str  # what stands before the face, or "none"


@dataclass(frozen=True)
class Geometry:
    """Where everything of a head lies in the image."""

    anatomy: Anatomy
    height: HeightField
    projection: Projection
    edge: np.ndarray  # (k, 2) the head's visible edge with its nose, pixels
    jaw: np.ndarray  # (k, 2) the jaw line from behind the image's left ear to behind the right one
    placed: dict[str, np.ndarray]  # the anatomy's curves


@dataclass(frozen=True)
class Head:
    """Where everything of a head lies at one pixel per outer-eye distance, its origin at pixel 0, 0."""

    anatomy: Anatomy
    height: HeightField
    projection: Projection
    edge: np.ndarray  # (OUTLINE_SAMPLES, 2) the visible edge with the nose
    rim: np.ndarray  # (OUTLINE_SAMPLES, 2) the visible edge without it
    placed: np.ndarray  # (k, 2) the anatomy's curves, one after the other

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest x, y of jaw line and curves."""
        everything = np.concatenate([self.rim[: EAR + 1], self.rim[-EAR:], self.placed])
        return everything.min(0), everything.max(0)

    def at(self, scale: float, shift: np.ndarray) -> Geometry:
        """The head at `scale` pixels per outer-eye distance, its origin at pixel `shift` (2,)."""
        rim, edge, placed = (scale * line + shift for line in (self.rim, self.edge, self.placed))
        ends = np.cumsum([len(line) for line in self.anatomy.curves.values()])[:-1]
        lines = dict(zip(CURVES, np.split(placed, ends), strict=True))
        return Geometry(self.anatomy, self.height, self.projection.scaled(scale, shift), edge, _jaw_line(rim), lines)


@dataclass(frozen=True)
class Drawing:
    """A person drawn before a backdrop, and what is needed to say which points can be seen."""

    scene: Scene
    geometry: Geometry
    hidden: Picture  # 255 where something painted on the face hides it
    box: Box  # what the face covers of the photograph
    seen: np.ndarray  # (h, w) the heights that the pixels of the box see


def render_face(rng: np.random.Generator, settings: FaceSettings | None = None) -> Face:
    """Draw and render one face; everything about it comes from `rng`."""
    settings = settings or FaceSettings()
    traits = draw_traits(rng, settings)
    geometry = build_geometry(rng, traits, settings)
    points, curves = landmarks(geometry)
    drawing = draw_person(rng, traits, geometry, settings)
    occluder = "none"
    if rng.random() < settings.occlusion:
        occluder = occluders.occlude(rng, drawing.scene, points * SUPERSAMPLE + FINE)

    visible = visible_points(drawing, points)
    return Face(photograph(rng, drawing.scene.image, settings), points, visible, curves, traits, occluder)


def build_geometry(rng: np.random.Generator, traits: Traits, settings: FaceSettings) -> Geometry:
    """The head in its pose, scaled so that the landmarks' box has its share of the image, and near its middle."""
    head = build_head(traits)
    low, high = head.box()
    share = settings.box_share * (1.0 + 0.05 * np.clip(rng.standard_normal(), -2, 2))
    scale = share * settings.size / float((high - low).max())
    middle = (settings.size - 1) / 2 + 0.025 * settings.size * np.clip(rng.standard_normal(2), -2, 2)
    return head.at(scale, middle - scale * 0.5 * (low + high))


def build_head(traits: Traits) -> Head:
    """The head in its pose and with its expression."""
    anatomy = build_anatomy(traits.identity, traits.expression)
    height = build_height(anatomy, traits.identity, traits.expression)
    projection = project_with(traits.pose)
    rim, edge = (visible_edge(anatomy, field, projection) for field in (height.smooth, height.full))
    placed = place(np.concatenate(list(anatomy.curves.values())), height, projection)
    return Head(anatomy, height, projection, edge, rim, placed)


def draw_person(
    rng: np.random.Generator, traits: Traits, geometry: Geometry, settings: FaceSettings, texel: float | None = None
) -> Drawing:
    """The person with everything that is worn, before a backdrop.

    What is drawn from `rng` depends on identity and look alone: the same generator gives the same skin, hair, clothes
    and backdrop in every pose. `texel` is the resolution at which the face is painted, in pixels per outer-eye
    distance, by default that of the scene; the skin's pores stay where they are while it is the same.
    """
    scene = _empty_scene(rng, traits, geometry, settings)
    picture, hidden = paint_face(rng, geometry.anatomy, geometry.height, traits, texel=texel or scene.unit)
    hair.hair_hanging(rng, scene)
    body.body(rng, scene)
    hair.back_of_head(rng, scene)
    body.ears(scene)
    box, seen = project_face(scene, picture, geometry)
    hair.hair_above(rng, scene, geometry.height)
    return Drawing(scene, geometry, hidden, box, seen)


def _jaw_line(edge: np.ndarray) -> np.ndarray:
    """The jaw's part of the visible edge; between the ears every STEP-th vertex is a landmark, the 9th the chin."""
    left, right = evenly(edge[EAR::-1], 8 * STEP + 1), evenly(edge[np.r_[0, -1 : -EAR - 1 : -1]], 8 * STEP + 1)
    before, after = edge[EAR + BEYOND : EAR : -1], edge[-EAR - 1 : -EAR - BEYOND - 1 : -1]
    return np.concatenate([before, left, right[1:], after])


def landmarks(geometry: Geometry) -> tuple[np.ndarray, tuple[FaceCurve, ...]]:
    """The exact points (68, 2), and the curves on which they lie: each point is a vertex of its curve."""
    points = np.empty((SCHEME.count, 2))
    curves = []
    for curve in SCHEME.curves:
        line, start = (geometry.jaw, BEYOND) if curve.name == "contour" else (geometry.placed[curve.name], 0)
        vertices = slice(start, start + STEP * len(curve.landmarks), STEP)
        points[list(curve.landmarks)] = line[vertices]
        curves.append(FaceCurve(curve.name, curve.landmarks, curve.closed, line, arc_length(line), vertices))
    return points, tuple(curves)


def _empty_scene(rng: np.random.Generator, traits: Traits, geometry: Geometry, settings: FaceSettings) -> Scene:
    side = settings.size * SUPERSAMPLE
    projection = geometry.projection.scaled(SUPERSAMPLE, np.full(2, FINE))
    return Scene(
        image=backdrop(rng, side),
        covered=np.zeros((side, side), np.uint8),
        projection=projection,
        traits=traits,
        edge=geometry.edge * SUPERSAMPLE + FINE,
        unit=projection.unit,
        hair=hair.hair_everywhere(projection, traits, side),
    )


def project_face(scene: Scene, picture: Picture, geometry: Geometry) -> tuple[Box, np.ndarray]:
    """Lay the painted face over the scene.

    Returns:
        The box of the photograph that the face covers, and the heights (h, w) that its pixels see.
    """
    size = scene.side // SUPERSAMPLE
    low = np.clip(np.floor(geometry.edge.min(0)).astype(int) - 2, 0, size - 1)
    high = np.clip(np.ceil(geometry.edge.max(0)).astype(int) + 3, 1, size)
    box: Box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    seen = see(geometry.height, geometry.projection, box)
    x0, y0, x1, y1 = (SUPERSAMPLE * value for value in box)
    fine = cv2.resize(seen, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    x, y = front_view(scene.projection, (x0, y0, x1, y1), fine)
    texel = np.float32(picture.texel)
    map_x, map_y = (x - np.float32(picture.corner[0])) * texel, (y - np.float32(picture.corner[1])) * texel
    colour = cv2.remap(picture.image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    _smooth_steps(colour, seen)
    mask = np.zeros(colour.shape[:2], np.uint8)
    fill_exactly(mask, scene.edge - (x0, y0), 255)
    blend(scene.image[y0:y1, x0:x1], colour, mask)
    return box, seen


def _smooth_steps(colour: np.ndarray, seen: np.ndarray) -> None:
    """Blur a little, in place, where something near ends before something far, as `seen` knows only whole pixels."""
    step = cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0.15
    if step.any():
        mask = cv2.resize(step.view(np.uint8), colour.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(cv2.blur(colour, (3, 3)), mask, colour)


def visible_points(drawing: Drawing, points: np.ndarray) -> np.ndarray:
    """Which points (68,) are inside the image, uncovered, and on the side of the head that is seen."""
    scene, geometry, hidden = drawing.scene, drawing.geometry, drawing.hidden
    box, seen = drawing.box, drawing.seen
    size = scene.side // SUPERSAMPLE
    pixel = np.rint(points).astype(int)
    inside = ((pixel >= 0) & (pixel < size)).all(1)
    fine = np.clip(np.rint(points * SUPERSAMPLE + FINE).astype(int), 0, scene.side - 1)
    visible = inside & (scene.covered[fine[:, 1], fine[:, 0]] < 128)

    jaw = len(SCHEME.curves[0].landmarks)  # the first landmarks; seen by construction, but for what the nose hides
    if abs(scene.traits.pose.yaw) > 20.0:
        outline = geometry.edge.astype(np.float32)
        for index, (x, y) in enumerate(points[:jaw].tolist()):
            visible[index] &= cv2.pointPolygonTest(outline, (x, y), True) < 1.5

    front = np.concatenate(geometry.anatomy.landmarks())
    at = np.clip(pixel[jaw:], (box[0], box[1]), (box[2] - 1, box[3] - 1))
    apart = back_to_front(geometry.projection, at, seen[at[:, 1] - box[1], at[:, 0] - box[0]]) - front
    texel = np.rint(hidden.to(front)).astype(int)
    visible[jaw:] &= (np.hypot(apart[:, 0], apart[:, 1]) < 0.09) & (hidden.image[texel[:, 1], texel[:, 0]] < 128)
    return visible
