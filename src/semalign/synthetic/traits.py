"""What makes one synthetic person in one photograph: identity, expression, pose, colours. Lengths are in outer-eye distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.synthetic.settings import FaceSettings

Colour = tuple[float, float, float]  # RGB, 0 to 255

SKIN_TONES = np.array(
    [(250, 222, 203), (243, 204, 176), (228, 180, 144), (203, 149, 109), (161, 107, 74), (110, 71, 49), (76, 48, 36)], float
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (28, 24, 24), (46, 33, 27), (74, 50, 34), (110, 74, 45), (132, 66, 38), (176, 132, 78), (214, 180, 122), (148, 144, 140),
    (215, 212, 206),
)  # fmt: skip
EYE_COLOURS: tuple[Colour, ...] = ((62, 40, 26), (84, 56, 32), (112, 92, 50), (88, 110, 84), (84, 116, 150), (110, 126, 138))
HAIR_STYLES = ("bald", "short", "short", "parted", "parted", "fringe", "long", "long", "curly")


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

    smile: float  # -0.6 to 1
    jaw_drop: float  # opening of the mouth, 0 to 1
    lips_apart: float  # teeth showing, 0 to 1
    brow_raise: float  # -1 (frown) to 1
    lids: float  # factor on the opening of the eyes, 0 (shut) to 1.35
    pucker: float  # 0 to 1
    skew: float  # one corner of the mouth higher, -1 to 1
    gaze: tuple[float, float]  # -1 to 1, right and down


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in degrees: yaw > 0 turns the nose to the image's right, pitch > 0 lifts it, roll > 0 is clockwise."""

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
    clothes: Colour
    hair_style: str
    beard: str  # "none", "stubble", "moustache", "full"
    make_up: float  # 0 to 1
    glasses: str  # "none", "clear", "dark"


@dataclass(frozen=True)
class Light:
    """Directional light: a unit vector in the camera's frame (x right, y down, z towards the viewer) and strengths."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float
    shine: float
    tint: Colour  # factors around 1


def draw_identity(rng: np.random.Generator) -> Identity:
    """A random face shape."""

    def about(centre: float, spread: float) -> float:
        return float(centre + spread * np.clip(rng.standard_normal(), -2.2, 2.2))

    return Identity(
        face_width=about(1.0, 0.045), jaw_width=about(1.0, 0.07), chin_length=about(0.0, 0.06), chin_point=about(0.0, 0.5),
        forehead=about(1.0, 0.08), cheek=about(0.0, 0.6),
        eye_size=about(1.0, 0.07), eye_spacing=about(0.0, 0.012), eye_tilt=about(0.02, 0.05), eye_open=about(1.0, 0.16),
        brow_height=about(0.0, 0.03), brow_arch=about(1.0, 0.3), brow_thick=about(1.0, 0.28), brow_tilt=about(0.0, 0.025),
        nose_length=about(1.0, 0.07), nose_width=about(1.0, 0.13), nose_depth=about(1.0, 0.14), nose_hook=about(0.0, 0.5),
        mouth_width=about(1.0, 0.08), mouth_height=about(0.0, 0.03), upper_lip=about(1.0, 0.25), lower_lip=about(1.0, 0.2),
        cupid=about(1.0, 0.4), asymmetry=about(0.0, 0.012), age=float(rng.beta(1.2, 1.6)), ears=about(1.0, 0.12),
    )  # fmt: skip


def draw_expression(rng: np.random.Generator, strength: float) -> Expression:
    """A random expression; `strength` 0 gives the neutral face with open eyes."""
    smile = float(rng.choice([rng.normal(0.05, 0.15), rng.uniform(0.2, 1.0)])) * strength
    talking = rng.random() < 0.25
    shut = rng.random() < 0.06 * strength
    return Expression(
        smile=float(np.clip(smile, -0.5, 1.0)),
        jaw_drop=float(rng.beta(1.4, 2.5) if talking else rng.beta(0.5, 8.0)) * strength,
        lips_apart=float(np.clip(rng.uniform(-0.4, 1.0) * (1.0 if smile > 0.3 else 0.25), 0.0, 1.0)) * strength,
        brow_raise=float(np.clip(rng.normal(0.0, 0.4), -1.0, 1.0)) * strength,
        lids=0.06 if shut else float(np.clip(1.0 + rng.normal(0.0, 0.12) * strength, 0.6, 1.3)),
        pucker=float(rng.beta(0.4, 6.0)) * strength if smile < 0.2 else 0.0,
        skew=float(rng.normal(0.0, 0.25)) * strength,
        gaze=(float(np.clip(rng.normal(0.0, 0.35), -0.9, 0.9)), float(np.clip(rng.normal(0.0, 0.2), -0.6, 0.6))),
    )


def draw_pose(rng: np.random.Generator, settings: FaceSettings) -> Pose:
    """Mostly near frontal, one face in four anywhere up to the largest yaw."""
    yaw = rng.uniform(-1.0, 1.0) if rng.random() < 0.25 else np.clip(rng.normal(0.0, 0.3), -1.0, 1.0)
    pitch = np.clip(rng.normal(0.0, 0.4), -1.0, 1.0) * (1.0 - 0.5 * abs(yaw))
    return Pose(
        yaw=float(yaw) * settings.max_yaw,
        pitch=float(pitch) * settings.max_pitch,
        roll=float(np.clip(rng.normal(0.0, 1.0), -2.5, 2.5)) * settings.roll,
    )


def draw_look(rng: np.random.Generator, settings: FaceSettings, age: float) -> Look:
    """Colours that go together: brows follow the hair, lips follow the skin."""
    tone = rng.beta(1.1, 1.5) * (len(SKIN_TONES) - 1)
    low = min(int(tone), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low]) + rng.normal(0.0, 5.0, 3)
    dark = tone / (len(SKIN_TONES) - 1)
    choices = len(HAIR_COLOURS) if dark < 0.45 else 3
    hair = HAIR_COLOURS[int(rng.integers(choices))]
    if age > 0.75 and rng.random() < 0.6:
        hair = HAIR_COLOURS[-1 - int(rng.integers(2))]
    make_up = float(rng.random() < 0.35) * rng.uniform(0.3, 1.0)
    lips = skin * np.array([0.84, 0.6, 0.58]) * (1 - make_up) + np.array([182, 44, 62]) * make_up
    beard = "none" if make_up else str(rng.choice(["none", "none", "none", "stubble", "moustache", "full"]))
    brow = np.array(hair) * 0.75 + skin * (0.08 if np.mean(hair) < 140 else -0.05)
    eyes = len(EYE_COLOURS) if dark < 0.45 else 2
    glasses = "none"
    if rng.random() < settings.glasses:
        glasses = "dark" if rng.random() < 0.45 else "clear"
    return Look(
        skin=_colour(skin), lips=_colour(lips), iris=EYE_COLOURS[int(rng.integers(eyes))], hair=hair, brow=_colour(brow),
        clothes=_colour(rng.uniform(15, 235, 3) * rng.uniform(0.4, 1.0)), hair_style=str(rng.choice(HAIR_STYLES)), beard=beard,
        make_up=make_up, glasses=glasses,
    )  # fmt: skip


def draw_light(rng: np.random.Generator) -> Light:
    """From soft front light to a hard one from the side, mostly from above."""
    side = np.clip(rng.normal(0.0, 0.6), -1.4, 1.4)
    above = np.clip(rng.normal(0.45, 0.35), -0.4, 1.1)
    direction = (float(np.sin(side) * np.cos(above)), float(-np.sin(above)), float(np.cos(side) * np.cos(above)))
    diffuse = rng.uniform(0.3, 0.75)
    warmth = rng.normal(0.0, 0.05)
    level = rng.uniform(0.92, 1.12)
    return Light(
        direction=direction,
        ambient=float(level - diffuse * 0.85),
        diffuse=float(diffuse),
        shine=float(rng.uniform(0.0, 0.22)),
        tint=(float(1.0 + warmth), 1.0, float(1.0 - warmth)),
    )


def _colour(value: np.ndarray) -> Colour:
    red, green, blue = np.clip(value, 3, 252)
    return (float(red), float(green), float(blue))
