"""The steps of a run on their own: what `semalign train`, `align` and `search` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from semalign.core.search import SearchSettings
from semalign.data.labels import LabelStore, LabelVersion
from semalign.errors import SemalignError
from semalign.inference.torch_backend import quick_precision
from semalign.locks import writes_into
from semalign.models import pretrained
from semalign.models.checkpoint import Model, refuse_other_scheme
from semalign.parts import Share
from semalign.pipeline.fitting import fitting_recipe, refuse_adapted, refuse_unfit_teachers
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.graphs import graph_of
from semalign.pipeline.held_out import train_detector
from semalign.pipeline.job import MODEL, Job, open_job, say_of_label_adaptation, say_skipped, shown
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.run import alternate
from semalign.pipeline.searching import Search
from semalign.pipeline.versions import Versions, search_provenance
from semalign.progress import Progress
from semalign.searches import NetworkEvidence, Observations
from semalign.training.trainer import make_accelerator

COMPANION = "auto"  # the shipped model that goes with a shipped one


@writes_into("out")
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
    out, progress = Path(out), shown(progress)
    model = None if trained is None else pretrained.load(trained)
    if model is not None:
        refuse_adapted(model)
        recipe = fitting_recipe(recipe, model)
    taught_by = {teacher: pretrained.load(teacher) for teacher in teachers}
    refuse_unfit_teachers(taught_by, recipe)
    claim(out, recipe, resume)
    job = open_job(recipe, data, out, keep_going, progress, holdout=True)
    say_skipped(job)
    same_origin(out, job.train.dataset, trained, teachers)
    about = dict(job.about)
    if trained is not None:
        about["from"] = pretrained.resolve(trained).name
    if teachers:
        about["teachers"] = [pretrained.resolve(teacher).name for teacher in teachers]
    train_detector(replace(job, about=about, teachers=tuple(taught_by.values())), out, model)
    return out / MODEL


@writes_into("out")
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
    out, start = Path(out), pretrained.load(model)
    refuse_adapted(start)
    recipe = fitting_recipe(recipe, start)
    recipe = replace(recipe, alternation=replace(recipe.alternation, update=update and recipe.alternation.update))
    claim(out, recipe, resume)
    job = open_job(recipe, data, out, keep_going, shown(progress))
    say_skipped(job)
    same_origin(out, job.train.dataset, model)
    say_of_label_adaptation(job)
    alternate(job, out, out / "labels", start)
    return out / MODEL


@writes_into("out")
def search(
    model: str | Path | Model,
    data: Path,
    out: Path,
    *,
    recipe: Recipe | None = None,
    beside: str | Path | None = COMPANION,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> LabelVersion:
    """One pass of label search over the training faces with a given model; appends a version to the labels in `out`.

    The observations are the labels of the last version there, or the annotations where there is none. A `Model` may have a
    network and a landmark scheme of your own; it needs no recipe. `beside` is a model of another kind, which is heard,
    too, 'auto' the shipped one that goes with `model`, where there is one and the method weighs witnesses. The processes of
    `torchrun` share the work, and what those of `search_part` have done is not done again.
    """
    out = Path(out)
    job, loaded, name = _searching(model, data, out, recipe, keep_going, progress)
    beside = _beside(model, beside, job)
    provenance = {"source": "search", "model": name, **search_provenance(job.recipe)}
    if beside is not None:
        provenance |= {"beside": pretrained.resolve(beside).name}
    versions = Versions(out, job.train.dataset, provenance)
    latest = versions.store.read()
    observations = Observations(latest.points, versions.up_to(0).points)
    look = _search(job, model, loaded, observations, out, keep_going, beside)
    with job.progress.stage("search", len(latest.ids)) as advance:
        version = versions.next(latest, lambda: look.find(advance), lambda: look.together(advance))
        look.clear()
        return version


def search_part(
    model: str | Path,
    data: Path,
    out: Path,
    share: Share,
    *,
    recipe: Recipe | None = None,
    beside: str | Path | None = COMPANION,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> int:
    """The share of one process in a search that several do at the same time or one after the other, on one file system.

    It looks at its faces and leaves what it saw in `out`; `search`, once all are done, finds the labels from it, and does what
    is missing. The other arguments are those of `search`, and must be the same for all.

    Returns:
        How many parts are still missing, of all shares.

    Raises:
        SemalignError: bad input, or a folder that cannot be written.
    """
    out = Path(out)
    job, loaded, _ = _searching(model, data, out, recipe, keep_going, progress)
    beside = _beside(model, beside, job)
    annotations, store = job.train.dataset.points(), LabelStore(out)
    points = annotations
    if store.versions():
        latest = store.read()
        if latest.ids != job.train.dataset.ids():
            raise SemalignError(f"{out}: holds labels of other images than {data}; choose another folder.")
        points = latest.points
    look = _search(job, model, loaded, Observations(points, annotations), out, keep_going, beside)
    with job.progress.stage(f"search, shard {share}", len(job.train.crops) // share.count) as advance:
        look.work(share, advance)
    return look.missing()


def _searching(
    model: str | Path | Model,
    data: Path,
    out: Path,
    recipe: Recipe | None,
    keep_going: bool,
    progress: Progress | None,
) -> tuple[Job, Model, str]:
    """The faces, the model, and its name."""
    if isinstance(model, Model):
        loaded, name = model, model.network.name
        if recipe is None and not loaded.about.get("recipe_text"):
            recipe = Recipe()
    else:
        loaded, name = pretrained.load(model), pretrained.resolve(model).name
    recipe = fitting_recipe(recipe, loaded, any_scheme=loaded is model)
    job = open_job(recipe, data, out, keep_going, shown(progress), loaded)
    say_skipped(job)
    return job, loaded, name


def _beside(model: str | Path | Model, beside: str | Path | None, job: Job) -> str | Path | None:
    """The model that is heard beside the given one; a search that looks at heatmaps hears those of one."""
    if beside != COMPANION:
        return beside
    if isinstance(model, Model) or _needs_heatmaps(job):
        return None
    return pretrained.companion(model)


def _search(
    job: Job,
    name: str | Path | Model,
    model: Model,
    observations: Observations,
    out: Path,
    keep_going: bool,
    beside: str | Path | None,
) -> Search:
    """With the model on the device of this process."""
    device = make_accelerator().device
    network, precision = model.network.to(device), quick_precision(device)
    second = None if beside is None else _evidence_beside(job, beside, out, keep_going, precision)
    graph = None if _needs_heatmaps(job) else graph_of(name, model, job.recipe.alternation.tta)
    return Search(job, network, observations, out / "search", precision, model.mesh, second, graph)


def _needs_heatmaps(job: Job) -> bool:
    """Whether the method of search looks at heatmaps, which only PyTorch gives."""
    return isinstance(job.recipe.search, SearchSettings)


def _evidence_beside(job: Job, name: str | Path, out: Path, keep_going: bool, precision: str) -> NetworkEvidence:
    """Of a model of another kind, which sees crops of its own."""
    model = pretrained.load(name)
    refuse_other_scheme(pretrained.resolve(name), model.scheme, job.scheme)
    crops = job.crops_for(model.crop, model.input_size, keep_going).crops
    network = model.network.to(make_accelerator().device)
    graph = None if _needs_heatmaps(job) else graph_of(name, model, model.tta)
    return NetworkEvidence(network, crops, model.sigma, model.scheme, model.tta, precision, points=graph)
