"""A whole run, and its stages on their own: what the commands call.

A run's folder says what it was made from (recipe.toml), and every stage leaves a finished file behind, so that `resume`
continues a killed run where it stood, to the bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from semalign.core.metrics import mean_errors
from semalign.core.search import REFERENCE
from semalign.data.labels import LabelStore, LabelVersion
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.evaluation import compare_predictions, evaluate_predictions
from semalign.files import read_json, write_json
from semalign.inference import Landmarker
from semalign.inference.landmarker import open_model
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.models.kinds import continued
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.prepare import Faces, cache_crops, same_scheme, split_faces, synthesize_if_wanted
from semalign.pipeline.progress import Progress, SilentProgress
from semalign.pipeline.recipe import Recipe, dump_recipe, load_recipe, parse_recipe
from semalign.pipeline.stages import MODEL, Stages, search_provenance
from semalign.pipeline.summary import (
    describe_run,
    hardware,
    label_figures,
    versions,
    write_figures,
    write_predictions,
)
from semalign.report import write_report
from semalign.training.alternation import search_dataset
from semalign.training.trainer import make_accelerator

SUMMARY = "summary.json"


def run(
    recipe: Recipe,
    data: Path | None,
    out: Path,
    *,
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The whole job: train on the annotations, alternate search and training, evaluate, write the report.

    Args:
        recipe: all settings.
        data: the data set's folder; None = the recipe makes a synthetic one in `out`.
        out: the run's folder, see docs/formats.md.
        resume: continue what is there; a finished run is only read.
        keep_going: leave bad samples out and list them, instead of stopping at the first.
        progress: told what goes on.

    Returns:
        What summary.json holds.

    Raises:
        SemalignError: bad input, or a folder that holds something else.
    """
    out, progress = Path(out), _shown(progress)
    accelerator = make_accelerator()
    clock = _Clock(out / "seconds.json", writes=accelerator.is_main_process)
    claim(out, recipe, resume)
    if (out / SUMMARY).is_file():
        progress.say(f"{out} holds a finished run of these settings; delete it or name another folder to run again.")
        return _read_summary(out)
    with clock("data"), accelerator.main_process_first():  # the other processes find everything made
        folder = synthesize_if_wanted(recipe, data, out, progress)
        faces, held_out, notes = _open(recipe, folder, out, keep_going, progress)
    same_origin(out, faces.dataset)
    stages = Stages(recipe, faces, held_out, progress, _about(recipe, faces.dataset))
    _say_of_adaptation(recipe, progress)
    with clock("start"):
        start = stages.start(out / "start")
    models: list[tuple[Model, Model]] = []
    for repeat in range(recipe.repeats):
        with clock("aligned"):
            aligned = stages.aligned(_nth(out / "aligned", repeat), _nth(out / "labels", repeat), start, repeat)
        with clock("baseline"):
            baseline = stages.baseline(_nth(out / "baseline", repeat), start, repeat)
        models.append((baseline, aligned))
    if accelerator.is_main_process:
        _evaluate(stages, out, notes, start, models, clock)
    accelerator.wait_for_everyone()
    return _read_summary(out)


def _evaluate(
    stages: Stages,
    out: Path,
    notes: tuple[str, ...],
    start: Model,
    models: list[tuple[Model, Model]],
    clock: _Clock,
) -> None:
    """A run's last stage: all figures, then the report made from them."""
    recipe, faces, held_out, progress = stages.recipe, stages.train, stages.test, stages.progress
    with clock("evaluation"), progress.stage("evaluation", 1 + 2 * recipe.repeats) as advance:
        store = LabelStore(out / "labels")
        summary = describe_run(recipe, faces, held_out, notes) | label_figures(store, faces)
        summary |= _detector_figures(start, models, held_out, advance)
        write_figures(out / "figures.npz", start, faces, store.read(), recipe.seed)
        write_predictions(out / "predictions", start, faces, {"source": "start"})
    summary["seconds"] = clock.seconds
    write_json(out / SUMMARY, summary)
    write_report(out)


def train(
    recipe: Recipe,
    data: Path | None,
    out: Path,
    *,
    trained: str | Path | None = None,
    teachers: Sequence[str | Path] = (),
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a detector on the annotations with the recipe's `start` and `finish`; returns the model's file.

    Without `data`, a recipe for synthetic faces makes its own. With `trained`, a shipped model's name or a file, training
    starts from that model's weights; network, crops and σ are then the model's, everything else is the recipe's. With
    `teachers`, names or files too, a share of every target are their heatmaps (`semalign.training.distillation`).
    """
    out, progress = Path(out), _shown(progress)
    model = None if trained is None else pretrained.load(trained)
    if model is not None:
        recipe = _fitting(recipe, model)
    taught_by = {teacher: pretrained.load(teacher) for teacher in teachers}
    _refuse_unfit(taught_by, recipe)
    claim(out, recipe, resume)
    with make_accelerator().main_process_first():
        data = synthesize_if_wanted(recipe, data, out, progress)
    stages = _stages(recipe, data, out, keep_going, progress)
    same_origin(out, stages.train.dataset, trained, teachers)
    about = dict(stages.about)
    if trained is not None:
        about["from"] = pretrained.resolve(trained).name
    if teachers:
        about["teachers"] = [pretrained.resolve(teacher).name for teacher in teachers]
    replace(stages, about=about, teachers=tuple(taught_by.values())).detector(out, model)
    return out / MODEL


def align(
    model: str | Path,
    data: Path,
    out: Path,
    *,
    recipe: Recipe | None = None,
    update: bool = True,
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Search labels and train on them in turn, from a trained model; returns the new model's file.

    The network, its crops and its σ are the model's; everything else is the recipe's (the model's own one by default).
    """
    out, progress = Path(out), _shown(progress)
    start = pretrained.load(model)
    recipe = _fitting(recipe, start)
    recipe = replace(recipe, alternation=replace(recipe.alternation, update=update and recipe.alternation.update))
    claim(out, recipe, resume)
    stages = _stages(recipe, data, out, keep_going, progress)
    same_origin(out, stages.train.dataset, model)
    _say_of_adaptation(recipe, progress)
    stages.aligned(out, out / "labels", start)
    return out / MODEL


def search(
    model: str | Path | Model,
    data: Path,
    out: Path,
    *,
    recipe: Recipe | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> LabelVersion:
    """One pass of label search over the training faces with a given model; appends a version to the labels in `out`.

    The observations are the labels of the last version there, or the annotations where there is none. A `Model` may have a
    network and a landmark scheme of your own; it needs no recipe.
    """
    progress = progress or SilentProgress()
    loaded = model if isinstance(model, Model) else pretrained.load(model)
    if isinstance(model, Model) and not (recipe or model.about.get("recipe_text")):
        recipe = Recipe()
    recipe = _fitting(recipe, loaded, any_scheme=isinstance(model, Model))
    faces, held_out, _ = _open(recipe, data, Path(out), keep_going, progress, loaded)
    _say_skipped(faces, held_out, progress)
    store = LabelStore(out)
    if not store.versions():
        store.start(faces.dataset, {"source": "annotations"})
    latest = store.read()
    if latest.ids != faces.dataset.ids():
        raise SemalignError(f"{out}: holds labels of other images than {data}; choose another folder.")
    loaded.network.to(make_accelerator().device)
    with progress.stage("search", len(faces.dataset)) as advance:
        found = search_dataset(
            loaded.network,
            faces.crops,
            latest.points,
            loaded.sigma,
            recipe.search,
            recipe.alternation,
            loaded.scheme,
            store.read(0).points,
            advance=advance,
        )
    name = loaded.network.name if isinstance(model, Model) else pretrained.resolve(model).name
    return store.append(
        latest.ids,
        found.points,
        iteration=latest.iteration + 1,
        provenance={"source": "search", "model": name, **search_provenance(recipe)},
        prior_cost=found.prior_cost,
        likelihood_cost=found.likelihood_cost,
        confidence=found.confidence,
    )


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
        split: 'test', 'train' or 'all'.
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
            "notes": list(dataset.notes),
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
    with _scratch() as folder:
        backend = landmarker.backend
        faces = cache_crops(dataset, backend.crop, backend.input_size, folder, keep_going, progress, "crops")
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


def _detector_figures(start: Model, models: list[tuple[Model, Model]], test: Faces, advance: Any) -> dict[str, Any]:
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


def _stages(recipe: Recipe, data: Path, out: Path, keep_going: bool, progress: Progress) -> Stages:
    """For a single training: faces and crops, the test faces only for the curve in the log."""
    with make_accelerator().main_process_first():
        faces, held_out, _ = _open(recipe, data, out, keep_going, progress)
    _say_skipped(faces, held_out, progress)
    return Stages(recipe, faces, held_out, progress, _about(recipe, faces.dataset))


def _open(
    recipe: Recipe, data: Path, out: Path, keep_going: bool, progress: Progress, model: Model | None = None
) -> tuple[Faces, Faces, tuple[str, ...]]:
    """Faces to train and to test on with their crops, and notes on what is partial or was left out.

    Landmark scheme and size of the crops are the model's, or else the recipe's.
    """
    train_set, test_set, notes = split_faces(recipe, Path(data), keep_going, None if model is None else model.scheme)
    size = recipe.network.input_size if model is None else model.input_size
    faces = _crops(recipe, size, train_set, out, keep_going, progress, "crops of the training faces")
    held_out = _crops(recipe, size, test_set, out, keep_going, progress, "crops of the test faces")
    return faces, held_out, notes


def _say_of_adaptation(recipe: Recipe, progress: Progress) -> None:
    """For what aligns labels, where the recipe is one for `train`."""
    if recipe.label_adaptation.held_out:
        progress.say(
            "label_adaptation.held_out is of 'semalign train' alone: here label adaptations are learned on the training faces."
        )


def _say_skipped(faces: Faces, held_out: Faces, progress: Progress) -> None:
    """For the single stages, whose results have no place for it."""
    for name, why in dict([*faces.dataset.skipped, *held_out.dataset.skipped]).items():
        progress.say(f"left out: {name}: {why}")


def _crops(
    recipe: Recipe, size: int, dataset: Dataset, out: Path, keep_going: bool, progress: Progress, title: str
) -> Faces:
    return cache_crops(dataset, recipe.crop, size, out / "crops", keep_going, progress, title)


def _fitting(recipe: Recipe | None, model: Model, any_scheme: bool = False) -> Recipe:
    """The recipe, or the model's own, with what the model fixes put in; a recipe can make its resampling smooth.

    The recipe must be for the model's landmarks, unless `any_scheme` says that the model's count in any case.
    """
    if recipe is None:
        name = str(model.about.get("recipe_text", ""))
        if not name:
            raise SemalignError("the model does not say how it was trained; name a recipe with --recipe.")
        recipe = parse_recipe(name, "the model's own recipe", upgrade=True)
    network = continued(model.network.settings, recipe.network)
    heatmap = replace(recipe.heatmap, sigma=_sigma(model))
    fitting = replace(recipe, network=network, crop=model.crop, heatmap=heatmap)
    return fitting if any_scheme else same_scheme(model.scheme, fitting)


def _refuse_unfit(teachers: Mapping[str | Path, Model], recipe: Recipe) -> None:
    """Raise a SemalignError if a recipe cannot be taught by these teachers."""
    if teachers and recipe.label_adaptation.held_out:
        raise SemalignError(
            "label_adaptation.held_out: a teacher tells the further networks of the faces that they must not see; set it to 0."
        )
    for name, teacher in teachers.items():
        same_scheme(teacher.scheme, recipe)
        fixed = {
            "heatmap.sigma": (_sigma(teacher), recipe.heatmap.sigma),
            "crop.scale": (teacher.crop.scale, recipe.crop.scale),
        }
        for setting, (own, wanted) in fixed.items():
            if not math.isclose(own, wanted, rel_tol=1e-3):
                raise SemalignError(
                    f"{name}: was trained with {setting}={own:g}, the recipe has {wanted:g}; "
                    "set it to the teacher's, or choose another teacher."
                )


def _sigma(model: Model) -> float:
    """The σ of a model's Gaussians as recipes have it, in pixels of a 256×256 heatmap."""
    return model.sigma * REFERENCE / model.network.heatmap_size


def _about(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """What a model file says of its origin."""
    return {
        "recipe": recipe.name,
        "recipe_text": dump_recipe(recipe),
        "seed": recipe.seed,
        "data": dataset.name,
        "train": dataset.subsets(),
        "versions": versions(),
    }


def _shown(progress: Progress | None) -> Progress:
    """Where a run of several processes tells what goes on: in the first of them alone."""
    if progress is None or not make_accelerator().is_main_process:
        return SilentProgress()
    return progress


def _nth(folder: Path, repeat: int) -> Path:
    return folder if repeat == 0 else folder.with_name(f"{folder.name}-{repeat + 1}")


def _read_summary(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = read_json(out / SUMMARY, "delete it and run again with --resume")
    if not (out / "report.html").is_file():
        write_report(out)
    return summary


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for crops that are needed once."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="semalign-", ignore_cleanup_errors=True) as name:
        yield Path(name)


class _Clock:
    """Seconds by stage, kept in a file so that they add up over interruptions."""

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            if not self.seconds and self.path.is_file():
                self.seconds = json.loads(self.path.read_text(encoding="utf-8"))
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - begin, 2)
            if self.writes:
                write_json(self.path, self.seconds)


__all__ = ["align", "evaluate_model", "load_recipe", "run", "search", "train"]
