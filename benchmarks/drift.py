"""How labels and detector fare under different alternations: reads folders that `semalign align` or `semalign run` wrote.

    semalign run demo --out runs/demo
    semalign align runs/demo/start/model.safetensors --data runs/demo/data --out runs/no-update --recipe demo --no-update
    python benchmarks/drift.py --data runs/demo/data runs/demo runs/no-update ...

Needs synthetic faces: the labels of every version are held against the truth, the detector's curve is that of the log.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, Row, finish, run

from semalign.data import LabelStore, open_dataset
from semalign.errors import SemalignError
from semalign.evaluation import label_error
from semalign.pipeline import load_recipe
from semalign.schemes import LandmarkScheme


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders on the same synthetic data set.")], data: DataFolder
) -> None:
    dataset = open_dataset(data).select(split="train")
    if dataset.truth is None:
        raise SemalignError(f"{data}: has no truth; give a synthetic data set.")
    truth = np.stack([dataset.truth[name] for name in dataset.ids()])
    finish("drift", [row for folder in folders for row in read(folder, truth, dataset.scheme)], digits=3)


def read(folder: Path, truth: np.ndarray, scheme: LandmarkScheme) -> list[Row]:
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
                **{name: errors[name] for name in ("all", "strong", "weak")},
                "contour": errors["regions"]["contour"]["mean"],
                "nme_interocular": after.get(index, ""),
            }
        )
    return rows


if __name__ == "__main__":
    run(main)
