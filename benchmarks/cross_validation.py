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

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from harness import DataFolder, Row, annotation_error, difference, faces_of, finish, predicted, run
from typer import Argument, Option

from semalign.cli.progress import RichProgress
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.data import independent_folds
from semalign.models.checkpoint import load_model
from semalign.pipeline import Recipe, load_recipe
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.held_out import train_detector
from semalign.pipeline.job import MODEL, Job
from semalign.pipeline.prepare import Faces, split_faces

KINDS = ("bare", "with label adaptation")


def main(
    name: Annotated[str, Argument(metavar="RECIPE", help="A shipped recipe or a TOML file.")],
    data: DataFolder,
    out: Annotated[Path, Option(help="Folder of this way to train; its name is the result's.")],
    folds: Annotated[int, Option(help="How many parts there are.")] = 4,
    parts: Annotated[list[int] | None, Option(help="To hold out, counted from 1; default: all.")] = None,
    settings: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    taught_by: Annotated[list[Path] | None, Option(metavar="DIR", help="A way whose networks teach.")] = None,
    against: Annotated[Path | None, Option(metavar="DIR", help="A way to compare with face by face.")] = None,
) -> None:
    recipe = load_recipe(name, settings or ())
    faces = open_training_faces(recipe, data)
    fold_of = independent_folds(faces.dataset, folds, recipe.seed)
    held_out = {part: fold_of == part - 1 for part in parts or range(1, folds + 1)}
    job = Job(recipe, faces, faces.take(np.arange(0)), RichProgress(), {"recipe": recipe.name})
    for part, chosen in held_out.items():
        teachers = [folder / f"part-{part}" / MODEL for folder in taught_by or ()]
        train(job.without(chosen, f"fold {part} of {folds}"), out / f"part-{part}", teachers)
    found, rows = measure(out, faces, held_out)
    together = np.any(list(held_out.values()), axis=0)
    rows.append({"part": "all", "faces": int(together.sum())} | errors(found, faces, together))
    if against:
        rows[-1] |= compare(found, against, data, faces, held_out)
    epochs = recipe.start.epochs + recipe.finish.epochs
    finish(f"cross-validation-{out.name}", [{"epochs": epochs, **row} for row in rows], digits=3)


def open_training_faces(recipe: Recipe, data: Path) -> Faces:
    dataset = split_faces(recipe, data, keep_going=False)[0]
    return faces_of(dataset, recipe.crop, recipe.network.input_size)


def train(job: Job, out: Path, teachers: list[Path]) -> None:
    claim(out, job.recipe, resume=True)
    same_origin(out, job.train.dataset, teachers=teachers)
    train_detector(replace(job, teachers=tuple(load_model(file, job.scheme) for file in teachers)), out)


def measure(out: Path, faces: Faces, parts: dict[int, np.ndarray]) -> tuple[dict[str, np.ndarray], list[Row]]:
    """What the networks of every part say of the faces that they have not seen, and the errors."""
    labels = faces.dataset.points()
    found = {kind: np.full_like(labels, np.nan) for kind in KINDS}
    rows = []
    for part, held_out in parts.items():
        own = predicted(load_model(out / f"part-{part}" / MODEL, faces.dataset.scheme), faces)
        seen = fit_kernel_adaptation(own[~held_out], labels[~held_out])
        found["bare"][held_out] = own[held_out]
        found["with label adaptation"][held_out] = seen.corrected(own[held_out])
        row: Row = {"part": part, "faces": int(held_out.sum())}
        row["bare, on its training faces"] = annotation_error(own, faces, ~held_out)
        rows.append(row | errors(found, faces, held_out))
    return found, rows


def compare(found: dict[str, np.ndarray], other: Path, data: Path, faces: Faces, parts: dict[int, np.ndarray]) -> Row:
    recipe = load_recipe(other / f"part-{next(iter(parts))}" / "recipe.toml")
    rows = np.flatnonzero(np.any(list(parts.values()), axis=0))
    rival, _ = measure(other, open_training_faces(recipe, data), parts)
    result: Row = {"against": other.name}
    for kind in KINDS:
        less = difference(found[kind][rows], rival[kind][rows], faces.take(rows).dataset)
        result |= {f"{kind}, {end}": value for end, value in zip(("difference", "low", "high"), less, strict=True)}
    return result


def errors(found: dict[str, np.ndarray], faces: Faces, rows: np.ndarray) -> dict[str, float]:
    return {f"{kind}, held out": annotation_error(points, faces, rows) for kind, points in found.items()}


if __name__ == "__main__":
    run(main)
