"""What can be set about synthetic faces, their annotation noise and the data set written from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from semalign.errors import SemalignError


@dataclass(frozen=True)
class FaceSettings:
    """How faces look and what covers them; framed by default as 300W crops are, 1.9 times the landmarks' box."""

    size: int = 144  # side of the square image, pixels
    box_share: float = 0.54  # larger side of the landmarks' box, as a share of the image side
    max_yaw: float = 60.0  # degrees
    max_pitch: float = 25.0  # degrees
    roll: float = 9.0  # degrees, standard deviation
    expression: float = 1.0  # strength of expressions, 0 = neutral faces
    occlusion: float = 0.3  # probability of something in front of the face
    glasses: float = 0.15  # probability of glasses or sunglasses
    blur: float = 0.35  # probability of a blurred image
    low_resolution: float = 0.2  # probability of an image enlarged from fewer pixels
    noise: float = 4.0  # largest standard deviation of the sensor noise, grey levels
    compression: float = 0.15  # probability of a coarse JPEG round trip (visible blocks)
    grey: float = 0.06  # probability of a black-and-white photograph


@dataclass(frozen=True)
class GroupNoise:
    """One annotator's deviation from the truth in a region: standard deviations in % of the outer-eye distance."""

    shared: float  # sliding along the curve, common to neighbouring points
    own: float  # sliding along the curve, each point for itself
    spread: float  # in every direction, per coordinate


@dataclass(frozen=True)
class NoiseSettings:
    """Annotation noise, by region of the scheme.

    With the defaults two annotations of one synthetic face differ as the duplicates inside 300W do, photographs that
    were annotated twice: by 2.96 % of the outer-eye distance on average, contour 5.99 (5.59 along the curve, 1.33
    across it), brows 2.62, mouth 2.03, nose 1.68, eyes 1.45. `benchmarks/synthesis.py` measures it.
    """

    contour: GroupNoise = GroupNoise(shared=4.08, own=1.3, spread=0.93)
    brows: GroupNoise = GroupNoise(shared=1.6, own=0.85, spread=0.97)
    nose: GroupNoise = GroupNoise(shared=0.68, own=0.48, spread=0.77)
    eyes: GroupNoise = GroupNoise(shared=0.6, own=0.47, spread=0.64)
    mouth: GroupNoise = GroupNoise(shared=0.9, own=0.75, spread=0.9)
    strong: float = 0.5  # share of the sliding that corners and tips take part in
    reach: float = 4.0  # landmarks over which shared sliding stays alike
    habit: float = 0.15  # share of the variance that is the annotator's habit, the same in every face
    occluded: float = 2.0  # factor on all deviations of points that cannot be seen
    scale: float = 1.0  # factor on everything, 0 = perfect annotations


@dataclass(frozen=True)
class SynthesisSettings:
    """A data set of synthetic faces: face i is a function of `seed` and i alone."""

    count: int = 2500  # faces in all
    seed: int = 0
    test_count: int = 500  # how many of them, the last ones, are test faces
    annotators: int = 6  # who share the annotating, drawn face by face
    image_format: str = "jpg"  # "jpg" or "png"
    jpeg_quality: int = 93
    face: FaceSettings = field(default_factory=FaceSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)


PROBABILITIES = ("occlusion", "glasses", "blur", "low_resolution", "compression", "grey")


def check_settings(settings: SynthesisSettings) -> None:
    """Refuse settings that no data set can be made of.

    Raises:
        SemalignError: naming the setting, its value and what is allowed.
    """
    _require(settings.count >= 1, "count", settings.count, "make at least 1 face")
    allowed = f"choose 0 to {settings.count}, the number of all faces"
    _require(0 <= settings.test_count <= settings.count, "test_count", settings.test_count, allowed)
    _require(settings.seed >= 0, "seed", settings.seed, "choose 0 or more")
    _require(1 <= settings.annotators <= 32767, "annotators", settings.annotators, "choose 1 to 32767")
    _require(settings.image_format in ("jpg", "png"), "image_format", settings.image_format, "choose 'jpg' or 'png'")
    _require(1 <= settings.jpeg_quality <= 100, "jpeg_quality", settings.jpeg_quality, "choose 1 to 100")
    _check_face(settings.face)
    _check_noise(settings.noise)


def _check_face(face: FaceSettings) -> None:
    _require(32 <= face.size <= 2048, "face.size", face.size, "choose 32 to 2048 pixels")
    _require(0.2 <= face.box_share <= 0.9, "face.box_share", face.box_share, "choose 0.2 to 0.9")
    _require(0 <= face.max_yaw <= 60, "face.max_yaw", face.max_yaw, "choose 0 to 60 degrees")
    _require(0 <= face.max_pitch <= 30, "face.max_pitch", face.max_pitch, "choose 0 to 30 degrees")
    _require(0 <= face.roll <= 90, "face.roll", face.roll, "choose 0 to 90 degrees")
    _require(0 <= face.expression <= 1, "face.expression", face.expression, "choose 0 to 1")
    _require(0 <= face.noise <= 64, "face.noise", face.noise, "choose 0 to 64 grey levels")
    for name in PROBABILITIES:
        value = getattr(face, name)
        _require(0 <= value <= 1, f"face.{name}", value, "choose a probability, 0 to 1")


def _check_noise(noise: NoiseSettings) -> None:
    for region in ("contour", "brows", "nose", "eyes", "mouth"):
        group: GroupNoise = getattr(noise, region)
        for name in ("shared", "own", "spread"):
            value = getattr(group, name)
            _require(0 <= value <= 100, f"noise.{region}.{name}", value, "choose 0 to 100 % of the outer-eye distance")
    _require(noise.reach > 0, "noise.reach", noise.reach, "choose more than 0 landmarks")
    for name in ("strong", "habit"):
        _require(0 <= getattr(noise, name) <= 1, f"noise.{name}", getattr(noise, name), "choose a share, 0 to 1")
    for name in ("occluded", "scale"):
        _require(0 <= getattr(noise, name) <= 100, f"noise.{name}", getattr(noise, name), "choose a factor, 0 to 100")


def _require(good: bool, name: str, value: object, remedy: str) -> None:
    """The comparisons are written so that NaN fails them."""
    if not good:
        raise SemalignError(f"{name} is {value!r}, which makes no data set; {remedy}.")
