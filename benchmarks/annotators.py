"""Are found labels nearer to what people agree on than the annotations? Three workers' marks on real faces tell.

    python benchmarks/annotators.py --data 300w --annotators lfpw_annotators.csv --run runs/300w-compact

prints, by region and in % of the outer-eye distance, the residual (semalign.evaluation.annotators) of the 300W
annotations, of each label version of the run, of its networks' predictions, and of these averaged with the annotations.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.data import LabelStore, open_dataset
from semalign.errors import SemalignError
from semalign.evaluation.annotators import REGIONS, LabelSet, compare_label_sets, read_annotators
from semalign.files import write_text

VERDICTS = {"lower": "nearer", "higher": "farther", "undecided": "undecided"}


def main(
    data: Annotated[Path, typer.Option(help="Folder of 300W (lfpw/trainset is used).")],
    annotators: Annotated[Path, typer.Option(help="CSV file of the three annotators.")],
    run: Annotated[Path, typer.Option(help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write; default: a dated one in benchmarks/results.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Print and write the residuals of a run's labels against three annotators."""
    try:
        dataset = open_dataset(data).select(subsets=["lfpw/trainset"])
        annotations = LabelSet("300W annotations", dataset.ids(), dataset.points())
        others = label_sets(run, annotations)
        rows = compare_label_sets(annotations, others, read_annotators(annotators), np.random.default_rng(seed))
        rows = [{"run": run.resolve().name, **rounded(row)} for row in rows]
        if out is None:
            out = write_results("annotators", rows)
        else:
            write_csv(out, rows)
    except SemalignError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    show(rows, Console())
    print(f"written to {out}")


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


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its figures at four decimals, which is more than they hold."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(
        title="Distance to the annotators' mean, % of the outer-eye distance",
        caption="Against the annotations on the same faces: mean, 95 % interval; below zero is nearer to people.",
    )
    table.add_column("labels")
    for name in ("faces", "all", *REGIONS, "against annotations"):
        table.add_column("chin" if name == "contour" else name, justify="right")
    table.add_column("verdict")
    for row in rows:
        figures = [f"{row[name]:.2f}" for name in ("all", *REGIONS)]
        difference = ""
        if row["verdict"]:
            difference = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        table.add_row(row["labels"], str(row["faces"]), *figures, difference, VERDICTS.get(row["verdict"], ""))
    console.print(table)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows that share their keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


if __name__ == "__main__":
    typer.run(main)
