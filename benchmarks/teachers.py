"""What labels are worth in training: one start, trained on with labels of different kinds.

    semalign run demo --out runs/demo
    python benchmarks/teachers.py runs/demo [--repeats 2]

Needs a finished run on synthetic faces. From its start, each network trains for as long as the run's second stage, on
    annotations    as the run's baseline does
    found          the labels that the run found, fixed
    exchanged      the truth with the found labels' errors of *another* face, turned and sized to this one: as large, of the
                   same kind, but not those that the network itself makes on this face
    truth          the exact points: no label search can do better
and is tested on the held-out faces against the truth (nme_interocular), alone and with label adaptation from those labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import Row, RunFolder, finish, model_errors, run, run_faces

from semalign.core.metrics import interocular
from semalign.data import LabelStore
from semalign.errors import SemalignError
from semalign.evaluation import label_error
from semalign.models.checkpoint import load_model
from semalign.pipeline import SilentProgress, load_recipe
from semalign.pipeline.job import Job
from semalign.pipeline.prepare import Faces
from semalign.pipeline.run import train_baseline


def main(folder: RunFolder, repeats: Annotated[int, typer.Option(help="Seeds of the second stage.")] = 2) -> None:
    train, test = run_faces(folder)
    if train.truth is None:
        raise SemalignError(f"{folder}: is no run on synthetic faces; their truth is not known.")
    rows = []
    for name, labels in teachers(folder, train).items():
        told = label_error(labels, train.truth, train.dataset.scheme)["all"]
        results = [taught(folder, train, test, labels, repeat) for repeat in range(repeats)]
        row: Row = {"run": folder.name, "labels": name, "label error": told, "seeds": repeats}
        for form in ("bare", "detector"):
            values = np.array([result[form] for result in results])
            row |= {form: float(values.mean()), f"{form}, sd": float(values.std(ddof=1)) if repeats > 1 else ""}
        rows.append(row)
    finish("teachers", rows, digits=3)


def teachers(folder: Path, train: Faces) -> Mapping[str, np.ndarray]:
    """Labels (b, n, 2) of the training faces by their kind, image frame."""
    assert train.truth is not None
    found = LabelStore(folder / "labels").read()
    assert found.ids == train.dataset.ids(), "the run's labels are of other faces"
    return {
        "annotations": train.dataset.points(),
        "found": found.points,
        "exchanged": exchanged(found.points, train),
        "truth": train.truth,
    }


def exchanged(found: np.ndarray, train: Faces) -> np.ndarray:
    """The truth with each face's errors taken from the next face of a random order, in the frame of the outer eyes."""
    truth, scheme = train.truth, train.dataset.scheme
    assert truth is not None and scheme.outer_eyes is not None
    left, right = scheme.outer_eyes
    axis = (truth[:, right] - truth[:, left]) @ np.array([1, 1j])
    assert np.allclose(np.abs(axis), interocular(truth, scheme))
    errors_in_frame = ((found - truth) @ np.array([1, 1j])) / axis[:, None]
    order = np.random.default_rng(0).permutation(len(truth))
    giver = np.empty_like(order)
    giver[order] = np.roll(order, 1)
    moved = errors_in_frame[giver] * axis[:, None]
    return truth + np.stack([moved.real, moved.imag], axis=-1)


def taught(folder: Path, train: Faces, test: Faces, labels: np.ndarray, repeat: int) -> dict[str, float]:
    """The test errors of the start after as much training on the labels as the run's second stage has."""
    samples = tuple(replace(s, points=p) for s, p in zip(train.dataset.samples, labels, strict=True))
    told = replace(train, dataset=replace(train.dataset, samples=samples))
    job = Job(load_recipe(folder / "recipe.toml"), told, test, SilentProgress(), {})
    with tempfile.TemporaryDirectory() as out:
        model = train_baseline(job, Path(out), load_model(folder / "start" / "model.safetensors"), repeat)
    bare, whole = (model_errors(m, test)["nme_interocular"] for m in (replace(model, adaptation=None), model))
    return {"bare": bare, "detector": whole}


if __name__ == "__main__":
    run(main)
