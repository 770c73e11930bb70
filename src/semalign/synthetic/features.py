"""Nose, eyes, brows, mouth and glasses. Every edge is drawn along a curve of the anatomy that carries landmarks."""

from __future__ import annotations

import numpy as np

from semalign.synthetic.anatomy import STEP, Anatomy
from semalign.synthetic.draw import CIRCLE, band, rounded, shade
from semalign.synthetic.picture import Picture
from semalign.synthetic.polyline import spline
from semalign.synthetic.traits import Expression, Identity, Light, Look

BOW = np.sin(np.linspace(0.0, np.pi, 3 * STEP + 1))  # along a lid
CREASE = np.stack([np.zeros_like(BOW), 0.032 + 0.012 * BOW], axis=1)  # from the fold above a lid down to its edge
LASHES = 0.5 + 0.5 * np.sqrt(BOW)
EYES = ("left eye", "right eye")
HAIRS, DARK_HAIRS = 46, 30  # drawn singly in each brow


def nostrils(picture: Picture, anatomy: Anatomy, identity: Identity, look: Look) -> None:
    """The nose's lower edge, its wings and nostrils."""
    base = anatomy.nose_base
    deep = shade(look.skin, 0.62)
    picture.stroke(base[2:-2], shade(look.skin, 0.74), 0.014)
    for side, end, at in ((-1, base[0], base[STEP - 1]), (1, base[-1], base[3 * STEP + 1])):
        crease = end + np.array(
            [(-side * 0.008, 0.004), (side * 0.004, -0.03), (-side * 0.004, -0.07), (-side * 0.03, -0.1)]
        )
        picture.stroke(spline(crease, 10), deep, 0.016)
        picture.disc(end, 0.010, deep)
        hole = CIRCLE[::4] * (0.042 * identity.nose_width, 0.019)
        hole[:, 1] += 0.24 * np.abs(hole[:, 0])
        picture.fill(at + hole - (side * 0.006, 0.014), shade(look.skin, 0.3))


def eyes(picture: Picture, anatomy: Anatomy, expression: Expression, look: Look) -> None:
    """Both eyes with their lids and lashes."""
    upper, lower = anatomy.lids()
    crease = upper - CREASE
    picture.stroke(crease[:, 2:-2], shade(look.skin, 0.72 - 0.2 * look.make_up), 0.016)
    lid = np.concatenate([upper, crease[:, -3:1:-1]], axis=1)
    picture.fill(lid, shade(look.skin, 0.93 - 0.2 * look.make_up))
    patch = picture.patch(np.concatenate([upper, lower]))
    mask, ball = patch.like(0, channels=1), patch.like((222, 216, 210))
    corners = (upper[0, 0], upper[0, -1]), (upper[1, -1], upper[1, 0])
    for name, (outer, inner), centre in zip(EYES, corners, iris_centres(anatomy, expression), strict=True):
        mask.fill_exactly(anatomy.curves[name][:-1], 255)
        ball.disc(outer, 0.05, (196, 186, 178))
        ball.disc(inner, 0.03, (196, 140, 130))
        ball.disc(centre, 0.068, shade(look.iris, 0.5))
        ball.disc(centre, 0.057, look.iris)
        ball.disc(centre, 0.029, (10, 8, 8))
    ball.stroke(upper + (0.0, 0.008), (112, 98, 90), 0.022)
    patch.cover(ball, mask)
    picture.stroke(lower, shade(look.skin, 0.66), 0.010)
    lash = (34, 24, 22) if look.make_up else shade(look.brow, 0.55)
    thick = (0.0065 + 0.006 * look.make_up) * LASHES
    picture.fill(np.stack([band(line, thick) for line in upper]), lash)
    if look.make_up > 0.5:
        picture.stroke(lower, (70, 50, 46), 0.012)


def iris_centres(anatomy: Anatomy, expression: Expression) -> np.ndarray:
    """Where the eyes (2, 2) look, in the front view."""
    upper, _ = anatomy.lids()
    left, right = upper[:, 0], upper[:, -1]
    aside = 0.24 * np.hypot(*(right - left).T) * expression.gaze[0]
    return 0.5 * (left + right) + np.stack([aside, np.full(2, -0.012 + 0.02 * expression.gaze[1])], axis=1)


def catchlights(picture: Picture, anatomy: Anatomy, expression: Expression, light: Light) -> None:
    """The light's reflection in open eyes."""
    upper, lower = anatomy.lids()
    centres = iris_centres(anatomy, expression)
    for top, bottom, centre in zip(
        upper[:, upper.shape[1] // 2, 1], lower[:, lower.shape[1] // 2, 1], centres, strict=True
    ):
        if bottom - top > 0.05:
            x, y = centre + 0.032 * np.array(light.direction[:2])
            picture.disc(np.array([x, min(max(y, top + 0.02), bottom - 0.015)]), 0.013, (246, 246, 246))


def brows(rng: np.random.Generator, picture: Picture, anatomy: Anatomy, identity: Identity, look: Look) -> None:
    """Brows about their middle lines: soft bodies and single hairs, thicker towards the nose, as long as the lines."""
    lines = np.stack([anatomy.curves["left brow"], anatomy.curves["right brow"][::-1]])  # each from its outer end
    inward = np.linspace(0.0, 1.0, lines.shape[1])
    taper = np.minimum(1.0, 1.6 * inward) * (1.0 - 0.25 * np.maximum((inward - 0.8) * 5, 0.0))
    half = identity.brow_thick * (0.006 + 0.026 * taper)
    bodies = np.stack([band(line, half) for line in lines])
    patch = picture.patch(bodies)
    mask, layer = patch.like(0, channels=1), patch.like(look.brow)
    mask.fill(bodies, 215)

    root = rng.uniform(0.02, 0.98, HAIRS) * (lines.shape[1] - 1)
    whole = root.astype(int)
    start = lines[:, whole] + (root - whole)[:, None] * (lines[:, whole + 1] - lines[:, whole])
    start[..., 1] += rng.uniform(0.2, 0.95, (2, HAIRS)) * half[whole]
    hair = np.stack([rng.uniform(0.01, 0.03, (2, HAIRS)), -rng.uniform(0.4, 1.5, (2, HAIRS)) * half[whole]], axis=2)
    hair[0, :, 0] *= -1.0  # they point outwards and up
    hairs = np.stack([start, start + hair], axis=2)
    layer.stroke(hairs[:, :DARK_HAIRS].reshape(-1, 2, 2), shade(look.brow, 0.7), 0.0)
    layer.stroke(hairs[:, DARK_HAIRS:].reshape(-1, 2, 2), shade(look.brow, 1.3), 0.0)
    patch.cover(layer, mask)


def mouth(picture: Picture, anatomy: Anatomy, look: Look) -> None:
    """Lips, and teeth and tongue where the mouth is open."""
    (upper, lower), (inner_upper, inner_lower) = anatomy.lips(), anatomy.mouth()
    centre = len(inner_upper) // 2
    picture.fill_exactly(anatomy.curves["outer lips"][:-1], look.lips)
    picture.fill(np.concatenate([upper[2:-2], inner_upper[::-1]]) + (0.0, 0.5 / picture.texel), shade(look.lips, 0.86))
    shine_y = 0.5 * (inner_lower[centre, 1] + lower[len(lower) // 2, 1]) - 0.008
    picture.stroke(np.array([(0.5 * upper[-1, 0] * x, shine_y) for x in (-0.7, 0, 0.7)]), shade(look.lips, 1.12), 0.02)
    picture.stroke(upper, shade(look.lips, 0.74), 0.008)
    picture.stroke(lower[6:-6], shade(look.lips, 0.72), 0.009)
    gap = float((inner_lower[:, 1] - inner_upper[:, 1]).max())
    if gap > 0.012:
        _inside(picture, anatomy.curves["inner lips"][:-1], inner_upper, inner_lower, gap)
    dark = shade(look.lips, 0.33)
    picture.stroke(inner_upper, dark, 0.010)
    if gap <= 0.02:
        picture.stroke(inner_lower, dark, 0.010)
    corners = np.stack([upper[[0, -1]], inner_upper[[0, -1]]], axis=1)
    picture.stroke(corners, shade(dark, 1.1), 0.012)


def _inside(picture: Picture, opening: np.ndarray, upper: np.ndarray, lower: np.ndarray, gap: float) -> None:
    """Teeth, tongue and the dark between them, clipped to the opening."""
    patch = picture.patch(opening)
    mask, layer = patch.like(0, channels=1), patch.like((58, 20, 22))
    mask.fill_exactly(opening, 255)
    centre = len(upper) // 2
    top = upper[centre, 1]
    if gap > 0.12:
        layer.disc(np.array([0.0, lower[centre, 1] + 0.03]), 0.06 + 0.25 * gap, (176, 84, 86))
    depth = min(0.085, 0.75 * gap + 0.004)
    arch = np.stack([upper[:, 0], upper[:, 1] * 0.35 + top * 0.65 + depth], axis=1)
    layer.fill(np.concatenate([upper - (0.0, 0.04), arch[::-1]]), (228, 220, 206))
    gaps = np.array([[(x, top - 0.03), (x, top + depth)] for x in (-0.155, -0.105, -0.052, 0.0, 0.052, 0.105, 0.155)])
    layer.stroke(gaps, (198, 186, 174), 0.009)
    layer.stroke(upper, (120, 80, 76), 0.016)
    patch.cover(layer, mask)


def glasses(rng: np.random.Generator, picture: Picture, hidden: Picture, anatomy: Anatomy, look: Look) -> None:
    """Glasses, or sunglasses, which hide the eyes."""
    dark = look.glasses == "dark"
    metal = not dark and rng.random() < 0.4
    frame = (150, 118, 70) if metal else shade((30, 28, 28), rng.uniform(0.5, 1.6))
    wide, tall = (0.235, 0.165) if dark else (0.22, rng.uniform(0.12, 0.16))
    ring = rounded(rng.uniform(2.2, 4.5)) * (wide, tall)
    ring[:, 0] *= 1.0 + 0.08 * np.clip(-ring[:, 1] / tall, -1, 1)
    width = 0.03 if dark or rng.random() < 0.5 else 0.014
    bridge = []
    for side, upper, lower in zip((-1, 1), *anatomy.lids(), strict=True):
        centre = 0.5 * (upper[[0, -1]].mean(0) + lower.mean(0)) + (side * 0.01, 0.025)
        if dark:
            picture.fill(ring + centre, (22, 20, 24))
            picture.fill(ring * (0.5, 0.31) + centre + (-0.04, -0.06), (56, 56, 66))
            hidden.fill(ring + centre, 255)
        picture.stroke(ring + centre, frame, width, closed=True)
        temple = np.array([centre + (side * wide, -0.06), (side * 0.8, -0.05), (side * 0.99, -0.02)])
        picture.stroke(temple, frame, width * 1.2)
        bridge.append(centre - (side * wide, 0.05))
    middle = 0.5 * (bridge[0] + bridge[1]) - (0.0, 0.025)
    picture.stroke(spline(np.array([bridge[0], middle, bridge[1]]), 9), frame, width)
