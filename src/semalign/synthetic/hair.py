"""Hair behind and above the face, and bald heads."""

from __future__ import annotations

import cv2
import numpy as np

from semalign.synthetic.draw import CIRCLE, TURN, fill, strands
from semalign.synthetic.polyline import spline
from semalign.synthetic.scene import Scene
from semalign.synthetic.surface import HeightField, Projection, place
from semalign.synthetic.traits import Traits

TEXTURES = {"curly": "curly", "long": "wavy"}  # the others are straight
SWELL = {"curly": 0.26, "long": 0.12, "fringe": 0.12, "bald": 0.0}  # thickness of the hair; 0.07 for the others
# Half of the hairline, in the front view, from the image's left ear to the middle of the forehead.
HAIRLINES = {
    "short": ((-0.80, 0.10), (-0.735, -0.04), (-0.70, -0.30), (-0.60, -0.55), (-0.28, -0.66), (0.0, -0.64)),
    "parted": ((-0.80, 0.12), (-0.735, -0.02), (-0.70, -0.30), (-0.58, -0.50), (-0.22, -0.56), (0.12, -0.72)),
    "fringe": ((-0.80, 0.20), (-0.735, 0.05), (-0.69, -0.15), (-0.55, -0.28), (-0.25, -0.33), (0.0, -0.34)),
    "long": ((-0.80, 0.35), (-0.735, 0.15), (-0.70, -0.20), (-0.58, -0.48), (-0.26, -0.66), (0.0, -0.74)),
    "curly": ((-0.80, 0.15), (-0.74, -0.05), (-0.68, -0.32), (-0.55, -0.52), (-0.27, -0.60), (0.0, -0.58)),
}


def hair_everywhere(projection: Projection, traits: Traits, side: int) -> np.ndarray:
    """A picture (side, side, 3) uint8 full of the person's hair, falling from the crown, in the scene's light."""
    look, light = traits.look, traits.light
    texture = strands(TEXTURES.get(look.hair_style, "straight"))
    crown = projection(np.array([0.12 if look.hair_style == "parted" else 0.0, -1.25, 0.1]))
    roll = np.deg2rad(traits.pose.roll)
    scale = len(texture) / (4.0 * projection.unit)
    inverse = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    start = np.array([len(texture) / 2, 0.0]) - inverse @ crown
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grain = cv2.warpAffine(
        texture, np.column_stack([inverse, start]), (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT
    )
    aside, above = (np.float32(0.4 * light.diffuse * value) for value in light.direction[:2])
    corners = np.array([[-aside - above, aside - above], [above - aside, aside + above]], np.float32)
    slope = cv2.resize(np.clip(128.0 * (0.9 * light.level + corners), 20, 255).astype(np.uint8), (side, side))
    lit = cv2.multiply(grain, slope, scale=1 / 128.0)
    return cv2.merge([cv2.convertScaleAbs(lit, alpha=value / 128.0) for value in look.hair])


def skull(scene: Scene, swell: float = 0.0, lift: float = 0.0) -> np.ndarray:
    """The outline (72, 2) of the skull, larger by `swell` and its bottom lifted by `lift` outer-eye distances."""
    identity = scene.traits.identity
    radii = np.array([0.80 * identity.face_width, 0.86 * identity.forehead - 0.5 * lift, 0.98]) + swell
    centre = np.array([0.0, -0.24 - 0.5 * lift, -0.12])
    matrix = np.column_stack([scene.projection.linear, scene.projection.depth]) * radii
    return CIRCLE @ np.linalg.cholesky(matrix @ matrix.T).T + scene.projection(centre)


def hair_hanging(rng: np.random.Generator, scene: Scene) -> None:
    """Long hair behind the neck."""
    style = scene.traits.look.hair_style
    if style not in ("long", "curly"):
        return
    mask = scene.mask()
    drop = rng.uniform(0.9, 2.2) if style == "long" else 0.7
    wide, flare = 0.95 + SWELL[style], rng.uniform(-0.1, 0.2)
    for side in (-1, 1):
        outer = [(0.70, -0.6, -0.1), (wide, 0.0, -0.2), (0.98 + flare, 0.6, -0.2), (0.86 + flare, drop, -0.1)]
        inner = [(0.30, drop + 0.1, -0.2), (0.2, 0.0, -0.2)]
        fill(mask, spline(scene.at(np.array(outer + inner) * (side, 1, 1)), 40, closed=True), 255)
    scene.grow_hair(mask)


def back_of_head(rng: np.random.Generator, scene: Scene) -> None:
    """The skull with its hair, or bare."""
    style = scene.traits.look.hair_style
    cropped = style in ("short", "parted")
    outline = skull(scene, SWELL.get(style, 0.07) * rng.uniform(0.7, 1.3), lift=0.25 if cropped else 0.0)
    if style == "bald":
        skin = scene.traits.look.skin
        middle = outline.mean(0)
        for share, factor in ((1.0, 0.72), (0.97, 0.8), (0.92, 0.87), (0.85, 0.92)):
            scene.fill(middle + (outline - middle) * share, scene.lit(skin, factor))
        return
    if style == "curly":
        wobble = 1.0 + 0.035 * np.sin(11 * TURN + rng.uniform(0, 6))
        outline = outline.mean(0) + (outline - outline.mean(0)) * wobble[:, None]
    mask = scene.mask()
    fill(mask, outline, 255)
    scene.grow_hair(mask)


def hair_above(rng: np.random.Generator, scene: Scene, height: HeightField) -> None:
    """Hair above the hairline; a fringe or long strands may reach over brows and jaw."""
    style = scene.traits.look.hair_style
    if style == "bald":
        return
    hairline = place(_hairline(rng, style, scene.traits), height, scene.projection)
    scalp = scene.mask()
    fill(scalp, skull(scene, 0.2 if style == "curly" else 0.06), 255)
    above = scene.mask()
    fill(above, _region_above(scene, hairline), 255)
    scene.cast(cv2.min(above, scalp), 0.035, 0.4)
    above = cv2.min(cv2.blur(above, (3, 3)), scalp)
    scene.grow_hair(above, covers=style in ("fringe", "long", "curly"))
    if style == "long" and rng.random() < 0.55:
        _curtains(rng, scene)


def _hairline(rng: np.random.Generator, style: str, traits: Traits) -> np.ndarray:
    """The line (96, 2) in the front view from ear to ear, a little uneven."""
    half = np.array(HAIRLINES[style])
    forehead = 0.5 + 0.5 * traits.identity.forehead
    half[:, 1] = np.where(half[:, 1] < -0.3, half[:, 1] * forehead + rng.normal(0.0, 0.035), half[:, 1])
    if style == "fringe":
        half[2:, 1] += rng.uniform(-0.1, 0.06)
    other = half[-2::-1] * (-1.0, 1.0)
    if style == "parted":
        other[:, 1] += np.array([0.06, 0.04, 0.0, 0.0, 0.0])
        half[4, 1] += 0.10
    line = spline(np.concatenate([half, other]) * (traits.identity.face_width, 1.0), 96)
    line[4:-4, 1] += rng.normal(0.0, 0.03 if style == "curly" else 0.015, 88)
    return line


def _region_above(scene: Scene, hairline: np.ndarray) -> np.ndarray:
    """All of the picture on the crown's side of the hairline and of a level line through the tops of the ears."""
    up = -scene.projection.linear[:, 1] / np.linalg.norm(scene.projection.linear[:, 1])
    right = np.array([-up[1], up[0]])
    far = 2.5 * scene.unit
    wide = 0.80 * scene.traits.identity.face_width
    ears = scene.at([(-wide, -0.12, -0.1), (wide, -0.12, -0.1)])
    corners = []
    for side, ear, end in ((-1.0, ears[0], hairline[0]), (1.0, ears[1], hairline[-1])):
        if side * float((ear - end) @ right) < -0.03 * scene.unit:  # the ear is behind the face
            ear = end
        corners.append((ear, ear + side * far * right, ear + (side * right + 2 * up) * far))
    return np.concatenate([corners[0][::-1], hairline, corners[1]])


def _curtains(rng: np.random.Generator, scene: Scene) -> None:
    """Long hair that falls in front of the cheeks."""
    mask = scene.mask()
    for side in (-1, 1):
        if rng.random() < 0.3:
            continue
        edge = rng.uniform(0.58, 0.74)
        inner = [(0.55, -0.62, 0.35), (edge + 0.04, -0.2, 0.25), (edge, 0.4, 0.2), (edge + 0.03, 1.0, 0.15)]
        outer = [(0.75, 1.5, 0.0), (1.0, 1.2, -0.1), (1.02, 0.3, -0.1), (0.9, -0.4, 0.0)]
        fill(mask, spline(scene.at(np.array(inner + outer) * (side, 1, 1)), 64, closed=True), 255)
    scene.cast(mask, 0.04, 0.4)
    scene.grow_hair(mask, covers=True)
