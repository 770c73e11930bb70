"""Writes the figures of finished runs as a dated CSV for each recipe: detectors by model and subset, labels, seconds.

    python benchmarks/run_figures.py RUN [RUN ...]

Runs of one recipe, with other seeds, go into one file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from harness import FIGURES, Row, finish, run

SHOWN = ("seed", "model", "subset", "count", "nme_interpupil", "nme_interocular", "seconds")


def main(runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs.")]) -> None:
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in runs]
    for recipe in dict.fromkeys(summary["recipe"] for summary in summaries):
        chosen = [summary for summary in summaries if summary["recipe"] == recipe]
        rows = [row for summary in chosen for row in rows_of(summary)]
        finish(f"run-{recipe}", rows, digits=3, hardware=chosen[0]["hardware"], shown=SHOWN)


def rows_of(summary: Row) -> list[Row]:
    """Full figures of each model by subset (first repeat), then mean and spread over the repeats."""
    data = summary["data"]
    common = {
        "recipe": summary["recipe"], "seed": summary["seed"], "data": data["name"], "train": sum(data["train"].values()),
        "reference": data["reference"],
    }  # fmt: skip
    rows: list[Row] = []
    for model, figures in summary["detector"].items():
        for subset, values in figures["subsets"].items():
            rows.append(common | {"model": model, "subset": subset} | {key: values[key] for key in FIGURES})
    for model, figures in summary["repeats"].items():
        for name, values in figures.items():
            spread = {f"{name} by repeat": " ".join(f"{value:.4f}" for value in values["values"])}
            rows.append(
                common
                | {"model": model, "subset": "all repeats", name: values["mean"], f"{name} sd": values["sd"]}
                | spread
            )
    for key in ("label_error", "label_error_strong", "label_error_contour"):
        if key in summary:
            series = " ".join(f"{value:.4f}" for value in summary[key]["by_iteration"])
            rows.append(
                common | {"model": "labels", "subset": key, "by iteration, % of the outer-eye distance": series}
            )
    seconds = sum(value for key, value in summary["seconds"].items() if key != "total")
    return [*rows, common | {"model": "all stages", "seconds": round(summary["seconds"].get("total", seconds))}]


if __name__ == "__main__":
    run(main)
