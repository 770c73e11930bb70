"""Collars and clothes."""

from __future__ import annotations

import numpy as np

from semalign.synthetic.draw import shade
from semalign.synthetic.polyline import spline
from semalign.synthetic.scene import Frame, Scene
from semalign.synthetic.traits import Colour, muted_colours

KINDS = ("round", "round", "vee", "shirt", "shirt", "jacket", "jacket", "high")
WHITE = (234.0, 234.0, 232.0)
Sides = tuple[np.ndarray, np.ndarray]


def dress(rng: np.random.Generator, scene: Scene, frame: Frame, neck: float, sides: Sides) -> None:
    """Draw clothes over a body, given its frame, half the width of its neck and its outlines in pixels, downwards."""
    colour, second = muted_colours(rng, 2)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    lit = scene.lit(colour, 0.95)
    neckline = _neckline(rng, frame, neck, kind)
    left, right = (side[18:] - 0.03 * frame.unit * frame.down for side in sides)
    garment = np.concatenate([neckline[::-1], left, right[::-1]])
    if kind == "jacket":
        scene.fill(garment, scene.lit(WHITE, 0.9))
        _jacket(rng, scene, frame, neck, (left, right), lit, scene.lit(second, 0.9))
        _collar(scene, frame, neck, scene.lit(WHITE, 0.95))
        return
    scene.fill(garment, lit)
    if kind == "shirt":
        _collar(scene, frame, neck, shade(lit, 1.12))
    else:
        scene.stroke(neckline, shade(lit, 0.75), 0.05 * frame.unit)


def _neckline(rng: np.random.Generator, frame: Frame, neck: float, kind: str) -> np.ndarray:
    """The upper edge (k, 2) of what is worn, in pixels, from the image's left."""
    depth = {"round": rng.uniform(0.02, 0.22), "vee": rng.uniform(0.35, 0.7), "high": -0.3}.get(kind, 0.12)
    rise = -0.42 if kind == "high" else -0.1
    middle = rise + 0.6 * (depth - rise)
    half = np.array([(-1.15 * neck, rise), (-0.6 * neck, middle), (0.0, depth)])
    controls = frame.to(np.concatenate([half, half[1::-1] * (-1.0, 1.0)]))
    return controls if kind == "vee" else spline(controls, 24)


def _jacket(
    rng: np.random.Generator, scene: Scene, frame: Frame, neck: float, sides: Sides, colour: Colour, tie: Colour
) -> None:
    """A jacket, open over the shirt, with lapels; perhaps a tie."""
    low = rng.uniform(0.75, 1.2)
    if rng.random() < 0.6:
        half = np.array([(0.08, 0.08), (0.055, 0.22), (0.15, 1.6)])
        scene.fill(frame.to(np.concatenate([half, half[::-1] * (-1.0, 1.0)])), tie)
    for turn, side in ((-1.0, sides[0]), (1.0, sides[1])):
        mirror = np.array([turn, 1.0])
        front = frame.to(np.array([(0.04, low + 1.0), (0.04, low), (0.95 * neck, -0.12)]) * mirror)
        scene.fill(np.concatenate([front, side]), shade(colour, 0.55))
        inner, outer = [(0.8 * neck, 0.0), (1.08 * neck, -0.1)], [(neck + 0.3, 0.34), (neck + 0.12, 0.42)]
        lapel = frame.to(np.array([(0.05, low), *inner, *outer]) * mirror)
        scene.fill(lapel, shade(colour, 0.62))
        scene.stroke(np.concatenate([lapel[2:], lapel[:1]]), shade(colour, 0.45), 0.02 * frame.unit)


def _collar(scene: Scene, frame: Frame, neck: float, colour: Colour) -> None:
    """The two wings of a shirt's collar."""
    for turn in (-1.0, 1.0):
        wing = np.array([(1.08 * neck, -0.3), (0.0, 0.12), (0.55 * neck, 0.36), (1.25 * neck, 0.02)]) * (turn, 1.0)
        outline = frame.to(wing)
        scene.fill(outline, colour)
        scene.stroke(outline[1:], shade(colour, 0.72), 0.02 * frame.unit)
