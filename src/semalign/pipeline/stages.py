"""The trainings of a run. Each has a folder with its log, its checkpoint and, once it is finished, its model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from semalign.core.adaptation import LinearAdaptation, choose_components, fit_linear_adaptation
from semalign.core.kernel_adaptation import KernelAdaptation, fit_kernel_adaptation
from semalign.core.metrics import mean_errors
from semalign.data.crops import CropCache
from semalign.data.duplicates import independent_folds
from semalign.data.labels import LabelStore
from semalign.errors import SemalignError
from semalign.inference.heatmaps import predict
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.network import HeatmapNetwork, build_network
from semalign.pipeline.prepare import Faces
from semalign.pipeline.progress import PrefixedProgress, Progress
from semalign.pipeline.recipe import Recipe
from semalign.schemes import LandmarkScheme
from semalign.training.alternation import Alternation
from semalign.training.distillation import DistillationTask
from semalign.training.settings import TrainingSettings
from semalign.training.task import Task, heatmap_task
from semalign.training.trainer import Record, Trainer, make_accelerator

MODEL = "model.safetensors"
FINISH_SEED = 1  # is added to a training's seed for the draws of its finish
LabelsOfEpoch = Callable[[int], tuple[np.ndarray, Record]]  # of an epoch, in the crop frames, and what to log of them


@dataclass(frozen=True, eq=False)
class Stages:
    """What the trainings of a run share."""

    recipe: Recipe
    train: Faces
    test: Faces
    progress: Progress
    about: dict[str, Any]
    teachers: tuple[Model, ...] = ()  # whose heatmaps are learned from, too

    @property
    def scheme(self) -> LandmarkScheme:
        """The landmarks."""
        return self.train.dataset.scheme

    @property
    def sigma(self) -> float:
        """Of the Gaussians, heatmap pixels."""
        return self.recipe.heatmap.pixels(self.recipe.network.heatmap_size)

    def detector(self, folder: Path, trained: Model | None = None) -> Model:
        """What `semalign train` makes: a new network, or one that was trained before, trained on the annotations.

        Where the recipe asks for a label adaptation from held-out faces, further networks are trained for it in the same way.
        """
        trainer = self._starting(folder, trained)
        if not self.recipe.label_adaptation.held_out:
            return self._on_annotations(trainer, "start")
        folds = self._folds()
        return self._on_annotations(trainer, "start", predictions=lambda: self._held_out(folder, trained, folds))

    def without(self, held_out: np.ndarray, part: str) -> Stages:
        """The same for detectors without label adaptation that do not see some of the training faces, nor the test faces.

        Args:
            held_out: (b,) bool, the faces that are left out.
            part: what they are called, in the progress and in what the models say of their origin.
        """
        return replace(
            self,
            recipe=replace(
                self.recipe, label_adaptation=replace(self.recipe.label_adaptation, components=(), held_out=0)
            ),
            train=self.train.take(np.flatnonzero(~held_out)),
            test=self.test.take(np.arange(0)),
            progress=PrefixedProgress(self.progress, f"without {part}: "),
            about=self.about | {"without": part},
        )

    def start(self, folder: Path) -> Model:
        """A new network, trained on the annotations until it roughly converges: where the others start from."""
        return self._on_annotations(self._starting(folder, None), "start", finish=False)

    def baseline(self, folder: Path, start: Model, repeat: int = 0) -> Model:
        """From the start, train on the annotations for as long as the alignment does."""
        trainer = self._trainer(folder, self._network_of(start), self.recipe.alignment, self._later_seed(repeat))
        return self._on_annotations(trainer, "baseline")

    def aligned(self, folder: Path, labels: Path, start: Model, repeat: int = 0) -> Model:
        """From the start, search labels and train on them in turn (Sec. 4.4); label versions go to `labels`."""
        trainer = self._trainer(folder, self._network_of(start), self.recipe.alignment, self._later_seed(repeat))
        store = LabelStore(labels)
        if trainer.accelerator.is_main_process:
            store.start(self.train.dataset, {"source": "annotations"})
        trainer.accelerator.wait_for_everyone()
        alternation = Alternation(
            store,
            self.train.dataset,
            self.train.crops,
            self.sigma,
            self.recipe.search,
            self.recipe.alternation,
            trainer.accelerator,
            self.recipe.alignment.precision,
            {
                "source": "search",
                "recipe": self.recipe.name,
                "seed": self._later_seed(repeat),
                **search_provenance(self.recipe),
            },
        )

        def labels_of_epoch(epoch: int) -> tuple[np.ndarray, Record]:
            version, record = alternation.labels_of_epoch(epoch, trainer.network)
            return self.train.crops.to_crop(version.points), record

        return self._fit(trainer, labels_of_epoch, lambda: store.read().points, "aligned")

    def _starting(self, folder: Path, trained: Model | None) -> Trainer[HeatmapNetwork]:
        """The training of a new network, or of a copy of one that was trained before."""
        recipe = self.recipe
        if trained is None:
            network = build_network(recipe.network, self.scheme.count, recipe.seed)
        else:
            network = self._network_of(trained)
        return self._trainer(folder, network, recipe.start, recipe.seed)

    def _network_of(self, model: Model) -> HeatmapNetwork:
        """A copy of a model's network, resampling as the recipe has it."""
        network = build_network(self.recipe.network, self.scheme.count, self.recipe.seed)
        network.load_state_dict(model.network.state_dict())
        return network

    def _constant(self, labels: np.ndarray) -> LabelsOfEpoch:
        """The same labels (image frame) in every epoch."""
        in_crops = self.train.crops.to_crop(labels)
        return lambda epoch: (in_crops, {})

    def _trainer(
        self,
        folder: Path,
        network: HeatmapNetwork,
        training: TrainingSettings,
        seed: int,
        augmentation: float = 1.0,
    ) -> Trainer[HeatmapNetwork]:
        """A training with a share of the recipe's augmentation."""
        recipe = self.recipe
        weakened = recipe.augmentation.weakened(augmentation)
        drawn = heatmap_task(self.train.crops, self.scheme, recipe.network, recipe.heatmap, weakened)
        teachers = [teacher.network for teacher in self.teachers]
        share = recipe.distillation.share
        task: Task = DistillationTask(drawn, teachers, share, training.precision) if teachers else drawn
        return Trainer(folder, network, make_accelerator(), task, training, seed)

    def _on_annotations(
        self,
        trainer: Trainer[HeatmapNetwork],
        title: str,
        finish: bool = True,
        predictions: Callable[[], np.ndarray] | None = None,
    ) -> Model:
        """As `_fit`, with the annotations as the labels of every epoch."""
        annotations = self.train.dataset.points()
        return self._fit(trainer, self._constant(annotations), lambda: annotations, title, finish, predictions)

    def _fit(
        self,
        trainer: Trainer[HeatmapNetwork],
        labels_of_epoch: LabelsOfEpoch,
        last_labels: Callable[[], np.ndarray],
        title: str,
        finish: bool = True,
        predictions: Callable[[], np.ndarray] | None = None,
    ) -> Model:
        """Train, finish, learn the label adaptation, and leave the model's file behind; nothing where it is there.

        Args:
            trainer: of the first part, in the stage's folder.
            labels_of_epoch: that the trainer asks for.
            last_labels: those of its end (image frame), which the finish and the label adaptation are for.
            title: of the stage.
            finish: whether it ends as the recipe's `finish` says.
            predictions: for the label adaptation (b, n, 2); default: the network's own on its training faces.
        """
        path = trainer.folder / MODEL
        if path.is_file():
            model = load_model(path, self.scheme)
            model.network.to(trainer.accelerator.device)
            return model
        network = self._trained(trainer, labels_of_epoch, title)
        if finish:
            network = self._finished(network, last_labels(), trainer, title)
        adaptation = None
        if self.recipe.label_adaptation.components:
            precision = trainer.training.precision
            found = predictions() if predictions else self._predictions(network, self.train.crops, precision)
            adaptation = self._adaptation(found, last_labels())
        tta, about = self.recipe.decoding.tta, self.about | {"stage": title}
        model = Model(network, self.scheme, self.recipe.crop, self.sigma, about, adaptation, tta)
        if trainer.accelerator.is_main_process:
            save_model(path, model)
        trainer.accelerator.wait_for_everyone()
        return model

    def _trained(self, trainer: Trainer[HeatmapNetwork], labels_of_epoch: LabelsOfEpoch, title: str) -> HeatmapNetwork:
        """Train from wherever the trainer's folder stands; the network with its averaged weights."""
        trainer.resume()
        left = (trainer.training.epochs - trainer.epoch) * trainer.steps_per_epoch
        with self.progress.stage(title, left) as advance:
            trainer.fit(labels_of_epoch, self._nme_of(trainer, title), advance)
        with trainer.averaged_weights() as averaged:
            return copy.deepcopy(averaged)

    def _finished(
        self,
        network: HeatmapNetwork,
        labels: np.ndarray,
        before: Trainer[HeatmapNetwork],
        title: str,
    ) -> HeatmapNetwork:
        """The network after the recipe's `finish`, which has a folder in that of its training."""
        finish = self.recipe.finish
        if not finish.epochs:
            return network
        training, seed = finish.training(before.training), before.seed + FINISH_SEED
        trainer = self._trainer(before.folder / "finish", network, training, seed, finish.augmentation)
        return self._trained(trainer, self._constant(labels), f"{title}, finish")

    def _folds(self) -> np.ndarray:
        """The part of each training face (b,); faces of one photograph or moment share one."""
        count = self.recipe.label_adaptation.held_out
        folds = independent_folds(self.train.dataset, count, self.recipe.seed)
        if len(np.unique(folds)) < count:
            raise SemalignError(
                f"label_adaptation.held_out: {len(folds)} training faces do not make {count} independent folds; "
                "choose fewer, or 0."
            )
        return folds

    def _held_out(self, folder: Path, trained: Model | None, folds: np.ndarray) -> np.ndarray:
        """Predictions (b, n, 2) for every training face by a bare detector that was trained in the same way without it."""
        count, crops = self.recipe.label_adaptation.held_out, self.train.crops
        found = np.empty((len(crops), self.scheme.count, 2))
        for index in range(count):
            others = self.without(folds == index, f"part {index + 1} of {count}")
            network = others.detector(folder / f"held-out-{index + 1}", trained).network
            rows = np.flatnonzero(folds == index)
            found[rows] = self._predictions(network, crops.take(rows), self.recipe.start.precision)
        return found

    def _predictions(self, network: HeatmapNetwork, crops: CropCache, precision: str) -> np.ndarray:
        """The bare network's landmarks (b, n, 2), with the looks of the detector."""
        tta = self.recipe.decoding.tta
        return predict(network, crops, self.sigma, self.scheme, precision=precision, tta=tta).points

    def _adaptation(self, predicted: np.ndarray, labels: np.ndarray) -> LinearAdaptation | KernelAdaptation | None:
        """What predictions for the training faces differ from their labels systematically."""
        settings, annotations = self.recipe.label_adaptation, self.train.dataset.points()
        usable = np.isfinite(labels).all(axis=(1, 2)) & np.isfinite(annotations).all(axis=(1, 2))
        if not usable.any():
            return None
        predicted, labels, annotations = predicted[usable], labels[usable], annotations[usable]
        if settings.kind == "kernel" and len(labels) > 1:
            return fit_kernel_adaptation(predicted, labels, judged_by=annotations)
        count = choose_components(predicted, labels, settings.components, settings.folds, judged_by=annotations)
        return fit_linear_adaptation(predicted, labels, count)

    def _nme_of(self, trainer: Trainer[HeatmapNetwork], title: str) -> Callable[[int], Record] | None:
        """Logs the error on the test faces after each epoch: a curve to look at, nothing is chosen by it."""
        test = self.test
        if not len(test.dataset):
            return None

        def after_epoch(epoch: int) -> Record:
            found = predict(trainer.network, test.crops, self.sigma, self.scheme, precision=trainer.training.precision)
            return {"stage": title} | mean_errors(found.points, test.reference, self.scheme)

        return after_epoch

    def _later_seed(self, repeat: int) -> int:
        """Seeds of the trainings after the start differ from the start's: their epochs are new draws."""
        return self.recipe.seed + 1 + repeat


def search_provenance(recipe: Recipe) -> dict[str, str | int | float]:
    """The search's settings, as they are kept with every label version."""
    search = recipe.search
    return {
        "likelihood_weight": search.likelihood_weight,
        "region": search.region,
        "template": search.template,
        "precision": search.precision,
        "update": int(recipe.alternation.update),
        "tta": recipe.alternation.tta,
        "adaptation_components": recipe.alternation.adaptation_components,
    }
