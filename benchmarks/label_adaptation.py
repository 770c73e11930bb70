"""What a finished run's detectors gain from their label adaptation, and what that label adaptation is.

    semalign run demo --out runs/demo
    python benchmarks/label_adaptation.py runs/demo
    python benchmarks/label_adaptation.py runs/300w --data 300w

For every model of the run: the error on the test faces of the network alone and of the detector, the number of components that
cross-validation chose, and the mean offset of the network's predictions on the training faces, which a network trained on
mirrored pictures cannot have learned (% of the outer-eye distance, to the right and down). And what the same network would
have with as many components learned from the labels that the run found, and with the kernel regression of the annotations.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import DataFolder, Row, RunFolder, finish, model_errors, predicted, run, run_faces

from semalign.core.adaptation import LinearAdaptation, fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.metrics import interocular
from semalign.data import LabelStore
from semalign.models.checkpoint import load_model
from semalign.pipeline import load_recipe
from semalign.pipeline.prepare import Faces


def main(folder: RunFolder, data: DataFolder | None = None) -> None:
    train, test = run_faces(folder, data)
    models = sorted(path.parent for path in folder.glob("*/model.safetensors"))
    name = load_recipe(folder / "recipe.toml").name
    finish(f"label-adaptation-{name}", [measure(model, train, test) for model in models], digits=3)


def measure(folder: Path, train: Faces, test: Faces) -> Row:
    model = load_model(folder / "model.safetensors")
    annotations = train.dataset.points()
    bare = predicted(replace(model, adaptation=None), train)
    found = LabelStore(folder.parent / "labels").read()
    assert found.ids == train.dataset.ids(), "the run's labels are of other faces"
    linear = isinstance(model.adaptation, LinearAdaptation)
    components = model.adaptation.count if linear else 0
    adaptations = {
        "bare": None,
        "detector": model.adaptation,
        "label adaptation of the found labels": fit_linear_adaptation(bare, found.points, components),
        "kernel label adaptation": fit_kernel_adaptation(bare, annotations),
    }
    errors = {name: model_errors(replace(model, adaptation=one), test) for name, one in adaptations.items()}
    share = 100 * (bare - annotations) / interocular(annotations, model.scheme)[:, None, None]
    return {
        "run": folder.parent.name,
        "model": folder.name,
        "train faces": len(train.dataset),
        "test faces": len(test.dataset),
        "components": components if linear else "none" if model.adaptation is None else "kernel",
        **{f"{key}, {name}": value for name, own in errors.items() for key, value in own.items()},
        "mean offset, right": float(share[..., 0].mean()),
        "mean offset, down": float(share[..., 1].mean()),
        "landmarks offset to the left": int((share[..., 0].mean(axis=0) < 0).sum()),
        "sd of a face's mean offset, right": float(np.std(share[..., 0].mean(axis=1))),
    }


if __name__ == "__main__":
    run(main)
