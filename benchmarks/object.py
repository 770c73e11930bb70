"""Does an audit find planted errors in 200 pictures of an object that is no face, and how long does it take?

    python benchmarks/object.py
    python benchmarks/object.py --seeds 2 3 --draws 8

For each seed 200 pictures of a toy aeroplane with 12 points are made (`semalign data synthesize --object`), with people's small
errors. Errors of all kinds are planted in 5 % of the pictures, and `semalign audit FOLDER` is called on what a user would have:
pictures, .pts files and a scheme. That trains the networks, with the planted errors among their annotations. Then each kind
alone is planted in 5 % of the pictures, drawn anew, and judged by the same networks: among people's marks and among points that
are exact otherwise (`others`), as many times as there are draws; their figures are means. Sizes of errors are in % of the root
of the area of the landmarks' box.

`precision`: share of planted ones among as many pictures as were planted, the most probable first. `average_precision`: over
all of the order. `named`: share of the planted pictures whose kind is called what it is. `listed`: pictures of probability 0.5
and more, `listed_wrongly`: those of them in which nothing was planted. `judges_error`: median distance of the networks' mean
from the truth, in % of the size. `minutes` and `cpu_minutes`: of the command, by the clock and of the processor.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from harness import Row, finish, run, track
from planted import KINDS as KINDS_OF_ERRORS

from semalign.auditing import KINDS, Audit, read_audit
from semalign.auditing.make import audit
from semalign.auditing.result import ABOUT
from semalign.auditing.witnesses import Witnesses, heard
from semalign.data import Dataset, Sample, open_dataset
from semalign.data.crops import face_boxes
from semalign.data.pts import write_pts
from semalign.data.truth import DESCRIPTION, TRUTH
from semalign.files import read_json, write_json
from semalign.inference import Landmarks
from semalign.pipeline.witnesses import CrossFitted
from semalign.synthetic import ObjectSetSettings, object_size, write_objects
from semalign.synthetic.aeroplane import SCHEME

SHARE = 0.05  # of the pictures in which an error is planted
Plant = Callable[[Sample, int, np.ndarray, np.random.Generator], np.ndarray]


def _as_in_faces(kind: str, size: float = 0.0) -> Plant:
    """An error that `planted.py` makes."""
    return lambda sample, row, every, rng: KINDS_OF_ERRORS[kind].change(sample, size, rng, SCHEME)


def _shifted(sample: Sample, row: int, every: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(sample.points, 1, axis=0)


def _scaled(sample: Sample, row: int, every: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (sample.points + 0.5) * 1.05 - 0.5


def _another(sample: Sample, row: int, every: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return every[(row + rng.integers(1, len(every))) % len(every)]


PLANTS: dict[str, tuple[str, Plant]] = {  # the kind that is right, and how it is planted
    "point 8 %": ("point", _as_in_faces("point", 0.08)),
    "point 12 %": ("point", _as_in_faces("point", 0.12)),
    "point 16 %": ("point", _as_in_faces("point", 0.16)),
    "numbers shifted": ("shifted", _shifted),
    "pairs exchanged": ("exchanged", _as_in_faces("exchanged")),
    "misplaced 10 %": ("misplaced", _as_in_faces("misplaced", 0.1)),
    "scaled 5 %": ("scaled", _scaled),
    "another's file": ("another", _another),
}


@dataclass(frozen=True)
class _Set:
    """A data set with planted errors: the rows, and the right kind of each."""

    dataset: Dataset
    rows: np.ndarray
    kinds: list[str]


def main(
    seeds: Annotated[list[int], typer.Option(help="Of the pictures and of what is planted.")] = [1, 2],  # noqa: B006
    count: Annotated[int, typer.Option(help="Pictures.")] = 200,
    draws: Annotated[int, typer.Option(help="Times that each kind alone is planted.", min=1)] = 1,
    options: Annotated[str, typer.Option(help="Further words of the command.")] = "",
    keep: Annotated[
        Path | None, typer.Option(help="Folder that is kept; what is finished in it is not made again.")
    ] = None,
) -> None:
    with TemporaryDirectory() as temporary:
        finish(
            "object",
            [row for seed in seeds for row in _of(seed, count, (keep or Path(temporary)) / f"{seed}", draws, options)],
        )


def _of(seed: int, count: int, folder: Path, draws: int, options: str) -> list[Row]:
    """Everything of a seed."""
    source = write_objects(folder / "source", ObjectSetSettings(count=count, seed=seed), workers=os.cpu_count() or 1)
    clean = open_dataset(source)
    truth = np.stack([clean.truth[name] for name in clean.ids()]) if clean.truth else np.empty(0)
    mixed = _planted(clean, [*PLANTS], seed, 0)
    clock, processor = _command(_written(mixed.dataset, folder / "data"), folder / "audit", options)
    networks = folder / "audit" / "crossfit"
    common = {"seed": seed, "pictures": count}
    found = read_audit(folder / "audit")
    builder = Once(CrossFitted(networks))
    error = _error(builder, mixed.dataset, truth)
    timing = {"minutes": clock / 60, "cpu_minutes": processor / 60}
    rows = [
        common
        | {"draws": 1, "others": "marked", "planted": "all kinds"}
        | _figures(found, mixed)
        | {"judges_error": error}
        | timing
    ]
    exact = tuple(replace(sample, points=points) for sample, points in zip(clean.samples, truth, strict=True))
    for others, faces in {"marked": clean, "exact": replace(clean, samples=exact)}.items():
        for number, name in enumerate(track(PLANTS, f"seed {seed}, others {others}"), start=1):
            figures = []
            for draw in range(draws):
                alone = _planted(faces, [name], seed, number + draw * (len(PLANTS) + 1))
                made = audit(replace(alone.dataset, name="object"), builder, duplicates=False)
                figures.append(_figures(made, alone))
            mean = {key: figures[0][key] if draws == 1 else _mean(figures, key) for key in figures[0]}
            rows.append(common | {"draws": draws, "others": others, "planted": name} | mean)
    return rows


def _planted(clean: Dataset, names: list[str], seed: int, draw: int) -> _Set:
    """Errors of some kinds, in turn, in a share of the pictures."""
    rng = np.random.default_rng([seed, draw, 5])
    every, samples = clean.points(), list(clean.samples)
    rows, kinds = rng.permutation(len(every))[: round(SHARE * len(every))], []
    for number, row in enumerate(rows):
        kind, plant = PLANTS[names[number % len(names)]]
        samples[row] = replace(samples[row], points=plant(samples[row], int(row), every, rng))
        kinds.append(kind)
    return _Set(replace(clean, samples=tuple(samples)), rows, kinds)


def _written(dataset: Dataset, folder: Path) -> Path:
    """A copy of the data set's folder with its points, and without the truth."""
    if not folder.is_dir():
        shutil.copytree(dataset.root, folder, ignore=shutil.ignore_patterns(TRUTH, DESCRIPTION))
    for sample in dataset.samples:
        write_pts((folder / sample.id).with_suffix(".pts"), sample.points)
    return folder


def _command(data: Path, out: Path, options: str) -> tuple[float, float]:
    """Seconds of the audit by the command, by the clock and of the processor; of one that is finished, what was noted."""
    noted = out.with_suffix(".json")
    if (out / ABOUT).is_file() and noted.is_file():
        clock, spent = read_json(noted, "delete it and the audit")
        return float(clock), float(spent)
    words = [sys.executable, "-m", "semalign", "audit", str(data), "--out", str(out), "--top", "0", *options.split()]
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    write_json(noted, [time.perf_counter() - clock, spent])
    return time.perf_counter() - clock, spent


class Once:
    """An evidence builder that looks at a face once for each place in its picture."""

    learns = False

    def __init__(self, builder: CrossFitted) -> None:
        self.builder, self.name = builder, builder.name
        self._seen: dict[tuple[object, ...], Witnesses] = {}

    def notes(self, judge: Dataset) -> list[str]:
        return self.builder.notes(judge)

    def __call__(self, learn: Dataset, judge: Dataset) -> Witnesses:
        boxes = face_boxes(judge.samples).tolist()
        keys = [(sample.id, *box) for sample, box in zip(judge.samples, boxes, strict=True)]
        new = [row for row, key in enumerate(keys) if key not in self._seen]
        if new:
            faces = replace(judge, samples=tuple(judge.samples[row] for row in new))
            found = heard(self.builder(faces, faces))
            self._seen |= {keys[row]: found.take(np.array([at])) for at, row in enumerate(new)}
        return _joined([self._seen[key] for key in keys])


def _joined(parts: list[Witnesses]) -> Witnesses:
    """Of faces seen one by one."""

    def together(seen: list[Landmarks]) -> Landmarks:
        points, confidence = (np.concatenate([getattr(one, name) for one in seen]) for name in ("points", "confidence"))
        spreads = [one.spread for one in seen if one.spread is not None]
        return Landmarks(points, confidence, seen[0].scheme, np.concatenate(spreads) if spreads else None)

    members = zip(*(part.members for part in parts), strict=True)
    return replace(
        parts[0],
        predictions=together([part.predictions for part in parts]),
        members=tuple(together(list(member)) for member in members),
        reference_pixels=np.concatenate([part.reference_pixels for part in parts]),
    )


def _mean(figures: list[Row], key: str) -> float:
    return float(np.mean([one[key] for one in figures]))


def _error(builder: Once, dataset: Dataset, truth: np.ndarray) -> float:
    said = builder(dataset, dataset).predictions.points
    return float(np.median(100 * np.linalg.norm(said - truth, axis=-1) / object_size(truth)[:, None]))


def _figures(found: Audit, planted: _Set) -> Row:
    """What the audit is worth on these pictures."""
    wrong = np.zeros(len(found), bool)
    wrong[planted.rows] = True
    ordered = wrong[np.argsort(-found.odds, kind="stable")]
    hits = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    listed = found.face_probability >= 0.5
    names = [KINDS[kind].name if kind >= 0 else "" for kind in found.face_kind[planted.rows]]
    named = [name == kind for name, kind in zip(names, planted.kinds, strict=True)]
    return {
        "planted_pictures": len(planted.rows),
        "precision": float(ordered[: len(planted.rows)].mean()),
        "average_precision": float(hits[ordered].mean()),
        "named": float(np.mean(named)),
        "listed": int(listed.sum()),
        "listed_wrongly": int((listed & ~wrong).sum()),
    }


if __name__ == "__main__":
    run(main)
