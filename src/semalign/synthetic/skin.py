"""Everything on the face that has no edge of its own: skin, folds and hollows, stubble, and the light on it."""

from __future__ import annotations

import cv2
import numpy as np

from semalign.synthetic.anatomy import STEP, Anatomy
from semalign.synthetic.draw import cloud, grain, shade
from semalign.synthetic.picture import Picture, enlarged, front_picture, stretched
from semalign.synthetic.polyline import spline
from semalign.synthetic.surface import CELLS, HeightField, rotation
from semalign.synthetic.traits import Expression, Light, Look, Pose, Traits

EYE_BAG = np.array([(x, 0.085 - 0.35 * x * x) for x in (-0.09, -0.03, 0.03, 0.09)])  # from the middle of the upper lid
FOLD = np.array([(0.03, -0.05), (0.10, 0.05), (0.09, -0.07), (0.08, 0.03)])  # two from the nose, two from the mouth
FOREHEAD = np.array([(-0.3, 0.02), (-0.1, 0.0), (0.1, 0.006), (0.3, 0.02)])
FROWN = np.array([[(x, -0.2), (0.8 * x, -0.08)] for x in (-0.045, 0.045)])


def bare_skin(rng: np.random.Generator, texel: float, look: Look) -> Picture:
    """Skin with blotches and pores."""
    picture = front_picture(texel, look.skin)
    h, w = picture.image.shape[:2]
    y, x = (int(value) for value in rng.integers(0, 128, 2))
    blotches = cv2.resize(
        (cloud(rng, (40, 40), 9) * 4.0 + 128.0).astype(np.uint8), (w, h), interpolation=cv2.INTER_LINEAR
    )
    pores = grain(max(512, h + 128, w + 128))[y : y + h, x : x + w]
    texture = cv2.addWeighted(blotches, 1.0, pores, 0.07, -0.07 * 128)
    cv2.multiply(picture.image, cv2.merge([texture] * 3), scale=1 / 128.0, dst=picture.image)
    return picture


def soft_shapes(picture: Picture, anatomy: Anatomy, traits: Traits) -> None:
    """Eye sockets, the sides of the nose, folds, the shadow under nose and lip, lines of age, blush."""
    dark = picture.smaller(2, 128)
    _eye_sockets(dark, anatomy, traits)
    _folds(dark, anatomy, max(traits.expression.smile, 0.0), traits.identity.age)
    base = anatomy.nose_base
    dark.fill(np.concatenate([base, base[::-1] + (0.0, 0.035)]), 100)
    under = anatomy.lips()[1][2 * STEP : 4 * STEP + 1]
    dark.fill(np.concatenate([under + (0.0, 0.012), under[::-1] + (0.0, 0.05)]), 106)
    _wrinkles(dark, traits.expression, traits.identity.age)
    shadow = cv2.GaussianBlur(dark.image, (0, 0), 0.016 * dark.texel + 0.3)
    blush = _blush(dark, anatomy, traits)
    green, blue = (cv2.subtract(shadow, cv2.multiply(blush, share)) for share in (0.5, 0.42))
    tinted = enlarged(cv2.merge([shadow, green, blue]), picture)
    cv2.multiply(picture.image, tinted, scale=1 / 128.0, dst=picture.image)


def _eye_sockets(dark: Picture, anatomy: Anatomy, traits: Traits) -> None:
    upper, lower = anatomy.lids()
    above, below = upper - (0.0, 0.055), lower[:, ::-1] + (0.0, 0.02)
    dark.fill(np.concatenate([above, below], axis=1), 116 - 14 * traits.look.make_up)
    for side, inner in ((-1, upper[0, -1]), (1, upper[1, 0])):
        dark.disc(inner + (-side * 0.03, -0.035), 0.045, 108)
    dark.stroke(upper.mean(1, keepdims=True) + EYE_BAG, 117 - 14 * traits.identity.age, 0.03)


def _folds(dark: Picture, anatomy: Anatomy, smile: float, age: float) -> None:
    """From the nose to the corners of the mouth, and the nose's own flanks."""
    base, lips, ridge = anatomy.nose_base, anatomy.curves["outer lips"], anatomy.ridge
    folds, flanks = [], []
    for side, wing, corner in ((-1.0, base[0], lips[0]), (1.0, base[-1], lips[6 * STEP])):
        ends = np.stack([wing, wing, corner, corner])
        folds.append(spline(ends + FOLD * (side, 1.0), 12))
        flanks.append(np.stack([ridge[0] + (side * 0.05, -0.03), ridge[2 * STEP] + (side * 0.085, -0.03), wing]))
    dark.stroke(np.stack(folds), 124 - 20 * age - 24 * smile, 0.025)
    dark.stroke(np.stack(flanks), 116, 0.05)


def _wrinkles(dark: Picture, expression: Expression, age: float) -> None:
    if age > 0.45:
        rows = np.array([(0.0, -0.36 - 0.09 * row - 0.04 * expression.brow_raise) for row in range(3)])
        dark.stroke(rows[:, None] + FOREHEAD, 128 - 22 * age, 0.015)
    if expression.brow_raise < -0.25:
        dark.stroke(FROWN, 128 + 40 * expression.brow_raise, 0.02)


def _blush(dark: Picture, anatomy: Anatomy, traits: Traits) -> np.ndarray:
    """Red of cheeks and nose, as many pixels as `dark`."""
    small = dark.smaller(4, 0)
    for side in (-1, 1):
        strength = 16 + 22 * traits.look.make_up + 12 * max(traits.expression.smile, 0.0)
        small.disc(np.array([side * 0.43, 0.36]), 0.15, strength)
    small.disc(anatomy.ridge[-1], 0.08, 14)
    return enlarged(cv2.GaussianBlur(small.image, (0, 0), 0.08 * small.texel), dark)


def beard(rng: np.random.Generator, picture: Picture, anatomy: Anatomy, look: Look) -> None:
    """Stubble, a moustache or a full beard; the lips stay free."""
    if look.beard == "none":
        return
    mask = picture.like(0, channels=1)
    mask.fill(_beard_outline(anatomy, look.beard), 150 if look.beard == "stubble" else 225)
    mask.image = cv2.GaussianBlur(mask.image, (0, 0), 0.03 * picture.texel)
    if look.beard != "moustache":
        lips = anatomy.curves["outer lips"]
        mask.fill(lips + (lips - lips.mean(0)) * 0.06, 0)
        mask.image = cv2.GaussianBlur(mask.image, (0, 0), 0.008 * picture.texel)
    h, w = mask.image.shape
    start = int(rng.integers(128))
    bristles = grain(max(512, h, w + 128))[:h, start : start + w]
    bristles = cv2.GaussianBlur(bristles, (0, 0), sigmaX=0.6, sigmaY=1.3)
    strength, rough = (0.34, 0.9) if look.beard == "stubble" else (0.9, 0.7)
    cover = cv2.addWeighted(bristles, rough, bristles, 0.0, 128 * (2 * strength - rough))
    mask.image = cv2.multiply(mask.image, cover, scale=1 / 256.0)
    layer = picture.like(shade(look.hair, 0.85))
    uneven = cv2.addWeighted(bristles, 1.6, bristles, 0.0, -0.6 * 128)
    cv2.multiply(layer.image, cv2.merge([uneven] * 3), scale=1 / 128.0, dst=layer.image)
    picture.cover(layer, mask)


def _beard_outline(anatomy: Anatomy, kind: str) -> np.ndarray:
    upper, _ = anatomy.lips()
    corner_x, base_y = upper[-1, 0] + 0.05, anatomy.nose_base[2 * STEP, 1]
    if kind == "moustache":
        top = [(0.14, base_y + 0.05), (0.0, base_y + 0.055), (-0.14, base_y + 0.05)]
        return np.concatenate([upper * (1.15, 1.0) - (0.0, 0.005), top])
    mouth_y, low = upper[3 * STEP, 1], anatomy.chin + 0.4
    cheek = [(0.95, 0.05), (0.77, 0.22), (0.71, 0.55), (0.52, mouth_y + 0.02), (corner_x, mouth_y - 0.02)]
    half = np.array([*cheek, (0.13, base_y + 0.06), (0.0, base_y + 0.075)])
    line = spline(np.concatenate([half, half[-2::-1] * (-1.0, 1.0)]), 60)
    return np.concatenate([line, [(-0.97, low), (0.97, low)]])


def light_up(picture: Picture, height: HeightField, light: Light, pose: Pose) -> None:
    """Multiply by the light that falls on the surface; deep places receive less of it."""
    z = cv2.GaussianBlur(height.full, (3, 3), 0)
    slope_x = cv2.Sobel(z, cv2.CV_32F, 1, 0, scale=CELLS / 8.0)
    slope_y = cv2.Sobel(z, cv2.CV_32F, 0, 1, scale=CELLS / 8.0)
    turn = rotation(pose)
    towards = turn.T @ np.array(light.direction)
    viewer = turn.T @ np.array([0.0, 0.0, 1.0])
    halfway = (towards + viewer) / np.linalg.norm(towards + viewer)
    norm = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)

    def facing(to: np.ndarray) -> np.ndarray:
        x, y, z = (np.float32(value) for value in to)
        return np.maximum((z - x * slope_x - y * slope_y) * norm, 0.0)

    hollow = np.clip((z - cv2.blur(z, (7, 7))) * 2.4, -0.22, 0.10)
    rim = 0.72 + 0.28 * np.sqrt(facing(viewer))  # skin darkens where it turns away
    amount = (np.float32(light.ambient) + np.float32(light.diffuse) * facing(towards)) * rim * (1.0 + hollow)
    gloss = cv2.pow(facing(halfway), 24) * np.float32(255.0 * light.shine)
    lit = stretched(cv2.convertScaleAbs(amount, alpha=128.0), picture)
    bright = stretched(cv2.convertScaleAbs(gloss), picture)
    cv2.multiply(picture.image, cv2.merge([lit] * 3), scale=1 / 128.0, dst=picture.image)
    cv2.add(picture.image, cv2.merge([bright] * 3), dst=picture.image)
