"""How labels and detector fare under different alternations: reads folders that `semalign align` or `semalign run` wrote.

    semalign run demo --out runs/demo
    semalign align runs/demo/start/model.safetensors --data runs/demo/data --out runs/no-update --recipe demo --no-update
    python benchmarks/drift.py --data runs/demo/data runs/demo runs/no-update ...

Needs synthetic faces: the labels of every version are held against the truth, the detector's curve is that of the log.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.data import LabelStore, open_dataset
from semalign.evaluation import label_error
from semalign.pipeline import load_recipe

ERRORS = ("all", "strong", "weak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the synthetic data set of all the folders")
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    dataset = open_dataset(options.data).select(split="train")
    assert dataset.truth is not None, "the data set has no truth"
    truth = np.stack([dataset.truth[name] for name in dataset.ids()])
    rows = [row for folder in options.folders for row in read(folder, truth, dataset.scheme)]
    table = Table(
        "folder",
        "update",
        "weight",
        "adaptation_components",
        "version",
        *ERRORS,
        "contour",
        "nme_interocular after its epoch",
    )
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=150).print(table)
    Console().print(f"written: {write_results('drift', rows)}")


def read(folder: Path, truth: np.ndarray, scheme: Any) -> list[dict[str, Any]]:
    """One row for each label version, with the detector's error after the epoch trained on it; last, that of the end."""
    recipe = load_recipe(folder / "recipe.toml")
    log = folder / "aligned" / "log.jsonl" if (folder / "aligned").is_dir() else folder / "log.jsonl"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    after = {record["iteration"]: record["nme_interocular"] for record in records}
    store = LabelStore(folder / "labels")
    rows = []
    for index in store.versions():
        errors = label_error(store.read(index).points, truth, scheme)
        rows.append(
            {
                "folder": folder.name,
                "update": recipe.alternation.update,
                "weight": recipe.search.likelihood_weight,
                "adaptation_components": recipe.alternation.adaptation_components,
                "version": index,
                **{name: errors[name] for name in ERRORS},
                "contour": errors["regions"]["contour"]["mean"],
                "nme_interocular": after.get(index, ""),
            }
        )
    return rows


if __name__ == "__main__":
    main()
