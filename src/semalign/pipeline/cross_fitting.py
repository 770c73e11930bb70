"""Labels from networks that have not seen the faces (cross-fitting): what `semalign crossfit` does.

The training faces are dealt into K folds and K networks are trained, each without some of them, so that no annotation is judged
by a network that has learned from it. An error model needs two witnesses (`semalign.core.error_model`): with the face mesh as
the other one, network i leaves out fold i alone. Without it network i leaves out folds i and i + 1, so that every face has two
networks that have not seen it, at the price of fewer faces to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from semalign.core.translation import LEAST_FACES, fewest_others
from semalign.data.crops import CropCache
from semalign.data.labels import LabelVersion
from semalign.errors import SemalignError
from semalign.files import write_json
from semalign.models.checkpoint import Model
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.held_out import deal, train_detector
from semalign.pipeline.job import Job, open_job, say_skipped, shown
from semalign.pipeline.progress import Progress
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.versions import Versions, search_provenance
from semalign.searches import Evidence, Joint, NetworkEvidence, Observations, OutOfFold, WithMesh, make_search

NETWORKS, FOLDS = "networks", "folds.json"  # a folder for each network; the fold of each face, from 0


def crossfit(
    recipe: Recipe,
    data: Path | None,
    out: Path,
    *,
    folds: int = 5,
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> LabelVersion:
    """Train networks on parts of the training faces and search labels for the others; returns the labels' version.

    Args:
        recipe: its `start` is each network's training, its `search` the method, with label adaptation of
            `alternation.adaptation_components`.
        data: the data set's folder; None = the recipe makes a synthetic one in `out`.
        out: for the networks, one folder each, and the labels.
        folds: how many, 2 at least with the face mesh and 3 without; faces of one photograph or moment share one.
        resume: continue what is there.
        keep_going: leave bad samples out and list them, instead of stopping at the first.
        progress: told what goes on.

    Raises:
        SemalignError: bad input, too few faces for the folds, or a folder that holds something else.
    """
    out, progress = Path(out), shown(progress)
    claim(out, recipe, resume)
    job = open_job(recipe, data, out, keep_going, progress)
    say_skipped(job)
    same_origin(out, job.train.dataset)
    if folds < 2:
        raise SemalignError(f"{folds} folds are too few, as each network leaves out one at least; choose 2 or more.")
    fold = deal(job, folds, "--folds")
    write_json(out / FOLDS, dict(zip(job.train.dataset.ids(), fold.tolist(), strict=True)))
    fewest = fewest_others(fold)
    if recipe.alternation.mesh and fewest < LEAST_FACES:
        progress.say(
            f"The face mesh is left out: what its points mean is learned from {LEAST_FACES} faces at least, and beside a fold "
            f"of these {len(fold)} there are {fewest}. Two networks judge each face."
        )
        job = replace(job, recipe=replace(job.recipe, alternation=replace(job.recipe.alternation, mesh=False)))
    unseen = unseen_folds(job.recipe)
    if folds <= unseen:
        raise SemalignError(
            f"{folds} folds are too few, as each network leaves {unseen} out; choose {unseen + 1} or more."
        )
    share = f"{1 - unseen / folds:.0%} of {len(fold)} faces"
    progress.say(f"{folds} trainings of {recipe.start.epochs} epochs, each on about {share}, then a search.")
    return search_out_of_fold(job, out / "labels", train_without_folds(job, out, fold), fold)


def train_without_folds(job: Job, out: Path, fold: np.ndarray) -> list[Model]:
    """The networks of a job, one for each fold; every face has one or two that have not seen it (`unseen_folds`).

    Args:
        job: its recipe's `start` is each network's training.
        out: for the networks, one folder each; what is finished there is read.
        fold: of each training face (b,), from 0.
    """
    return [_trained_without(job, out, fold, index) for index in range(int(fold.max()) + 1)]


def unseen_folds(recipe: Recipe) -> int:
    """How many folds each network leaves out, which is how many networks judge each face."""
    return 1 if recipe.alternation.mesh else 2


def _trained_without(job: Job, out: Path, fold: np.ndarray, index: int) -> Model:
    """The network that has not seen a fold, or it and the next one."""
    folds = int(fold.max()) + 1
    left_out = [(index + step) % folds for step in range(unseen_folds(job.recipe))]
    names = " and ".join(str(number + 1) for number in left_out)
    others = job.without(np.isin(fold, left_out), f"fold{'s' if len(left_out) > 1 else ''} {names} of {folds}")
    others = replace(others, recipe=replace(others.recipe, seed=job.recipe.seed + index))
    return train_detector(others, out / NETWORKS / f"{index + 1}")


def search_out_of_fold(job: Job, labels: Path, models: Sequence[Model], fold: np.ndarray) -> LabelVersion:
    """Labels by the models that have not seen each face: that of its fold and, without the face mesh, the one before.

    Args:
        job: its recipe says how.
        labels: folder of the label store.
        models: one for each fold, as `crossfit` trains them.
        fold: of each training face (b,).
    """
    recipe, settings = job.recipe, job.recipe.alternation
    provenance = {"source": "crossfit", "recipe": recipe.name, "folds": len(models), **search_provenance(recipe)}
    versions = Versions(labels, job.train.dataset, provenance)
    annotations = versions.up_to(0).points
    search = make_search(recipe.search, settings.adaptation_components)
    with job.progress.stage("search", len(fold)) as advance:
        evidence, observations = evidence_out_of_fold(job, models, fold), Observations(annotations, annotations)
        return versions.next(versions.up_to(0), lambda: search(observations, evidence, advance))


def evidence_out_of_fold(job: Job, models: Sequence[Model], fold: np.ndarray) -> OutOfFold:
    """What the models that have not seen each face say of it; the arguments are those of `search_out_of_fold`."""
    return OutOfFold([_unheard(job, models, i, np.flatnonzero(fold == i)) for i in range(len(models))], fold)


def _unheard(job: Job, models: Sequence[Model], index: int, rows: np.ndarray) -> Evidence:
    """What the models that have not seen a fold's faces say of them."""
    meshes = job.meshes[rows] if job.recipe.alternation.mesh else None
    return evidence_of(unseen_models(models, index), job.train.crops.take(rows), job.recipe.alternation.tta, meshes)


def unseen_models(models: Sequence[Model], index: int) -> list[Model]:
    """Those that have not seen a fold: its own and, where they do not know the face mesh, the one before."""
    return [models[index - step] for step in range(1 if models[0].mesh is not None else 2)]


def evidence_of(models: Sequence[Model], crops: CropCache, tta: int, meshes: np.ndarray | None = None) -> Evidence:
    """What models that have not seen some faces say of them, with the face mesh where the models know what it means.

    Args:
        models: of one kind.
        crops: of the faces.
        tta: versions of a crop whose mean heatmap counts.
        meshes: of the faces (b, 478, 3), image frame; None = not heard.
    """
    evidence = Joint([NetworkEvidence(model.network, crops, model.sigma, model.scheme, tta) for model in models])
    translation = models[0].mesh
    return evidence if translation is None or meshes is None else WithMesh(evidence, translation(meshes))
