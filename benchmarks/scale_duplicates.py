"""How much time and memory finding copies of photographs takes from a thousand faces to a million, and what is found.

    python benchmarks/scale_duplicates.py [--data 300w] [--faces 1000 10000 100000] [--crowd 1000 10000] [--rival 5000]

Faces are drawn at random: thumbnails of the faces of a data set (--data; default: synthetic faces), their principal
components with random weights; with --data 300w different people look as alike as there. Every fiftieth is a copy of one of
the fifty before it: moved, turned and scaled as by other landmarks, in another light, size and JPEG quality. Steps,
each in a process of its own:

- search: `find_copies` of the thumbnails, without reading pictures.
- all pairs: the same by the way of 0.1, which compares each with each and keeps 16 kB a face; up to --rival faces.
- pictures: `find_near_duplicates` of as many JPEG files of 96 pixels, from file to pairs; up to --most-pictures.
- crowd: `find_copies` where all faces are copies of one photograph; all pairs crowd, the same by the way of 0.1, for a tenth
  of the least --crowd.

`ms` and `clock_ms`: processor and clock a face, what draws the faces left out; `bytes`: memory a face at most beyond what was
there before; `found`: share of the planted copies; `other`: pairs of faces that are no copies of each other; `pairs` in all.
Writes scale-duplicates_<date>.csv.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import Row, finish, run, track

SIDE, MIDDLE = 64, 31.5
PICTURE = 96  # pixels of a file's side
EVERY = 50  # face of which one is a copy
PART = 1000  # faces drawn at a time
EXAMPLES, COMPONENTS = 1000, 700
ALIKE = 0.6  # deviation of the weights, so that as many pairs of strangers are proposed and moved as in 300W
SEED = 0

Parts = Iterator[np.ndarray]


def main(
    data: Annotated[
        Path | None, typer.Option(help="Data set whose faces are imitated; default: synthetic ones.")
    ] = None,
    faces: Annotated[list[int], typer.Option(help="How many.")] = [1000, 10_000, 100_000],  # noqa: B006
    crowd: Annotated[list[int], typer.Option(help="How many copies of one photograph.")] = [1000, 10_000],  # noqa: B006
    rival: Annotated[int, typer.Option(help="Faces up to which all pairs are compared, too.")] = 5000,
    most_pictures: Annotated[int, typer.Option(help="Faces up to which files are read, too.")] = 100_000,
) -> None:
    steps = [("search", count) for count in faces]
    steps += [("all pairs", count) for count in faces if count <= rival]
    steps += [("pictures", count) for count in faces if count <= most_pictures]
    steps += [("crowd", count) for count in crowd]
    steps += [("all pairs crowd", min(crowd) // 10)] if crowd and rival else []
    rows: list[Row] = []
    with TemporaryDirectory(prefix="semalign-scale-duplicates-") as scratch:
        folder = Path(scratch)
        np.savez(folder / "people.npz", **people(data))
        for step, count in track(steps, "duplicates"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                rows.append({"step": step, "faces": count} | pool.submit(measured, step, count, folder).result())
    finish("scale-duplicates", rows, digits=4)


def people(data: Path | None) -> dict[str, np.ndarray]:
    """Mean and principal components, times their deviation, of a data set's thumbnails."""
    from semalign.data import open_dataset
    from semalign.data.thumbnails import thumbnails
    from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

    with TemporaryDirectory(prefix="semalign-faces-") as scratch:
        if data is None:
            settings = SynthesisSettings(count=EXAMPLES, seed=SEED, face=FaceSettings(size=128))
            data = write_dataset(Path(scratch) / "faces", settings)
        dataset = open_dataset(data)
        shown = np.concatenate(list(thumbnails(dataset))).reshape(len(dataset), -1).astype(np.float32)
    mean = shown.mean(axis=0)
    _, deviations, components = np.linalg.svd(shown - mean, full_matrices=False)
    wanted = min(COMPONENTS, len(shown) // 2)
    scaled = components[:wanted] * (deviations[:wanted, None] / np.sqrt(len(shown)))
    return {"mean": mean, "components": scaled.astype(np.float32)}


class Drawn:
    """Faces that are drawn as they are asked for, and the time that it takes."""

    def __init__(self, folder: Path, count: int, crowd: bool) -> None:
        with np.load(folder / "people.npz") as people:
            self._mean, self._components = people["mean"], people["components"]
        self._count, self._crowd = count, crowd
        self.clock = self.processor = 0.0
        self.copies: set[tuple[int, int]] = set()

    def parts(self) -> Parts:
        """The faces, some hundred at a time."""
        for start in range(0, self._count, PART):
            clock, processor = time.perf_counter(), time.process_time()
            rng = np.random.default_rng([SEED, start])
            wanted = min(PART, self._count - start)
            part = self._one_photograph(wanted, rng) if self._crowd else self._people(start, wanted, rng)
            self.clock += time.perf_counter() - clock
            self.processor += time.process_time() - processor
            yield part

    def _people(self, start: int, count: int, rng: np.random.Generator) -> np.ndarray:
        weights = ALIKE * rng.normal(size=(count, len(self._components)))
        part = np.clip(self._mean + weights.astype(np.float32) @ self._components, 0, 255)
        part = part.astype(np.uint8).reshape(-1, SIDE, SIDE)
        for row in range(EVERY - 1, count, EVERY):
            source = row - int(rng.integers(1, EVERY))
            part[row] = copied(part[source], rng)
            self.copies.add((start + source, start + row))
        return part

    def _one_photograph(self, count: int, rng: np.random.Generator) -> np.ndarray:
        weights = np.random.default_rng(SEED).normal(size=len(self._components)).astype(np.float32)
        face = np.clip(self._mean + weights @ self._components, 0, 255).astype(np.uint8).reshape(SIDE, SIDE)
        return np.stack([copied(face, rng) for _ in range(count)])


def copied(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face in a frame that other landmarks give, in another light, size and quality."""
    turn = cv2.getRotationMatrix2D((MIDDLE, MIDDLE), rng.normal(0, 1), 1 + rng.normal(0, 0.012))
    turn[:, 2] += rng.normal(0, 0.4, 2)
    moved = cv2.warpAffine(face, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    side = int(rng.integers(36, SIDE + 1))
    small = cv2.resize(moved, (side, side), interpolation=cv2.INTER_AREA)
    light = np.clip(rng.uniform(0.6, 1.0) * small + rng.uniform(0, 50), 0, 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", light, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
    return cv2.resize(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def measured(step: str, count: int, folder: Path) -> Row:
    """One step, in this process."""
    from semalign.data.copies import find_copies

    drawn = Drawn(folder, count, crowd="crowd" in step)
    works: dict[str, Callable[[], list[tuple[int, int]]]] = {
        "search": lambda: [pair[:2] for pair in find_copies(drawn.parts(), count).pairs],
        "crowd": lambda: [pair[:2] for pair in find_copies(drawn.parts(), count).pairs],
        "all pairs": lambda: all_pairs(drawn.parts()),
        "all pairs crowd": lambda: all_pairs(drawn.parts()),
    }
    work = pictures(drawn, folder / str(count)) if step == "pictures" else works[step]
    before, clock, processor = peak(), time.perf_counter(), time.process_time()
    spent = drawn.clock, drawn.processor
    pairs = set(work())
    row: Row = {
        "ms": 1000 * (time.process_time() - processor - drawn.processor + spent[1]) / count,
        "clock_ms": 1000 * (time.perf_counter() - clock - drawn.clock + spent[0]) / count,
        "bytes": round((peak() - before) / count),
        "pairs": len(pairs),
    }
    if "crowd" not in step:
        row |= {"found": len(drawn.copies & pairs) / len(drawn.copies), "other": others(pairs, drawn.copies)}
    return row


def others(pairs: set[tuple[int, int]], copies: set[tuple[int, int]]) -> int:
    """How many pairs are of two photographs; copies of a copy are copies."""
    photograph: dict[int, int] = {}
    for source, copy in sorted(copies, key=lambda pair: pair[1]):
        photograph[copy] = photograph.get(source, source)
    return sum(photograph.get(one, one) != photograph.get(other, other) for one, other in pairs)


def pictures(drawn: Drawn, folder: Path) -> Callable[[], list[tuple[int, int]]]:
    """The search in JPEG files that are written now."""
    from semalign.data import Dataset, Sample, find_near_duplicates
    from semalign.schemes import load_scheme

    scheme = load_scheme("ibug68")
    points = np.random.default_rng(SEED).uniform(24, 72, (scheme.count, 2))
    samples = []
    for part in drawn.parts():
        within = folder / f"{len(samples) // PART:04d}"
        within.mkdir(parents=True)
        for face in part:
            path = within / f"{len(samples):07d}.jpg"
            cv2.imwrite(str(path), cv2.resize(face, (PICTURE, PICTURE), interpolation=cv2.INTER_CUBIC))
            samples.append(Sample(path.name, path, points.copy(), "train", "faces"))
    dataset = Dataset(folder, "faces", scheme, tuple(samples))
    return lambda: [
        (min(rows), max(rows))
        for rows in ((int(one[:7]), int(other[:7])) for one, other, _ in find_near_duplicates(dataset))
    ]


def all_pairs(parts: Parts) -> list[tuple[int, int]]:
    """As version 0.1: each small thumbnail is compared with each, and every likely pair is registered."""
    from semalign.data.likeness import PROPOSED, SAME_PHOTOGRAPH, registered_likeness, small_thumbnails

    faces = np.concatenate([part.astype(np.float32) for part in parts])
    small, found = small_thumbnails(faces), []
    for first in range(len(faces) - 1):
        for step in np.flatnonzero(small[first + 1 :] @ small[first] > PROPOSED):
            second = first + 1 + int(step)
            if registered_likeness(faces[first], faces[second]) >= SAME_PHOTOGRAPH:
                found.append((first, second))
    return found


def peak() -> int:
    """The most memory that this process has had, bytes; a process's own where the system says it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    run(main)
