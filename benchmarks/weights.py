"""Which template and which weight: one search around the annotations against the truth; what test-time augmentation is worth.

    semalign run demo --out runs/demo
    python benchmarks/weights.py runs/demo [--faces 600]

Takes the start model of a run on synthetic faces, searches the first training faces under every setting (whole, no
label adaptation, so that the table shows the cost alone), and writes the labels' errors in % of the outer-eye distance.
"""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import torch
from harness import Row, RunFolder, finish, run, run_faces, track

from semalign.core.affine import invert, transform_points
from semalign.core.search import SearchSettings, search_labels
from semalign.errors import SemalignError
from semalign.evaluation import label_error
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.models.checkpoint import Model, load_model
from semalign.pipeline.prepare import Faces

TEMPLATES = (37, 25, 19, 9, 1)
WEIGHTS = (0.1, 0.3, 1.0, 2.0, 3.0, 10.0)
TTA = (1, 2, 4)


def main(folder: RunFolder, faces: int = 600) -> None:
    model = load_model(folder / "start" / "model.safetensors")
    first = run_faces(folder)[0]
    first = first.take(np.arange(min(faces, len(first.dataset))))
    side = model.network.heatmap_size
    common = {
        "run": folder.name,
        "faces": len(first.dataset),
        "heatmap": side,
        "sigma at 256": model.sigma * 256 / side,
    }
    rows = [errors("annotations", first.dataset.points(), first)]
    for tta in TTA:
        points = predict(model.network, first.crops, model.sigma, model.scheme, tta=tta).points
        rows.append(errors(f"network, tta {tta}", points, first))
    rows += [
        {"template": template, "weight": weight} | errors("search, tta 4", points, first)
        for (template, weight), points in searched(model, first).items()
    ]
    finish("weights", [common | row for row in rows])


def searched(model: Model, faces: Faces) -> dict[tuple[int, float], np.ndarray]:
    """The labels by template and weight; each batch of heatmaps is made once."""
    annotations, parts = faces.dataset.points(), {setting: [] for setting in product(TEMPLATES, WEIGHTS)}
    maps = heatmaps_of(model.network, faces.crops, tta=4, flip_index=model.scheme.flip_index)
    for rows, heatmaps in track(maps, "search", -(-len(faces.crops) // 32)):
        to_image = heatmap_to_image(model.network, faces.crops, rows)
        observations = transform_points(torch.from_numpy(annotations[rows]), invert(to_image)).to(heatmaps)
        for (template, weight), points in parts.items():
            search = SearchSettings(likelihood_weight=weight, template=template)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # large templates are there to be seen failing
                found = search_labels(heatmaps, observations, model.sigma, search)
            points.append(transform_points(found.points.double(), to_image).numpy())
    return {setting: np.concatenate(points) for setting, points in parts.items()}


def errors(labels: str, points: np.ndarray, faces: Faces) -> Row:
    if faces.truth is None:
        raise SemalignError("The run's faces have no known truth; give a run on synthetic faces.")
    error = label_error(points, faces.truth, faces.dataset.scheme)
    return {
        "labels": labels,
        "all": error["all"],
        "strong": error["strong"],
        "contour": error["regions"]["contour"]["mean"],
    }


if __name__ == "__main__":
    run(main)
