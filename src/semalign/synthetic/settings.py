"""What can be set about synthetic faces, their annotation noise and the data set written from them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FaceSettings:
    """How faces look and what stands in their way. Lengths are pixels of the image unless said otherwise."""

    size: int = 144  # side of the square image
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
    """One annotator's deviation from the truth in a group of landmarks: standard deviations in % of the outer-eye distance."""

    shared: float  # sliding along the curve, common to neighbouring points
    own: float  # sliding along the curve, each point for itself
    spread: float  # in every direction, per coordinate


@dataclass(frozen=True)
class NoiseSettings:
    """Annotation noise. The defaults give the disagreement of two annotators that was measured on duplicates inside 300W.

    Two annotations of the same photograph differ there by 2.96 % of the outer-eye distance on average: jaw 5.99 (5.59 along the
    curve, 1.33 across it), brows 2.62, mouth 2.03, nose 1.68, eyes 1.45.
    """

    jaw: GroupNoise = GroupNoise(shared=4.25, own=1.3, spread=0.9)
    brows: GroupNoise = GroupNoise(shared=1.45, own=0.8, spread=0.9)
    nose: GroupNoise = GroupNoise(shared=0.65, own=0.5, spread=0.75)
    eyes: GroupNoise = GroupNoise(shared=0.6, own=0.45, spread=0.62)
    mouth: GroupNoise = GroupNoise(shared=0.8, own=0.7, spread=0.85)
    strong: float = 0.5  # how much of the sliding a corner or tip takes part in
    reach: float = 4.0  # landmarks over which shared sliding stays alike
    habit: float = 0.3  # share of the variance that is the annotator's habit, the same in every face
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
