"""A detector on the annotations, with label adaptation from further networks that have not seen the faces where a recipe asks
for it: what `semalign train` makes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from semalign.data.duplicates import independent_folds
from semalign.errors import SemalignError
from semalign.models.checkpoint import Model
from semalign.pipeline.detectors import predictions_of
from semalign.pipeline.job import Job
from semalign.pipeline.run import train_on_annotations

LARGEST = 2.0  # times the mean size: a fold that is larger is made of pictures that look like copies of each other


def train_detector(job: Job, folder: Path, trained: Model | None = None) -> Model:
    """A new network, or one that was trained before, trained on the annotations; the first part is the recipe's `start`."""
    recipe = job.recipe
    network = job.new_network() if trained is None else job.copy_of(trained)
    unseen = None
    if recipe.label_adaptation.held_out:
        count = recipe.label_adaptation.held_out
        folds = deal(job, count, "label_adaptation.held_out", "choose fewer, or 0")
        unseen = partial(_held_out_predictions, job, folder, trained, folds)
    return train_on_annotations(job, folder, network, recipe.start, recipe.seed, "start", predictions=unseen)


def deal(job: Job, count: int, setting: str, advice: str = "choose fewer") -> np.ndarray:
    """The fold of each training face (b,), from 0; faces of one photograph or moment share one.

    What is no face may stand before one camera, so that most pictures look like copies of each other: they are then dealt
    file by file.

    Raises:
        SemalignError: there are not enough faces for so many; names the setting and ends with the advice.
    """
    folds = independent_folds(job.train.dataset, count, job.recipe.seed)
    if not job.scheme.names_eyes and np.bincount(folds, minlength=count).max() > LARGEST * len(folds) / count:
        job.progress.say("Most pictures look like copies of each other: they are dealt into parts file by file.")
        folds = independent_folds(job.train.dataset, count, job.recipe.seed, alike=False)
    if len(np.unique(folds)) < count:
        raise SemalignError(f"{setting}: {len(folds)} training faces do not make {count} independent folds; {advice}.")
    return folds


def _held_out_predictions(job: Job, folder: Path, trained: Model | None, folds: np.ndarray) -> np.ndarray:
    """Predictions (b, n, 2) for every training face by a network that was trained in the same way without it."""
    count, crops = job.recipe.label_adaptation.held_out, job.train.crops
    found = np.empty((len(crops), job.scheme.count, 2))
    for index in range(count):
        others = job.without(folds == index, f"fold {index + 1} of {count}")
        network = train_detector(others, folder / f"held-out-{index + 1}", trained).network
        rows = np.flatnonzero(folds == index)
        found[rows] = predictions_of(job, network, crops.take(rows), job.recipe.start.precision)
    return found
