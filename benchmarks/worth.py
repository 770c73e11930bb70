"""How many independent people are labels from networks that have not seen the faces worth?

    semalign crossfit 300w-crossfit --data 300w --folds 4 --out crossfit
    semalign crossfit 300w-crossfit --beside 300w-crossfit-cascade --data 300w --folds 4 --out crossfit-beside
    python benchmarks/worth.py --data 300w --annotators lfpw_annotators.csv --crossfit crossfit --crossfit crossfit-beside

The faces are those that three workers marked; each is judged by the network that was trained without its photograph, and by the
face mesh in the terms learned from the same other faces, and, of a `crossfit --beside`, by the network of the other kind.
Labels 'of each fold by itself' are what a search with a model gives on faces of other people: its error model is learned from
these faces alone, those of lfpw/trainset in one fold.

`worth`: the mean of so many workers is as near to the truth (`semalign.evaluation.worth`). `within_90`: share of the 19 shared
points that lie within the radius that is to hold 90 % of them (`Workers.within`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from harness import DataFolder, Row, finish, run

from semalign.data import Dataset, LabelStore, open_dataset
from semalign.evaluation.annotators import AnnotatorMarks, read_annotators
from semalign.evaluation.worth import Workers, workers_of
from semalign.pipeline.witnesses import CrossFitted
from semalign.searches import Evidence, Observations, make_search
from semalign.searches.average import AverageSettings
from semalign.searches.calibrated import CalibratedSettings

LFPW = "lfpw/trainset/"
COMPONENTS: Literal["auto"] = "auto"  # of the label adaptation, as the recipe has it


def main(
    data: DataFolder,
    annotators: Annotated[Path, typer.Option(help="CSV file of the three annotators.")],
    crossfit: Annotated[list[Path], typer.Option(help="Folder of a finished crossfit; may be given several times.")],
) -> None:
    marks = read_annotators(annotators)
    dataset = open_dataset(data, keep_going=True)
    finish("worth", [row for folder in crossfit for row in _of(folder, dataset, marks)], digits=3)


def _of(crossfit: Path, dataset: Dataset, marks: AnnotatorMarks) -> list[Row]:
    """What the labels of a crossfit, and those that follow from its networks, are worth."""
    builder = CrossFitted(crossfit)
    faces = dataset.select(exclude=set(dataset.ids()) - (builder.folds.keys() & set(marks.ids)))
    evidence = builder(faces, faces)
    points = faces.points()
    workers = workers_of(faces.ids(), points, marks)
    labels = LabelStore(crossfit / "labels").read()
    place = [labels.ids.index(name) for name in faces.ids()]
    own = f"crossfit's labels ({labels.provenance['method']}, learned on all {len(labels.ids)} faces)"
    kept = _row(own, labels.points[place], workers)
    if labels.spread is not None:
        kept["within_90"] = workers.within(labels.points[place], labels.spread[place])
    other = "mesh" if len(builder.kinds) == 1 else "mesh and network beside"
    alone = _row("calibrated, of each fold by itself", _fold_by_fold(builder, dataset, faces), workers)
    return [{"crossfit": crossfit.name, **row} for row in [*rows(points, evidence, workers, other), alone, kept]]


def _fold_by_fold(builder: CrossFitted, dataset: Dataset, faces: Dataset) -> np.ndarray:
    """Labels of the faces, those of lfpw/trainset in each fold found without any others."""
    found: dict[str, np.ndarray] = {}
    for fold in sorted(set(builder.folds.values())):
        wanted = {name for name, own in builder.folds.items() if own == fold and name.startswith(LFPW)}
        some = dataset.select(exclude=set(dataset.ids()) - wanted)
        observations = Observations(some.points(), some.points())
        labels = make_search(CalibratedSettings(), COMPONENTS)(observations, builder(some, some))
        found |= dict(zip(some.ids(), labels.points, strict=True))
    return np.stack([found[name] for name in faces.ids()])


def rows(annotations: np.ndarray, evidence: Evidence, workers: Workers, other: str) -> list[Row]:
    observations = Observations(annotations, annotations)
    network, second = (member.points for member in evidence.members)
    sets = {"annotation": annotations, "network": network, other: second, "both": evidence.predictions.points}
    found = [_row(name, points, workers) for name, points in sets.items()]
    for name, points in (("network", network), (other, second)):
        found.append(_row(f"annotation and {name}, half and half", (annotations + points) / 2, workers))
    for name, settings in (("average", AverageSettings()), ("calibrated", CalibratedSettings())):
        labels = make_search(settings, COMPONENTS)(observations, evidence)
        assert labels.spread is not None
        within = workers.within(labels.points, labels.spread)
        found.append(_row(name, labels.points, workers) | {"within_90": within})
    return found


def _row(name: str, points: np.ndarray, workers: Workers) -> Row:
    figures = workers.worth(points)
    return {
        "labels": name,
        "faces": len(workers.rows),
        "plain": figures.plain["all"],
        "adapted": figures.adapted["all"],
        "error": figures.error["all"],
        "worth": figures.worth["all"],
        **{f"error_{region}": value for region, value in figures.error.items() if region != "all"},
        "within_90": None,
    }


if __name__ == "__main__":
    run(main)
