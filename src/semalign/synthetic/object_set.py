"""Pictures of objects written as a folder of one's own: images with .pts files beside them, and a scheme.

OUT/images/object_000001.jpg, .pts ...   annotated by people who err a little
OUT/scheme.toml                          the twelve landmarks
OUT/truth.parquet                        the exact points, whether they are visible, and who annotated
OUT/synthetic.json                       the settings; written last: a folder without it is unfinished
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semalign.data.pts import write_pts
from semalign.errors import SemalignError
from semalign.schemes import SCHEME_FILE, scheme_toml
from semalign.synthetic.aeroplane import SCHEME
from semalign.synthetic.dataset import Row, write_picture, write_rows
from semalign.synthetic.objects import ObjectPicture, ObjectSettings, object_of

FORMAT = 1
FOLDER = "images"


@dataclass(frozen=True)
class ObjectNoise:
    """How far annotations lie from the truth, in % of the object's size, the root of the area of its landmarks' box."""

    spread: float = 0.8  # standard deviation per coordinate
    habit: float = 0.15  # share of the variance that is the annotator's habit, the same in every picture
    hidden: float = 2.5  # factor for points that cannot be seen
    scale: float = 1.0  # factor on everything, 0 = perfect annotations


@dataclass(frozen=True)
class ObjectSetSettings:
    """A data set of pictures of objects: picture i is a function of `seed` and i alone."""

    count: int = 200
    seed: int = 0
    annotators: int = 3
    jpeg_quality: int = 93
    object: ObjectSettings = field(default_factory=ObjectSettings)
    noise: ObjectNoise = field(default_factory=ObjectNoise)

    def check(self) -> None:
        """Refuse settings that no data set can be made of.

        Raises:
            SemalignError: naming the setting, its value and what is allowed.
        """
        for good, name, value, allowed in (
            (self.count >= 1, "count", self.count, "1 or more"),
            (self.seed >= 0, "seed", self.seed, "0 or more"),
            (1 <= self.annotators <= 32767, "annotators", self.annotators, "1 to 32767"),
            (1 <= self.jpeg_quality <= 100, "jpeg_quality", self.jpeg_quality, "1 to 100"),
            (0 <= self.noise.spread <= 100, "noise.spread", self.noise.spread, "0 to 100 % of the object's size"),
            (0 <= self.noise.habit <= 1, "noise.habit", self.noise.habit, "a share, 0 to 1"),
            (0 <= self.noise.hidden <= 100, "noise.hidden", self.noise.hidden, "a factor, 0 to 100"),
            (0 <= self.noise.scale <= 100, "noise.scale", self.noise.scale, "a factor, 0 to 100"),
        ):
            if not good:
                raise SemalignError(f"{name} is {value!r}, which makes no data set; choose {allowed}.")
        self.object.check()


def write_objects(
    out: str | Path, settings: ObjectSetSettings, progress: Callable[[int, int], None] | None = None, workers: int = 1
) -> Path:
    """Write the data set and return its folder; an unfinished one of these settings is completed, a finished one kept.

    The same settings give the same bytes, as for `semalign.synthetic.write_dataset`.

    Raises:
        SemalignError: settings that make no sense; a folder that holds something else or cannot be written.
    """
    out = Path(out)
    settings.check()
    description = {
        "format": FORMAT,
        "scheme": SCHEME_FILE,
        "seed": settings.seed,
        "count": settings.count,
        "settings": asdict(settings),
    }
    write, texts = partial(_write_object, out, settings), {SCHEME_FILE: scheme_toml(SCHEME)}
    return write_rows(out, description, (FOLDER,), write, progress, workers, texts)


def object_size(points: Float[np.ndarray, "*b n 2"]) -> Float[np.ndarray, "*b"]:
    """Root of the area of the landmarks' box, pixels."""
    size: np.ndarray = np.sqrt(np.prod(points.max(axis=-2) - points.min(axis=-2), axis=-1))
    return size


def annotate_object(
    picture: ObjectPicture, rng: np.random.Generator, annotator: int, settings: ObjectSetSettings
) -> Float[np.ndarray, "n 2"]:
    """What a person marks in a picture, pixels of its image."""
    noise, shape = settings.noise, picture.points.shape
    habit = np.random.default_rng([settings.seed, annotator, 13]).standard_normal(shape)
    deviation = np.sqrt(noise.habit) * habit + np.sqrt(1 - noise.habit) * rng.standard_normal(shape)
    size = noise.scale * noise.spread / 100 * float(object_size(picture.points))
    return picture.points + size * np.where(picture.visible, 1.0, noise.hidden)[:, None] * deviation


def _write_object(out: Path, settings: ObjectSetSettings, index: int) -> Row:
    picture = object_of(settings.seed, index, settings.object)
    rng = np.random.default_rng([settings.seed, index, 14])
    annotator = int(rng.integers(settings.annotators))
    name = f"{FOLDER}/object_{index + 1:06d}.jpg"
    write_picture(out / name, picture.image, settings.jpeg_quality)
    write_pts((out / name).with_suffix(".pts"), annotate_object(picture, rng, annotator, settings))
    return Row(name, picture.points, picture.visible, annotator)
