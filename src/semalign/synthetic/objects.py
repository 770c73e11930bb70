"""Pictures of an object that is no face, with 12 landmarks whose places are known: a fish before any backdrop.

For trying everything that works for any landmark scheme. The fish bends, turns, is seen aslant, has fins, stripes and dots of
its own, and may be partly hidden; it looks to the left, as its landmarks have no left and right to exchange.

    OUT/images/0000.jpg ...   pictures
    OUT/annotations.json      COCO keypoints, as an annotator marks them
    OUT/scheme.toml           the landmark scheme
    OUT/truth.csv             the exact points: image, landmark, true_x, true_y

Shape legend: n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from semalign.data import Dataset, Sample
from semalign.data.formats.coco import Coco
from semalign.errors import SemalignError
from semalign.files import atomic_folder, write_bytes, write_text
from semalign.schemes import Curve, LandmarkScheme, scheme_toml
from semalign.synthetic.backdrop import backdrop
from semalign.synthetic.draw import disc, fill, stroke
from semalign.synthetic.polyline import spline

NAMES: Final = (
    "mouth",
    "eye",
    "gill",
    "back fin front",
    "back fin tip",
    "back fin end",
    "tail top",
    "tail notch",
    "tail bottom",
    "anal fin",
    "belly fin",
    "chest fin tip",
)
SCHEME: Final = LandmarkScheme(
    "fish12",
    NAMES,
    curves=(Curve("back", (0, 3, 5, 6)), Curve("belly", (0, 10, 9, 8)), Curve("tail", (6, 7, 8))),
    regions={"head": (0, 1, 2), "back": (3, 4, 5), "tail": (6, 7, 8), "belly": (9, 10, 11)},
)
# The landmarks of a straight fish of length 1, its middle at 0, y down.
PLACES: Final = np.array(
    [(-0.5, 0.02), (-0.38, -0.05), (-0.25, 0.02), (-0.14, -0.2), (0.06, -0.34), (0.2, -0.13)]
    + [(0.5, -0.18), (0.41, 0.0), (0.5, 0.19), (0.17, 0.13), (-0.12, 0.2), (-0.08, 0.1)]
)
FINE: Final = 2  # times finer than the picture it is drawn
JPEG: Final = 92
NOISE: Final = 0.008  # of the annotations, in lengths of the fish


@dataclass(frozen=True)
class ObjectSettings:
    """What is drawn.

    Attributes:
        count: pictures.
        seed: the same seed gives the same pictures.
        size: side of the pictures, pixels.
        noise: standard deviation of the annotations, in lengths of the fish.
    """

    count: int = 200
    seed: int = 0
    size: int = 160
    noise: float = NOISE


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture, its landmarks (n, 2) and which of them (n,) are visible."""

    picture: np.ndarray
    points: np.ndarray
    visible: np.ndarray


def draw_object(seed: int, index: int, size: int = 160) -> Drawn:
    """Picture `index` of a seed: a function of these and the size alone.

    Returns:
        A picture (size, size, 3) uint8 RGB; points in its frame, pixel centres at integers.
    """
    rng = np.random.default_rng([seed, index, 12])
    side = FINE * size
    picture = backdrop(rng, side)
    build = _Build.drawn(rng)
    place = _placing(rng, side, build)
    points = place(build.landmarks())
    _paint(rng, picture, build, place, side)
    hidden = _cover(rng, picture, points, side) if rng.random() < 0.35 else np.zeros(len(points), bool)
    picture = _lit(rng, cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))
    return Drawn(picture, (points + 0.5) / FINE - 0.5, ~hidden)


def write_objects(
    out: str | Path, settings: ObjectSettings, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """Write pictures, annotations, scheme and truth into a new folder, and return it.

    Args:
        out: new or empty folder.
        settings: what is drawn.
        progress: called with (pictures done, pictures in all).

    Raises:
        SemalignError: settings that make no sense, or a folder that cannot be written.
    """
    if settings.count < 1 or settings.size < 48 or settings.noise < 0:
        raise SemalignError("give one picture at least, of 48 pixels at least, and a noise that is not negative.")
    samples, truth = [], ["image,landmark,true_x,true_y"]
    with atomic_folder(Path(out), "data set") as folder:
        for name, drawn, marked in _annotated(settings):
            _, data = cv2.imencode(".jpg", drawn.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG])
            write_bytes(folder / "images" / name, data.tobytes())
            low, high = marked.min(axis=0), marked.max(axis=0)
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            samples.append(
                Sample(name, folder / "images" / name, marked, "train", "", box=box, visible=drawn.visible, name=name)
            )
            truth += [f"{name},{index},{x:.6f},{y:.6f}" for index, (x, y) in enumerate(drawn.points)]
            progress(len(samples), settings.count)
        Coco().write(Dataset(folder, "fish", SCHEME, tuple(samples)), folder / "annotations.json")
        write_text(folder / "scheme.toml", scheme_toml(SCHEME))
        write_text(folder / "truth.csv", "\n".join(truth) + "\n")
    return Path(out)


def _annotated(settings: ObjectSettings) -> Iterator[tuple[str, Drawn, np.ndarray]]:
    """Pictures by name, and where an annotator marks their landmarks, to a hundredth of a pixel."""
    for index in range(settings.count):
        drawn = draw_object(settings.seed, index, settings.size)
        rng = np.random.default_rng([settings.seed, index, 21])
        length = float(np.linalg.norm(drawn.points[0] - drawn.points[7])) / 0.91
        marked = drawn.points + rng.normal(0, settings.noise * length, drawn.points.shape)
        yield f"{index:04d}.jpg", drawn, np.round(np.clip(marked, 0, settings.size - 1), 2)


@dataclass(frozen=True, eq=False)
class _Build:
    """One fish: how its landmarks differ from `PLACES`, how it bends, how fat it is."""

    shape: np.ndarray
    bend: float
    wave: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Build:
        shape = PLACES + rng.normal(0, 0.018, PLACES.shape)
        shape[:, 1] *= rng.uniform(0.75, 1.25)  # fat or slim
        fin = rng.uniform(0.7, 1.25)
        shape[4, 1] = shape[3, 1] + (shape[4, 1] - shape[3, 1]) * fin
        shape[11] = shape[2] + (0.02, 0.05) + rng.uniform(0.1, 0.2) * _unit(rng.uniform(-0.2, 1.1))
        return cls(shape, rng.normal(0, 0.18), rng.normal(0, 0.025))

    def bent(self, points: np.ndarray) -> np.ndarray:
        """Points of the straight fish on the bent one."""
        x, y = points[:, 0], points[:, 1]
        angle = self.bend * x * 2
        lift = self.bend * x**2 + self.wave * np.sin(2 * np.pi * x)
        return np.stack([x - np.sin(angle) * y, lift + np.cos(angle) * y], axis=1)

    def landmarks(self) -> np.ndarray:
        return self.bent(self.shape)

    def body(self) -> np.ndarray:
        """The outline without fins."""
        m, _, _, front, _, end, _, notch, _, anal, belly, _ = self.shape
        root = notch[0] - 0.12
        top = [m, (-0.36, 0.55 * front[1] + 0.03), front, end, (root, -0.055)]
        below = [(root, 0.055), anal, belly, (-0.36, 0.55 * belly[1] + 0.02), m]
        outline = np.concatenate([spline(np.array(top), 40), spline(np.array(below), 40)])
        return self.bent(outline)

    def fins(self) -> list[np.ndarray]:
        """Tail, back fin, anal and belly fin."""
        s = self.shape
        root = s[7, 0] - 0.14
        tail = np.array([(root, -0.05), s[6], s[7], s[8], (root, 0.05)])
        back = np.concatenate([spline(np.array([s[3], s[4], s[5]]), 16), [s[5] + (-0.02, 0.05), s[3] + (0.02, 0.06)]])
        anal = np.array([s[9] + (-0.09, -0.02), s[9] + (0.0, 0.0), s[9] + (0.07, 0.05), s[9] + (0.04, -0.05)])
        belly = np.array([s[10] + (-0.05, -0.03), s[10], s[10] + (0.05, 0.07), s[10] + (0.05, -0.03)])
        return [self.bent(part) for part in (tail, back, anal, belly)]

    def chest_fin(self) -> np.ndarray:
        s = self.shape
        root = s[2] + (0.02, 0.04)
        across = np.array([-(s[11] - root)[1], (s[11] - root)[0]]) * 0.3
        return self.bent(
            spline(np.array([root, (root + s[11]) / 2 + across, s[11], (root + s[11]) / 2 - across, root]), 20)
        )


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _placing(rng: np.random.Generator, side: int, build: _Build) -> Callable[[np.ndarray], np.ndarray]:
    """From the fish's frame to the picture's: turned, seen aslant, anywhere in it."""
    angle, length = rng.normal(0, 0.3), rng.uniform(0.5, 0.8) * side
    squeeze = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.85, 1.0)])  # turned away, and seen from above
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    depth = rng.normal(0, 0.15)  # one end is nearer

    def project(points: np.ndarray) -> np.ndarray:
        scale = length / (1 + depth * points[:, :1])
        return (points * squeeze * scale) @ turn.T

    flat = project(build.landmarks())
    low, high = flat.min(axis=0), flat.max(axis=0)
    margin = 0.06 * side
    room = np.maximum(side - 2 * margin - (high - low), 0.0)
    corner = margin + rng.uniform(0, 1, 2) * room - low
    return lambda points: project(points) + corner


def _paint(
    rng: np.random.Generator, picture: np.ndarray, build: _Build, place: Callable[[np.ndarray], np.ndarray], side: int
) -> None:
    hsv = np.array([[[rng.integers(180), rng.integers(60, 230), rng.integers(110, 240)]]], np.uint8)
    base = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
    fin = base * rng.uniform(0.6, 1.1) + rng.normal(0, 18, 3)
    for part in build.fins():
        fill(picture, place(part), _tint(fin))
        _rays(picture, place(part), fin * 0.75)
    body = place(build.body())
    mask = np.zeros(picture.shape[:2], np.uint8)
    fill(mask, body, 255)
    skin = _skin(rng, picture.shape[0], base, body)
    alpha = mask[..., None].astype(np.float32) / 255
    picture[:] = (alpha * skin + (1 - alpha) * picture).astype(np.uint8)
    stroke(picture, body, _tint(base * 0.5), FINE, closed=True)
    gill = build.shape[2]
    bow = np.stack(
        [gill[0] - 0.035 * np.cos(np.linspace(-1.3, 1.3, 12)) + 0.035, gill[1] + 0.1 * np.linspace(-1, 1, 12)], 1
    )
    stroke(picture, place(build.bent(bow)), _tint(base * 0.45), 2 * FINE)
    fill(picture, place(build.chest_fin()), _tint(fin * 0.9))
    stroke(picture, place(build.chest_fin()), _tint(fin * 0.55), FINE)
    eye = place(build.landmarks()[1:2])[0]
    unit = float(np.linalg.norm(place(build.landmarks()[:1])[0] - place(build.landmarks()[7:8])[0]))
    for radius, colour in ((0.042, (235, 235, 225)), (0.026, (25, 22, 20))):
        disc(picture, eye, radius * unit, colour)
    mouth = build.shape[0]
    smile = np.array([mouth, mouth + (0.03, 0.018), mouth + (0.06, 0.02)])
    stroke(picture, place(build.bent(smile)), _tint(base * 0.35), FINE)


def _skin(rng: np.random.Generator, side: int, base: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The body's colours: light from above, stripes or dots."""
    y = np.linspace(0, 1, side)[:, None]
    low, high = body[:, 1].min() / side, body[:, 1].max() / side
    light = 1.2 - 0.5 * np.clip((y - low) / max(high - low, 1e-6), 0, 1)
    skin = np.repeat((light[..., None] * base), side, axis=1)
    if rng.random() < 0.5:
        wave = np.sin(np.linspace(0, rng.uniform(20, 70), side) + rng.uniform(0, 6))[None, :, None]
        skin *= 1 + rng.uniform(0.1, 0.35) * np.sign(wave)
    else:
        for _ in range(int(rng.integers(0, 60))):
            middle = tuple(
                int(v) for v in body[rng.integers(len(body))] * 0.6 + body.mean(axis=0) * 0.4 + rng.normal(0, 12, 2)
            )
            cv2.circle(skin, middle, int(rng.integers(2, 7)), (base * rng.uniform(0.4, 1.5)).tolist(), -1, cv2.LINE_AA)
    return np.clip(skin + rng.normal(0, 5, skin.shape), 0, 255).astype(np.float32)


def _cover(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """Weed or stones before the fish; which points (n,) they hide."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    at = points[rng.integers(len(points))] + rng.normal(0, 0.04, 2) * side
    if rng.random() < 0.5:
        foot = np.array([at[0] + rng.normal(0, 0.15) * side, side + 10.0])
        blade = spline(np.array([foot, (at + foot) / 2 + rng.normal(0, 0.06, 2) * side, at]), 20)
        cv2.polylines(mask, [np.round(blade).astype(np.int32)], False, 255, int(rng.uniform(0.03, 0.07) * side))
    else:
        axes = (int(rng.uniform(0.05, 0.12) * side), int(rng.uniform(0.05, 0.12) * side))
        cv2.ellipse(mask, tuple(np.round(at).astype(int).tolist()), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    colour = rng.uniform(30, 170, 3)
    shade = colour + rng.normal(0, 9, (*mask.shape, 3))
    picture[mask > 0] = np.clip(shade, 0, 255).astype(np.uint8)[mask > 0]
    x, y = np.clip(np.round(points).astype(int), 0, side - 1).T
    return mask[y, x] > 0


def _lit(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Light, blur and grain of a camera."""
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3))
    values = picture.astype(np.float32) * rng.uniform(0.6, 1.15) * rng.uniform(0.92, 1.08, 3) + rng.normal(0, 6)
    return np.clip(values + rng.normal(0, rng.uniform(1, 6), values.shape), 0, 255).astype(np.uint8)


def _tint(colour: np.ndarray) -> list[float]:
    """A colour as drawing takes it."""
    return [float(value) for value in np.clip(colour, 0, 255)]


def _rays(picture: np.ndarray, fin: np.ndarray, colour: np.ndarray) -> None:
    """Lines from a fin's root, which are its first and last point, to its rim."""
    root = (fin[0] + fin[-1]) / 2
    for end in fin[1:-1]:
        stroke(picture, np.stack([root, root * 0.1 + end * 0.9]), _tint(colour), 1)
