"""Errors planted in annotations, as annotators, tools and scripts make them; `audit.py` looks for them.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from semalign.auditing.hypotheses import windows
from semalign.auditing.result import face_sizes
from semalign.data import Dataset, Sample
from semalign.data.images import read_image
from semalign.schemes import LandmarkScheme

SLIPPING = 4  # least points of a curve that slip together
COPY_SCALE, COPY_QUALITY = 0.8, 80  # of a photograph that is there twice

Change = Callable[[Sample, float, np.random.Generator, LandmarkScheme], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A kind of error.

    Attributes:
        title: in words.
        names: kinds of `semalign.auditing.KINDS` that name it.
        change: new points (n, 2) of a face; the size is in face sizes (`size_of`), or a share.
        sizes: that are tried; (0,) where there is but one.
    """

    title: str
    names: tuple[str, ...]
    change: Change
    sizes: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, eq=False)
class Planted:
    """A data set with planted errors.

    Attributes:
        dataset: with them.
        wrong: which faces (b,) have one.
    """

    dataset: Dataset
    wrong: np.ndarray


def size_of(sample: Sample, scheme: LandmarkScheme) -> float:
    """Distance of the outer eye corners, or else the root of the area of the points' box, pixels."""
    if scheme.outer_eyes is not None:
        left, right = scheme.outer_eyes
        return float(np.linalg.norm(sample.points[left] - sample.points[right]))
    return float(face_sizes(sample.points[None])[0])


def plant(dataset: Dataset, kind: str, size: float, seed: int, share: float, folder: Path) -> Planted:
    """Plant one kind of error in a share of the faces.

    Args:
        dataset: as people annotated it.
        kind: in `KINDS`.
        size: of the error.
        seed: chooses faces and errors.
        share: of the faces.
        folder: for copies of photographs.
    """
    draw = np.random.default_rng([seed, 7])
    rows = draw.permutation(len(dataset))[: round(share * len(dataset))]
    samples = list(dataset.samples)
    if kind == "another":
        for row, other in zip(rows, np.roll(rows, 1), strict=True):
            samples[row] = replace(samples[row], points=dataset.samples[other].points)
    elif kind == "duplicate":
        for row in rows:
            samples.append(_copy(dataset.samples[row], size, draw, dataset.scheme, folder))
        rows = np.arange(len(dataset), len(samples))
    else:
        for row in rows:
            points = KINDS[kind].change(samples[row], size, draw, dataset.scheme)
            samples[row] = replace(samples[row], points=points)
            if kind == "origin":
                samples[row] = replace(samples[row], subset="from another tool")
            if kind == "guessed":
                moved = np.abs(points - dataset.samples[row].points).max(axis=1) > 0
                samples[row] = replace(samples[row], visible=~moved)
    wrong = np.zeros(len(samples), bool)
    wrong[rows] = True
    return Planted(replace(dataset, samples=tuple(samples)), wrong)


def copy_of(name: str) -> str:
    """Id of a face's copy."""
    return f"{name}-copy"


def _one(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    points = sample.points.copy()
    points[draw.integers(scheme.count)] += size * size_of(sample, scheme) * _direction(draw)
    return points


def _slipped(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    runs = [run for run in windows(scheme) if len(run.members) >= SLIPPING]
    members, before, after = runs[draw.integers(len(runs))]
    points = sample.points.copy()
    along = points[after] - points[before]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    points[members] += size * size_of(sample, scheme) * along * draw.choice([-1, 1])
    return points


def _shifted(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    curve = scheme.curves[draw.integers(len(scheme.curves))]
    line, step = np.array(curve.landmarks), int(draw.choice([-1, 1]))
    points, old = sample.points.copy(), sample.points[line]
    points[line] = np.roll(old, step, axis=0)
    if not curve.closed:  # what has no neighbour goes on in the curve's direction
        end, inner = (0, 1) if step > 0 else (-1, -2)
        points[line[end]] = 2 * old[end] - old[inner]
    return points


def _exchanged(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    return sample.points[list(scheme.flip_index)]


def _eyes(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    index, eyes = np.arange(scheme.count), list(scheme.regions["eyes"])
    index[eyes] = np.array(scheme.flip_index)[eyes]
    return sample.points[index]


def _mirrored(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    with Image.open(sample.image) as picture:
        width = picture.width
    points = sample.points.copy()
    points[:, 0] = width - 1 - points[:, 0]
    return points[list(scheme.flip_index)]


def _misplaced(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    return sample.points + size * size_of(sample, scheme) * _direction(draw)


def _scaled(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    return (sample.points + 0.5) * (1 + size * draw.choice([-1, 1])) - 0.5


def _resized(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    middle = sample.points.mean(axis=0)
    return middle + (sample.points - middle) * (1 + size * draw.choice([-1, 1]))


def _turned(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    middle = sample.points.mean(axis=0)
    x, y = (sample.points - middle).T
    angle = np.radians(size) * draw.choice([-1, 1])
    return middle + np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=1)


def _guessed(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    """Two neighbours of a curve that are hidden, each guessed by itself."""
    curve = scheme.curves[draw.integers(len(scheme.curves))]
    first = int(draw.integers(len(curve.landmarks) - 1))
    points = sample.points.copy()
    for point in curve.landmarks[first : first + 2]:
        points[point] += size * size_of(sample, scheme) * _direction(draw)
    return points


def _origin(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme) -> np.ndarray:
    return sample.points + size


def _direction(draw: np.random.Generator) -> np.ndarray:
    angle = draw.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _copy(sample: Sample, size: float, draw: np.random.Generator, scheme: LandmarkScheme, folder: Path) -> Sample:
    """A smaller, compressed copy of a photograph under another name, with one point elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(read_image(sample.image))
    width, height = (round(COPY_SCALE * side) for side in picture.size)
    scale = np.array([width / picture.width, height / picture.height])
    path = folder / f"{sample.id.replace('/', '-')}-copy.jpg"
    picture.resize((width, height), Image.Resampling.LANCZOS).save(path, quality=COPY_QUALITY)
    moved = _one(sample, size, draw, scheme)
    return replace(sample, id=copy_of(sample.id), image=path, points=(moved + 0.5) * scale - 0.5)


KINDS: dict[str, Kind] = {
    "point": Kind("one point off", ("point",), _one, (0.08, 0.12, 0.16)),
    "guessed": Kind("two hidden points guessed", ("guessed",), _guessed, (0.12, 0.2)),
    "slipped": Kind("a run of points slipped", ("slipped",), _slipped, (0.08, 0.12)),
    "shifted": Kind("a curve's numbers shifted by one", ("shifted",), _shifted),
    "exchanged": Kind("left and right exchanged", ("exchanged",), _exchanged),
    "eyes": Kind("the eyes exchanged", ("exchanged",), _eyes),
    "mirrored": Kind("points of the mirrored picture", ("mirrored",), _mirrored),
    "misplaced": Kind("the face misplaced", ("misplaced",), _misplaced, (0.05, 0.1, 0.2)),
    "turned": Kind("the face turned, degrees", ("misplaced",), _turned, (5.0, 10.0)),
    "scaled": Kind("points of a resized picture", ("scaled",), _scaled, (0.02, 0.05, 0.1)),
    "resized": Kind("the face resized around its middle", ("scaled",), _resized, (0.05, 0.1)),
    "origin": Kind("a folder that counts from 1, pixels", ("origin",), _origin, (1.0,)),
    "another": Kind("another face's file", ("another",), _one),
    "duplicate": Kind("a copy with another point", ("duplicate",), _one, (0.16,)),
}
