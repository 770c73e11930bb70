"""Neck, shoulders and ears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.synthetic.clothes import dress
from semalign.synthetic.draw import fill
from semalign.synthetic.polyline import spline
from semalign.synthetic.scene import Frame, Scene

BARE_EARS = ("bald", "short", "parted", "fringe")  # hair styles that show them


@dataclass(frozen=True)
class Torso:
    """Neck and shoulders: a frame with its origin in the pit of the neck."""

    frame: Frame
    neck: float  # half of its width, outer-eye distances
    sides: tuple[
        np.ndarray, np.ndarray
    ]  # (43, 2) pixels: outlines downwards from behind the head, the image's left first


def body(rng: np.random.Generator, scene: Scene) -> None:
    """Neck and shoulders in the shadow of the jaw, and what is worn."""
    torso = _torso(rng, scene)
    left, right = torso.sides
    scene.fill(np.concatenate([left, right[::-1]]), scene.lit(scene.traits.look.skin, 0.9))
    _shadows(scene, torso)
    dress(rng, scene, torso.frame, torso.neck, torso.sides)


def _torso(rng: np.random.Generator, scene: Scene) -> Torso:
    chin, nape = scene.at([(0.0, 1.1, -0.15), (0.0, 0.15, -0.38)])
    hanging = scene.upright(chin)
    pit = hanging.to([(rng.normal(0, 0.06), rng.uniform(0.50, 0.72))])[0]
    frame = scene.upright(pit)
    identity = scene.traits.identity
    neck, slope = rng.uniform(0.41, 0.51) * identity.face_width * identity.jaw_width, rng.uniform(0.9, 1.2)
    x, y = frame.inside(nape)
    sides = []
    for side in (-1.0, 1.0):
        throat = [(x + side * neck * 0.98, y), (0.5 * x + side * neck, 0.5 * y), (side * neck * 1.06, -0.16 * slope)]
        shoulder = [(side * neck * 1.7, 0.10 * slope), (side * 1.45, 0.26 * slope), (side * 1.85, 0.65 * slope)]
        sides.append(spline(frame.to([*throat, *shoulder, (side * 1.9, 3.0)]), 43))
    return Torso(frame, neck, (sides[0], sides[1]))


def _shadows(scene: Scene, torso: Torso) -> None:
    """The jaw's shadow on the neck, and the neck's own dark side."""
    aside = scene.traits.light.direction[0]
    edge = torso.neck if aside < 0 else -torso.neck
    shadow = scene.mask()
    fill(shadow, torso.frame.to([(1.1 * edge, -1.4), (1.1 * edge, 0.3), (0.55 * edge, 0.3), (0.6 * edge, -1.4)]), 110)
    lower = scene.edge[np.r_[-56:0, 0:57]]
    fill(shadow, lower + (-aside * 0.12 * torso.frame.right + 0.13 * torso.frame.down) * scene.unit, 175)
    scene.cast(shadow, 0.05, 0.75)


def ears(scene: Scene) -> None:
    """Both ears, if the hair shows them; the far one disappears behind the face, which is drawn later."""
    look, identity = scene.traits.look, scene.traits.identity
    if look.hair_style not in BARE_EARS:
        return
    rim = np.array([(0.79, -0.06), (0.90, -0.12), (0.96, 0.0), (0.93, 0.2), (0.85, 0.37), (0.77, 0.36)])
    back = np.array([0.0, -0.10, -0.16, -0.14, -0.06, 0.0]) - 0.05
    out = (0.79 + (rim[:, 0] - 0.79) * identity.ears) * identity.face_width
    for side in (-1, 1):
        outline = scene.projection(spline(np.column_stack([side * out, rim[:, 1], back]), 24))
        scene.fill(outline, scene.lit(look.skin, 0.88))
        scene.stroke(outline, scene.lit(look.skin, 0.62), 0.016 * scene.unit)
        middle = outline.mean(0)
        scene.stroke(middle + (outline[4:19] - middle) * 0.62, scene.lit(look.skin, 0.6), 0.03 * scene.unit)
