"""What makes a person in a photograph: identity, expression, pose, colours. Lengths are in outer-eye distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from semalign.synthetic.settings import FaceSettings

T = TypeVar("T")
Colour = tuple[float, float, float]  # RGB, 0 to 255

SKIN_TONES = np.array(
    [(250, 222, 203), (243, 204, 176), (228, 180, 144), (203, 149, 109), (161, 107, 74), (110, 71, 49), (76, 48, 36)],
    float,
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (30, 26, 25), (46, 35, 30), (70, 50, 37), (98, 70, 48), (118, 66, 42), (158, 122, 80), (188, 158, 112),
)  # fmt: skip
GREY_HAIR: tuple[Colour, ...] = ((112, 108, 105), (150, 147, 143), (196, 193, 188))
EYE_COLOURS: tuple[Colour, ...] = (
    (62, 40, 26),
    (84, 56, 32),
    (112, 92, 50),
    (88, 110, 84),
    (84, 116, 150),
    (110, 126, 138),
)
HAIR_STYLES = ("bald", "short", "short", "short", "parted", "parted", "fringe", "long", "long", "curly")
BEARDS = ("none", "none", "none", "none", "stubble", "moustache", "full")


@dataclass(frozen=True)
class Identity:
    """The shape of a face at rest: factors around 1 for sizes, offsets around 0 for places."""

    face_width: float
    jaw_width: float
    chin_length: float
    chin_point: float
    forehead: float
    cheek: float
    eye_size: float
    eye_spacing: float
    eye_tilt: float
    eye_open: float
    brow_height: float
    brow_arch: float
    brow_thick: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_depth: float
    nose_hook: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    cupid: float
    asymmetry: float
    age: float  # 0 smooth to 1 lined
    ears: float


@dataclass(frozen=True)
class Expression:
    """Deformations of the face at rest; 0 everywhere is neutral."""

    smile: float  # -0.5 to 1
    jaw_drop: float  # opening of the mouth, 0 to 1
    lips_apart: float  # teeth showing, 0 to 1
    brow_raise: float  # -1 (frown) to 1
    lids: float  # factor on the opening of the eyes, 0 (shut) to 1.3
    pucker: float  # 0 to 1
    skew: float  # one corner of the mouth higher, -1 to 1
    gaze: tuple[float, float]  # -1 to 1, right and down


@dataclass(frozen=True)
class Pose:
    """Rotation in degrees: yaw > 0 turns the nose to the image's right, pitch > 0 lifts it, roll > 0 is clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class Look:
    """Colours and styles."""

    skin: Colour
    lips: Colour
    iris: Colour
    hair: Colour
    brow: Colour
    hair_style: str  # one of HAIR_STYLES
    beard: str  # one of BEARDS
    make_up: float  # 0 to 1
    glasses: str  # "none", "clear", "dark"


@dataclass(frozen=True)
class Light:
    """Directional light: a unit vector in the camera's frame (x right, y down, z towards the viewer) and strengths."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float
    shine: float

    @property
    def level(self) -> float:
        """What reaches a surface that is turned half away from the light."""
        return self.ambient + 0.75 * self.diffuse


@dataclass(frozen=True)
class Traits:
    """Everything that was drawn for one face."""

    identity: Identity
    expression: Expression
    pose: Pose
    look: Look
    light: Light


def draw_traits(rng: np.random.Generator, settings: FaceSettings) -> Traits:
    """A random person in a random photograph."""
    identity = draw_identity(rng)
    expression = draw_expression(rng, settings.expression)
    return Traits(
        identity, expression, draw_pose(rng, settings), draw_look(rng, settings, identity.age), draw_light(rng)
    )


def draw_identity(rng: np.random.Generator) -> Identity:
    """A random face shape."""

    def about(centre: float, spread: float) -> float:
        return centre + spread * _normal(rng, 2.2)

    return Identity(
        face_width=about(1.0, 0.045),
        jaw_width=about(1.0, 0.07),
        chin_length=about(0.0, 0.06),
        chin_point=about(0.0, 0.5),
        forehead=about(1.0, 0.08),
        cheek=about(0.0, 0.6),
        eye_size=about(1.0, 0.07),
        eye_spacing=about(0.0, 0.012),
        eye_tilt=about(0.02, 0.05),
        eye_open=about(1.0, 0.16),
        brow_height=about(0.0, 0.03),
        brow_arch=about(1.0, 0.3),
        brow_thick=about(1.0, 0.28),
        brow_tilt=about(0.0, 0.025),
        nose_length=about(1.0, 0.07),
        nose_width=about(1.0, 0.13),
        nose_depth=about(1.0, 0.14),
        nose_hook=about(0.0, 0.5),
        mouth_width=about(1.0, 0.08),
        mouth_height=about(0.0, 0.03),
        upper_lip=about(1.0, 0.25),
        lower_lip=about(1.0, 0.2),
        cupid=about(1.0, 0.4),
        asymmetry=about(0.0, 0.012),
        age=float(rng.beta(1.2, 1.6)),
        ears=about(1.0, 0.12),
    )


def draw_expression(rng: np.random.Generator, strength: float) -> Expression:
    """A random expression; `strength` 0 gives the neutral face with open eyes."""
    smile = (rng.normal(0.05, 0.15) if rng.random() < 0.5 else rng.uniform(0.2, 1.0)) * strength
    talking = rng.random() < 0.25
    shut = rng.random() < 0.06 * strength
    return Expression(
        smile=_clip(smile, -0.5, 1.0),
        jaw_drop=(rng.beta(1.4, 2.5) if talking else rng.beta(0.5, 8.0)) * strength,
        lips_apart=_clip(rng.uniform(-0.4, 1.0) * (1.0 if smile > 0.3 else 0.25), 0.0, 1.0) * strength,
        brow_raise=_normal(rng, 2.5) * 0.4 * strength,
        lids=0.06 if shut else _clip(1.0 + rng.normal(0.0, 0.12) * strength, 0.6, 1.3),
        pucker=rng.beta(0.4, 6.0) * strength if smile < 0.2 else 0.0,
        skew=rng.normal(0.0, 0.25) * strength,
        gaze=(_normal(rng, 2.5) * 0.35, _normal(rng, 2.5) * 0.2),
    )


def draw_pose(rng: np.random.Generator, settings: FaceSettings) -> Pose:
    """Mostly near frontal, one face in four anywhere up to the largest yaw."""
    yaw = rng.uniform(-1.0, 1.0) if rng.random() < 0.25 else 0.3 * _normal(rng, 3.3)
    pitch = 0.4 * _normal(rng, 2.5) * (1.0 - 0.5 * abs(yaw))
    return Pose(yaw * settings.max_yaw, pitch * settings.max_pitch, _normal(rng, 2.5) * settings.roll)


def draw_look(rng: np.random.Generator, settings: FaceSettings, age: float) -> Look:
    """Colours that go together: brows follow the hair, lips follow the skin."""
    tone = rng.beta(1.0, 1.7) * (len(SKIN_TONES) - 1)
    low = min(int(tone), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low]) + rng.normal(0.0, 4.0, 3)
    fair = tone < 0.45 * (len(SKIN_TONES) - 1)
    hair = _pick(rng, HAIR_COLOURS if fair else HAIR_COLOURS[:3])
    if rng.random() < 1.6 * (age - 0.5):
        hair = _pick(rng, GREY_HAIR)
    make_up = rng.uniform(0.3, 1.0) if rng.random() < 0.35 else 0.0
    lips = skin * (0.84, 0.6, 0.58) * (1 - 0.8 * make_up) + np.array((172, 48, 62)) * 0.8 * make_up
    brow = np.array(hair) * (0.75 if sum(hair) < 420 else 0.6) + skin * 0.06
    dark = rng.random() < 0.45
    glasses = rng.random() < settings.glasses
    return Look(
        skin=_colour(skin),
        lips=_colour(lips),
        iris=_pick(rng, EYE_COLOURS if fair else EYE_COLOURS[:2]),
        hair=hair,
        brow=_colour(brow),
        hair_style=_pick(rng, HAIR_STYLES),
        beard="none" if make_up else _pick(rng, BEARDS),
        make_up=make_up,
        glasses="none" if not glasses else "dark" if dark else "clear",
    )


def draw_light(rng: np.random.Generator) -> Light:
    """From soft front light to a hard one from the side, mostly from above."""
    side = 0.55 * _normal(rng, 2.5)
    above = _clip(rng.normal(0.45, 0.3), -0.3, 1.0)
    direction = (math.sin(side) * math.cos(above), -math.sin(above), math.cos(side) * math.cos(above))
    diffuse = rng.uniform(0.25, 0.8)
    return Light(
        direction=direction,
        ambient=0.74 - 0.6 * diffuse,
        diffuse=diffuse,
        shine=rng.uniform(0.0, 0.2),
    )


def muted_colours(rng: np.random.Generator, count: int) -> list[Colour]:
    """Colours as of rooms and clothes: few of them saturated, many dark."""
    value = 15 + 225 * rng.beta(1.1, 1.3, (count, 1))
    hue = rng.uniform(0.0, 1.0, (count, 3))
    hue /= hue.max(1, keepdims=True)
    saturation = rng.beta(0.8, 2.6, (count, 1))
    warm = np.array([1.0, 0.95, 0.88]) ** rng.uniform(-0.5, 1.5, (count, 1))
    return [_colour(colour) for colour in value * (1.0 - saturation * (1.0 - hue)) * warm]


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _normal(rng: np.random.Generator, limit: float) -> float:
    """A standard normal number, cut off at ± `limit`."""
    return _clip(rng.standard_normal(), -limit, limit)


def _colour(value: np.ndarray) -> Colour:
    red, green, blue = (_clip(float(channel), 3.0, 252.0) for channel in value)
    return (red, green, blue)
