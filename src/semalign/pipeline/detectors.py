"""From a trained network to a finished detector: the last epochs in plain light, and label adaptation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semalign.core.adaptation import LinearAdaptation, choose_components, fit_linear_adaptation
from semalign.core.kernel_adaptation import KernelAdaptation, fit_kernel_adaptation
from semalign.data.crops import CropCache
from semalign.inference.heatmaps import predict
from semalign.models.checkpoint import Model
from semalign.models.network import HeatmapNetwork
from semalign.pipeline.job import Job
from semalign.training.trainer import Trainer

FINISH_SEED = 1  # is added to a training's seed for the draws of its finish


def finished_detector(
    job: Job,
    trainer: Trainer[HeatmapNetwork],
    labels: np.ndarray,
    title: str,
    finish: bool = True,
    predictions: Callable[[], np.ndarray] | None = None,
) -> Model:
    """What a training leaves behind, after the recipe's `finish` and with its label adaptation.

    Args:
        job: of the training.
        trainer: at its end.
        labels: those of its end (b, n, 2), image frames, which the finish and the label adaptation are for.
        title: of the training.
        finish: whether it ends as the recipe's `finish` says.
        predictions: for the label adaptation (b, n, 2); default: the network's own on its training faces.
    """
    network, settings = trainer.averaged, job.recipe.finish
    if finish and settings.epochs:
        training, seed = settings.training(trainer.training), trainer.seed + FINISH_SEED
        folder, title_of_finish = trainer.folder / "finish", f"{title}, finish"
        with job.training(folder, network, training, seed, title_of_finish, settings.augmentation) as last:
            last.fit(job.train.crops.to_crop(labels))
        network = last.averaged
    adaptation = None
    if job.recipe.label_adaptation.components:
        own = predictions or (lambda: predictions_of(job, network, job.train.crops, trainer.training.precision))
        adaptation = label_adaptation(job, own(), labels)
    return job.keep(trainer.folder, network, title, adaptation)


def predictions_of(job: Job, network: HeatmapNetwork, crops: CropCache, precision: str) -> np.ndarray:
    """The network's landmarks (b, n, 2) without label adaptation, decoded as the detector's."""
    return predict(network, crops, job.sigma, job.scheme, precision=precision, tta=job.recipe.decoding.tta).points


def label_adaptation(job: Job, predicted: np.ndarray, labels: np.ndarray) -> LinearAdaptation | KernelAdaptation | None:
    """What predictions for the training faces differ from their labels systematically."""
    settings, annotations = job.recipe.label_adaptation, job.train.dataset.points()
    if settings.kind == "kernel" and len(labels) > 1:
        return fit_kernel_adaptation(predicted, labels, judged_by=annotations)
    count = choose_components(predicted, labels, settings.components, settings.folds, judged_by=annotations)
    return fit_linear_adaptation(predicted, labels, count)
