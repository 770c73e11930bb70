"""What a detector's label adaptation is worth when it is learned from networks that have not seen the faces.

    semalign train 300w-detector-2 --data 300w --out whole --set label_adaptation.held_out=4
    python benchmarks/held_out.py whole --data 300w

Uses training faces only. Each of the held-out networks of such a training predicts the fold of the faces that it was not
trained on, alone and with four label adaptations: of its own predictions on its training faces, of what the *other* held-out
networks predict on the faces that they have not seen (the same faces), of both together, and a linear one of the latter. The
last row is all faces together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import DataFolder, Row, RunFolder, annotation_error, difference, finish, predicted, run, run_faces

from semalign.core.adaptation import choose_components, fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.data import independent_folds
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_model
from semalign.pipeline import load_recipe
from semalign.pipeline.job import MODEL
from semalign.pipeline.prepare import Faces
from semalign.training.settings import LabelAdaptationSettings

Corrected = Callable[[np.ndarray], np.ndarray]


def main(folder: RunFolder, data: DataFolder) -> None:
    recipe = load_recipe(folder / "recipe.toml")
    count = recipe.label_adaptation.held_out
    if not count:
        raise SemalignError(f"{folder}: was trained without label_adaptation.held_out; give a training with it.")
    faces, _ = run_faces(folder, data)
    folds = independent_folds(faces.dataset, count, recipe.seed)
    folders = [folder / f"held-out-{index + 1}" for index in range(count)]
    finish(f"held-out-{recipe.name}", measure(folders, faces, folds), digits=3)


def measure(folders: list[Path], faces: Faces, folds: np.ndarray) -> list[Row]:
    labels, scheme = faces.dataset.points(), faces.dataset.scheme
    seen = np.stack([predicted(load_model(folder / MODEL, scheme), faces) for folder in folders])
    unseen = seen[folds, np.arange(len(folds))]  # of each face by the network that has not seen it
    found: dict[str, np.ndarray] = {}
    rows: list[Row] = []
    for index, own in enumerate(seen):
        rest, part = folds != index, folds == index
        row: Row = {"faces": f"part {index + 1}", "count": int(part.sum())}
        row["bare, on its training faces"] = annotation_error(own, faces, rest)
        for name, corrected in adaptations(own[rest], unseen[rest], labels[rest]).items():
            found.setdefault(name, unseen.copy())[part] = corrected(unseen[part])
            row[name] = annotation_error(found[name], faces, part)
        rows.append(row)
    total: Row = {"faces": "all", "count": len(folds)}
    total |= {name: annotation_error(points, faces) for name, points in found.items()}
    for name in ("label adaptation of unseen faces", "label adaptation of both"):
        less = difference(found[name], found["label adaptation of its own"], faces.dataset)
        total |= {f"{name} less its own{end}": value for end, value in zip(("", ", from", ", to"), less, strict=True)}
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


if __name__ == "__main__":
    run(main)
