"""Keeps the figures of a reproduction: one dated file of every cell of ours, with its source, and how long it took.

    semalign reproduce all --out runs/paper
    python benchmarks/reproduction.py runs/paper

writes benchmarks/results/reproduce-SIZE-DATA_<date>.csv, DATA being the real data sets or 'synthetic'.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from results import write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a finished reproduction")
    folder: Path = parser.parse_args().folder
    described = json.loads((folder / "reproduce.json").read_text(encoding="utf-8"))
    calls = json.loads((folder / "calls.json").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = [
        {
            "table": "all of these",
            "method": "time of all calls, seconds",
            "ours": sum(call["seconds"] for call in calls),
        }
    ]
    for path in sorted((folder / "tables").glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows += [line for line in csv.DictReader(file) if line["ours"]]
    data = "-".join(described["data"]) or "synthetic"
    path = write_results(f"reproduce-{described['size']}-{data}", rows)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
