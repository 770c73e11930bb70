"""The trainings of a run. Each has a folder with its log, its checkpoint and, once it is finished, its model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.core.kernel_dialect import KernelDialect, learn_kernel_dialect
from semalign.core.metrics import distances, interocular, interpupil, nme
from semalign.core.systematic import Dialect, choose_modes, learn_dialect
from semalign.data.labels import LabelStore
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.hourglass import StackedHourglass, build_hourglass
from semalign.pipeline.prepare import Faces
from semalign.pipeline.progress import Progress
from semalign.pipeline.recipe import Recipe
from semalign.schemes import LandmarkScheme
from semalign.training.alternation import Alternation
from semalign.training.inference import predict
from semalign.training.settings import TrainingSettings
from semalign.training.task import heatmap_task
from semalign.training.trainer import Record, Trainer, make_accelerator

MODEL = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Stages:
    """What the trainings of a run share."""

    recipe: Recipe
    train: Faces
    test: Faces
    progress: Progress
    about: dict[str, Any]

    @property
    def scheme(self) -> LandmarkScheme:
        """The landmarks."""
        return self.train.dataset.scheme

    @property
    def sigma(self) -> float:
        """Of the Gaussians, heatmap pixels."""
        return self.recipe.heatmap.pixels(self.recipe.network.heatmap_size)

    def start(self, folder: Path, trained: Model | None = None) -> Model:
        """Train a new network, or one that was trained before, on the annotations until it roughly converges."""
        if trained is None:
            network = build_hourglass(self.recipe.network, self.scheme.count, self.recipe.seed)
        else:
            network = self._network_of(trained)
        return self._on_annotations(folder, network, self.recipe.start, self.recipe.seed, "start")

    def baseline(self, folder: Path, start: Model, repeat: int = 0) -> Model:
        """From the start, train on the annotations for as long as the alignment does."""
        network = self._network_of(start)
        return self._on_annotations(folder, network, self.recipe.alignment, self._later_seed(repeat), "baseline")

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

        return self._fit(folder, trainer, labels_of_epoch, lambda: store.read().points, "aligned")

    def _network_of(self, model: Model) -> StackedHourglass:
        """A copy of a model's network, resampling as the recipe has it."""
        network = build_hourglass(self.recipe.network, self.scheme.count, self.recipe.seed)
        network.load_state_dict(model.network.state_dict())
        return network

    def _on_annotations(
        self, folder: Path, network: StackedHourglass, training: TrainingSettings, seed: int, title: str
    ) -> Model:
        annotations = self.train.dataset.points()
        in_crops = self.train.crops.to_crop(annotations)
        trainer = self._trainer(folder, network, training, seed)
        return self._fit(folder, trainer, lambda epoch: (in_crops, {}), lambda: annotations, title)

    def _trainer(
        self, folder: Path, network: StackedHourglass, training: TrainingSettings, seed: int
    ) -> Trainer[StackedHourglass]:
        recipe = self.recipe
        return Trainer(
            folder,
            network,
            make_accelerator(),
            heatmap_task(self.train.crops, self.scheme, recipe.network, recipe.heatmap, recipe.augmentation),
            training,
            seed,
        )

    def _fit(
        self,
        folder: Path,
        trainer: Trainer[StackedHourglass],
        labels_of_epoch: Callable[[int], tuple[np.ndarray, Record]],
        last_labels: Callable[[], np.ndarray],
        title: str,
    ) -> Model:
        path = folder / MODEL
        if path.is_file():
            model = load_model(path, self.scheme)
            model.network.to(trainer.accelerator.device)
            return model
        trainer.resume()
        left = (trainer.training.epochs - trainer.epoch) * trainer.steps_per_epoch
        with self.progress.stage(title, left) as advance:
            trainer.fit(labels_of_epoch, self._nme_of(trainer, title), advance)
        with trainer.averaged_weights() as averaged:
            network = copy.deepcopy(averaged)
        dialect, about = (
            self._dialect(network, last_labels(), trainer.training.precision),
            self.about | {"stage": title},
        )
        views = self.recipe.readout.views
        model = Model(network, self.scheme, self.recipe.crop, self.sigma, about, dialect, views)
        if trainer.accelerator.is_main_process:
            save_model(path, model)
        trainer.accelerator.wait_for_everyone()
        return model

    def _dialect(self, network: StackedHourglass, labels: np.ndarray, precision: str) -> Dialect | KernelDialect | None:
        """What the finished network's predictions on the training faces differ from their labels systematically."""
        settings, annotations = self.recipe.dialect, self.train.dataset.points()
        usable = np.isfinite(labels).all(axis=(1, 2)) & np.isfinite(annotations).all(axis=(1, 2))
        if not settings.modes or not usable.any():
            return None
        labels, annotations = labels[usable], annotations[usable]
        predicted = predict(
            network,
            self.train.crops,
            self.sigma,
            precision=precision,
            views=self.recipe.readout.views,
            flip_index=self.scheme.flip_index,
        ).points[usable]
        if settings.kind == "kernel" and len(labels) > 1:
            return learn_kernel_dialect(predicted, labels, judged_by=annotations)
        modes = choose_modes(predicted, labels, settings.modes, settings.folds, judged_by=annotations)
        return learn_dialect(predicted, labels, modes)

    def _nme_of(self, trainer: Trainer[StackedHourglass], title: str) -> Callable[[int], Record] | None:
        """Logs the error on the test faces after each epoch: a curve to look at, nothing is chosen by it."""
        test = self.test
        if not len(test.dataset):
            return None

        def after_epoch(epoch: int) -> Record:
            found = predict(trainer.network, test.crops, self.sigma, precision=trainer.training.precision)
            return {"stage": title} | quick_nme(found.points, test.reference, self.scheme)

        return after_epoch

    def _later_seed(self, repeat: int) -> int:
        """Seeds of the trainings after the start differ from the start's: their epochs are new draws."""
        return self.recipe.seed + 1 + repeat


def quick_nme(found: np.ndarray, reference: np.ndarray, scheme: LandmarkScheme) -> dict[str, float]:
    """Mean errors in % under the normalisations that the scheme has points for."""
    apart = distances(found, reference)
    result = {}
    if scheme.outer_eyes is not None:
        result["nme_interocular"] = float(nme(apart, interocular(reference, scheme)).mean())
    if all(scheme.pupils):
        result["nme_interpupil"] = float(nme(apart, interpupil(reference, scheme)).mean())
    return result


def search_provenance(recipe: Recipe) -> dict[str, str | int | float]:
    """The search's settings, as they are kept with every label version."""
    search = recipe.search
    return {
        "likelihood_weight": search.likelihood_weight,
        "region": search.region,
        "template": search.template,
        "precision": search.precision,
        "update": int(recipe.alternation.update),
        "views": recipe.alternation.views,
        "modes": recipe.alternation.modes,
    }
