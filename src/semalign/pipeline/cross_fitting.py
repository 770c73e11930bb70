"""Labels from networks that have not seen the faces (cross-fitting): what `semalign crossfit` does.

The training faces are dealt into K folds and K networks are trained, each without some of them, so that no annotation is judged
by a network that has learned from it. An error model needs two witnesses (`semalign.core.error_model`): with the face mesh as
the other one, or with K networks of another kind beside them, network i leaves out fold i alone. With neither it leaves out
folds i and i + 1, so that every face has two networks that have not seen it, at the price of fewer faces to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semalign.core.translation import LEAST_FACES, fewest_others
from semalign.data.crops import CropCache
from semalign.data.labels import LabelVersion
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import write_json
from semalign.locks import writes_into
from semalign.models.checkpoint import Model
from semalign.pipeline.fitting import fitted_to_scheme
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.held_out import deal, train_detector
from semalign.pipeline.job import Job, about_recipe, open_job, say_skipped, shown
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.versions import Versions, search_provenance
from semalign.progress import PrefixedProgress, Progress
from semalign.searches import Evidence, Joint, NetworkEvidence, Observations, OutOfFold, make_search
from semalign.searches.evidence import heard_together

NETWORKS, FOLDS = "networks", "folds.json"  # a folder for each network; the fold of each face, from 0
BESIDE = "beside"  # folder of the networks of the other kind


class Judges(NamedTuple):
    """The networks of one kind, one for each fold, and the faces that they judge."""

    models: Sequence[Model]
    crops: CropCache
    tta: int  # versions of a crop whose mean heatmap counts


@writes_into("out")
def crossfit(
    recipe: Recipe,
    data: Path | Dataset | None,
    out: Path,
    *,
    folds: int = 5,
    beside: Recipe | None = None,
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> LabelVersion:
    """Train networks on parts of the training faces and search labels for the others; returns the labels' version.

    Args:
        recipe: its `start` is each network's training, its `search` the method, with label adaptation of
            `alternation.adaptation_components`.
        data: the data set's folder, or the data set with its own landmark scheme; None = the recipe makes a synthetic one in
            `out`.
        out: for the networks, one folder each, and the labels.
        folds: how many, 2 at least with the face mesh or a network of another kind, and 3 without; faces of one photograph or
            moment share one.
        beside: of a network of another kind, trained on the same folds in the same way: it is the other witness, or half of
            it where the face mesh is heard. Network, crops, heatmaps, augmentation, `start` and `alternation.tta` are its own.
        resume: continue what is there.
        keep_going: leave bad samples out and list them, instead of stopping at the first.
        progress: told what goes on.

    Raises:
        SemalignError: bad input, too few faces for the folds, or a folder that holds something else.
    """
    out, progress = Path(out), shown(progress)
    claim(out, recipe, resume)
    if folds < 2:
        raise SemalignError(f"{folds} folds are too few, as each network leaves out one at least; choose 2 or more.")
    job = open_job(recipe, data, out, keep_going, progress)
    say_skipped(job)
    same_origin(out, job.train.dataset)
    fold = deal(job, folds, "--folds")
    write_json(out / FOLDS, dict(zip(job.train.dataset.ids(), fold.tolist(), strict=True)))
    fewest = fewest_others(fold)
    if job.recipe.alternation.mesh and beside is None and fewest < LEAST_FACES:
        progress.say(
            f"The face mesh is left out: what its points mean is learned from {LEAST_FACES} faces at least, and beside a fold "
            f"of these {len(fold)} there are {fewest}. Two networks judge each face."
        )
        job = _without_mesh(job)
    other = None if beside is None else _job_beside(job, out, beside, resume, keep_going)
    unseen = 1 if other is not None else unseen_folds(job.recipe)
    if folds <= unseen:
        raise SemalignError(
            f"{folds} folds are too few, as each network leaves {unseen} out; choose {unseen + 1} or more."
        )
    share = f"{1 - unseen / folds:.0%} of {len(fold)} faces"
    more = "" if other is None else f", and {folds} of {other.recipe.start.epochs} epochs of the network beside it"
    progress.say(f"{folds} trainings of {recipe.start.epochs} epochs{more}, each on about {share}, then a search.")
    models = train_without_folds(job, out, fold, unseen)
    judges = None if other is None else judges_of(other, train_without_folds(other, out / BESIDE, fold, unseen))
    return search_out_of_fold(job, out / "labels", models, fold, judges)


def _without_mesh(job: Job) -> Job:
    return replace(job, recipe=replace(job.recipe, alternation=replace(job.recipe.alternation, mesh=False)))


def _job_beside(job: Job, out: Path, recipe: Recipe, resume: bool, keep_going: bool) -> Job:
    """The training of a network of another kind on the same faces."""
    recipe = replace(recipe, seed=job.recipe.seed, data=job.recipe.data, synthesis=job.recipe.synthesis)
    claim(out / BESIDE, recipe, resume)
    recipe, _ = fitted_to_scheme(recipe, job.scheme)
    other = replace(
        job,
        recipe=replace(recipe, alternation=replace(recipe.alternation, mesh=False)),
        progress=PrefixedProgress(job.progress, "beside it: "),
        about=job.about | about_recipe(recipe),
    )
    meshes = job.meshes if other.knows_meshes else None
    train = other.crops_for(recipe.crop, recipe.network.input_size, keep_going)
    return replace(other, train=train, found_meshes=meshes)


def train_without_folds(job: Job, out: Path, fold: np.ndarray, unseen: int | None = None) -> list[Model]:
    """The networks of a job, one for each fold; every face has `unseen` that have not seen it.

    Args:
        job: its recipe's `start` is each network's training.
        out: for the networks, one folder each; what is finished there is read.
        fold: of each training face (b,), from 0.
        unseen: how many folds each leaves out, itself and those after it; None = as `unseen_folds` says.
    """
    unseen = unseen_folds(job.recipe) if unseen is None else unseen
    return [_trained_without(job, out, fold, index, unseen) for index in range(int(fold.max()) + 1)]


def unseen_folds(recipe: Recipe) -> int:
    """How many folds each network leaves out, which is how many networks judge each face, where none is beside them."""
    return 1 if recipe.alternation.mesh else 2


def _trained_without(job: Job, out: Path, fold: np.ndarray, index: int, unseen: int) -> Model:
    """The network that has not seen a fold, and those after it."""
    folds = int(fold.max()) + 1
    left_out = [(index + step) % folds for step in range(unseen)]
    names = " and ".join(str(number + 1) for number in left_out)
    others = job.without(np.isin(fold, left_out), f"fold{'s' if len(left_out) > 1 else ''} {names} of {folds}")
    others = replace(others, recipe=replace(others.recipe, seed=job.recipe.seed + index))
    return train_detector(others, out / NETWORKS / f"{index + 1}")


def search_out_of_fold(
    job: Job, labels: Path, models: Sequence[Model], fold: np.ndarray, beside: Judges | None = None
) -> LabelVersion:
    """Labels by the models that have not seen each face.

    Args:
        job: its recipe says how.
        labels: folder of the label store.
        models: one for each fold, as `crossfit` trains them.
        fold: of each training face (b,).
        beside: of another kind.
    """
    recipe, settings = job.recipe, job.recipe.alternation
    provenance = {"source": "crossfit", "recipe": recipe.name, "folds": len(models), **search_provenance(recipe)}
    if beside is not None:
        provenance |= {"beside": str(beside.models[0].about.get("recipe", ""))}
    versions = Versions(labels, job.train.dataset, provenance)
    annotations = versions.up_to(0).points
    search = make_search(recipe.search, settings.adaptation_components)
    with job.progress.stage("search", len(fold)) as advance:
        evidence, observations = evidence_out_of_fold(job, models, fold, beside), Observations(annotations, annotations)
        return versions.next(versions.up_to(0), lambda: search(observations, evidence, advance))


def evidence_out_of_fold(
    job: Job, models: Sequence[Model], fold: np.ndarray, beside: Judges | None = None
) -> OutOfFold:
    """What the models that have not seen each face say of it; the arguments are those of `search_out_of_fold`."""
    meshes = job.meshes if job.recipe.alternation.mesh else None
    return evidence_of(judges_of(job, models), fold, meshes, beside)


def judges_of(job: Job, models: Sequence[Model]) -> Judges:
    """The models of a job's training faces."""
    return Judges(models, job.train.crops, job.recipe.alternation.tta)


def evidence_of(
    judges: Judges, fold: np.ndarray, meshes: np.ndarray | None = None, beside: Judges | None = None
) -> OutOfFold:
    """What networks say of faces that they have not seen.

    Args:
        judges: of one kind.
        fold: of each face (b,), one of those that the networks were trained without.
        meshes: of the faces (b, 478, 3), image frame, heard where the networks' files say what they mean; None = not heard.
        beside: networks of another kind for the same folds and faces.
    """
    parts: list[Evidence] = []
    present = np.unique(fold)
    for index in present:
        rows = np.flatnonzero(fold == index)
        own = judges.models[index]
        other = None if beside is None else _heard(beside, [beside.models[index]], rows).predictions.points
        mesh = None if own.mesh is None or meshes is None else own.mesh(meshes[rows])
        alone = other is None and own.mesh is None
        unseen = [own, judges.models[index - 1]] if alone else [own]
        parts.append(heard_together(_heard(judges, unseen, rows), own.network.of_the_mesh, other, mesh))
    return OutOfFold(parts, np.searchsorted(present, fold))


def _heard(judges: Judges, models: Sequence[Model], rows: np.ndarray) -> Evidence:
    """What some of the models say of some of the faces."""
    return Joint(
        [
            NetworkEvidence(model.network, judges.crops, model.sigma, model.scheme, judges.tta, rows=rows)
            for model in models
        ]
    )
