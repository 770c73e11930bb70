"""Clips of one synthetic face in motion, in three categories of rising difficulty after 300-VW.

A clip is a script and its frames. The script holds what stays (person, light, backdrop, camera, annotator) and smooth
random functions of time for what moves: pose, place, size, expression, gaze, speech, blinking, and things that pass
before the face. A frame is a function of the script and its own number alone. Motion blur is symmetrical about the
moment of the truth. Annotations are those of one person who marks key frames, between which a tracker blends: their
deviation from the truth is as large as in single images, but smooth in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from semalign.errors import SemalignError
from semalign.synthetic import occluders
from semalign.synthetic.annotators import Annotator, annotate, make_annotators
from semalign.synthetic.camera import photograph
from semalign.synthetic.draw import grain
from semalign.synthetic.render import (
    FINE,
    SUPERSAMPLE,
    Drawing,
    Face,
    Geometry,
    build_head,
    draw_person,
    landmarks,
    visible_points,
)
from semalign.synthetic.scene import Scene
from semalign.synthetic.settings import FaceSettings, NoiseSettings, SynthesisSettings, check_settings
from semalign.synthetic.surface import project_with
from semalign.synthetic.traits import Expression, Light, Pose, Traits, draw_traits

PIVOT = np.array([0.0, 0.45, 0.2])  # the point of the head that follows the path; the head turns about it
FACE_SIDE = 1.55  # larger side of the landmarks' box of an average face, outer-eye distances
BLINK = 0.32  # seconds from open to open
NEAR, FAR = 1.2, 2.2  # outer-eye distances from the pivot: all moves with the head, nothing does
HELD = ("hand", "microphone", "card")  # what may pass before a face; the other occluders are worn
HIDES = 8  # landmarks, at least, that something held hides half-way
PEOPLE = 6  # annotators, the same in all clips
SCRIPT, PERSON, EXPOSURE, GRAIN, MARKS = range(5)  # streams of random numbers of one clip


@dataclass(frozen=True)
class ClipSettings:
    """What is in a clip and how it is filmed. The defaults are category 1; see `category_settings`."""

    category: int = 1  # of 300-VW: 1 well lit, 2 mild unconstrained, 3 challenging
    count: int = 100  # frames
    rate: float = 25.0  # frames a second
    size: int = 160  # side of the square frames, pixels
    box_share: float = 0.5  # side of the face on average, as a share of the frames' side
    yaw: float = 18.0  # degrees, largest
    pitch: float = 9.0  # degrees, largest
    roll: float = 6.0  # degrees, largest
    turning: float = 0.35  # Hz, fastest turning and shifting of the head
    shift: float = 0.05  # largest shift of the head, as a share of the frames' side
    zoom: float = 0.05  # largest relative change of the face's size
    shake: float = 0.0  # largest jerk of the head at 2 to 4 Hz, as a share of the frames' side
    expression: float = 0.7  # strength of expressions, 0 = neutral faces
    talking: float = 0.8  # strength of speech
    blinks: float = 0.3  # a second
    passes: float = 0.0  # of things that are held before the face, a second; from 0 up at least one in a clip
    glasses: float = 0.1  # probability of glasses or sunglasses
    hardness: float = 0.15  # of the light: 0 soft and from the front, 1 hard and from the side
    exposure: float = 0.05  # largest error of the exposure, in natural logarithms
    shutter: float = 0.3  # share of a frame's time that it is exposed: motion blur
    defocus: float = 0.0  # largest standard deviation of the blur, pixels of frames of 144
    resolution: float = 1.0  # share of the pixels, each way, that the camera takes at worst
    grain: float = 1.5  # standard deviation of the sensor noise, grey levels
    quality: int = 95  # of the JPEG compression of each frame
    noise: NoiseSettings = field(default_factory=NoiseSettings)  # of the annotations
    key_frames: float = 0.6  # seconds from one marked frame to the next


LIMITS = {
    "category": (1, 3),
    "count": (1, 100_000),
    "rate": (1, 240),
    "size": (32, 2048),
    "box_share": (0.2, 0.9),
    "yaw": (0, 60),
    "pitch": (0, 30),
    "roll": (0, 90),
    "turning": (0, 2),
    "shift": (0, 0.5),
    "zoom": (0, 0.5),
    "shake": (0, 0.1),
    "expression": (0, 1),
    "talking": (0, 1),
    "blinks": (0, 2),
    "passes": (0, 2),
    "glasses": (0, 1),
    "hardness": (0, 1),
    "exposure": (0, 2),
    "shutter": (0, 1),
    "defocus": (0, 5),
    "resolution": (0.1, 1),
    "grain": (0, 64),
    "quality": (1, 100),
    "key_frames": (0.04, 60),
}


def category_settings(category: int) -> ClipSettings:
    """Settings of a category of 300-VW: 1 well lit, 2 mild unconstrained, 3 challenging.

    Raises:
        SemalignError: another category.
    """
    if category == 1:
        return ClipSettings()
    if category == 2:
        return ClipSettings(
            category=2, yaw=38.0, pitch=15.0, roll=12.0, turning=0.5, shift=0.09, zoom=0.1, expression=1.0, talking=1.0,
            glasses=0.2, hardness=0.65, exposure=0.25, shutter=0.7, defocus=1.1, resolution=0.7, grain=3.5, quality=70,
        )  # fmt: skip
    if category == 3:
        return ClipSettings(
            category=3, yaw=55.0, pitch=20.0, roll=20.0, turning=0.7, shift=0.13, zoom=0.18, shake=0.012,
            expression=1.0, talking=1.0, passes=0.35, glasses=0.2, hardness=1.0, exposure=0.6, shutter=1.0, defocus=1.6,
            resolution=0.3, grain=9.0, quality=30,
        )  # fmt: skip
    raise SemalignError(f"category is {category!r}, which 300-VW does not have; choose 1, 2 or 3.")


@dataclass(frozen=True)
class Wave:
    """A smooth random function of time within ±1: three sines of frequencies between `low` and `high`."""

    size: Float[np.ndarray, " 3"]  # sum 1
    frequency: Float[np.ndarray, " 3"]  # Hz
    phase: Float[np.ndarray, " 3"]

    @staticmethod
    def draw(rng: np.random.Generator, low: float, high: float) -> Wave:
        """A third of the band for each sine, the slowest the largest."""
        frequency = low + (high - low) * (np.arange(3) + rng.uniform(0.0, 1.0, 3)) / 3.0
        return Wave(np.array([0.5, 0.3, 0.2]), frequency, rng.uniform(0.0, 2 * np.pi, 3))

    def __call__(self, time: float) -> float:
        """The value at a time in seconds."""
        return float(self.size @ np.sin(2 * np.pi * self.frequency * time + self.phase))

    def share(self, time: float) -> float:
        """The same within 0 to 1."""
        return 0.5 + 0.5 * self(time)


@dataclass(frozen=True)
class Motion:
    """What moves, as functions of time."""

    yaw: Wave
    pitch: Wave
    roll: Wave
    right: Wave
    down: Wave
    jerk_right: Wave
    jerk_down: Wave
    zoom: Wave
    smile: Wave
    brows: Wave
    skew: Wave
    gaze_right: Wave
    gaze_down: Wave
    fluency: Wave  # when the person talks
    jaw: Wave
    lips: Wave
    pucker: Wave
    blinks: Float[np.ndarray, " k"]  # seconds, when the eyes are shut


@dataclass(frozen=True)
class Pass:
    """Something held that comes from outside the frame, moves over the face, and leaves again."""

    seed: int  # of its drawing
    kind: str  # one of HELD
    start: float  # seconds
    stop: float
    points: Float[np.ndarray, "68 2"]  # of the face half-way, pixels: what it is held to
    away: Float[np.ndarray, " 2"]  # pixels to where it is out of sight
    middle: Float[np.ndarray, " 2"]  # pixels from where it would be held in a single image
    drift: Float[np.ndarray, " 2"]  # pixels over the face from start to stop

    def offset(self, time: float) -> np.ndarray:
        """Pixels (2,) from where it would be held in a single image."""
        done = float(np.clip((time - self.start) / (self.stop - self.start), 0.0, 1.0))
        near = _ease(min(done, 1.0 - done) / 0.3)
        return (1.0 - near) * self.away + self.middle + (done - 0.5) * self.drift


@dataclass(frozen=True)
class Camera:
    """How a clip is filmed."""

    gain: float  # factor on the grey levels
    defocus: float  # standard deviation, pixels
    side: int  # pixels taken each way
    smooth: int  # OpenCV's interpolation from them to the frame


@dataclass(frozen=True)
class Script:
    """All that a clip's frames are made of."""

    settings: ClipSettings
    seed: int
    traits: Traits  # of the face at rest
    unit: float  # pixels per outer-eye distance on average
    motion: Motion
    passes: tuple[Pass, ...]
    camera: Camera

    def random(self, *stream: int) -> np.random.Generator:
        """The generator of a stream, from its beginning."""
        return np.random.default_rng([self.seed, self.settings.category, *stream])

    def time(self, index: int) -> float:
        """Seconds from the start to the middle of a frame's exposure."""
        return index / self.settings.rate

    def traits_at(self, time: float) -> Traits:
        """The person in the pose and with the expression of a time in seconds."""
        settings, motion = self.settings, self.motion
        pose = Pose(
            settings.yaw * motion.yaw(time), settings.pitch * motion.pitch(time), settings.roll * motion.roll(time)
        )
        return replace(self.traits, pose=pose, expression=_expression(settings, motion, time))

    def place_at(self, time: float) -> tuple[float, np.ndarray]:
        """Pixels per outer-eye distance, and the pixel (2,) of the head's pivot."""
        settings, motion = self.settings, self.motion
        path = settings.shift * np.array([motion.right(time), motion.down(time)])
        jerk = settings.shake * np.array([motion.jerk_right(time), motion.jerk_down(time)])
        middle = 0.5 * (settings.size - 1)
        return self.unit * (1.0 + settings.zoom * motion.zoom(time)), middle + settings.size * (path + jerk)

    def geometry_at(self, time: float) -> Geometry:
        """The head in the frame of a time in seconds."""
        traits = self.traits_at(time)
        scale, pivot = self.place_at(time)
        return build_head(traits).at(scale, pivot - scale * project_with(traits.pose)(PIVOT))


@dataclass(frozen=True)
class Clip:
    """A clip with its truth. Points are (x, y) in pixels of the frames, pixel centres at integers."""

    name: str
    category: int
    rate: float  # frames a second
    frames: UInt8[np.ndarray, "f h w 3"]  # RGB
    truth: Float[np.ndarray, "f 68 2"]  # exact, float64
    visible: Bool[np.ndarray, "f 68"]  # neither turned away nor covered
    annotations: Float[np.ndarray, "f 68 2"]  # float64


def render_clip(settings: ClipSettings, seed: int, name: str | None = None) -> Clip:
    """The clip of a seed and category, all frames in memory; `write_script` and `render_frame` make single frames.

    Raises:
        SemalignError: settings that make no clip.
    """
    script = write_script(settings, seed)
    faces = list(render_frames(script))
    return Clip(
        name=name or f"synthetic_{settings.category}_{seed:04d}",
        category=settings.category,
        rate=settings.rate,
        frames=np.stack([face.image for face in faces]),
        truth=np.stack([face.points for face in faces]),
        visible=np.stack([face.visible for face in faces]),
        annotations=annotate_frames(script, faces),
    )


def write_script(settings: ClipSettings, seed: int) -> Script:
    """The script of a seed; another category has another person in it.

    Raises:
        SemalignError: settings that make no clip, naming the setting and what is allowed.
    """
    _check(settings, seed)
    rng = np.random.default_rng([seed, settings.category, SCRIPT])
    traits = draw_traits(rng, FaceSettings(glasses=settings.glasses))
    traits = replace(traits, light=_light(rng, settings.hardness))
    unit = settings.box_share * settings.size / FACE_SIDE
    script = Script(settings, seed, traits, unit, _motion(rng, settings), (), _camera(rng, settings))
    return replace(script, passes=_passes(rng, script))


def render_frames(script: Script) -> Iterator[Face]:
    """All frames in order."""
    return (render_frame(script, index) for index in range(script.settings.count))


def render_frame(script: Script, index: int) -> Face:
    """Frame `index` (from 0) of a clip; it does not depend on the frames before it."""
    time = script.time(index)
    drawing = draw_at(script, time)
    points, curves = landmarks(drawing.geometry)
    motion, occluder = _head_motion(script, index), "none"
    for held in script.passes:
        if held.start < time < held.stop:
            moved = held.offset(time + _half_exposure(script)) - held.offset(time - _half_exposure(script))
            np.copyto(motion, moved.astype(np.float32), where=_hold(script, drawing, held, time)[..., None])
            occluder = held.kind
    visible = visible_points(drawing, points)
    plain = FaceSettings(size=script.settings.size, noise=0.0, blur=0.0, low_resolution=0.0, compression=0.0, grey=0.0)
    image = photograph(script.random(EXPOSURE), drawing.scene.image, plain)
    return Face(_film(script, index, image, motion), points, visible, curves, drawing.scene.traits, occluder)


def draw_at(script: Script, time: float) -> Drawing:
    """The person at a time in seconds before anything passes, at the resolution of drawing."""
    rng = script.random(PERSON)
    settings = FaceSettings(size=script.settings.size)
    return draw_person(rng, script.traits_at(time), script.geometry_at(time), settings, texel=SUPERSAMPLE * script.unit)


def annotate_frames(script: Script, faces: list[Face]) -> Float[np.ndarray, "f 68 2"]:
    """The points float64 that the clip's annotator and the tracker leave in the frames, in pixels.

    The annotator marks a key frame every `key_frames` seconds; in between, the deviations a and b of two key frames
    are blended as a cos φ + b sin φ, which keeps their variance. Deviations grow and shrink smoothly where points
    become invisible and visible.
    """
    settings = script.settings
    rng = script.random(MARKS)
    person = make_annotators(PEOPLE, 0, settings.noise)[int(rng.integers(PEOPLE))]
    keys = int((len(faces) - 1) / settings.rate / settings.key_frames) + 2
    pure = replace(settings.noise, habit=1.0)  # all that an annotator of it does is one draw, the same in every face
    draws = make_annotators(keys, int(rng.integers(2**62)), pure)
    guess = _guess(np.stack([face.visible for face in faces]), settings)
    rest = np.sqrt(1.0 - settings.noise.habit)
    marks = []
    for index, face in enumerate(faces):
        key, between = divmod(script.time(index) / settings.key_frames, 1.0)
        turn = 0.5 * np.pi * _ease(between)
        first, second = draws[int(key)], draws[int(key) + 1]
        slide = person.slide + rest * (np.cos(turn) * first.slide + np.sin(turn) * second.slide)
        shift = person.shift + rest * (np.cos(turn) * first.shift + np.sin(turn) * second.shift)
        hand = Annotator(person.index, guess[index] * slide, guess[index][:, None] * shift)
        marks.append(annotate(face, hand, rng, replace(pure, occluded=1.0)))
    return np.stack(marks)


def _check(settings: ClipSettings, seed: int) -> None:
    """The comparisons are written so that NaN fails them."""
    for setting in fields(settings):
        if setting.name in LIMITS:
            value, (low, high) = getattr(settings, setting.name), LIMITS[setting.name]
            if not low <= value <= high:
                raise SemalignError(f"{setting.name} is {value!r}, which makes no clip; choose {low:g} to {high:g}.")
    if seed < 0:
        raise SemalignError(f"seed is {seed!r}, which makes no clip; choose 0 or more.")
    check_settings(SynthesisSettings(noise=settings.noise))


def _ease(share: float) -> float:
    """From 0 to 1 while `share` goes from 0 to 1, level at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def _motion(rng: np.random.Generator, settings: ClipSettings) -> Motion:
    head, face = (0.2 * settings.turning, settings.turning), (0.05, 0.5)
    bands = {
        **dict.fromkeys(("yaw", "pitch", "roll", "right", "down", "zoom"), head),
        **dict.fromkeys(("jerk_right", "jerk_down"), (2.0, 4.0)),
        **dict.fromkeys(("smile", "brows", "skew"), face),
        **dict.fromkeys(("gaze_right", "gaze_down", "fluency"), (0.1, 0.8)),
        "jaw": (2.0, 5.0),
        "lips": (0.5, 2.5),
        "pucker": (0.5, 2.5),
    }
    waves = {name: Wave.draw(rng, *band) for name, band in bands.items()}
    seconds = settings.count / settings.rate
    gaps = BLINK + rng.exponential(1.0 / max(settings.blinks, 1e-9), 3 + int(4 * seconds * settings.blinks))
    blinks = np.cumsum(gaps)
    return Motion(**waves, blinks=blinks[blinks < seconds] if settings.blinks > 0 else np.zeros(0))


def _expression(settings: ClipSettings, motion: Motion, time: float) -> Expression:
    strength = settings.expression
    speech = settings.talking * _ease(motion.fluency.share(time) * 2.4 - 0.6)
    shut = max((_lid(time - blink) for blink in motion.blinks.tolist()), default=0.0)
    return Expression(
        smile=strength * (0.04 + 0.8 * motion.smile.share(time) ** 2),  # of one sign: the mouth's corners jump at 0
        jaw_drop=0.5 * speech * motion.jaw.share(time) ** 1.5,
        lips_apart=0.6 * speech * motion.lips.share(time) + 0.3 * strength * motion.smile.share(time) ** 2,
        brow_raise=0.6 * strength * motion.brows(time),
        lids=(1.0 + 0.1 * strength * motion.brows(time)) * (1.0 - 0.94 * shut),
        pucker=0.45 * speech * motion.pucker.share(time) ** 2,
        skew=0.4 * strength * motion.skew(time),
        gaze=(0.6 * motion.gaze_right(time) - settings.yaw * motion.yaw(time) / 150.0, 0.4 * motion.gaze_down(time)),
    )


def _lid(after: float) -> float:
    """How far the eyes are shut so many seconds after the middle of a blink, 0 to 1."""
    return float(np.cos(np.pi * after / BLINK) ** 2) if abs(after) < 0.5 * BLINK else 0.0


def _light(rng: np.random.Generator, hardness: float) -> Light:
    """From the front and a little above; the harder, the more from one side, and from anywhere in height."""
    hard = hardness * rng.uniform(0.6, 1.0)
    side = (0.2 + 1.1 * hard) * rng.choice((-1.0, 1.0))
    above = 0.35 + (0.1 + 0.7 * hard) * rng.uniform(-1.0, 1.0)
    diffuse = 0.3 + 0.65 * hard
    return Light(
        direction=(float(np.sin(side) * np.cos(above)), float(-np.sin(above)), float(np.cos(side) * np.cos(above))),
        ambient=0.74 - 0.62 * diffuse,
        diffuse=diffuse,
        shine=rng.uniform(0.0, 0.1 + 0.2 * hard),
    )


def _camera(rng: np.random.Generator, settings: ClipSettings) -> Camera:
    kept = rng.uniform(settings.resolution, min(1.0, 1.5 * settings.resolution))
    return Camera(
        gain=float(np.exp(settings.exposure * rng.uniform(0.5, 1.0) * rng.choice((-1.0, 1.0)))),
        defocus=settings.defocus * rng.uniform(0.3, 1.0) * settings.size / 144.0,
        side=max(8, round(settings.size * kept)),
        smooth=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC,
    )


def _passes(rng: np.random.Generator, script: Script) -> tuple[Pass, ...]:
    """The clip's time in equal parts, one pass in each."""
    settings, seconds = script.settings, script.settings.count / script.settings.rate
    count = max(1, round(seconds * settings.passes)) if settings.passes > 0 else 0
    return tuple(_pass(rng, script, slot * seconds / count, seconds / count) for slot in range(count))


def _pass(rng: np.random.Generator, script: Script, begin: float, seconds: float) -> Pass:
    lasts = min(rng.uniform(1.5, 3.0), 0.9 * seconds)
    start = begin + rng.uniform(0.0, seconds - lasts)
    drawing = draw_at(script, start + 0.5 * lasts)
    points, _ = landmarks(drawing.geometry)
    side, size, unit = rng.choice((-1.0, 1.0)), script.settings.size, script.unit
    while True:  # what a seed gives and what that hides, only drawing it tells
        held = Pass(
            seed=int(rng.integers(2**62)),
            kind="",
            start=start,
            stop=start + lasts,
            points=points,
            away=size * np.array([side * rng.uniform(0.2, 1.0), 1.1]),
            middle=unit * np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.9, -0.2)]),
            drift=unit * np.array([-side * rng.uniform(0.3, 0.9), rng.uniform(-0.4, 0.4)]),
        )
        kind, covered = _draw_held(script, drawing.scene, held, start + 0.5 * lasts)
        x, y = np.clip(np.rint(points * SUPERSAMPLE + FINE).astype(int), 0, drawing.scene.side - 1).T
        if kind in HELD and (covered[y, x] >= 128).sum() >= HIDES:
            return replace(held, kind=kind)


def _hold(script: Script, drawing: Drawing, held: Pass, time: float) -> np.ndarray:
    """Draw what is held into the scene; returns where it is in the photograph, a mask (size, size) bool."""
    scene, size = drawing.scene, script.settings.size
    _, covered = _draw_held(script, scene, held, time)
    np.maximum(scene.covered, covered, out=scene.covered)
    return cv2.resize(covered, (size, size), interpolation=cv2.INTER_AREA) >= 128


def _draw_held(script: Script, scene: Scene, held: Pass, time: float) -> tuple[str, np.ndarray]:
    """Draw what is held into the scene's image; returns its kind and what it covers, (s, s) uint8."""
    alone = replace(scene, covered=scene.mask(), unit=SUPERSAMPLE * script.unit)  # its size does not follow the head's
    points = (held.points + held.offset(time)) * SUPERSAMPLE + FINE
    return occluders.occlude(np.random.default_rng(held.seed), alone, points), alone.covered


def _half_exposure(script: Script) -> float:
    return 0.5 * script.settings.shutter / script.settings.rate


def _head_motion(script: Script, index: int) -> np.ndarray:
    """Pixels (size, size, 2) float32 by which each pixel of the person moves during a frame's exposure.

    The plane through the pivot that faces the camera when the head does stands for the head; away from the head the
    motion fades to nothing.
    """
    time, half = script.time(index), _half_exposure(script)
    start, now, stop = (_plane(script, moment) for moment in (time - half, time, time + half))
    change = np.vstack([stop - start, np.zeros(3)]) @ np.linalg.inv(np.vstack([now, (0.0, 0.0, 1.0)]))
    y, x = np.mgrid[: script.settings.size, : script.settings.size].astype(np.float32)
    scale, pivot = script.place_at(time)
    distance = np.hypot(x - pivot[0], y - pivot[1]) / scale
    share = np.clip((FAR - distance) / (FAR - NEAR), 0.0, 1.0)
    moved = [share * (row[0] * x + row[1] * y + row[2]) for row in change[:2]]
    return np.stack(moved, axis=2).astype(np.float32)


def _plane(script: Script, time: float) -> np.ndarray:
    """The affine map (2, 3) from the front view at the height of the face to the frame."""
    scale, pivot = script.place_at(time)
    projection = project_with(script.traits_at(time).pose)
    level = PIVOT + (0.0, 0.0, 0.3)
    linear = scale * projection.linear
    return np.column_stack([linear, pivot + scale * projection(level - PIVOT) - linear @ level[:2]])


def _film(script: Script, index: int, image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """From a sharp image (size, size, 3) and the motion (size, size, 2) during its exposure to a frame of the clip."""
    camera, settings = script.camera, script.settings
    image = smear(image, motion)
    if camera.defocus > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), camera.defocus)
    size, side = settings.size, camera.side
    if side < size:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    rng, noise = script.random(GRAIN, index), settings.grain / 32.0
    field = grain(max(512, 2 * side), channels=3)
    y, x = (int(value) for value in rng.integers(0, len(field) - side + 1, 2))
    image = cv2.addWeighted(image, camera.gain, field[y : y + side, x : x + side], noise, -128.0 * noise)
    if side < size:
        image = cv2.resize(image, (size, size), interpolation=camera.smooth)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def smear(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The mean of an image (h, w, 3) uint8 along the motion (h, w, 2) in pixels of each place, centred on it."""
    furthest = float(np.abs(motion).max())
    if furthest < 0.3:
        return image
    looks = min(2 * int(np.ceil(furthest)) + 1, 33)
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.zeros(image.shape, np.float32)
    for share in np.linspace(-0.5, 0.5, looks).tolist():
        at = np.float32(share) * motion
        cv2.accumulate(
            cv2.remap(image, x + at[..., 0], y + at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), total
        )
    return cv2.convertScaleAbs(total, alpha=1.0 / looks)


def _guess(visible: np.ndarray, settings: ClipSettings) -> np.ndarray:
    """The factor (f, 68) on deviations, for points that cannot be seen `occluded`, smooth over a fifth of a second."""
    factor = np.where(visible, 1.0, settings.noise.occluded)
    return cv2.GaussianBlur(factor, (1, 0), sigmaX=1e-3, sigmaY=0.2 * settings.rate, borderType=cv2.BORDER_REPLICATE)
