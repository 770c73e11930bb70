"""Pictures of an object that is no face, with its landmarks: a toy aeroplane on a table, on a shelf, out of doors.

Every aeroplane has a shape, a livery, a pose and a light of its own; things lie behind it and sometimes before it.

Shape legend: n landmarks, v vertices, s side of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from semalign.errors import SemalignError
from semalign.synthetic import draw
from semalign.synthetic.aeroplane import Build, Part
from semalign.synthetic.backdrop import backdrop
from semalign.synthetic.camera import photograph
from semalign.synthetic.livery import Livery
from semalign.synthetic.raster import NOTHING, Mesh, Seen, hidden, rasterise
from semalign.synthetic.settings import FaceSettings
from semalign.synthetic.traits import muted_colours

OVERSAMPLED = 2  # pixels of the scene for one of the picture, each way
SLACK = 0.012  # share by which something must be nearer to hide a landmark
MARGIN = 0.03  # sides of the picture within which no landmark lies
GROUND = -0.34  # height of what it stands on


@dataclass(frozen=True)
class ObjectSettings:
    """How objects look and what covers them."""

    size: int = 192  # side of the square picture, pixels
    max_heading: float = 60.0  # degrees to either side from which the nose points at the viewer
    least_share: float = 0.5  # larger side of the landmarks' box, as a share of the picture's side
    most_share: float = 0.8
    occlusion: float = 0.25  # probability of something in front of the object
    clutter: int = 5  # things that lie about, at most
    blur: float = 0.25  # probability of a blurred picture
    low_resolution: float = 0.1  # probability of a picture enlarged from fewer pixels
    noise: float = 5.0  # largest standard deviation of the sensor noise, grey levels
    compression: float = 0.15  # probability of a coarse JPEG round trip
    grey: float = 0.05  # probability of a black-and-white photograph

    def check(self) -> None:
        """Refuse settings that no picture can be made of.

        Raises:
            SemalignError: naming the setting, its value and what is allowed.
        """
        shares = ("occlusion", "blur", "low_resolution", "compression", "grey")
        for good, name, allowed in (
            (48 <= self.size <= 2048, "size", "48 to 2048 pixels"),
            (0 <= self.max_heading <= 180, "max_heading", "0 to 180 degrees"),
            (
                0.2 <= self.least_share <= self.most_share <= 0.9,
                "least_share",
                "0.2 to most_share, which is 0.9 at most",
            ),
            (0 <= self.noise <= 64, "noise", "0 to 64 grey levels"),
            (0 <= self.clutter <= 100, "clutter", "0 to 100"),
            *((0 <= getattr(self, name) <= 1, name, "a probability, 0 to 1") for name in shares),
        ):
            if not good:
                raise SemalignError(f"{name} is {getattr(self, name)!r}, which makes no pictures; choose {allowed}.")


@dataclass(frozen=True)
class ObjectPicture:
    """A picture of an object.

    Attributes:
        image: RGB.
        points: its landmarks, pixels of the image, all inside it.
        visible: which of them neither the object itself nor something before it hides.
    """

    image: UInt8[np.ndarray, "s s 3"]
    points: Float[np.ndarray, "n 2"]
    visible: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class _View:
    """From the object's frame to the scene's pixels: turned, then seen in perspective."""

    turn: Float[np.ndarray, "3 3"]  # object to camera: right, down, away
    distance: float
    focus: float
    middle: Float[np.ndarray, " 2"]

    def __call__(self, places: Float[np.ndarray, "v 3"]) -> tuple[Float[np.ndarray, "v 2"], Float[np.ndarray, " v"]]:
        """Pixels of the scene, and nearness: the inverse of the depth."""
        seen = places @ self.turn.T
        near = 1 / (seen[:, 2] + self.distance)
        return self.middle + self.focus * seen[:, :2] * near[:, None], near


def object_of(seed: int, index: int, settings: ObjectSettings) -> ObjectPicture:
    """Picture `index` (from 0) of a seed: a function of these and the settings alone."""
    return render_object(np.random.default_rng([seed, index, 12]), settings)


def render_object(rng: np.random.Generator, settings: ObjectSettings) -> ObjectPicture:
    """A picture of any aeroplane."""
    side = OVERSAMPLED * settings.size
    build, livery = Build.drawn(rng), Livery.drawn(rng)
    mesh, places = build.mesh(), build.landmarks()
    turn, elevation = _pose(rng, settings)
    view = _framed(rng, turn, places, settings, side)
    pixels, near = view(mesh.vertices)
    points, nearness = view(places)
    light = _light(rng)
    scene = backdrop(rng, side)
    _ground(rng, scene, view, elevation)
    _clutter(rng, scene, int(rng.integers(0, settings.clutter + 1)))
    _shadow(rng, scene, view, mesh, light)
    seen = rasterise(pixels, near, mesh.triangles, side)
    _paint(scene, seen, mesh, livery, build, view, light)
    covered = np.zeros((side, side), np.uint8)
    if rng.random() < settings.occlusion:
        _occlude(rng, scene, covered, points)
    behind = hidden(points, nearness, pixels[mesh.triangles], near[mesh.triangles], SLACK)
    x, y = np.clip(np.rint(points).astype(int), 0, side - 1).T
    visible = ~behind & (covered[y, x] == 0)
    camera = FaceSettings(
        size=settings.size,
        blur=settings.blur,
        low_resolution=settings.low_resolution,
        noise=settings.noise,
        compression=settings.compression,
        grey=settings.grey,
    )
    return ObjectPicture(photograph(rng, scene, camera), (points + 0.5) / OVERSAMPLED - 0.5, visible)


def _pose(rng: np.random.Generator, settings: ObjectSettings) -> tuple[np.ndarray, float]:
    """Object to camera, and how high the camera stands, radians."""
    heading = np.radians(rng.uniform(-settings.max_heading, settings.max_heading))
    elevation = np.radians(rng.uniform(28.0, 68.0))
    bank, pitch, roll = np.radians(rng.normal(0, (6.0, 5.0, 7.0)))
    own = _about(2, heading) @ _about(1, pitch) @ _about(0, bank)
    camera = np.array(
        [
            (0.0, 1.0, 0.0),
            (np.sin(elevation), 0.0, -np.cos(elevation)),
            (-np.cos(elevation), 0.0, -np.sin(elevation)),
        ]
    )
    return _about(2, roll) @ camera @ own, float(elevation)


def _about(axis: int, angle: float) -> np.ndarray:
    """A turn about an axis."""
    one, two = [other for other in range(3) if other != axis]
    turn = np.eye(3)
    turn[one, one] = turn[two, two] = np.cos(angle)
    turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
    return turn


def _framed(
    rng: np.random.Generator, turn: np.ndarray, places: np.ndarray, settings: ObjectSettings, side: int
) -> _View:
    """A view in which the landmarks' box has the size that is wanted and lies inside the picture."""
    view = _View(turn, rng.uniform(4.0, 9.0), 1.0, np.zeros(2))
    points, _ = view(places)
    low, high = points.min(axis=0), points.max(axis=0)
    focus = rng.uniform(settings.least_share, settings.most_share) * side / (high - low).max()
    room = side * (1 - 2 * MARGIN) - focus * (high - low)
    corner = side * MARGIN + room * np.clip(rng.normal(0.5, 0.2, 2), 0, 1) - 0.5
    return _View(turn, view.distance, focus, corner - focus * low)


def _light(rng: np.random.Generator) -> np.ndarray:
    """Where the light comes from: a unit vector of the camera's frame."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(-1.2, -0.3), rng.uniform(-1.1, -0.3)])
    found: np.ndarray = direction / np.linalg.norm(direction)
    return found


def _ground(rng: np.random.Generator, scene: np.ndarray, view: _View, elevation: float) -> None:
    """A table that it stands on, plain or with boards, for most of the pictures."""
    if rng.random() < 0.3:
        return
    side = len(scene)
    colour = np.array(muted_colours(rng, 1)[0]) * rng.uniform(0.7, 1.3)
    layer = np.clip(colour * (1 + 0.1 * draw.cloud(rng, (side, side), int(rng.integers(3, 30)))[..., None]), 0, 255)
    layer = layer.astype(np.uint8)
    if rng.random() < 0.6:  # boards
        turn, pitch = rng.uniform(0, np.pi), rng.uniform(0.06, 0.25) * side
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        for at in np.arange(-1.0 * side, side, pitch):
            ends = side / 2 + at * across + side * np.outer((-1.5, 1.5), along)
            draw.stroke(layer, ends, draw.shade(colour.tolist(), rng.uniform(0.7, 0.95)), rng.uniform(1, 4))
    edge = np.array([(-1.0, 0.0), (1.0, rng.normal(0, 0.15))]) * side + (side / 2, rng.uniform(-0.15, 0.35) * side)
    mask = np.zeros((side, side), np.uint8)
    draw.fill(mask, np.concatenate([edge, [(2 * side, 3 * side), (-side, 3 * side)]]), 255)
    draw.blend(scene, layer, mask)


def _clutter(rng: np.random.Generator, scene: np.ndarray, count: int) -> None:
    """Blocks, balls and pencils that lie about."""
    side = len(scene)
    for colour in muted_colours(rng, count):
        _thing(
            rng, scene, None, rng.uniform(0, side, 2), np.array(colour) * rng.uniform(0.7, 1.4), rng.uniform(0.04, 0.14)
        )


def _occlude(rng: np.random.Generator, scene: np.ndarray, covered: np.ndarray, points: np.ndarray) -> None:
    """A thing before the object, near one of its landmarks."""
    side = len(scene)
    place = points[int(rng.integers(len(points)))] + rng.normal(0, 0.04, 2) * side
    _thing(
        rng, scene, covered, place, np.array(muted_colours(rng, 1)[0]) * rng.uniform(0.8, 1.4), rng.uniform(0.05, 0.13)
    )


def _thing(
    rng: np.random.Generator,
    scene: np.ndarray,
    covered: np.ndarray | None,
    place: np.ndarray,
    colour: np.ndarray,
    share: float,
) -> None:
    """A block, a ball, a pencil or a finger at a place of the scene, `share` of its side large, and its shadow."""
    side, radius = len(scene), share * len(scene)
    turn = rng.uniform(0, 2 * np.pi)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    kind = ("block", "ball", "pencil", "finger")[int(rng.integers(4))]
    if kind == "ball":
        outline = draw.CIRCLE * radius * 0.8
    elif kind == "block":
        outline = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * radius * rng.uniform(0.5, 1.0, 2) @ spin
    else:
        length, width = (5.0, 0.16) if kind == "pencil" else (4.0, 0.42)
        line = np.array([(0.0, 0.0), (0.4, 0.0), (length, 0.0)]) * radius @ spin
        outline = draw.band(line, np.array([0.35, 1.0, 1.0]) * width * radius)
    if kind == "finger":
        colour = np.array([226.0, 172, 140]) * rng.uniform(0.5, 1.0)
    shadow = np.zeros((side, side), np.uint8)
    draw.fill(shadow, outline + place + (0.06 + 0.1 * radius, 0.1 * radius), 110)
    draw.darken(scene, draw.soften(shadow, 0.012 * side))
    draw.fill(scene, outline + place, draw.shade(colour.tolist(), 0.75))
    draw.fill(scene, outline * 0.86 + place - 0.08 * radius, colour.tolist())
    if kind == "ball":
        draw.disc(scene, place - 0.25 * radius, 0.22 * radius, draw.shade((colour + 40).tolist(), 1.2))
    if covered is not None:
        draw.fill(covered, outline + place, 255)


def _shadow(rng: np.random.Generator, scene: np.ndarray, view: _View, mesh: Mesh, light: np.ndarray) -> None:
    """What the object casts on what it stands on."""
    side = len(scene)
    own = view.turn.T @ light  # in the object's frame
    if own[2] < 0.2:
        own = own + (0, 0, 0.5)
    drop = np.maximum(mesh.vertices[:, 2] - GROUND, 0.0) / own[2]
    pixels, _ = view(mesh.vertices - drop[:, None] * own)
    mask = np.zeros((side, side), np.uint8)
    for triangle in pixels[mesh.triangles]:
        cv2.fillConvexPoly(mask, np.rint(triangle).astype(np.int32), 255)
    strength = rng.uniform(0.25, 0.6)
    draw.darken(scene, cv2.convertScaleAbs(draw.soften(mask, rng.uniform(0.006, 0.03) * side), alpha=strength))


def _paint(
    scene: np.ndarray, seen: Seen, mesh: Mesh, livery: Livery, build: Build, view: _View, light: np.ndarray
) -> None:
    """The object in its colours and in the light, over the scene; its edges are as sharp as the pixels."""
    there = seen.triangle != NOTHING
    corners = mesh.triangles[seen.triangle[there]]
    weights = seen.weights[there][:, :, None]
    places = (mesh.vertices[corners] * weights).sum(axis=1)
    normals = (mesh.normals[corners] * weights).sum(axis=1) @ view.turn.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    away = places @ view.turn.T + (0, 0, view.distance)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    normals *= -np.sign((normals * away).sum(axis=1, keepdims=True))
    part = mesh.part[seen.triangle[there]]
    colour = livery.colours(places, part, build)
    lit = np.clip(normals @ light, 0, None)
    mirror = 2 * (normals @ light)[:, None] * normals - light
    shine = np.clip(-(mirror * away).sum(axis=1), 0, None) ** 24 * livery.shine * np.where(part == Part.GLASS, 2.0, 1.0)
    sky = 0.5 - 0.5 * normals[:, 1]
    shaded = colour * (0.32 + 0.2 * sky + 0.62 * lit)[:, None] + 255 * shine[:, None]
    scene[there] = np.clip(shaded, 0, 255).astype(np.uint8)
