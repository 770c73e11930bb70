"""What `semalign adapt` gains from 50, 100 or 200 annotated faces, and how long it takes.

    python benchmarks/adapt.py
    python benchmarks/adapt.py --data 300w --model synthetic-demo --faces 100

Without `--data` on drawn faces with known truth, annotated with noise in three schemes: the 68 points of 300W marked by another
convention (the contour spaced otherwise, the brows' upper edges, the eyes' corners further out, the lips' outline wider), 98 as
in WFLW, and 194 as in Helen, each placed on the drawn curves. Errors are nme_interocular in %, against the truth, on other
drawn faces.

- `before`: the model as it is, where it has these landmarks.
- `mean shape`: the mean of the landmarks, put on each face by the similarity of the model's points; a rival that learns from
  the same faces and the same model's points.
- `least squares`: another, the linear map of the model's points in the face's own frame, hardly held back (penalty 1e-4).
- `adapted`: what `semalign adapt` makes; `method`: what it chose; `held_out`: the error that it says.
- `coverage`: share of test points within two standard deviations of where the model puts them, by its own doubt: 0.86 if that
  were exact. The doubt is learned from annotations, whose noise the truth does not have.
- `seconds`: by the clock, on as many threads as PyTorch has; `cpu_seconds`: of the processor.

With `--data` on 300W: faces drawn from lfpw/trainset, those left out whose photograph is in lfpw/testset, measured on
lfpw/testset. Nothing is chosen on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from harness import DataFolder, ModelName, Row, finish, run, track

from semalign.core.adaptation import aligned_shapes
from semalign.core.metrics import mean_errors
from semalign.core.similarity import frames_of, to_complex, to_points
from semalign.data import Dataset, open_dataset
from semalign.data.crops import build_crops
from semalign.data.duplicates import leaky_training_ids
from semalign.data.pts import write_pts
from semalign.files import write_text
from semalign.inference import Landmarker
from semalign.models import Model, pretrained
from semalign.pipeline.adapting import adapt
from semalign.schemes import LandmarkScheme, load_scheme
from semalign.schemes.load import SCHEME_FILE, scheme_toml
from semalign.synthetic import Face, FaceSettings, SynthesisSettings, face_of
from semalign.synthetic.dataset import write_picture

SIZE = 224  # pixels of the drawn faces' pictures
NOISE = 0.012, 0.8  # of a mark: shares of a curve's length along it, % of the outer-eye distance in each direction
LEAST = 1e-4  # penalty of the rival, in squared sizes of the face
SETS = ("68, another convention", "98 as in WFLW", "194 as in Helen")
HELEN = {"jaw": 41, "nose": 17, "outer lips": 28, "inner lips": 28, "left eye": 20, "right eye": 20} | {
    "left brow": 20,
    "right brow": 20,
}


def main(
    data: DataFolder | None = None,
    model: ModelName = "default",
    faces: Annotated[list[int] | None, typer.Option(help="Adaptation faces; default: 50 100 200.")] = None,
    tests: Annotated[int, typer.Option(help="Drawn faces to measure on.")] = 200,
    seeds: Annotated[list[int] | None, typer.Option(help="Which faces are drawn.")] = None,
) -> None:
    rows: list[Row] = []
    for seed in seeds or [0]:
        with TemporaryDirectory(prefix="semalign-") as name:
            folder = Path(name)
            os.environ["SEMALIGN_CACHE"] = str(
                folder / "cache"
            )  # so that all crops are cut in the time that is measured
            for count in faces or [50, 100, 200]:
                if data is not None:
                    rows.append(real(data, model, count, seed, folder / f"{count}"))
                    continue
                for scheme in SETS:
                    rows.append(drawn(scheme, model, count, tests, seed, folder / f"{count} {scheme}"))
    finish("adapt-real" if data else "adapt-synthetic", rows)


def real(data: Path, model: str, count: int, seed: int, folder: Path) -> Row:
    """300W: faces of one set, measured on another."""
    whole = open_dataset(data)
    both = whole.select(subsets=["lfpw/trainset", "lfpw/testset"])
    train = both.select(subsets=["lfpw/trainset"], exclude=leaky_training_ids(both))
    order = np.random.default_rng(seed).permutation(len(train))
    chosen = [train.samples[row] for row in order[:count]]
    folder.mkdir()
    for sample in chosen:
        for file in (sample.image, sample.image.with_suffix(".pts")):
            (folder / file.name).symlink_to(file.resolve())
    return measured("300w/lfpw", model, count, seed, folder, both.select(subsets=["lfpw/testset"]))


def drawn(name: str, model: str, count: int, tests: int, seed: int, folder: Path) -> Row:
    """Drawn faces in a scheme."""
    settings = SynthesisSettings(count=count + tests, seed=1000 + seed, face=FaceSettings(size=SIZE))
    train, test = folder / "train", folder / "test"
    scheme = scheme_of(name)
    for place in (train, test):
        place.mkdir(parents=True)
        write_text(place / SCHEME_FILE, scheme_toml(scheme))
    truth = {}
    for index in track(range(count + tests), f"drawing faces, {name}"):
        face = face_of(settings.seed, index, settings)
        file = (train if index < count else test) / f"{index:05d}.jpg"
        write_picture(file, face.image, settings.jpeg_quality)
        rng = np.random.default_rng([settings.seed, index, 7])
        points = placed(name, face, rng if index < count else None)
        write_pts(file.with_suffix(".pts"), points)
        truth[file.name] = points
    return measured(name, model, count, seed, train, open_dataset(test))


def measured(name: str, model: str, count: int, seed: int, folder: Path, test: Dataset) -> Row:
    """Adapt to the faces in the folder and measure on the others."""
    begun, processor = time.monotonic(), time.process_time()
    made = adapt(model, folder)
    seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - processor
    train, base = open_dataset(folder), pretrained.load(model)
    scheme, reference = test.scheme, test.points()

    def looked(own: Model, faces: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Points, and the doubt: what the spread is more than that of the heatmaps in training."""
        cut = build_crops(faces.samples, own.crop, own.input_size)
        found = Landmarker(own).on_crops(cut)
        assert found.spread is not None
        pixel = own.input_size / own.network.heatmap_size / np.linalg.norm(cut.image_to_crop[:, 0, :2], axis=1)
        square = found.spread**2 - (own.sigma * pixel[:, None, None]) ** 2
        return found.points, np.sqrt(np.maximum(square, 0).mean(axis=2))

    known, new = looked(base, train)[0], looked(base, test)[0]
    adapted, doubt = looked(made.model, test)
    rivals = {"mean shape": mean_shape, "least squares": least_squares}
    row: Row = {"set": name, "model": model, "seed": seed, "faces": count, "test faces": len(test)}
    row["before"] = error(new, reference, scheme) if scheme == base.scheme else ""
    row |= {rival: error(fit(known, train.points(), new), reference, scheme) for rival, fit in rivals.items()}
    row |= {"adapted": error(adapted, reference, scheme), "held_out": made.errors[made.method]}
    row |= {"method": made.method, "seconds": seconds, "cpu_seconds": cpu_seconds, "threads": torch.get_num_threads()}
    within = np.linalg.norm(adapted - reference, axis=2) <= 2 * doubt
    pupils = {} if not all(scheme.pupils) else {"adapted, nme_interpupil": error(adapted, reference, scheme, True)}
    return row | {"coverage": float(within.mean())} | pupils


def error(points: np.ndarray, reference: np.ndarray, scheme: LandmarkScheme, pupils: bool = False) -> float:
    return mean_errors(points, reference, scheme)["nme_interpupil" if pupils else "nme_interocular"]


def mean_shape(known: np.ndarray, wanted: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The mean of the wanted points in the frame of the known ones."""
    target, _, back = _own(known, wanted, new)
    return back(np.broadcast_to(target.mean(axis=0), (len(new), target.shape[1])))


def least_squares(known: np.ndarray, wanted: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A linear map from the known points."""
    target, features, back = _own(known, wanted, new)
    middle, mean = features[: len(known)].mean(axis=0), target.mean(axis=0)
    x, y = features[: len(known)] - middle, target - mean
    weights = np.linalg.solve(x.T @ x + LEAST * np.eye(x.shape[1]), x.T @ y)
    return back((features[len(known) :] - middle) @ weights + mean)


def _own(known: np.ndarray, wanted: np.ndarray, new: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Wanted points and the features of all faces in each face's own frame, and the way back for the new ones."""
    mean = aligned_shapes(to_complex(known))[2]
    shapes = to_complex(np.concatenate([known, new]))
    centres, frames = shapes.mean(axis=1, keepdims=True), frames_of(shapes, mean)
    own = (shapes - centres) / frames
    count = len(known)
    target = (to_complex(wanted) - centres[:count]) / frames[:count]
    return (
        target,
        np.concatenate([own.real, own.imag], axis=1),
        lambda found: to_points(found * frames[count:] + centres[count:]),
    )


def scheme_of(name: str) -> LandmarkScheme:
    """The landmarks of a set."""
    if name == SETS[0]:
        return load_scheme("ibug68")
    if name == SETS[1]:
        return load_scheme("wflw98")
    parts = [(part, number) for part, count in HELEN.items() for number in range(count)]
    index = {part: row for row, part in enumerate(parts)}
    pairs = []
    for part, number in parts:
        left, right = index[part, number], index[_mirrored(part, number)]
        if left < right:
            pairs.append((left, right))
    eyes = [tuple(index[f"{side} eye", number] for number in range(20)) for side in ("left", "right")]
    return LandmarkScheme(
        "helen194",
        tuple(f"{part} {number}" for part, number in parts),
        tuple(pairs),
        pupils=(eyes[0], eyes[1]),
        outer_eyes=(index["left eye", 0], index["right eye", 0]),
    )


def _mirrored(part: str, number: int) -> tuple[str, int]:
    """Which point of Helen's a mirrored picture has in a point's place."""
    if part in ("jaw", "nose"):
        return part, HELEN[part] - 1 - number
    if part.endswith("lips"):
        return part, (HELEN[part] // 2 - number) % HELEN[part]
    side, _, what = part.partition(" ")
    return f"{'right' if side == 'left' else 'left'} {what}", number


def placed(name: str, face: Face, rng: np.random.Generator | None) -> np.ndarray:
    """The landmarks (n, 2) of a set in a face: exact, or as somebody marks them."""
    return _Hand(face, rng).marks(name)


class _Hand:
    """Places points on a face's curves, with noise if it has a generator."""

    def __init__(self, face: Face, rng: np.random.Generator | None) -> None:
        self.rng, self.curves, self.points = rng, {curve.name: curve for curve in face.curves}, face.points
        axis = face.points[45] - face.points[36]
        self.unit = float(np.hypot(*axis))
        self.down = np.array([-axis[1], axis[0]])  # of the length of the eyes' distance

    def marks(self, name: str) -> np.ndarray:
        parts = {SETS[0]: self._convention, SETS[1]: self._wflw, SETS[2]: self._helen}[name]()
        points = np.concatenate(list(parts))
        return points if self.rng is None else points + self.rng.normal(0, NOISE[1] / 100 * self.unit, points.shape)

    def along(self, name: str, shares: np.ndarray) -> np.ndarray:
        """Points at shares (m,) of a curve's length between its first and its last landmark; a closed one's whole length."""
        curve = self.curves[name]
        first, last = (0.0, curve.lengths[-1]) if curve.closed else (curve.positions[0], curve.positions[-1])
        if self.rng is not None:
            inner = (shares > 0) & (shares < 1)
            shares = shares + inner * self.rng.normal(0, NOISE[0], len(shares))
        where = first + (shares % 1.0 if curve.closed else shares) * (last - first)
        line, lengths = curve.line, curve.lengths
        return np.stack([np.interp(where, lengths, line[:, axis]) for axis in (0, 1)], axis=1)

    def between(self, name: str, start: int, end: int, count: int) -> np.ndarray:
        """Points (count, 2) along a closed curve from one of its landmarks up to, and without, another, evenly."""
        curve = self.curves[name]
        whole = curve.lengths[-1]
        first, last = (curve.positions[place % len(curve.positions)] / whole for place in (start, end))
        shares = first + np.arange(count) / count * ((last - first) % 1.0 or 1.0)
        return self.along(name, shares)

    def _convention(self) -> Iterator[np.ndarray]:
        shares = np.linspace(-1, 1, 17)
        yield self.along("contour", (1 + np.sign(shares) * np.abs(shares) ** 1.25) / 2)
        for side in ("left brow", "right brow"):
            yield self.along(side, np.linspace(0, 1, 5)) - 0.035 * self.down
        yield self.along("nose bridge", np.linspace(0, 1, 4) ** 1.3)
        yield self.along("nose base", np.linspace(0, 1, 5))
        for start in (36, 42):
            eye = self.points[start : start + 6]
            yield eye + 0.1 * (eye - eye.mean(axis=0))
        outer = self.points[48:60]
        yield outer + 0.06 * (outer - outer.mean(axis=0))
        yield self.points[60:68]

    def _wflw(self) -> Iterator[np.ndarray]:
        yield self.along("contour", np.linspace(0, 1, 33))
        for side, reverse in (("left brow", False), ("right brow", True)):
            up, low = (
                self.along(side, np.linspace(0, 1, count)) + step * self.down for count, step in ((5, -0.03), (5, 0.03))
            )
            low = low[1:] if not reverse else low[:-1]
            yield np.concatenate([up, low[::-1]])
        yield self.along("nose bridge", np.linspace(0, 1, 4))
        yield self.along("nose base", np.linspace(0, 1, 5))
        for side in ("left eye", "right eye"):
            yield np.concatenate([self.between(side, 0, 3, 4), self.between(side, 3, 0, 4)])
        yield self.points[48:68]
        yield np.stack([self.points[start : start + 6].mean(axis=0) for start in (36, 42)])

    def _helen(self) -> Iterator[np.ndarray]:
        yield self.along("contour", np.linspace(0, 1, 41))
        top, across = self.points[27], self.points[45] - self.points[36]
        steps = np.linspace(0, 1, 6)[:, None]
        bow = 0.02 * np.sin(np.pi * steps) * across
        left, right = (top + steps * (self.points[wing] - top) + side * bow for wing, side in ((31, -1), (35, 1)))
        yield np.concatenate([left, self.along("nose base", np.linspace(0, 1, 7))[1:-1], right[::-1]])
        for lips, corner in (("outer lips", 6), ("inner lips", 4)):
            yield np.concatenate([self.between(lips, 0, corner, 14), self.between(lips, corner, 0, 14)])
        yield np.concatenate([self.between("left eye", 0, 3, 10), self.between("left eye", 3, 0, 10)])
        right_eye = np.concatenate([self.between("right eye", 3, 0, 10), self.between("right eye", 0, 3, 10)])
        yield np.concatenate([right_eye[:1], right_eye[:0:-1]])
        for side, turned in (("left brow", False), ("right brow", True)):
            up = self.along(side, np.linspace(0, 1, 11)) - 0.03 * self.down
            low = self.along(side, np.linspace(0, 1, 11))[1:-1] + 0.03 * self.down
            if turned:
                up, low = up[::-1], low[::-1]
            yield np.concatenate([up, low[::-1]])


if __name__ == "__main__":
    run(main)
