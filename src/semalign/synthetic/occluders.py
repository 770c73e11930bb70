"""Things in front of the face."""

from __future__ import annotations

import numpy as np

from semalign.synthetic.draw import CIRCLE, band, disc, fill, rounded, shade
from semalign.synthetic.polyline import spline
from semalign.synthetic.scene import Frame, Scene
from semalign.synthetic.traits import muted_colours

KINDS = ("hand", "hand", "microphone", "strands", "card", "scarf")


def occlude(rng: np.random.Generator, scene: Scene, points: np.ndarray) -> str:
    """Draw something in front of the face, whose landmarks are `points` (68, 2) in pixels; returns what it was."""
    kinds = [kind for kind in KINDS if kind != "strands" or scene.traits.look.hair_style != "bald"]
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "hand":
        _hand(rng, scene, points)
    elif kind == "microphone":
        _microphone(rng, scene, points)
    elif kind == "strands":
        _strands(rng, scene)
    elif kind == "card":
        _card(rng, scene, points)
    else:
        _scarf(rng, scene, points)
    return kind


def _hand(rng: np.random.Generator, scene: Scene, points: np.ndarray) -> None:
    """A hand on chin, cheek or mouth, the fingers up."""
    unit, side = scene.unit, -1.0 if rng.random() < 0.5 else 1.0
    target = points[(3, 5, 8, 11, 13, 48, 54, 57)[int(rng.integers(8))]] + rng.normal(0, 0.08, 2) * unit
    up = np.array([-side * rng.uniform(0.25, 0.9), -1.0])
    up /= np.hypot(up[0], up[1])
    frame = Frame(target - 0.75 * unit * up, np.array([-up[1], up[0]]), -up, unit)  # from the middle of the palm
    skin, line = scene.lit(scene.traits.look.skin, 0.97), scene.lit(scene.traits.look.skin, 0.66)
    crease = scene.lit(scene.traits.look.skin, 0.84)
    palm = frame.to(CIRCLE * (0.36, 0.42) + (0.0, 0.12))
    thumb = spline(frame.to(np.array([(0.25, 0.2), (0.52, -0.12), (0.50, -0.42)]) * (side, 1.0)), 10)
    width = 0.165
    fingers = []
    for at, length in ((-1.5, 0.72), (-0.5, 0.84), (0.5, 0.8), (1.5, 0.64)):
        root, spread = at * width * 1.02, at * 0.025
        bones = [(root, 0.0), (root + 0.6 * spread, -0.5 * length), (root + spread, -length)]
        fingers.append(spline(frame.to(bones), 10))

    shadow = scene.mask()
    fill(shadow, palm + np.array([0.06, 0.06]) * unit, 150)
    scene.cast(shadow, 0.05, 0.5)
    arm = band(frame.to([(0.0, 0.2), (0.0, 2.4)]), np.array([0.33, 0.37]) * unit)
    scene.fill(arm, skin, covers=True)
    scene.fill(palm, line, covers=True)
    scene.stroke(thumb, line, 0.185 * unit, covers=True)
    scene.stroke(thumb, skin, 0.165 * unit)
    scene.fill(palm.mean(0) + (palm - palm.mean(0)) * 0.97, skin)
    for finger in fingers:
        scene.stroke(finger, line, 1.05 * width * unit, covers=True)
        scene.stroke(finger, skin, 0.94 * width * unit)
        for joint in (4, 7):
            scene.stroke(finger[joint] + np.outer((-0.045, 0.045), frame.right) * unit, crease, 0.012 * unit)
        disc(scene.image, finger[-1] + 0.015 * unit * up, 0.045 * unit, shade(skin, 1.07))


def _microphone(rng: np.random.Generator, scene: Scene, points: np.ndarray) -> None:
    unit, side = scene.unit, -1.0 if rng.random() < 0.5 else 1.0
    head = points[57] + np.array([side * rng.uniform(-0.1, 0.35), rng.uniform(0.0, 0.4)]) * unit
    foot = head + np.array([side * rng.uniform(0.2, 1.2), 2.6]) * unit
    radius, tone = rng.uniform(0.15, 0.22) * unit, rng.uniform(28, 100)
    scene.fill(band(np.stack([head, foot]), np.array([0.62, 0.5]) * radius), (24, 24, 26), covers=True)
    scene.fill(head + radius * CIRCLE, (tone, tone, tone), covers=True)
    for step in np.linspace(-0.8, 0.8, 7):
        wire = np.array([(-1.0, 0.0), (1.0, 0.0)]) * np.sqrt(1 - step * step) * 0.95 + (0.0, step)
        for line in (wire, wire[:, ::-1]):
            scene.stroke(head + line * radius, (0.7 * tone,) * 3, 1)
    disc(scene.image, head - np.array([0.35, 0.4]) * radius, 0.28 * radius, (1.3 * tone + 30,) * 3)


def _strands(rng: np.random.Generator, scene: Scene) -> None:
    """Loose hair across the face."""
    side = -1.0 if rng.random() < 0.5 else 1.0
    mask = scene.mask()
    for _ in range(int(rng.integers(2, 6))):
        reach, bend = rng.uniform(0.25, 0.75), rng.uniform(-0.1, 0.15)
        low = rng.uniform(0.5, 1.3)
        path = [(0.15, -0.85, 0.6), (reach - bend, -0.35, 0.8), (reach, 0.2, 0.75), (reach + bend, low, 0.6)]
        line, thick = spline(scene.at(np.array(path) * (side, 1, 1)), 24), rng.uniform(0.4, 1.0) * scene.unit
        fill(mask, band(line, np.linspace(0.06, 0.008, 24) * thick), 255)
    scene.cast(mask, 0.03, 0.3)
    scene.grow_hair(mask, covers=True)


def _card(rng: np.random.Generator, scene: Scene, points: np.ndarray) -> None:
    """A telephone, a card or a page at the edge of the face."""
    unit = scene.unit
    centre = points[int(rng.integers(0, 17))] + rng.normal(0, 0.15, 2) * unit
    half = rng.uniform(0.16, 0.45, 2) * unit
    turn = rng.uniform(-0.6, 0.6)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    outline = rounded(8.0) * half
    colour = scene.lit(muted_colours(rng, 1)[0])
    scene.fill(outline @ spin + centre, shade(colour, 0.6), covers=True)
    scene.fill(outline * 0.95 @ spin + centre, colour)
    for at in np.linspace(-0.6, 0.6, int(rng.integers(0, 6))):
        line = np.array([(-0.75, at), (rng.uniform(0.2, 0.75), at)]) * half
        scene.stroke(line @ spin + centre, shade(colour, 0.7), 0.03 * unit)


def _scarf(rng: np.random.Generator, scene: Scene, points: np.ndarray) -> None:
    """A scarf or a high collar up to the chin, sometimes over the mouth."""
    frame, top = scene.upright(points[8]), rng.uniform(-0.5, -0.05)
    tilt, sag = rng.normal(0, 0.08), rng.uniform(0.08, 0.25)
    colour = scene.lit(muted_colours(rng, 1)[0], 0.95)
    across = np.linspace(-1.0, 1.0, 24)
    edge = np.stack([0.85 * across, top + tilt * across + sag * (1.0 - across**2) + 0.02 * np.sin(8 * across)], axis=1)
    foot = np.array([(1.3, top + 0.75), (1.5, top + 3.0), (-1.5, top + 3.0), (-1.3, top + 0.75)])
    for layer, factor in ((0.0, 1.0), (0.22, 0.85), (0.45, 0.95)):
        outline = frame.to(np.concatenate([edge * (1.0 + 0.4 * layer, 1.0), foot]) + (0.0, layer))
        scene.fill(outline, shade(colour, factor), covers=True)
        scene.stroke(outline[: len(edge)], shade(colour, 0.7 * factor), 0.025 * scene.unit)
