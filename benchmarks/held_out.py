"""What a detector's label adaptation is worth when it is learned from networks that have not seen the faces.

    semalign train 300w-detector-2 --data 300w --out whole --set label_adaptation.held_out=4
    python benchmarks/held_out.py whole --data 300w

Uses training faces only. Each of the held-out networks of such a training predicts the fold of the faces that it was not
trained on, alone and with four label adaptations: of its own predictions on its training faces, of what the *other* held-out
networks predict on the faces that they have not seen (the same faces), of both together, and a linear one of the latter. The
last row is all faces together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from label_adaptation import open_faces
from results import finish

from semalign.core.adaptation import choose_components, fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.metrics import mean_errors
from semalign.data import independent_folds
from semalign.evaluation import compare_predictions
from semalign.inference import Landmarker
from semalign.models.checkpoint import load_model
from semalign.pipeline import load_recipe
from semalign.pipeline.job import MODEL
from semalign.pipeline.prepare import Faces
from semalign.training.settings import LabelAdaptationSettings

ENDS = {"": "difference", ", from": "low", ", to": "high"}
Corrected = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a training with label_adaptation.held_out")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    recipe = load_recipe(options.run / "recipe.toml")
    count = recipe.label_adaptation.held_out
    if not count:
        parser.error(
            f"{options.run}: was trained without label_adaptation.held_out; give the folder of a training with it"
        )
    faces, _ = open_faces(options.run, options.data)
    folds = independent_folds(faces.dataset, count, recipe.seed)
    folders = [options.run / f"held-out-{index + 1}" for index in range(count)]
    finish(f"held-out-{recipe.name}", measure(folders, faces, folds), digits=3)


def measure(folders: list[Path], faces: Faces, folds: np.ndarray) -> list[dict[str, object]]:
    labels, scheme = faces.dataset.points(), faces.dataset.scheme
    predicted = np.stack(
        [Landmarker(load_model(folder / MODEL, scheme)).on_crops(faces.crops).points for folder in folders]
    )
    unseen = predicted[folds, np.arange(len(folds))]  # of each face by the network that has not seen it
    found: dict[str, np.ndarray] = {}
    rows: list[dict[str, object]] = []
    for index, own in enumerate(predicted):
        rest, part = folds != index, folds == index
        row: dict[str, object] = {"faces": f"part {index + 1}", "count": int(part.sum())}
        row["bare, on its training faces"] = error(own[rest], labels[rest], faces)
        for name, corrected in adaptations(own[rest], unseen[rest], labels[rest]).items():
            found.setdefault(name, unseen.copy())[part] = corrected(unseen[part])
            row[name] = error(found[name][part], labels[part], faces)
        rows.append(row)
    total: dict[str, object] = {"faces": "all", "count": len(folds)}
    total |= {name: error(points, labels, faces) for name, points in found.items()}
    for name in ("label adaptation of unseen faces", "label adaptation of both"):
        compared = compare_predictions(found[name], found["label adaptation of its own"], faces.dataset)
        figures = compared["subsets"]["all"]["nme_interpupil"]
        total |= {f"{name} less its own{end}": figures[key] for end, key in ENDS.items()}
    return [*rows, total]


def adaptations(own: np.ndarray, unseen: np.ndarray, labels: np.ndarray) -> dict[str, Corrected]:
    count = choose_components(unseen, labels, LabelAdaptationSettings().components)
    both = fit_kernel_adaptation(np.concatenate([own, unseen]), np.concatenate([labels, labels]))
    return {
        "bare": lambda points: points,
        "label adaptation of its own": fit_kernel_adaptation(own, labels).corrected,
        "label adaptation of unseen faces": fit_kernel_adaptation(unseen, labels).corrected,
        "label adaptation of both": both.corrected,
        "linear label adaptation of unseen faces": fit_linear_adaptation(unseen, labels, count).corrected,
    }


def error(points: np.ndarray, labels: np.ndarray, faces: Faces) -> float:
    return mean_errors(points, labels, faces.dataset.scheme)["nme_interpupil"]


if __name__ == "__main__":
    main()
