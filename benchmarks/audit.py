"""Does the audit find errors that were planted in real annotations, and does it name them?

    semalign crossfit 300w-crossfit --data 300w --folds 4 --out crossfit
    python benchmarks/audit.py --data 300w --crossfit crossfit
    python benchmarks/audit.py --data 300w --quick --seeds 3 4 5

In 5 % of the faces an error of one kind and size is planted (`planted.py`); everything else stays as it was annotated, and
errors that were there already count as false. Boxes follow the planted points. With --crossfit the faces are those of the
crossfit's training, each judged by networks that have not seen its photograph (they have learned from the other faces without
planted errors). With --quick they are the test faces, judged by the shipped model, and with --exported beside it as it is
without PyTorch. `precision`: share of planted ones among as
many of the highest rank as were planted; `average`: average precision; `named`: of those that have a probability of 0.5, how
many have the planted kind's name. The other methods rank faces by what the same witnesses say:

    distance   the landmark that is farthest from what they predict, in face sizes
    peak       how high their heatmaps are at the annotated points, on average
    cleanlab   self-confidence of each point under their heatmaps, less the landmark's mean, pooled by softmin
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, Row, finish, run, track
from planted import KINDS, Planted, copy_of, plant

from semalign.auditing.kinds import NAMES
from semalign.auditing.make import SURE, Auditor
from semalign.auditing.witnesses import Witnesses, heard, joined
from semalign.core.similarity import sizes_of, to_complex
from semalign.data import Dataset, open_dataset
from semalign.inference.landmarker import open_model
from semalign.inference.onnx import OnnxBackend
from semalign.pipeline.witnesses import CrossFitted, ShippedModel
from semalign.progress import SilentProgress
from semalign.searches.builders import EvidenceBuilder, ExportedModel

SHARE = 0.05
TEMPERATURE = 0.1  # of the softmin, as cleanlab pools the labels of a picture


def main(
    data: DataFolder,
    crossfit: Annotated[Path | None, typer.Option(help="Folder of a finished crossfit on its training faces.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Test faces, judged by the shipped model.")] = False,
    exported: Annotated[
        bool, typer.Option("--exported", help="With --quick: as it is exported, without PyTorch.")
    ] = False,
    seeds: Annotated[list[int], typer.Option(help="Of the planting.")] = [1, 2],  # noqa: B006
    kinds: Annotated[list[str], typer.Option(help="Kinds to plant.")] = list(KINDS),  # noqa: B006
) -> None:
    if (crossfit is None) != quick:
        raise typer.BadParameter("give either --crossfit or --quick")
    dataset = open_dataset(data, keep_going=True)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        if crossfit is None:
            builder: EvidenceBuilder = ShippedModel("default")
            if exported:
                opened = open_model("default", exported=True)
                assert isinstance(opened, OnnxBackend)
                builder = ExportedModel("default", opened)
            faces = dataset.select(split="test")
        else:
            builder = CrossFitted(crossfit)
            builder.folds |= {copy_of(name): fold for name, fold in builder.folds.items()}
            faces = dataset.select(exclude=set(dataset.ids()) - builder.folds.keys())
        witness = _Kept(builder)
        todo = [(kind, size, seed) for kind in kinds for size in KINDS[kind].sizes for seed in seeds]
        rows: list[Row] = []
        for kind, size, seed in track(todo, "planting"):
            planted = plant(faces, kind, size, seed, SHARE, place / "copies")
            judged = "test faces, default" if quick else "training faces, out of fold"
            about = {"faces": judged + " (exported)" * exported, "count": len(faces)}
            found = list(_rows(planted, witness, kind))
            rows += [about | {"kind": kind, "size": size, "seed": seed} | row for row in found]
            print(
                kind,
                size,
                seed,
                [(row["method"], round(row["precision"], 2), row["named"]) for row in found],
                flush=True,
            )
        finish("audit" + "-quick" * quick + "-exported" * exported, rows, digits=3)


class _Kept:
    """Another builder's evidence, which is asked only once of each face and box."""

    learns = False

    def __init__(self, builder: EvidenceBuilder) -> None:
        self.builder, self.name = builder, builder.name
        self.known: dict[tuple[str, bytes], Witnesses] = {}

    def notes(self, judge: Dataset) -> list[str]:
        return self.builder.notes(judge)

    def __call__(self, learn: Dataset, judge: Dataset) -> Witnesses:
        keys = [(s.id, s.points.tobytes() if s.box is None else np.array(s.box).tobytes()) for s in judge.samples]
        # A face that is looked at in several places counts as several: the builder hears of faces by their id alone.
        new = {key: row for row, key in enumerate(keys) if key not in self.known}
        while new:
            once = {key[0]: (key, row) for key, row in new.items()}
            rows = [row for _, row in once.values()]
            some = replace(judge, samples=tuple(judge.samples[row] for row in rows))
            seen = heard(self.builder(some, some))
            for place, (key, _) in enumerate(once.values()):
                self.known[key] = seen.take(np.array([place]))
                del new[key]
        return joined([self.known[key] for key in keys])


def _rows(planted: Planted, witness: _Kept, kind: str) -> Iterator[Row]:
    """The audit and the other methods on one planted set."""
    start = time.process_time()
    auditor = Auditor(planted.dataset, witness, SilentProgress())
    first = auditor.witnesses
    audit = auditor.audit(duplicates=kind == "duplicate")
    seconds = time.process_time() - start
    found = planted.wrong & (audit.face_probability >= SURE)
    names = np.array([NAMES[index] for index in audit.face_kind])
    named = np.isin(names[found], KINDS[kind].names).mean() if found.any() else None
    yield _figures("audit", audit.odds, planted.wrong) | {"named": named, "seconds": seconds}
    for method, score in _others(planted.dataset, first).items():
        yield _figures(method, score, planted.wrong) | {"named": None, "seconds": None}


def _others(dataset: Dataset, witnesses: Witnesses) -> dict[str, np.ndarray]:
    """Scores of the other methods, higher where a face is more probably wrong."""
    said = witnesses.predictions
    away = np.linalg.norm(dataset.points() - said.points, axis=2)
    spread = np.linalg.norm(said.spread, axis=2) / np.sqrt(2) if said.spread is not None else witnesses.sigma
    own = np.exp(-((away / np.maximum(spread, 1e-6)) ** 2) / 2)
    margin = own - own.mean(axis=0)
    weights = np.exp((1 - margin) / TEMPERATURE)
    return {
        "distance": (away / sizes_of(to_complex(said.points))[:, None]).max(axis=1),
        "peak": -(own * said.confidence).mean(axis=1),
        "cleanlab": -(weights * margin).sum(axis=1) / weights.sum(axis=1),
    }


def _figures(method: str, score: np.ndarray, wrong: np.ndarray) -> Row:
    ranked = wrong[np.argsort(-score, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return {
        "method": method,
        "planted": int(wrong.sum()),
        "precision": float(ranked[: wrong.sum()].mean()),
        "average": float(precision[ranked].mean()),
    }


if __name__ == "__main__":
    run(main)
