"""Are found labels nearer to what people agree on than the annotations? Three workers' marks on real faces tell.

    python benchmarks/annotators.py --data 300w --annotators lfpw_annotators.csv --run runs/300w-compact

prints, by region and in % of the outer-eye distance, the residual (semalign.evaluation.annotators) of the 300W
annotations, of each label version of the run, of its networks' predictions, and of these averaged with the annotations; then
the difference to the annotations on the same faces, from `low` to `high` in 95 %: `lower` is nearer to people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, finish, run

from semalign.data import LabelStore, open_dataset
from semalign.errors import SemalignError
from semalign.evaluation.annotators import LabelSet, compare_label_sets, read_annotators


def main(
    data: DataFolder,
    annotators: Annotated[Path, typer.Option(help="CSV file of the three annotators.")],
    folder: Annotated[Path, typer.Option("--run", help="Folder of a run.")],
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    dataset = open_dataset(data).select(subsets=["lfpw/trainset"])
    annotations = LabelSet("300W annotations", dataset.ids(), dataset.points())
    marks, rng = read_annotators(annotators), np.random.default_rng(seed)
    rows = compare_label_sets(annotations, label_sets(folder, annotations), marks, rng)
    rounded = (
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    rows = [{"run": folder.resolve().name, **row} for row in rounded]
    finish("annotators", rows, digits=3, caption="lower: nearer to people than the annotations; higher: farther")


def label_sets(run: Path, annotations: LabelSet) -> list[LabelSet]:
    """The label versions and predictions in a run's folder, and the predictions averaged with the annotations.

    Labels are those of every repeat (labels, labels-2, ...), predictions all that lie in folders of that name.
    """
    if not run.is_dir():
        raise SemalignError(f"{run}: is no folder; give the folder of a run.")
    sets = []
    for folder in sorted(run.glob("labels*"), key=lambda path: (len(path.name), path.name)):
        store = LabelStore(folder)
        for version in map(store.read, store.versions()):
            name = f"{folder.name}, version {version.index}" + (" (annotations)" if version.iteration == 0 else "")
            sets.append(LabelSet(name, version.ids, version.points))
    for folder in sorted([*run.glob("predictions*"), *run.glob("*/predictions")]):
        store = LabelStore(folder)
        for version in map(store.read, store.versions()):
            source = version.provenance.get("source", folder.relative_to(run))
            predicted = LabelSet(f"network ({source})", version.ids, version.points)
            sets += [predicted, averaged(predicted, annotations)]
    if not sets:
        raise SemalignError(f"{run}: holds neither label versions nor predictions; finish the run first.")
    return sets


def averaged(predicted: LabelSet, annotations: LabelSet) -> LabelSet:
    """The mean of predictions and annotations on the faces of both."""
    row_of = {name: row for row, name in enumerate(annotations.ids)}
    rows = [row for row, name in enumerate(predicted.ids) if name in row_of]
    ids = tuple(predicted.ids[row] for row in rows)
    points = (predicted.points[rows] + annotations.points[[row_of[name] for name in ids]]) / 2
    return LabelSet(f"{predicted.name} and annotations, averaged", ids, points)


if __name__ == "__main__":
    run(main)
