"""Labels from networks that have not seen the faces (cross-fitting): what `semalign crossfit` does.

The training faces are dealt into K folds. Network i is trained on all but folds i and i + 1, so that every face has two
networks that have not seen it, at the price of K trainings on 1 - 2/K of the faces. So no annotation is judged by a network
that has learned from it, and two networks are what an error model needs (`semalign.core.error_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from semalign.data.labels import LabelVersion
from semalign.errors import SemalignError
from semalign.models.checkpoint import Model
from semalign.pipeline.folder import claim, same_origin
from semalign.pipeline.held_out import deal, train_detector
from semalign.pipeline.job import Job, open_job, say_skipped, shown
from semalign.pipeline.progress import Progress
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.versions import Versions, search_provenance
from semalign.searches import Joint, NetworkEvidence, Observations, OutOfFold, make_search

LEAST_FOLDS = 3  # with fewer a network would be trained on nothing


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
        folds: how many, 3 at least; faces of one photograph or moment share one.
        resume: continue what is there.
        keep_going: leave bad samples out and list them, instead of stopping at the first.
        progress: told what goes on.

    Raises:
        SemalignError: bad input, too few faces for the folds, or a folder that holds something else.
    """
    out, progress = Path(out), shown(progress)
    if folds < LEAST_FOLDS:
        raise SemalignError(f"{folds} folds are too few, as each network leaves two out; choose {LEAST_FOLDS} or more.")
    claim(out, recipe, resume)
    job = open_job(recipe, data, out, keep_going, progress)
    say_skipped(job)
    same_origin(out, job.train.dataset)
    fold = deal(job, folds, "--folds")
    share = f"{1 - 2 / folds:.0%} of {len(fold)} faces"
    progress.say(f"{folds} trainings of {recipe.start.epochs} epochs, each on about {share}, then a search.")
    return search_out_of_fold(job, out / "labels", train_without_folds(job, out, fold), fold)


def train_without_folds(job: Job, out: Path, fold: np.ndarray) -> list[Model]:
    """The networks of a job, one for each fold, of which every face has two that have not seen it.

    Args:
        job: its recipe's `start` is each network's training.
        out: for the networks, one folder each; what is finished there is read.
        fold: of each training face (b,), from 0.
    """
    folds = int(fold.max()) + 1
    return [_without_two(job, out, fold, index, folds) for index in range(folds)]


def _without_two(job: Job, out: Path, fold: np.ndarray, index: int, folds: int) -> Model:
    """The network that has not seen a fold and the next one."""
    unseen = (fold == index) | (fold == (index + 1) % folds)
    others = job.without(unseen, f"folds {index + 1} and {(index + 1) % folds + 1} of {folds}")
    others = replace(others, recipe=replace(others.recipe, seed=job.recipe.seed + index))
    return train_detector(others, out / "networks" / f"{index + 1}")


def search_out_of_fold(job: Job, labels: Path, models: Sequence[Model], fold: np.ndarray) -> LabelVersion:
    """Labels by the two models that have not seen each face: those of its fold and of the one before.

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
    """What the two models that have not seen each face say of it; the arguments are those of `search_out_of_fold`."""
    parts = []
    for index in range(len(models)):
        crops = job.train.crops.take(np.flatnonzero(fold == index))
        unseen = (models[index].network, models[index - 1].network)
        tta = job.recipe.alternation.tta
        parts.append(Joint([NetworkEvidence(n, crops, job.sigma, job.scheme, tta) for n in unseen]))
    return OutOfFold(parts, fold)
