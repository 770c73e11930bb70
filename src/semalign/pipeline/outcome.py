"""A run's last stage: all figures of its labels and detectors, and the report made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from semalign.core.metrics import mean_errors
from semalign.data.labels import LabelStore
from semalign.evaluation import evaluate_predictions
from semalign.inference import Landmarker
from semalign.models.checkpoint import Model
from semalign.pipeline.job import Job
from semalign.pipeline.prepare import Faces
from semalign.pipeline.summary import describe_run, label_figures, write_figures, write_predictions


def figures_of_run(
    job: Job, out: Path, start: Model, models: Sequence[tuple[Model, Model]], advance: Callable[[int], None]
) -> dict[str, Any]:
    """What summary.json says of a run; the report's pictures and the start's predictions are written beside it.

    Args:
        job: of the run.
        out: its folder.
        start: where both trainings begin.
        models: baseline and aligned detector of each repeat.
        advance: told of each of the 1 + 2·repeats models that is done.
    """
    store = LabelStore(out / "labels")
    summary = describe_run(job.recipe, job.train, job.test, job.notes) | label_figures(store, job.train)
    summary |= _detector_figures(start, models, job.test, advance)
    write_figures(out / "figures.npz", start, job.train, store.read(), job.recipe.seed)
    write_predictions(out / "predictions", start, job.train, {"source": "start"})
    return summary


def _detector_figures(
    start: Model, models: Sequence[tuple[Model, Model]], test: Faces, advance: Callable[[int], None]
) -> dict[str, Any]:
    """The detectors on the test faces: in full for the first repeat, mean and spread over all of them."""
    if not len(test.dataset):
        return {}
    full: dict[str, Any] = {}
    errors: dict[str, list[dict[str, float]]] = {"start": [], "baseline": [], "aligned": []}
    pairs = [pair for baseline, aligned in models for pair in (("baseline", baseline), ("aligned", aligned))]
    for name, model in [("start", start), *pairs]:
        found = Landmarker(model).on_crops(test.crops)
        errors[name].append(mean_errors(found.points, test.reference, model.scheme))
        if name not in full:
            full[name] = evaluate_predictions(found.points, test.dataset, truth=test.dataset.truth)
        advance(1)
    key = next(iter(errors["start"][0]))
    return {
        "detector": full,
        "detector_nme": {name: values[0][key] for name, values in errors.items()} | {"normalisation": key},
        "repeats": {name: _spread(errors[name]) for name in ("baseline", "aligned")},
    }


def _spread(values: list[dict[str, float]]) -> dict[str, Any]:
    """Of each figure: its values by repeat, their mean and their standard deviation (None for a single one)."""
    result = {}
    for key in values[0]:
        series = [value[key] for value in values]
        result[key] = {"values": series, "mean": mean(series), "sd": stdev(series) if len(series) > 1 else None}
    return result
