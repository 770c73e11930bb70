"""The alternation of label search and training (Sec. 4.4) on one page: what `semalign run` does, from a folder to a report.

The real landmark ŷ behind each annotation is unknown. A network trained on the annotations says where else the landmark may be;
with the network fixed, search ŷ near the annotation (step 1); with ŷ fixed, train the network on it (step 2); repeat.

The search of a set of faces is in `semalign.searches`, its cost and likelihood in `semalign.core.search` and
`semalign.core.likelihood`, an epoch of training in `semalign.training.trainer`. Helpers around the loop: the job with its
faces, networks and progress (`job.py`), the run's folder (`folder.py`), a search by all processes (`searching.py`), the
versions of its labels (`versions.py`), its figures (`outcome.py`). Every training leaves its model behind and every search its
labels, so that a killed run is resumed to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from semalign.files import write_json
from semalign.locks import writes_into
from semalign.models.checkpoint import Model
from semalign.models.network import HeatmapNetwork
from semalign.pipeline.clock import Clock
from semalign.pipeline.detectors import finished_detector
from semalign.pipeline.folder import SUMMARY, claim, nth, read_summary, same_origin
from semalign.pipeline.job import Job, open_job, say_of_label_adaptation, shown
from semalign.pipeline.outcome import figures_of_run
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.searching import Search
from semalign.pipeline.versions import Versions, search_provenance
from semalign.progress import Progress
from semalign.report import write_report
from semalign.searches import Observations
from semalign.training.settings import TrainingSettings
from semalign.training.trainer import make_accelerator


@writes_into("out")
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
    out, progress, accelerator = Path(out), shown(progress), make_accelerator()
    clock = Clock(out / "seconds.json", writes=accelerator.is_main_process)
    claim(out, recipe, resume)
    if (out / SUMMARY).is_file():
        progress.say(f"{out} holds a finished run of these settings; delete it or name another folder to run again.")
        return read_summary(out)
    with clock("data"):
        job = open_job(recipe, data, out, keep_going, progress, holdout=True)
    same_origin(out, job.train.dataset)
    say_of_label_adaptation(job)
    with clock("start"):
        start = train_start(job, out / "start")
    models: list[tuple[Model, Model]] = []
    for repeat in range(recipe.repeats):
        with clock("aligned"):
            aligned = alternate(job, nth(out / "aligned", repeat), nth(out / "labels", repeat), start, repeat)
        with clock("baseline"):
            baseline = train_baseline(job, nth(out / "baseline", repeat), start, repeat)
        models.append((baseline, aligned))
    if accelerator.is_main_process:
        with clock("evaluation"), progress.stage("evaluation", 1 + 2 * recipe.repeats) as advance:
            summary = figures_of_run(job, out, start, models, advance)
        write_json(out / SUMMARY, summary | {"seconds": clock.seconds})
        write_report(out)
    accelerator.wait_for_everyone()
    return read_summary(out)


def train_start(job: Job, folder: Path) -> Model:
    """A new network, trained on the annotations until it roughly converges: where the others start from."""
    recipe = job.recipe
    return train_on_annotations(job, folder, job.new_network(), recipe.start, recipe.seed, "start", finish=False)


def alternate(job: Job, folder: Path, labels: Path, start: Model, repeat: int = 0) -> Model:
    """From the start on, search labels and train on them in turn; every search appends a version to the folder `labels`.

    With `update` a search starts at the labels found last, without it at the annotations. Once labels settle, or after the
    last search, training goes on with the labels found last.
    """
    if (model := job.kept(folder)) is not None:
        return model
    recipe, seed = job.recipe, job.later_seed(repeat)
    settings, crops = recipe.alternation, job.train.crops
    provenance = {"source": "search", "recipe": recipe.name, "seed": seed, **search_provenance(recipe)}
    versions = Versions(labels, job.train.dataset, provenance)
    with job.training(folder, job.copy_of(start), recipe.alignment, seed, "aligned") as trainer:
        annotations, found = versions.up_to(0), versions.up_to(trainer.epoch)
        for epoch in trainer.epochs_left():
            settled = found.index > 0 and versions.movement(found) < settings.stop_movement
            if epoch < settings.searches and not settled:  # step 1: the network is fixed, search the labels
                observations = Observations((found if settings.update else annotations).points, annotations.points)
                precision = recipe.alignment.precision
                search = Search(job, trainer.averaged, observations, folder / "search", precision, start.mesh)
                found = versions.next(found, search.find, search.together)
                search.clear()
            log = {"iteration": found.iteration, "movement": versions.movement(found)}
            trainer.train_epoch(crops.to_crop(found.points), log)  # step 2: the labels are fixed, train the network
    return finished_detector(job, trainer, found.points, "aligned")


def train_baseline(job: Job, folder: Path, start: Model, repeat: int = 0) -> Model:
    """From the start on, train on the annotations for as long as the alternation does: what that is compared with."""
    network, seed = job.copy_of(start), job.later_seed(repeat)
    return train_on_annotations(job, folder, network, job.recipe.alignment, seed, "baseline")


def train_on_annotations(
    job: Job,
    folder: Path,
    network: HeatmapNetwork,
    training: TrainingSettings,
    seed: int,
    title: str,
    finish: bool = True,
    predictions: Callable[[], np.ndarray] | None = None,
) -> Model:
    """Train a network on what people marked; `finish` and `predictions` as of `finished_detector`."""
    if (model := job.kept(folder)) is not None:
        return model
    annotations = job.train.dataset.points()
    with job.training(folder, network, training, seed, title) as trainer:
        trainer.fit(job.train.crops.to_crop(annotations))
    return finished_detector(job, trainer, annotations, title, finish, predictions)
