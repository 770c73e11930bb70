"""Is a way to train a detector better than another? Trained without a fold of the training faces, judged on that fold.

    python benchmarks/cross_validation.py 300w-detector-2 --data 300w --out cv/as-it-is --parts 1 2
    python benchmarks/cross_validation.py 300w-detector-2 --data 300w --out cv/larger --parts 1 2 --against cv/as-it-is \\
        --set network.input_size=160 --set network.heatmap_size=80
    python benchmarks/cross_validation.py 300w-detector-2 --data 300w --out cv/taught --parts 1 2 --against cv/as-it-is \\
        --taught-by cv/as-it-is

Uses training faces only. Folds are those of `label_adaptation.held_out` (near-duplicates together), the same for one
seed. Each training goes to a folder of its own and is resumed or read where it is there. Held-out faces are measured with the
network alone and with a kernel label adaptation of its predictions on the faces that it was trained on; `--taught-by` names a
folder of the same folds, whose networks have not seen the held-out faces either. The last row is all folds together.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import finish

from semalign.cli.progress import RichProgress
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.metrics import mean_errors
from semalign.data import independent_folds
from semalign.evaluation import compare_predictions
from semalign.inference import Landmarker
from semalign.models.checkpoint import load_model
from semalign.pipeline import Recipe, load_recipe
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.held_out import train_detector
from semalign.pipeline.job import MODEL, Job
from semalign.pipeline.prepare import Faces, cache_crops, split_faces

KINDS = ("bare", "with label adaptation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="a folder of this way to train; its name is the result's"
    )
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 3, 4], help="to hold out, counted from 1")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--taught-by", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="another way to train, to compare with face by face"
    )
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.settings)
    faces = open_training_faces(recipe, options.data, options.out.parent)
    folds = independent_folds(faces.dataset, options.folds, recipe.seed)
    parts = {part: folds == part - 1 for part in options.parts}
    job = Job(recipe, faces, faces.take(np.arange(0)), RichProgress(), {"recipe": recipe.name})
    for part, held_out in parts.items():
        others = job.without(held_out, f"fold {part} of {options.folds}")
        train(others, options.out / f"part-{part}", [folder / f"part-{part}" / MODEL for folder in options.taught_by])
    found, rows = measure(options.out, faces, parts)
    together = {"part": "all", "faces": int(sum(held_out.sum() for held_out in parts.values()))}
    rows.append(together | errors(found, faces, np.any(list(parts.values()), axis=0)))
    if options.against:
        rows[-1] |= compare(found, options.against, options.data, faces, parts)
    finish(f"cross-validation-{options.out.name}", [{"epochs": epochs(recipe), **row} for row in rows], digits=3)


def open_training_faces(recipe: Recipe, data: Path, cache: Path) -> Faces:
    dataset = split_faces(recipe, data, keep_going=False)[0]
    return cache_crops(dataset, recipe.crop, recipe.network.input_size, cache / "crops", False, RichProgress(), "crops")


def train(job: Job, out: Path, teachers: list[Path]) -> None:
    claim(out, job.recipe, resume=True)
    same_origin(out, job.train.dataset, teachers=teachers)
    train_detector(replace(job, teachers=tuple(load_model(file, job.scheme) for file in teachers)), out)


def measure(
    out: Path, faces: Faces, parts: dict[int, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """What the networks of every fold say of the faces that they have not seen, and the errors."""
    labels = faces.dataset.points()
    found = {kind: np.full_like(labels, np.nan) for kind in KINDS}
    rows = []
    for part, held_out in parts.items():
        predicted = (
            Landmarker(load_model(out / f"part-{part}" / MODEL, faces.dataset.scheme)).on_crops(faces.crops).points
        )
        seen = fit_kernel_adaptation(predicted[~held_out], labels[~held_out])
        found["bare"][held_out] = predicted[held_out]
        found["with label adaptation"][held_out] = seen.corrected(predicted[held_out])
        row: dict[str, Any] = {"part": part, "faces": int(held_out.sum())}
        row["bare, on its training faces"] = error(predicted, faces, ~held_out)
        rows.append(row | errors(found, faces, held_out))
    return found, rows


def compare(
    found: dict[str, np.ndarray], other: Path, data: Path, faces: Faces, parts: dict[int, np.ndarray]
) -> dict[str, Any]:
    recipe = load_recipe(other / f"part-{next(iter(parts))}" / "recipe.toml")
    rows = np.flatnonzero(np.any(list(parts.values()), axis=0))
    rival, _ = measure(other, open_training_faces(recipe, data, other.parent), parts)
    result: dict[str, Any] = {"against": other.name}
    for kind in KINDS:
        compared = compare_predictions(found[kind][rows], rival[kind][rows], faces.take(rows).dataset)
        figures = compared["subsets"]["all"]["nme_interpupil"]
        result |= {f"{kind}, {end}": figures[end] for end in ("difference", "low", "high")}
    return result


def errors(found: dict[str, np.ndarray], faces: Faces, rows: np.ndarray) -> dict[str, float]:
    return {f"{kind}, held out": error(points, faces, rows) for kind, points in found.items()}


def error(points: np.ndarray, faces: Faces, rows: np.ndarray) -> float:
    return mean_errors(points[rows], faces.dataset.points()[rows], faces.dataset.scheme)["nme_interpupil"]


def epochs(recipe: Recipe) -> int:
    return recipe.start.epochs + recipe.finish.epochs


if __name__ == "__main__":
    main()
