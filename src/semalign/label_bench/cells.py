"""A cell of the table, and those on real faces: planted noise, the workers' yardstick, two halves of the data.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.crops import face_boxes
from semalign.data.duplicates import independent_folds
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.evaluation.annotators import AnnotatorMarks
from semalign.evaluation.worth import workers_of
from semalign.label_bench.methods import Comparison, Found, compare
from semalign.label_bench.scores import Truth, mean_distance
from semalign.label_bench.settings import ANNOTATORS, PLANTED, BenchSettings, noise_of
from semalign.pipeline.witnesses import Remembered, unseen
from semalign.searches import Evidence
from semalign.searches.builders import EvidenceBuilder
from semalign.synthetic.annotators import marked_again

Figures = dict[str, Any]  # ready for JSON
ONE_WORKER = "one worker"


@dataclass(frozen=True)
class Cell:
    """A part of the table that is measured in one go.

    Attributes:
        name: of its file.
        about: what the rows have in common: part, data, noise, level.
        measure: given a folder for what it needs on the way, its {"faces", "rows", "notes"} and what else there is to say.
    """

    name: str
    about: Figures
    measure: Callable[[Path], Figures]


def noisy(
    points: np.ndarray, kind: str, level: float, seed: int, name: str, visible: np.ndarray | None = None
) -> np.ndarray:
    """Annotations (b, 68, 2) with noise of a kind and level around the points; each cell's `name` has its own draws."""
    own = zlib.crc32(f"{seed} {name}".encode())
    return marked_again(points, ANNOTATORS, own, noise_of(kind, level), visible)


def with_annotations(faces: Dataset, annotations: np.ndarray) -> Dataset:
    """The faces with other annotations (b, n, 2)."""
    samples = tuple(replace(s, points=p) for s, p in zip(faces.samples, annotations, strict=True))
    return replace(faces, samples=samples)


def figures_against_truth(truth: Truth, evidence: Evidence, settings: BenchSettings) -> Figures:
    """The figures of every method where the truth is known."""
    found = compare(truth.annotations, evidence, settings, truth.error)
    return {
        "faces": len(truth.points),
        "rows": truth.rows(found.found, [member.points for member in evidence.members]),
        "drift": found.drift,
        "notes": found.notes,
    }


def figures_of_halves(builder: EvidenceBuilder, faces: Dataset, fold: np.ndarray, settings: BenchSettings) -> Figures:
    """How far apart each method's labels of the faces of fold 0 are, by evidence learned on fold 1 and on fold 2."""
    names = np.array(faces.ids())

    def part(index: int) -> Dataset:
        return faces.select(exclude=frozenset(names[fold != index].tolist()))

    judged = part(0)
    annotations = judged.points()
    one, other = (compare(annotations, Remembered(builder(part(index), judged)), settings) for index in (1, 2))
    return {
        "faces": len(judged),
        "rows": agreement(one, other, annotations, judged),
        "notes": one.notes,
    }


def agreement(one: Comparison, other: Comparison, annotations: np.ndarray, faces: Dataset) -> list[Figures]:
    """A row for each method that has labels in both: their mean distance in % of the outer-eye distance."""
    by_name = {found.method: found for found in other.found}
    return [
        {
            "method": found.method,
            "agreement": mean_distance(found.points, by_name[found.method].points, annotations, faces.scheme),
        }
        for found in one.found
        if found.method in by_name
    ]


@dataclass(frozen=True, eq=False)
class RealFaces:
    """Cells on annotated photographs.

    Args:
        whole: the data set.
        builder: of the evidence.
        settings: of the bench.
    """

    whole: Dataset
    builder: EvidenceBuilder
    settings: BenchSettings

    def cells(self, marks: AnnotatorMarks | None) -> list[Cell]:
        """Those of planted noise, of the workers where their marks are given, of two halves where the builder learns."""
        found = [
            Cell(f"planted-{kind}-{level:g}", self._about("planted", kind, level), self._planted(kind, level))
            for kind in PLANTED
            for level in self.settings.levels
        ]
        if marks is not None:
            about = self._about("annotators", "people's", None)
            found.append(Cell("annotators", about, lambda folder: self._workers(marks)))
        if self.builder.learns:
            about = self._about("halves", "people's", None)
            found.append(Cell("halves-real", about, lambda folder: self._halves()))
        return found

    def _about(self, part: str, noise: str, level: float | None) -> Figures:
        return {"part": part, "data": self.whole.name, "evidence": self.builder.name, "noise": noise, "level": level}

    @cached_property
    def faces(self) -> Dataset:
        """Whole faces, the test faces where there are some, in boxes that planted noise does not change."""
        test = self.whole.select(split="test")
        return _some(boxed(complete(test if len(test) else self.whole)), self.settings.real_faces, self.settings.seed)

    @cached_property
    def _of_fixed_evidence(self) -> Evidence:
        return self._evidence(self.faces)

    def _evidence(self, faces: Dataset) -> Evidence:
        return unseen(self.builder, faces, self.settings.folds, self.settings.seed)

    def _planted(self, kind: str, level: float) -> Callable[[Path], Figures]:
        def measure(folder: Path) -> Figures:
            before = self.faces.points()
            planted = noisy(before, kind, level, self.settings.seed, f"planted {kind} {level:g}")
            learns = self.builder.learns
            evidence = self._evidence(with_annotations(self.faces, planted)) if learns else self._of_fixed_evidence
            figures = figures_against_truth(Truth(before, planted, self.faces.scheme), evidence, self.settings)
            return figures | {"notes": [*self.builder.notes(self.faces), *figures["notes"]]}

        return measure

    def _workers(self, marks: AnnotatorMarks) -> Figures:
        marked = frozenset(marks.ids)
        faces = boxed(self.whole.select(exclude={name for name in self.whole.ids() if name not in marked}))
        if not len(faces):
            raise SemalignError(
                f"{self.whole.root}: the annotators marked none of its faces; give 300W's lfpw/trainset."
            )
        annotations = faces.points()
        workers = workers_of(faces.ids(), annotations, marks)
        found = compare(annotations, self._evidence(faces), self.settings, lambda p: workers.worth(p).error["all"])
        rows = [_worth_row(one, asdict(workers.worth(one.points))) for one in found.found]
        for row, one in zip(rows, found.found, strict=True):
            if one.spread is not None:
                row["uncertainty"] = {"within_90": workers.within(one.points, one.spread)}
        own, floor = workers.own_error, workers.floor
        rows.append(_worth_row(Found(ONE_WORKER, annotations), {"error": own, "worth": dict.fromkeys(own, 1.0)}))
        return {
            "faces": len(workers.rows),
            "rows": rows,
            "floor": floor,
            "drift": found.drift,
            "notes": [*self.builder.notes(faces), *found.notes],
        }

    def _halves(self) -> Figures:
        fold = independent_folds(self.faces, 3, self.settings.seed)
        figures = figures_of_halves(self.builder, self.faces, fold, self.settings)
        return figures | {"notes": [*self.builder.notes(self.faces), *figures["notes"]]}


def _worth_row(one: Found, figures: Figures) -> Figures:
    return {
        "method": one.method,
        "error": figures["error"]["all"],
        "regions": {name: {"mean": value} for name, value in figures["error"].items() if name != "all"},
        "plain": figures.get("plain", {}).get("all"),
        "adapted": figures.get("adapted", {}).get("all"),
        "worth": figures["worth"]["all"],
        "worth_by_region": {name: value for name, value in figures["worth"].items() if name != "all"},
        "note": one.note,
    }


def complete(faces: Dataset) -> Dataset:
    """Those with all points."""
    return faces.select(exclude={s.id for s in faces.samples if not np.isfinite(s.points).all()})


def boxed(faces: Dataset) -> Dataset:
    """The faces with their boxes written down, which other annotations leave as they are."""
    boxes = face_boxes(faces.samples).tolist()
    samples = tuple(replace(s, box=tuple(box)) for s, box in zip(faces.samples, boxes, strict=True))
    return replace(faces, samples=samples)


def _some(faces: Dataset, count: int | None, seed: int) -> Dataset:
    if count is None or len(faces) <= count:
        return faces
    left_out = np.random.default_rng(seed).permutation(len(faces))[count:]
    names = faces.ids()
    return faces.select(exclude={names[row] for row in left_out})
