"""The table of finished benches of labels, kept as a dated file.

    semalign bench labels --out synthetic --part truth
    semalign bench labels --out real --size full --data 300w --annotators lfpw_annotators.csv --networks crossfit \\
        --part planted --part annotators
    python benchmarks/bench_labels.py synthetic --name synthetic
    python benchmarks/bench_labels.py real --name real

Date and hardware are those of the bench. What the cells and columns are: docs/howto/bench-labels.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from harness import finish, run

from semalign.files import read_json
from semalign.label_bench.output import flat_rows

SHOWN = ("cell", "method", "error", "removed", "of_bound", "worth", "within_90")


def main(
    bench: Annotated[list[Path], typer.Argument(help="Folders of finished benches.", show_default=False)],
    name: Annotated[str, typer.Option(help="Of the file, after 'bench-labels-'.")],
    picture: Annotated[Path | None, typer.Option(help="Where to put the bench's picture, too.")] = None,
) -> None:
    rows, hardware = [], ""
    for folder in bench:
        results = read_json(folder / "labels.json", "give the folder of a finished 'semalign bench labels'")
        hardware = results["hardware"]
        rows += [{"bench_date": results["date"], **row} for row in flat_rows(results["cells"])]
    if picture is not None:
        shutil.copy(bench[0] / "labels.png", picture)
    finish(f"bench-labels-{name}", rows, digits=3, hardware=hardware, shown=SHOWN)


if __name__ == "__main__":
    run(main)
