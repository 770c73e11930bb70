"""Keeps the figures of a reproduction: one dated file of every cell of ours, with its source, and how long it took.

    semalign reproduce all --out runs/paper
    python benchmarks/reproduction.py runs/paper

writes benchmarks/results/reproduce-SIZE-DATA_<date>.csv, DATA being the real data sets or 'synthetic'.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import typer
from harness import Row, finish, run


def main(folder: Annotated[Path, typer.Argument(help="Of a finished reproduction.")]) -> None:
    described, calls = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("reproduce.json", "calls.json")
    )
    seconds = sum(call["seconds"] for call in calls)
    rows: list[Row] = [{"table": "all of these", "method": "time of all calls, seconds", "ours": seconds}]
    for path in sorted((folder / "tables").glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows += [line for line in csv.DictReader(file) if line["ours"]]
    name = f"reproduce-{described['size']}-{'-'.join(described['data']) or 'synthetic'}"
    finish(name, rows, shown=("table", "method", "column", "ours", "paper"))


if __name__ == "__main__":
    run(main)
