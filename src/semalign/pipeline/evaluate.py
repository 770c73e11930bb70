"""Every figure of a finished model on a data set: what `semalign evaluate` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.labels import LabelStore
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.evaluation import compare_predictions, evaluate_predictions
from semalign.inference import Landmarker
from semalign.inference.landmarker import open_model
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.pipeline.fitting import normaliser_note
from semalign.pipeline.prepare import cache_crops
from semalign.pipeline.summary import hardware, versions
from semalign.progress import Progress, SilentProgress
from semalign.training.trainer import make_accelerator


def evaluate_model(
    model: str | Path,
    data: Path,
    *,
    keep_going: bool = False,
    labels: Path | None = None,
    split: str = "test",
    against: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every figure of a model on a data set's test faces, JSON-ready.

    Args:
        model: its file (an exported one, too), or the name of a shipped one.
        data: the data set's folder, complete or partial.
        keep_going: leave bad samples out and list them.
        labels: a label folder (its last version) to measure against, instead of the truth (synthetic) or the annotations.
        split: 'test' (all faces where there are no test faces, which the notes say), 'train' or 'all'.
        against: another model for the same landmarks, which `against` of the result compares face by face.
        progress: told what goes on.

    Raises:
        SemalignError: models or data that cannot be read, no faces in the split, models of different landmark schemes.
    """
    progress = progress or SilentProgress()
    loaded = _landmarker(model)
    other = None if against is None else _landmarker(against)
    if other is not None and other.scheme != loaded.scheme:
        raise SemalignError(
            f"{against}: finds the landmarks {other.scheme.name!r}, {model} finds {loaded.scheme.name!r}; "
            "only models of one scheme can be compared."
        )
    dataset = open_dataset(Path(data), loaded.scheme, keep_going=keep_going)
    chosen = dataset if split == "all" else dataset.select(split="test" if split == "test" else "train")
    notes = list(dataset.notes)
    if not len(chosen) and split == "test":
        chosen, split = dataset, "all"
        notes.append(
            "The data set has no test faces: measured on all, among which are those of training if it was on these."
        )
    notes += normaliser_note(loaded.scheme)
    if not len(chosen):
        raise SemalignError(f"{data}: holds no {split} faces; choose another split or data set.")
    faces, points = _detected(loaded, chosen, keep_going, progress, "evaluation")
    reference, source = _reference(faces, labels)
    compared = {}
    if against is not None and other is not None:
        _, others = _detected(other, faces, False, progress, "evaluation of the other model")
        compared["against"] = {
            "model": pretrained.resolve(against).name,
            **compare_predictions(points, others, faces, reference),
        }
    return {
        "model": pretrained.resolve(model).name,
        "about": dict(loaded.about),
        "data": {
            "name": faces.name,
            "split": split,
            "subsets": faces.subsets(),
            "notes": notes,
            "skipped": [list(item) for item in faces.skipped],
            "reference": source,
        },
        "versions": versions(),
        "hardware": hardware(),
        **evaluate_predictions(points, faces, truth=reference),
        **compared,
    }


def _detected(
    landmarker: Landmarker, dataset: Dataset, keep_going: bool, progress: Progress, title: str
) -> tuple[Dataset, np.ndarray]:
    """The faces that could be read, and a model's landmarks on them in the image frame."""
    backend = landmarker.backend
    faces = cache_crops(dataset, backend.crop, backend.input_size, keep_going, progress, "crops")
    with progress.stage(title, len(faces.dataset)) as advance:
        return faces.dataset, landmarker.on_crops(faces.crops, advance).points


def _landmarker(model: str | Path) -> Landmarker:
    """On the device of this run, where the model may be computed there."""
    loaded = open_model(model)
    return Landmarker(loaded, make_accelerator().device if isinstance(loaded, Model) else None)


def _reference(faces: Dataset, labels: Path | None) -> tuple[dict[str, np.ndarray] | None, str]:
    """What to measure against, by id (None = the annotations), and its name."""
    if labels is None:
        truth = faces.truth
        return (None if truth is None else dict(truth)), "annotations" if truth is None else "truth"
    version = LabelStore(labels).read()
    known = dict(zip(version.ids, version.points, strict=True))
    missing = [name for name in faces.ids() if name not in known]
    if missing:
        raise SemalignError(
            f"{labels}: has no label for {missing[0]} and {len(missing) - 1} more; label these faces or use another split."
        )
    return known, f"labels, version {version.index}"
