"""What surrounds the head: background, shoulders, neck, ears, hair, and things in front of the face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from semalign.synthetic.draw import band, blend, cloud, disc, fill, shade, strands, stroke
from semalign.synthetic.polyline import spline
from semalign.synthetic.surface import HeightField, Projection, place, rotation
from semalign.synthetic.traits import Identity, Light, Look, Pose


@dataclass
class Scene:
    """The picture under way, at the resolution of drawing, and the head in it."""

    image: np.ndarray  # (s, s, 3) uint8
    covered: np.ndarray  # (s, s) uint8, 255 where an occluder hides the face
    projection: Projection
    pose: Pose
    edge: np.ndarray  # (k, 2) the head's visible edge, from the chin clockwise
    unit: float  # pixels per outer-eye distance
    level: float  # brightness of the light on average

    def at(self, *xyz: tuple[float, float, float]) -> np.ndarray:
        """Pixels of points of the head's frame."""
        return self.projection(np.array(xyz, float))


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """A wall, foliage, lights out of focus, or a room full of things."""
    colours = rng.uniform(10, 245, (6, 3)) * rng.uniform(0.35, 1.0)
    ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    image = (colours[0] * (1 - ramp) + colours[1] * ramp).astype(np.float32)
    image = np.ascontiguousarray(np.broadcast_to(image, (side, side, 3)))
    kind = rng.choice(["wall", "foliage", "lights", "room", "room"])
    if kind == "foliage":
        image = image + cloud(rng, (side, side), 26, 3) * 28 + cloud(rng, (side, side), 7) [..., None] * 40
    else:
        image = image + cloud(rng, (side, side), int(rng.integers(3, 9)), 3) * rng.uniform(4, 26)
    picture = np.clip(image, 0, 255).astype(np.uint8)
    if kind == "lights":
        for _ in range(14):
            layer = picture.copy()
            disc(layer, rng.uniform(0, side, 2), rng.uniform(0.02, 0.09) * side, rng.uniform(60, 255, 3).tolist())
            picture = cv2.addWeighted(layer, 0.55, picture, 0.45, 0)
    if kind == "room":
        for _ in range(int(rng.integers(4, 12))):
            centre, half = rng.uniform(0, side, 2), rng.uniform(0.03, 0.35, 2) * side
            turn = rng.normal(0, 0.12) + (np.pi / 4 if rng.random() < 0.1 else 0)
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
            spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            colour = colours[int(rng.integers(6))] * rng.uniform(0.5, 1.2)
            fill(picture, corners @ spin + centre, np.clip(colour, 0, 255).tolist())
        for _ in range(int(rng.integers(0, 9))):
            ends = rng.uniform(0, side, (2, 2))
            stroke(picture, ends, rng.uniform(0, 255, 3).tolist(), rng.uniform(1, 0.04 * side))
    sigma = float(rng.uniform(0.0, 0.02)) * side
    if sigma > 0.8:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    return picture


def body(rng: np.random.Generator, scene: Scene, look: Look, light: Light) -> None:
    """Neck and clothes, the neck in the shadow of the jaw."""
    unit = scene.unit
    chin = scene.at((0, 1.0, -0.1))[0]
    down = scene.projection.linear[:, 1] * 0.35 + np.array([0.0, unit * 0.65])
    down /= np.linalg.norm(down)
    across = np.array([-down[1], down[0]]) * -1.0
    base = chin + down * 0.95 * unit
    thick = rng.uniform(0.47, 0.56) * unit
    left = spline(np.array([chin - across * thick * 1.02 - down * 0.6 * unit, base - across * thick, base - across * thick * 1.5 + down * 0.3 * unit]), 12)
    right = spline(np.array([chin + across * thick * 1.02 - down * 0.6 * unit, base + across * thick, base + across * thick * 1.5 + down * 0.3 * unit]), 12)
    fill(scene.image, np.concatenate([left, right[::-1]]), _lit(look.skin, scene.level * 0.86))
    side = light.direction[0]
    dim = right if side < 0 else left
    inward = across * unit * (0.16 if side > 0 else -0.16)
    shadow = np.zeros(scene.image.shape[:2], np.uint8)
    fill(shadow, np.concatenate([dim, dim[::-1] + inward]), 70)
    lower = scene.edge[np.r_[-60:0, 0:60]]
    fill(shadow, lower + np.array([-side * 0.10, 0.15]) * unit, 125)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.05 * unit)
    _darken(scene.image, shadow)
    collar = base + down * rng.uniform(-0.25, 0.12) * unit
    wide = rng.uniform(1.25, 1.7) * unit
    line = np.array([
        collar - across * wide + down * 0.75 * unit, collar - across * wide * 0.75 + down * 0.28 * unit, collar - across * thick * 1.15,
        collar + down * rng.uniform(0.06, 0.4) * unit, collar + across * thick * 1.15, collar + across * wide * 0.75 + down * 0.28 * unit,
        collar + across * wide + down * 0.75 * unit,
    ])  # fmt: skip
    top = np.concatenate([spline(line[:3], 12), line[3:4], spline(line[4:], 12)])
    cloth = np.concatenate([top, [line[-1] + down * 3 * unit, line[0] + down * 3 * unit]])
    fill(scene.image, cloth, _lit(look.clothes, scene.level * 0.9))
    stroke(scene.image, top[11:14], shade(look.clothes, rng.choice([0.55, 1.35])), 0.05 * unit)


def ears(scene: Scene, identity: Identity, look: Look) -> None:
    """Both ears; the far one disappears behind the face, which is drawn later."""
    if look.hair_style in ("long", "curly"):
        return
    for side in (-1, 1):
        rim = np.array([(0.79, -0.06), (0.90, -0.12), (0.96, 0.0), (0.93, 0.2), (0.85, 0.37), (0.77, 0.36)])
        back = np.array([0.0, -0.10, -0.16, -0.14, -0.06, 0.0])
        xyz = np.column_stack([side * (0.79 + (rim[:, 0] - 0.79) * identity.ears) * identity.face_width, rim[:, 1], back - 0.05])
        outline = scene.projection(spline(xyz, 24))
        fill(scene.image, outline, _lit(look.skin, scene.level * 0.88))
        stroke(scene.image, outline, _lit(look.skin, scene.level * 0.62), 0.016 * scene.unit)
        middle = outline.mean(0)
        stroke(scene.image, middle + (outline[4:19] - middle) * 0.62, _lit(look.skin, scene.level * 0.6), 0.03 * scene.unit)


def hair_layer(scene: Scene, look: Look, light: Light) -> np.ndarray:
    """A picture full of hair that falls from the crown."""
    side = scene.image.shape[0]
    kind = {"curly": 2, "long": 1, "fringe": 0}.get(look.hair_style, 0)
    texture = strands(kind)
    crown = scene.at((0.12 if look.hair_style == "parted" else 0.0, -1.0, 0.25))[0]
    roll = np.deg2rad(scene.pose.roll)
    scale = 512 / (4.2 * scene.unit)
    inverse = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    start = np.array([256.0, 512 / 3]) - inverse @ crown
    grain = cv2.warpAffine(texture, np.column_stack([inverse, start]), (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    slope = ramp[None] * np.float32(light.direction[0] * 0.3 * light.diffuse) + ramp[:, None] * np.float32(light.direction[1] * 0.35 * light.diffuse)
    grain = grain * (np.float32(scene.level) + slope)
    colour = np.array(look.hair, np.float32) * np.array(light.tint, np.float32)
    return cv2.merge([np.clip(grain * value, 0, 255).astype(np.uint8) for value in colour])


def skull(scene: Scene, identity: Identity, swell: float) -> np.ndarray:
    """The outline (k, 2) of the rounded head, `swell` outer-eye distances larger than the bare skull."""
    radii = np.array([0.80 * identity.face_width, 0.86 * identity.forehead, 0.98]) + swell
    centre = np.array([0.0, -0.24, -0.12])
    matrix = np.column_stack([scene.projection.linear, scene.projection.depth]) * radii
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)]) * np.sqrt(values)[:, None]
    return (vectors @ ring).T + scene.projection(centre)


def hair_behind(rng: np.random.Generator, scene: Scene, identity: Identity, look: Look, layer: np.ndarray) -> None:
    """The back of the head and what hangs down behind the neck."""
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    if look.hair_style == "bald":
        fill(scene.image, skull(scene, identity, 0.0), _lit(look.skin, scene.level * 0.8))
        return
    swell = {"curly": 0.26, "long": 0.12, "fringe": 0.12}.get(look.hair_style, 0.07) * rng.uniform(0.7, 1.3)
    outline = skull(scene, identity, swell)
    if look.hair_style == "curly":
        wobble = 1.0 + 0.035 * np.sin(np.arange(72) * 2 * np.pi * 11 / 72 + rng.uniform(0, 6))
        outline = outline.mean(0) + (outline - outline.mean(0)) * wobble[:, None]
    fill(mask, outline, 255)
    if look.hair_style in ("long", "curly"):
        drop = rng.uniform(0.9, 2.2) if look.hair_style == "long" else 0.7
        flare = rng.uniform(-0.1, 0.2)
        for side in (-1, 1):
            strip = [(side * 0.70, -0.6, -0.1), (side * (0.95 + swell), 0.0, -0.2), (side * (0.98 + flare), 0.6, -0.2), (side * (0.86 + flare), drop, -0.1),
                     (side * 0.30, drop + 0.1, -0.2), (side * 0.2, 0.0, -0.2)]  # fmt: skip
            fill(mask, spline(scene.at(*strip), 40, closed=True), 255)
    scene.image[:] = blend(scene.image, layer, mask)


def hair_front(
    rng: np.random.Generator, scene: Scene, identity: Identity, look: Look, height: HeightField, layer: np.ndarray
) -> None:
    """Hair above the hairline; a fringe or long strands may reach over brows and jaw."""
    if look.hair_style == "bald":
        return
    wide = identity.face_width
    line = {
        "short": [(-0.80, 0.10), (-0.735, -0.04), (-0.70, -0.30), (-0.60, -0.55), (-0.28, -0.66), (0.0, -0.64)],
        "parted": [(-0.80, 0.12), (-0.735, -0.02), (-0.70, -0.30), (-0.58, -0.50), (-0.22, -0.56), (0.12, -0.72)],
        "fringe": [(-0.80, 0.20), (-0.735, 0.05), (-0.69, -0.15), (-0.55, -0.28), (-0.25, -0.33), (0.0, -0.34)],
        "long": [(-0.80, 0.35), (-0.735, 0.15), (-0.70, -0.20), (-0.58, -0.48), (-0.26, -0.66), (0.0, -0.74)],
        "curly": [(-0.80, 0.15), (-0.74, -0.05), (-0.68, -0.32), (-0.55, -0.52), (-0.27, -0.60), (0.0, -0.58)],
    }[look.hair_style]
    half = np.array(line)
    half[:, 1] = np.where(half[:, 1] < -0.3, half[:, 1] * (0.5 + 0.5 * identity.forehead) + rng.normal(0.0, 0.035), half[:, 1])
    if look.hair_style == "fringe":
        half[2:, 1] += rng.uniform(-0.1, 0.06)
    other = half[:-1][::-1] * (-1.0, 1.0)
    if look.hair_style == "parted":
        other[:, 1] += np.array([0.06, 0.04, 0.0, 0.0, 0.0])
        half[4, 1] += 0.10
    flat = spline(np.concatenate([half, other]) * (wide, 1.0), 64)
    rough = 0.03 if look.hair_style == "curly" else 0.014
    flat[3:-3, 1] += rng.normal(0.0, rough, 58)
    hairline = place(flat, height, scene.projection)
    outline = skull(scene, identity, 0.06 if look.hair_style != "curly" else 0.2)
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    fill(mask, outline, 255)
    up = -scene.projection.linear[:, 1] / np.linalg.norm(scene.projection.linear[:, 1])
    right = np.array([-up[1], up[0]])
    far = 2.5 * scene.unit
    ear_tops = scene.at((-0.80 * wide, -0.12, -0.1), (0.80 * wide, -0.12, -0.1))
    rise = np.array([ear_tops[0] - right * far, ear_tops[0]]), np.array([ear_tops[1], ear_tops[1] + right * far])
    region = np.concatenate([rise[0], hairline, rise[1], [ear_tops[1] + right * far + up * far * 2, ear_tops[0] - right * far + up * far * 2]])
    above = np.zeros_like(mask)
    fill(above, region, 255)
    cast = cv2.GaussianBlur(above, (0, 0), 0.035 * scene.unit)
    _darken(scene.image, cv2.min(cv2.multiply(cast, 0.45), mask))
    scene.image[:] = blend(scene.image, layer, cv2.min(mask, above))
    if look.hair_style == "fringe":
        scene.covered[:] = cv2.max(scene.covered, cv2.min(mask, above))
    if look.hair_style == "long" and rng.random() < 0.55:
        _curtains(rng, scene, layer)


def _curtains(rng: np.random.Generator, scene: Scene, layer: np.ndarray) -> None:
    """Long hair that falls in front of the cheeks."""
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    for side in (-1, 1):
        if rng.random() < 0.3:
            continue
        depth = rng.uniform(0.58, 0.74)
        strip = [(side * 0.55, -0.62, 0.35), (side * (depth + 0.04), -0.2, 0.25), (side * depth, 0.4, 0.2), (side * (depth + 0.03), 1.0, 0.15),
                 (side * 0.75, 1.5, 0.0), (side * 1.0, 1.2, -0.1), (side * 1.02, 0.3, -0.1), (side * 0.9, -0.4, 0.0)]  # fmt: skip
        fill(mask, spline(scene.at(*strip), 64, closed=True), 255)
    _darken(scene.image, cv2.multiply(cv2.GaussianBlur(mask, (0, 0), 0.04 * scene.unit), 0.4))
    scene.image[:] = blend(scene.image, layer, mask)
    scene.covered[:] = cv2.max(scene.covered, mask)


def occluder(rng: np.random.Generator, scene: Scene, look: Look, points: np.ndarray, layer: np.ndarray) -> str:
    """Something in front of the face; returns what it was."""
    kind = str(rng.choice(["hand", "hand", "microphone", "strand", "block"]))
    {"hand": _hand, "microphone": _microphone, "strand": _strand, "block": _block}[kind](rng, scene, look, points, layer)
    return kind


def _hand(rng: np.random.Generator, scene: Scene, look: Look, points: np.ndarray, layer: np.ndarray) -> None:
    unit, side = scene.unit, float(rng.choice([-1.0, 1.0]))
    target = points[int(rng.choice([3, 5, 8, 11, 13, 48, 54, 57]))] + rng.normal(0, 0.08, 2) * unit
    direction = np.array([-side * rng.uniform(0.25, 0.9), -1.0])
    direction /= np.linalg.norm(direction)
    across = np.array([-direction[1], direction[0]])
    width = 0.165 * unit
    palm = target - direction * 0.75 * unit
    skin = _lit(look.skin, scene.level * 0.97)
    line, crease = _lit(look.skin, scene.level * 0.62), _lit(look.skin, scene.level * 0.8)
    wrist = palm - direction * 2.2 * unit
    arm = np.concatenate([band(np.stack([palm - direction * 0.2 * unit, wrist]), np.array([0.33, 0.36]) * unit)])
    shapes = []
    for finger in range(4):
        spread = finger - 1.5
        length = (0.72, 0.84, 0.8, 0.64)[finger] * unit
        root = palm + across * spread * width * 1.02
        shapes.append(spline(np.stack([root, root + direction * 0.5 * length + across * spread * 0.03 * unit, root + direction * length + across * spread * 0.05 * unit]), 10))
    thumb = spline(np.stack([palm + across * side * 0.25 * unit - direction * 0.2 * unit, palm + across * side * 0.52 * unit + direction * 0.12 * unit, palm + across * side * 0.50 * unit + direction * 0.42 * unit]), 10)
    oval = np.stack([np.cos(np.linspace(0, 6.2, 30)) * 0.37, np.sin(np.linspace(0, 6.2, 30)) * 0.42], 1) * unit
    plate = palm + oval[:, :1] * across + oval[:, 1:] * direction - direction * 0.12 * unit
    for image, outer, inner in ((scene.image, line, skin), (scene.covered, 255, 255)):
        fill(image, arm, inner)
        fill(image, plate, outer)
        stroke(image, thumb, outer, 0.19 * unit)
        stroke(image, thumb, inner, 0.165 * unit)
        fill(image, palm + (plate - palm) * 0.965, inner)
        for shape in shapes:
            stroke(image, shape, outer, width * 1.06)
            stroke(image, shape, inner, width * 0.93)
    for shape in shapes:
        for share in (4, 7):
            stroke(scene.image, np.stack([shape[share] - across * 0.045 * unit, shape[share] + across * 0.045 * unit]), crease, 0.012 * unit)
        disc(scene.image, shape[-1] + direction * 0.015 * unit, 0.045 * unit, _lit(look.skin, scene.level * 1.08))


def _microphone(rng: np.random.Generator, scene: Scene, look: Look, points: np.ndarray, layer: np.ndarray) -> None:
    unit, side = scene.unit, float(rng.choice([-1.0, 1.0]))
    head = points[57] + np.array([side * rng.uniform(-0.1, 0.35), rng.uniform(0.0, 0.4)]) * unit
    foot = head + np.array([side * rng.uniform(0.2, 1.2), 2.6]) * unit
    radius = rng.uniform(0.17, 0.25) * unit
    tone = float(rng.uniform(28, 110))
    stick = band(np.stack([head, foot]), np.array([0.62, 0.5]) * radius)
    for image, colour in ((scene.image, (24, 24, 26)), (scene.covered, 255)):
        fill(image, stick, colour)
        disc(image, head, radius, (tone, tone, tone) if image is scene.image else 255)
    for step in np.linspace(-0.8, 0.8, 7):
        reach = np.sqrt(1 - step * step) * radius * 0.95
        stroke(scene.image, head + np.array([(-reach, step * radius), (reach, step * radius)]), shade((tone,) * 3, 0.7), 1)
        stroke(scene.image, head + np.array([(step * radius, -reach), (step * radius, reach)]), shade((tone,) * 3, 0.7), 1)
    disc(scene.image, head - np.array([0.35, 0.4]) * radius, 0.28 * radius, shade((tone + 30,) * 3, 1.5))


def _strand(rng: np.random.Generator, scene: Scene, look: Look, points: np.ndarray, layer: np.ndarray) -> None:
    side = float(rng.choice([-1.0, 1.0]))
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        reach, bend = rng.uniform(0.25, 0.75), rng.uniform(-0.1, 0.15)
        path = scene.at((side * 0.15, -0.85, 0.6), (side * (reach - bend), -0.35, 0.8), (side * reach, 0.2, 0.75), (side * (reach + bend), rng.uniform(0.5, 1.3), 0.6))
        line = spline(path, 24)
        fill(mask, band(line, np.linspace(0.06, 0.008, 24) * scene.unit * rng.uniform(0.4, 1.0)), 255)
    colour = layer if look.hair_style != "bald" else np.full_like(layer, (40, 32, 28))
    scene.image[:] = blend(scene.image, colour, mask)
    scene.covered[:] = cv2.max(scene.covered, mask)


def _block(rng: np.random.Generator, scene: Scene, look: Look, points: np.ndarray, layer: np.ndarray) -> None:
    unit = scene.unit
    centre = points[int(rng.integers(0, 17))] + rng.normal(0, 0.15, 2) * unit
    half = rng.uniform(0.16, 0.5, 2) * unit
    turn = rng.uniform(-0.6, 0.6)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half @ spin + centre
    colour = rng.uniform(20, 240, 3)
    fill(scene.image, corners, colour.tolist())
    for share in np.linspace(0.2, 0.8, int(rng.integers(0, 5))):
        stroke(scene.image, np.stack([corners[0] + share * (corners[3] - corners[0]), corners[1] + share * (corners[2] - corners[1])]), shade(colour.tolist(), 0.6), 0.04 * unit)
    fill(scene.covered, corners, 255)


def _lit(colour: tuple[float, float, float], level: float) -> tuple[float, float, float]:
    return shade(colour, level)


def _darken(image: np.ndarray, shadow: np.ndarray) -> None:
    """Multiply by 1 - shadow / 255, in place."""
    keep = cv2.bitwise_not(shadow)
    image[:] = cv2.multiply(image, cv2.merge([keep, keep, keep]), scale=1 / 255.0)
