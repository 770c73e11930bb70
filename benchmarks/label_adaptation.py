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

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import finish

from semalign.core.adaptation import LinearAdaptation, fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.metrics import interocular, mean_errors
from semalign.data import LabelStore
from semalign.inference import Landmarker
from semalign.models.checkpoint import Model, load_model
from semalign.pipeline import SilentProgress, load_recipe
from semalign.pipeline.prepare import Faces, cache_crops, split_faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--data", type=Path, help="its data set; default: the synthetic faces in the run's folder")
    options = parser.parse_args()
    train, test = open_faces(options.run, options.data or options.run / "data")
    models = sorted(path.parent for path in options.run.glob("*/model.safetensors"))
    rows = [measure(folder, train, test) for folder in models]
    finish(f"label-adaptation-{load_recipe(options.run / 'recipe.toml').name}", rows, digits=3)


def open_faces(run: Path, data: Path) -> tuple[Faces, Faces]:
    recipe = load_recipe(run / "recipe.toml")
    sets = split_faces(recipe, data, keep_going=False)[:2]
    size = recipe.network.input_size
    train, test = (cache_crops(s, recipe.crop, size, run / "crops", False, SilentProgress(), "crops") for s in sets)
    return train, test


def measure(folder: Path, train: Faces, test: Faces) -> dict[str, Any]:
    model = load_model(folder / "model.safetensors")
    bare, whole = (errors(m, test) for m in (replace(model, adaptation=None), model))
    annotations = train.dataset.points()
    predicted = Landmarker(replace(model, adaptation=None)).on_crops(train.crops).points
    offset = predicted - annotations
    found = LabelStore(folder.parent / "labels").read()
    assert found.ids == train.dataset.ids(), "the run's labels are of other faces"
    components = model.adaptation.count if isinstance(model.adaptation, LinearAdaptation) else 0
    taught = errors(replace(model, adaptation=fit_linear_adaptation(predicted, found.points, components)), test)
    kernel = errors(replace(model, adaptation=fit_kernel_adaptation(predicted, annotations)), test)
    share = 100 * offset / interocular(annotations, model.scheme)[:, None, None]
    return {
        "run": folder.parent.name,
        "model": folder.name,
        "train faces": len(train.dataset),
        "test faces": len(test.dataset),
        "components": "none"
        if model.adaptation is None
        else components
        if isinstance(model.adaptation, LinearAdaptation)
        else "kernel",
        **{f"{key}, bare": value for key, value in bare.items()},
        **{f"{key}, detector": value for key, value in whole.items()},
        **{f"{key}, label adaptation of the found labels": value for key, value in taught.items()},
        **{f"{key}, kernel label adaptation": value for key, value in kernel.items()},
        "mean offset, right": float(share[..., 0].mean()),
        "mean offset, down": float(share[..., 1].mean()),
        "landmarks offset to the left": int((share[..., 0].mean(axis=0) < 0).sum()),
        "sd of a face's mean offset, right": float(np.std(share[..., 0].mean(axis=1))),
    }


def errors(model: Model, test: Faces) -> dict[str, float]:
    return mean_errors(Landmarker(model).on_crops(test.crops).points, test.reference, model.scheme)


if __name__ == "__main__":
    main()
