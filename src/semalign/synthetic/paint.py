"""The face's skin and features painted as a flat picture of the front view, light included.

Every edge is drawn through the dense curves of `anatomy`, on which the landmarks lie; nothing marks a place along a smooth edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from semalign.synthetic.anatomy import Anatomy
from semalign.synthetic.draw import band, blend, cloud, disc, fill, fine_noise, shade, stroke, strokes
from semalign.synthetic.polyline import spline
from semalign.synthetic.surface import BOTTOM, CELLS, LEFT, RIGHT, TOP, HeightField, rotation
from semalign.synthetic.traits import Expression, Identity, Light, Look, Pose


@dataclass
class Picture:
    """A texture of the front view: `texel` pixels per outer-eye distance."""

    image: np.ndarray  # (h, w, 3) uint8
    hidden: np.ndarray  # (h, w) uint8, 255 where something painted hides the face (dark glasses)
    texel: float

    def to(self, xy: np.ndarray) -> np.ndarray:
        """Texture pixels of points of the front view."""
        return (xy - (LEFT, TOP)) * self.texel


def paint_face(
    rng: np.random.Generator,
    anatomy: Anatomy,
    height: HeightField,
    identity: Identity,
    expression: Expression,
    look: Look,
    light: Light,
    pose: Pose,
    texel: float,
) -> Picture:
    """Paint one face."""
    shape = (int((BOTTOM - TOP) * texel) + 1, int((RIGHT - LEFT) * texel) + 1)
    picture = Picture(_skin(rng, shape, look), np.zeros(shape, np.uint8), texel)
    _soft(picture, anatomy, identity, expression, look)
    _beard(rng, picture, anatomy, look)
    _nostrils(picture, anatomy, identity, look)
    for eye in (0, 1):
        _eye(picture, anatomy, eye, expression, look)
        _brow(rng, picture, anatomy.brows[eye], identity, look)
    _mouth(picture, anatomy, expression, look)
    _light(picture, height, light, pose)
    for eye in (0, 1):
        _catchlight(picture, anatomy, eye, expression, light)
    if look.glasses != "none":
        _glasses(rng, picture, anatomy, look)
    return picture


def _skin(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> np.ndarray:
    base = np.full((*shape, 3), look.skin, np.uint8)
    h, w = (shape[0] + 1) // 2, (shape[1] + 1) // 2
    blotch = cloud(rng, (h, w), 9) * 3.5
    x, y = (int(v) for v in rng.integers(0, 512 - max(h, w, 1) if max(h, w) < 512 else 1, 2))
    pores = fine_noise(max(512, h, w))[y : y + h, x : x + w].astype(np.float32) * 0.035
    texture = cv2.resize((blotch + pores).astype(np.float32), shape[::-1])
    return cv2.add(base, cv2.merge([texture, texture, texture]), dtype=cv2.CV_8U)


def _soft(picture: Picture, anatomy: Anatomy, identity: Identity, expression: Expression, look: Look) -> None:
    """Everything without a hard edge: eye sockets, folds, blush, the shadow under the lip and beside the nose."""
    half = 0.5 * picture.texel
    dark = np.full((picture.image.shape[0] // 2 + 1, picture.image.shape[1] // 2 + 1), 128, np.uint8)

    def to(xy: np.ndarray) -> np.ndarray:
        return (np.asarray(xy, float) - (LEFT, TOP)) * half

    smile, age = max(expression.smile, 0.0), identity.age
    points = anatomy.points
    for side, eye in ((-1, 0), (1, 1)):
        upper, lower = anatomy.lids[eye]
        middle = upper.mean(0)
        fill(dark, to(np.concatenate([upper - (0.0, 0.055), lower[::-1] + (0.0, 0.02)])), 116 - 14 * look.make_up)
        inner = points[39 if eye == 0 else 42]
        disc(dark, to(inner + (-side * 0.03, -0.035)), 0.045 * half, 108)
        stroke(dark, to(np.stack([middle + (x, 0.085 - 0.35 * x * x) for x in (-0.09, -0.03, 0.03, 0.09)])), 116 - 12 * age, 0.03 * half)
        wing = points[31 if side < 0 else 35]
        corner = points[48 if side < 0 else 54]
        fold = spline(np.array([wing + (side * 0.03, -0.05), wing + (side * 0.11, 0.06), corner + (side * 0.07, -0.06), corner + (side * 0.06, 0.03)]), 12)
        stroke(dark, to(fold), 122 - 22 * age - 26 * smile, 0.025 * half)
        stroke(dark, to(np.stack([points[27] + (side * 0.06, 0.0), points[29] + (side * 0.095, 0.0), wing + (side * 0.01, -0.03)])), 117, 0.05 * half)
    base = anatomy.nose_base
    fill(dark, to(np.concatenate([base, base[::-1] + (0.0, 0.035)])), 100)
    lower = anatomy.lips[1]
    fill(dark, to(np.concatenate([lower[18:43] + (0.0, 0.012), lower[18:43][::-1] + (0.0, 0.05)])), 104)
    if age > 0.45:
        for row in range(3):
            y = -0.36 - 0.09 * row - 0.04 * expression.brow_raise
            stroke(dark, to(np.array([(-0.3, y + 0.02), (-0.1, y), (0.1, y + 0.006), (0.3, y + 0.02)])), 128 - 22 * age, 0.015 * half)
    if expression.brow_raise < -0.25:
        for x in (-0.045, 0.045):
            stroke(dark, to(np.array([(x, -0.2), (x * 0.8, -0.08)])), 128 + 40 * expression.brow_raise, 0.02 * half)
    dark = cv2.GaussianBlur(dark, (0, 0), 0.016 * half + 0.3)
    blush = np.zeros_like(dark)
    for side in (-1, 1):
        disc(blush, to(np.array([side * 0.43, 0.36])), 0.13 * half, 20 + 30 * look.make_up + 12 * smile)
    disc(blush, to(points[30]), 0.08 * half, 18)
    blush = cv2.GaussianBlur(blush, (0, 0), 0.07 * half)
    factor = cv2.merge([dark, cv2.subtract(dark, cv2.multiply(blush, 0.55)), cv2.subtract(dark, cv2.multiply(blush, 0.45))])
    factor = cv2.resize(factor, picture.image.shape[1::-1])
    picture.image = cv2.multiply(picture.image, factor, scale=1 / 128.0)


def _beard(rng: np.random.Generator, picture: Picture, anatomy: Anatomy, look: Look) -> None:
    if look.beard == "none":
        return
    mask = np.zeros(picture.image.shape[:2], np.uint8)
    mouth, chin = anatomy.points[62], anatomy.chin
    corner = anatomy.points[54, 0] + 0.05
    base = anatomy.nose_base[20, 1]
    if look.beard in ("stubble", "full"):
        side = [(0.95, 0.05), (0.76, 0.2), (0.70, 0.55), (0.5, mouth[1] - 0.03), (corner, mouth[1] - 0.06), (0.12, base + 0.06), (0.0, base + 0.07)]
        path = np.array(side + [(-x, y) for x, y in side[::-1]] + [(-0.97, chin + 0.4), (0.97, chin + 0.4)])
        fill(mask, picture.to(path), 150 if look.beard == "stubble" else 225)
    else:
        lip = anatomy.lips[0]
        path = np.concatenate([lip * (1.15, 1.0) - (0.0, 0.005), [(0.14, base + 0.05), (0.0, base + 0.055), (-0.14, base + 0.05)]])
        fill(mask, picture.to(path), 225)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.03 * picture.texel)
    upper, lower = anatomy.lips
    if look.beard != "moustache":
        bare = np.concatenate([upper, lower[::-1]])
        fill(mask, picture.to(bare + (bare - bare.mean(0)) * 0.04), 0)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.008 * picture.texel)
    grain = fine_noise(max(512, *mask.shape))[: mask.shape[0], : mask.shape[1]]
    rough = cv2.GaussianBlur(grain.astype(np.float32), (0, 0), sigmaX=0.6, sigmaY=1.4) * (0.55 if look.beard == "stubble" else 0.4)
    rough = np.roll(rough, int(rng.integers(200)), axis=1)
    strength = 0.36 if look.beard == "stubble" else 0.92
    mask = np.clip(mask * (strength + rough / 255.0), 0, 255).astype(np.uint8)
    hair = cv2.add(np.full_like(picture.image, shade(look.hair, 0.85)), cv2.merge([rough * 0.5] * 3), dtype=cv2.CV_8U)
    picture.image = blend(picture.image, hair, mask)


def _nostrils(picture: Picture, anatomy: Anatomy, identity: Identity, look: Look) -> None:
    base, texel = anatomy.nose_base, picture.texel
    deep = shade(look.skin, 0.6)
    stroke(picture.image, picture.to(base[3:-3]), shade(look.skin, 0.74), 0.014 * texel)
    for side, at in ((-1, 9), (1, 30)):
        crease = np.array([base[0 if side < 0 else -1] + offset for offset in ((-side * 0.012, 0.006), (side * 0.004, -0.03), (-side * 0.004, -0.07), (-side * 0.03, -0.1))])
        stroke(picture.image, picture.to(spline(crease, 10)), deep, 0.016 * texel)
        angle = np.linspace(0, 2 * np.pi, 16)
        hole = np.stack([0.042 * identity.nose_width * np.cos(angle), 0.019 * np.sin(angle)], axis=1)
        hole[:, 1] += 0.012 * np.abs(hole[:, 0] / 0.05)
        fill(picture.image, picture.to(base[at] + hole - (side * 0.006, 0.012)), shade(look.skin, 0.28))
    disc(picture.image, picture.to(base[0] + (0.0, 0.0)), 0.010 * texel, deep)
    disc(picture.image, picture.to(base[-1] + (0.0, 0.0)), 0.010 * texel, deep)


def _eye(picture: Picture, anatomy: Anatomy, eye: int, expression: Expression, look: Look) -> None:
    upper, lower = anatomy.lids[eye]
    texel, image = picture.texel, picture.image
    outline = picture.to(np.concatenate([upper, lower[::-1]]))
    crease = upper + np.stack([np.zeros(40), -0.032 - 0.012 * np.sin(np.linspace(0, np.pi, 40))], axis=1)
    stroke(image, picture.to(crease[3:-3]), shade(look.skin, 0.72 - 0.2 * look.make_up), 0.016 * texel)
    lid = np.concatenate([upper, crease[3:-3][::-1]])
    fill(image, picture.to(lid), shade(look.skin, 0.93 - 0.2 * look.make_up))
    low, high = np.floor(outline.min(0)).astype(int) - 3, np.ceil(outline.max(0)).astype(int) + 4
    patch = image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, outline - low, 255)
    layer = np.full_like(patch, (232, 226, 220))
    inner = upper[-1] if eye == 0 else upper[0]
    disc(layer, picture.to(inner) - low, 0.03 * texel, (205, 150, 140))
    centre = picture.to(iris_centre(anatomy, eye, expression)) - low
    disc(layer, centre, 0.068 * texel, shade(look.iris, 0.5))
    disc(layer, centre, 0.057 * texel, look.iris)
    disc(layer, centre, 0.029 * texel, (10, 8, 8))
    shadow = picture.to(upper + (0.0, 0.008)) - low
    stroke(layer, shadow, (120, 106, 98), 0.022 * texel)
    image[low[1] : high[1], low[0] : high[0]] = blend(patch, layer, mask)
    stroke(image, picture.to(lower), shade(look.skin, 0.66), 0.010 * texel)
    lash = (34, 24, 22) if look.make_up else shade(look.brow, 0.55)
    weight = 0.5 + 0.5 * np.sin(np.linspace(0.0, np.pi, 40)) ** 0.6
    fill(image, picture.to(band(upper, (0.0085 + 0.007 * look.make_up) * weight)), lash)
    if look.make_up > 0.5:
        stroke(image, picture.to(lower), (70, 50, 46), 0.012 * texel)


def iris_centre(anatomy: Anatomy, eye: int, expression: Expression) -> np.ndarray:
    """Where an eye looks, in the front view."""
    upper, lower = anatomy.lids[eye]
    middle = 0.5 * (upper[0] + upper[-1])
    wide = np.linalg.norm(upper[-1] - upper[0])
    return middle + (0.24 * wide * expression.gaze[0], -0.012 + 0.02 * expression.gaze[1])


def _catchlight(picture: Picture, anatomy: Anatomy, eye: int, expression: Expression, light: Light) -> None:
    upper, lower = anatomy.lids[eye]
    if (lower[20, 1] - upper[20, 1]) < 0.05:
        return
    at = iris_centre(anatomy, eye, expression) + 0.032 * np.array(light.direction[:2])
    at[1] = np.clip(at[1], upper[20, 1] + 0.02, lower[20, 1] - 0.015)
    disc(picture.image, picture.to(at), 0.014 * picture.texel, (250, 250, 250))


def _brow(rng: np.random.Generator, picture: Picture, line: np.ndarray, identity: Identity, look: Look) -> None:
    share = np.linspace(0.0, 1.0, len(line))
    outer_first = line[0, 0] < 0
    inward = share if outer_first else 1.0 - share
    half = identity.brow_thick * (0.008 + 0.026 * np.minimum(1.0, inward * 1.6) * (1.0 - 0.25 * np.clip((inward - 0.8) * 5, 0, 1)))
    body = band(line, half)
    mask = np.zeros(picture.image.shape[:2], np.uint8)
    fill(mask, picture.to(body), 215)
    layer = np.full_like(picture.image, look.brow)
    roots = rng.uniform(0.02, 0.98, 46)
    index = roots * (len(line) - 1)
    whole = index.astype(int)
    position = line[whole] + (index - whole)[:, None] * (line[whole + 1] - line[whole])
    thick = np.interp(roots, share, half)
    lean = -1.0 if outer_first else 1.0  # hairs point outwards and up
    start = position + np.stack([np.zeros(46), rng.uniform(0.2, 0.95, 46) * thick], axis=1)
    end = start + np.stack([lean * rng.uniform(0.01, 0.03, 46), -rng.uniform(0.4, 1.5, 46) * thick], axis=1)
    hairs = picture.to(np.stack([start, end], axis=1))
    strokes(layer, hairs[:30], shade(look.brow, 0.68))
    strokes(layer, hairs[30:], shade(look.brow, 1.3))
    rows = slice(*_span(picture.to(body)[:, 1], mask.shape[0]))
    columns = slice(*_span(picture.to(body)[:, 0], mask.shape[1]))
    picture.image[rows, columns] = blend(picture.image[rows, columns], layer[rows, columns], mask[rows, columns])


def _span(values: np.ndarray, limit: int) -> tuple[int, int]:
    return max(0, int(values.min()) - 3), min(limit, int(values.max()) + 4)


def _mouth(picture: Picture, anatomy: Anatomy, expression: Expression, look: Look) -> None:
    (upper, lower), (inner_upper, inner_lower) = anatomy.lips, anatomy.mouth
    image, texel = picture.image, picture.texel
    seam = 0.5 * (inner_upper[30, 1] + inner_lower[30, 1])
    fill(image, picture.to(np.concatenate([upper, inner_upper[::-1]])), shade(look.lips, 0.86))
    fill(image, picture.to(np.concatenate([inner_lower, lower[::-1]])), look.lips)
    middle = np.array([(0.5 * anatomy.points[54, 0] * x, 0.5 * (inner_lower[30, 1] + lower[30, 1]) - 0.008) for x in (-0.7, 0, 0.7)])
    stroke(image, picture.to(middle), shade(look.lips, 1.12), 0.02 * texel)
    stroke(image, picture.to(upper), shade(look.lips, 0.74), 0.008 * texel)
    stroke(image, picture.to(lower[8:-8]), shade(look.lips, 0.7), 0.009 * texel)
    opening = np.concatenate([inner_upper, inner_lower[::-1]])
    gap = float((inner_lower[:, 1] - inner_upper[:, 1]).max())
    if gap > 0.012:
        _inside(picture, opening, inner_upper, inner_lower, gap)
    dark = shade(look.lips, 0.33)
    stroke(image, picture.to(inner_upper), dark, 0.010 * texel)
    if gap <= 0.02:
        stroke(image, picture.to(inner_lower), dark, 0.010 * texel)
    for corner, inner in ((upper[0], inner_upper[0]), (upper[-1], inner_upper[-1])):
        stroke(image, picture.to(np.stack([corner, inner])), shade(dark, 1.1), 0.012 * texel)
    del seam


def _inside(picture: Picture, opening: np.ndarray, inner_upper: np.ndarray, inner_lower: np.ndarray, gap: float) -> None:
    """Teeth, tongue and the dark between them, clipped to the opening."""
    texel = picture.texel
    outline = picture.to(opening)
    low, high = np.floor(outline.min(0)).astype(int) - 3, np.ceil(outline.max(0)).astype(int) + 4
    patch = picture.image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, outline - low, 255)
    layer = np.full_like(patch, (58, 20, 22))
    if gap > 0.12:
        tongue = picture.to(np.array([0.0, inner_lower[30, 1] + 0.03])) - low
        disc(layer, tongue, (0.06 + 0.25 * gap) * texel, (176, 84, 86))
    depth = min(0.085, 0.75 * gap + 0.004)
    arch = np.stack([inner_upper[:, 0], inner_upper[:, 1] * 0.35 + inner_upper[30, 1] * 0.65 + depth], axis=1)
    teeth = np.concatenate([inner_upper - (0.0, 0.04), arch[::-1]])
    fill(layer, picture.to(teeth) - low, (236, 229, 216))
    gaps = np.array([-0.155, -0.105, -0.052, 0.0, 0.052, 0.105, 0.155])
    top = inner_upper[30, 1]
    lines = np.stack([np.stack([gaps, np.full(7, top - 0.03)], 1), np.stack([gaps, np.full(7, top + depth)], 1)], axis=1)
    strokes(layer, picture.to(lines) - low, (198, 186, 174))
    edge = outline[: len(inner_upper)] - low
    stroke(layer, edge, (120, 80, 76), 0.016 * texel)
    blur = cv2.GaussianBlur(layer, (3, 3), 0)
    picture.image[low[1] : high[1], low[0] : high[0]] = blend(patch, blur, mask)


def _light(picture: Picture, height: HeightField, light: Light, pose: Pose) -> None:
    """Multiply by the light that falls on the surface; deep places receive less of it."""
    z = cv2.GaussianBlur(height.full, (0, 0), 0.8)
    slope_x = cv2.Sobel(z, cv2.CV_32F, 1, 0, scale=CELLS / 8.0)
    slope_y = cv2.Sobel(z, cv2.CV_32F, 0, 1, scale=CELLS / 8.0)
    turn = rotation(pose)
    towards = turn.T @ np.array(light.direction)
    viewer = turn.T @ np.array([0.0, 0.0, 1.0])
    halfway = towards + viewer
    halfway /= np.linalg.norm(halfway)
    norm = 1.0 / np.sqrt(1.0 + slope_x**2 + slope_y**2)

    def facing(to: np.ndarray) -> np.ndarray:
        return np.maximum((float(to[2]) - float(to[0]) * slope_x - float(to[1]) * slope_y) * norm, 0.0)

    hollow = np.clip((z - cv2.GaussianBlur(z, (0, 0), 4.0)) * 2.4, -0.22, 0.10)
    rim = 0.72 + 0.28 * np.sqrt(facing(viewer))  # skin darkens where it turns away
    amount = (light.ambient + light.diffuse * facing(towards) ** 0.9) * rim * (1.0 + hollow)
    gloss = facing(halfway) ** 24 * (255.0 * light.shine)
    size = picture.image.shape[1::-1]
    lit = cv2.merge([amount * tint for tint in np.array(light.tint, np.float32)])
    factor = cv2.resize(np.clip(lit * 100.0, 0, 255).astype(np.uint8), size)
    bright = cv2.resize(np.clip(gloss, 0, 255).astype(np.uint8), size)
    picture.image = cv2.add(cv2.multiply(picture.image, factor, scale=0.01), cv2.merge([bright, bright, bright]))


def _glasses(rng: np.random.Generator, picture: Picture, anatomy: Anatomy, look: Look) -> None:
    dark = look.glasses == "dark"
    frame = shade((30, 28, 28), float(rng.uniform(0.5, 1.6))) if dark or rng.random() < 0.6 else (150, 118, 70)
    wide, tall = (0.235, 0.165) if dark else (0.22, float(rng.uniform(0.12, 0.16)))
    square = float(rng.uniform(2.2, 4.5))
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    ring = np.stack([np.sign(cosine) * np.abs(cosine) ** (2 / square) * wide, np.sign(sine) * np.abs(sine) ** (2 / square) * tall], axis=1)
    ring[:, 0] *= 1.0 + 0.08 * np.clip(-ring[:, 1] / tall, -1, 1)
    texel = picture.texel
    width = (0.03 if dark else float(rng.choice([0.014, 0.03]))) * texel
    for side, eye in ((-1, 0), (1, 1)):
        upper, lower = anatomy.lids[eye]
        centre = 0.5 * (upper[[0, -1]].mean(0) + lower.mean(0)) + (side * 0.01, 0.025)
        lens = picture.to(ring + centre)
        if dark:
            fill(picture.image, lens, (22, 20, 24))
            glare = ring * 0.62 * (0.8, 0.5) + centre + (-0.04, -0.06)
            fill(picture.image, picture.to(glare), (56, 56, 66))
            fill(picture.hidden, lens, 255)
        stroke(picture.image, lens, frame, width, closed=True)
        temple = np.array([centre + (side * wide, -0.06), (side * 0.8, -0.05), (side * 0.99, -0.02)])
        stroke(picture.image, picture.to(temple), frame, width * 1.2)
        if eye == 0:
            first = centre + (wide, -0.05)
        else:
            bridge = spline(np.array([first, (0.0, first[1] - 0.025), centre + (-wide, -0.05)]), 9)
            stroke(picture.image, picture.to(bridge), frame, width)
