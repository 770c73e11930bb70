"""Which template and which weight: one search around the annotations against the truth; what test-time augmentation is worth.

    semalign run demo --out runs/demo
    python benchmarks/weights.py runs/demo [--faces 600]

Takes the start model of a run on synthetic faces, searches the first training faces under every setting (whole, no
label adaptation, so that the table shows the cost alone), and writes the labels' errors in % of the outer-eye distance.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import write_results
from rich.console import Console
from rich.progress import track
from rich.table import Table

from semalign.core.affine import invert, transform_points
from semalign.core.search import SearchSettings, search_labels
from semalign.data import open_dataset
from semalign.data.crops import build_crops
from semalign.evaluation import label_error
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.models.checkpoint import Model, load_model
from semalign.pipeline.prepare import Faces

TEMPLATES = (37, 25, 19, 9, 1)
WEIGHTS = (0.1, 0.3, 1.0, 2.0, 3.0, 10.0)
TTA = (1, 2, 4)


@dataclass(frozen=True)
class Setting:
    """A row of the table."""

    template: int
    weight: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run on synthetic faces")
    parser.add_argument("--faces", type=int, default=600)
    options = parser.parse_args()
    model = load_model(options.run / "start" / "model.safetensors")
    faces = first_faces(options.run, model, options.faces)
    common = {"run": options.run.name, "faces": len(faces.dataset), "heatmap": model.network.heatmap_size}
    common |= {"sigma at 256": model.sigma * 256 / model.network.heatmap_size}
    rows = [errors("annotations", faces.dataset.points(), faces)]
    rows += [errors(f"network, tta {tta}", predicted(model, faces, tta), faces) for tta in TTA]
    found = searched(model, faces, [Setting(template, weight) for template in TEMPLATES for weight in WEIGHTS])
    rows += [
        {"template": setting.template, "weight": setting.weight} | errors("search, tta 4", points, faces)
        for setting, points in found.items()
    ]
    show(rows)
    Console().print(f"written: {write_results('weights', [common | row for row in rows])}")


def first_faces(run: Path, model: Model, count: int) -> Faces:
    dataset = open_dataset(run / "data").select(split="train")
    dataset = replace(dataset, samples=dataset.samples[:count])
    return Faces(dataset, build_crops(run / "crops", dataset.samples, model.crop, model.input_size))


def predicted(model: Model, faces: Faces, tta: int) -> np.ndarray:
    return predict(model.network, faces.crops, model.sigma, model.scheme, tta=tta).points


def searched(model: Model, faces: Faces, settings: list[Setting]) -> dict[Setting, np.ndarray]:
    """The labels of every setting; each batch of heatmaps is made once."""
    annotations, parts = faces.dataset.points(), {setting: [] for setting in settings}
    maps = heatmaps_of(model.network, faces.crops, tta=4, flip_index=model.scheme.flip_index)
    for rows, heatmaps in track(maps, "search", total=-(-len(faces.crops) // 32)):
        to_image = heatmap_to_image(model.network, faces.crops, rows)
        observations = transform_points(torch.from_numpy(annotations[rows]), invert(to_image)).to(heatmaps)
        for setting, points in parts.items():
            search = SearchSettings(likelihood_weight=setting.weight, template=setting.template)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # large templates are there to be seen failing
                found = search_labels(heatmaps, observations, model.sigma, search)
            points.append(transform_points(found.points.double(), to_image).numpy())
    return {setting: np.concatenate(points) for setting, points in parts.items()}


def errors(labels: str, points: np.ndarray, faces: Faces) -> dict[str, Any]:
    assert faces.truth is not None, "the run's faces have no known truth"
    error = label_error(points, faces.truth, faces.dataset.scheme)
    return {
        "labels": labels,
        "all": error["all"],
        "strong": error["strong"],
        "contour": error["regions"]["contour"]["mean"],
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("labels", "template", "weight", "all", "strong", "contour")
    for row in rows:
        figures = (f"{row[key]:.2f}" for key in ("all", "strong", "contour"))
        table.add_row(row["labels"], str(row.get("template", "")), str(row.get("weight", "")), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
