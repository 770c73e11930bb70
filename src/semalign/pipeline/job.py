"""What all trainings of one command share: recipe, faces, progress, and how a training begins, goes on and is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semalign.core.adaptation import LinearAdaptation
from semalign.core.affine import transform_points
from semalign.core.kernel_adaptation import KernelAdaptation
from semalign.core.metrics import mean_errors
from semalign.core.translation import LEAST_FACES, Translation, fit_translation
from semalign.data.cache import say_of_old_crops
from semalign.data.crops import CropSettings
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.inference.heatmaps import predict
from semalign.inference.meshes import mesh_landmarks, meshes_of
from semalign.inference.onnx import input_squares
from semalign.models import pretrained
from semalign.models.cascade import CascadeNetwork
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.head import HeatmapHead
from semalign.models.mesh_network import MeshNetwork, MeshSettings
from semalign.models.network import HeatmapNetwork, build_network
from semalign.pipeline.fitting import fitted_to_scheme
from semalign.pipeline.prepare import Faces, cache_crops, split_faces, synthesize_if_wanted
from semalign.pipeline.recipe import Recipe, dump_recipe
from semalign.pipeline.summary import versions
from semalign.progress import PrefixedProgress, Progress, SilentProgress
from semalign.schemes import LandmarkScheme
from semalign.training.distillation import DistillationTask
from semalign.training.settings import TrainingSettings
from semalign.training.task import HeatmapTask, Task, task_for
from semalign.training.trainer import Record, Trainer, make_accelerator

MODEL = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Job:
    """The faces of a command and the settings of its trainings.

    Attributes:
        test: measured after each epoch, a curve to look at; nothing is chosen by it.
        about: what the models' files say of their origin.
        teachers: models whose heatmaps are learned from, too.
        notes: on what of the data set is partial or was left out.
        found_meshes: the face mesh of every training face, where it has been found already.
    """

    recipe: Recipe
    train: Faces
    test: Faces
    progress: Progress
    about: dict[str, Any]
    teachers: tuple[Model, ...] = ()
    notes: tuple[str, ...] = ()
    found_meshes: np.ndarray | None = None

    @property
    def scheme(self) -> LandmarkScheme:
        """The landmarks."""
        return self.train.dataset.scheme

    @property
    def sigma(self) -> float:
        """Of the Gaussians, heatmap pixels."""
        return self.recipe.heatmap.pixels(self.recipe.network.heatmap_size)

    @cached_property
    def meshes(self) -> np.ndarray:
        """The face mesh of every training face (b, 478, 3), image frame."""
        if self.found_meshes is not None:
            return self.found_meshes
        with self.progress.stage("face meshes", len(self.train.crops)) as advance:
            return meshes_of(self.train.crops, advance=advance)

    def mesh_landmarks(self, translation: Translation) -> np.ndarray:
        """What the face mesh says of every training face in the terms of a translation that is known (b, n, 2), image frame."""
        known = self._mesh_landmarks
        if id(translation) not in known:
            if self.has_meshes(None):
                known[id(translation)] = translation, translation(self.meshes)
            else:
                with self.progress.stage("face meshes", len(self.train.crops)) as advance:
                    known[id(translation)] = translation, mesh_landmarks(self.train.crops, translation, advance=advance)
        return known[id(translation)][1]

    def has_meshes(self, translation: Translation | None) -> bool:
        """Whether the faces' meshes are known, or what they say by this translation."""
        known = self.found_meshes is not None or "meshes" in self.__dict__
        return known or (translation is not None and id(translation) in self._mesh_landmarks)

    def remember(self, translation: Translation | None, meshes: np.ndarray) -> None:
        """Take in the faces' meshes, or what they say by this translation, found elsewhere."""
        if translation is None:
            self.__dict__["meshes"] = meshes
        else:
            self._mesh_landmarks[id(translation)] = translation, meshes

    @cached_property
    def _mesh_landmarks(self) -> dict[int, tuple[Translation, np.ndarray]]:
        """By the translation's identity, with the translation, which so stays alive."""
        return {}

    @property
    def knows_meshes(self) -> bool:
        """Whether the recipe has a use for the faces' meshes."""
        return self.recipe.alternation.mesh or isinstance(self.recipe.network, MeshSettings)

    @cached_property
    def mesh_translation(self) -> Translation | None:
        """What the mesh's points are in the annotators' terms; None without a mesh, or with too few faces to learn them."""
        if not self.recipe.alternation.mesh or len(self.train.dataset) < LEAST_FACES:
            return None
        return fit_translation(self.meshes, self.train.dataset.points())

    def later_seed(self, repeat: int) -> int:
        """Seeds of the trainings after the start differ from the start's: their epochs are new draws."""
        return self.recipe.seed + 1 + repeat

    def new_network(self) -> HeatmapNetwork:
        """A network that has learned nothing of these faces yet, but for what the face mesh's points mean.

        Raises:
            SemalignError: the recipe's `features` are a network's of another shape.
        """
        network = self._bare_network()
        if self.recipe.features:
            begin_with(network, self.recipe.features)
        if isinstance(network, MeshNetwork):
            network.begin(self.meshes, self.train.dataset.points())
        if isinstance(network, CascadeNetwork):
            network.begin(self._plain_pictures(), self._input_points())
        return network

    def _plain_pictures(self, batch_size: int = 32) -> Iterator[Tensor]:
        """The training faces as a network sees them outside training, batch by batch."""
        crops = self.train.crops
        for start in range(0, len(crops), batch_size):
            rows = np.arange(start, min(start + batch_size, len(crops)))
            yield torch.from_numpy(input_squares(crops, rows, "float32"))

    def _input_points(self) -> np.ndarray:
        """The annotations (b, n, 2) in those pictures."""
        return transform_points(self.train.dataset.points(), self.train.crops.image_to_input)

    def _bare_network(self) -> HeatmapNetwork:
        return build_network(self.recipe.network, self.scheme.count, self.recipe.seed)

    def copy_of(self, model: Model) -> HeatmapNetwork:
        """A model's network to train further, resampling as the recipe has it."""
        network = self._bare_network()
        network.load_state_dict(model.network.state_dict())
        return network

    @contextmanager
    def training(
        self,
        folder: Path,
        network: HeatmapNetwork,
        settings: TrainingSettings,
        seed: int,
        title: str,
        augmentation: float = 1.0,
    ) -> Iterator[Trainer[HeatmapNetwork]]:
        """A training in a folder of its own, from wherever it stands there, with its progress shown.

        Args:
            folder: for its checkpoint and log.
            network: trained in place.
            settings: how long, how fast.
            seed: of all draws.
            title: in the progress and in the log.
            augmentation: share of the recipe's.
        """
        recipe = self.recipe
        task: Task = task_for(
            network, self.train.crops, self.scheme, recipe.heatmap, recipe.augmentation.weakened(augmentation)
        )
        if self.teachers:
            if not isinstance(task, HeatmapTask):
                raise SemalignError(
                    f"a network of kind {recipe.network.kind!r} gives points and has no heatmaps to learn from teachers; "
                    "leave the teachers out, or choose another kind."
                )
            teachers = [teacher.network for teacher in self.teachers]
            task = DistillationTask(task, teachers, recipe.distillation.share, settings.precision)
        trainer = Trainer(folder, network, make_accelerator(), task, settings, seed)
        trainer.after_epoch = lambda averaged: self.measure(averaged, trainer, title)
        trainer.resume()
        with self.progress.stage(title, trainer.steps_left) as trainer.advance:
            yield trainer

    def measure(self, network: HeatmapNetwork, trainer: Trainer[HeatmapNetwork], title: str) -> Record:
        """What the log says of the network after an epoch: its error on the test faces."""
        if not len(self.test.dataset):
            return {}
        found = predict(network, self.test.crops, self.sigma, self.scheme, precision=trainer.training.precision)
        return {"stage": title} | mean_errors(found.points, self.test.reference, self.scheme)

    def kept(self, folder: Path) -> Model | None:
        """The model that a training has left in its folder; None where it is not finished."""
        path = folder / MODEL
        if not path.is_file():
            return None
        model = load_model(path, self.scheme)
        model.network.to(make_accelerator().device)
        return model

    def keep(
        self,
        folder: Path,
        network: HeatmapNetwork,
        title: str,
        adaptation: LinearAdaptation | KernelAdaptation | None,
    ) -> Model:
        """Leave a finished model in its folder."""
        accelerator, about, tta = make_accelerator(), self.about | {"stage": title}, self.recipe.decoding.tta
        model = Model(network, self.scheme, self.recipe.crop, self.sigma, about, adaptation, tta, self.mesh_translation)
        if accelerator.is_main_process:
            save_model(folder / MODEL, model)
        accelerator.wait_for_everyone()
        return model

    def crops_for(self, crop: CropSettings, size: int, keep_going: bool) -> Faces:
        """The training faces as another network sees them; the first process makes the crops that are not there.

        Args:
            crop: of the other network, as `size`.
            size: of its input, pixels.
            keep_going: leave faces out whose image cannot be read any more.
        """
        with make_accelerator().main_process_first():
            dataset, title = self.train.dataset, "crops for the network beside"
            return cache_crops(dataset, crop, size, keep_going, self.progress, title)

    def without(self, held_out: np.ndarray, fold: str) -> Job:
        """The same for networks without label adaptation that do not see some of the training faces, nor the test faces.

        Args:
            held_out: (b,) bool, the faces that are left out.
            fold: what they are called, in the progress and in what the models say of their origin.
        """
        alone = replace(self.recipe.label_adaptation, components=(), held_out=0)
        return replace(
            self,
            recipe=replace(self.recipe, label_adaptation=alone),
            train=self.train.take(np.flatnonzero(~held_out)),
            test=self.test.take(np.arange(0)),
            progress=PrefixedProgress(self.progress, f"without {fold}: "),
            about=self.about | {"without": fold},
            found_meshes=self.meshes[~held_out] if self.knows_meshes else None,
        )


def begin_with(network: HeatmapNetwork, features: str) -> None:
    """Give a network the weights of a trained one that has the same shape but for its landmarks; heads stay as they are.

    Args:
        network: new.
        features: a shipped model's name or a model file.

    Raises:
        SemalignError: there is no such model, or it has another shape.
    """
    learned, own = pretrained.load(features).network.state_dict(), network.state_dict()
    heads = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, HeatmapHead))
    body = {name for name in own if not name.startswith(heads)}
    if body != {name for name in learned if not name.startswith(heads)} or any(
        learned[name].shape != own[name].shape for name in body
    ):
        raise SemalignError(
            f"features: the network of {features!r} has another shape than the recipe's [network]; give that the model's "
            "settings, or leave features out."
        )
    network.load_state_dict({name: learned[name] if name in body else value for name, value in own.items()})


def about_recipe(recipe: Recipe) -> dict[str, Any]:
    """What a model's file says of the recipe by which it was trained."""
    return {"recipe": recipe.name, "recipe_text": dump_recipe(recipe), "seed": recipe.seed}


def open_job(
    recipe: Recipe,
    data: Path | Dataset | None,
    out: Path,
    keep_going: bool,
    progress: Progress,
    model: Model | None = None,
    holdout: bool = False,
) -> Job:
    """The job of a recipe on a data set or its folder (None: the recipe makes its own), with the crops of its faces.

    Landmark scheme and size of the crops are the model's, where one is given, or else the recipe's. With `holdout`, a data set
    without test faces gets some, as the recipe's `data.holdout` says. The first process makes what is not there, all read it.
    """
    size = recipe.network.input_size if model is None else model.input_size
    with make_accelerator().main_process_first():
        found = synthesize_if_wanted(recipe, data, out, progress)
        scheme = None if model is None else model.scheme
        train_set, test_set, notes = split_faces(recipe, found, keep_going, scheme, holdout)
        recipe, unfit = fitted_to_scheme(recipe, train_set.scheme)
        say_of_old_crops(out / "crops", progress)

        def crops(dataset: Dataset, title: str) -> Faces:
            return cache_crops(dataset, recipe.crop, size, keep_going, progress, title)

        faces = crops(train_set, "crops of the training faces")
        held_out = crops(test_set, "crops of the test faces")
    about = {
        **about_recipe(recipe),
        "data": faces.dataset.name,
        "train": faces.dataset.subsets(),
        "versions": versions(),
    }
    return Job(recipe, faces, held_out, progress, about, notes=(*notes, *unfit))


def shown(progress: Progress | None) -> Progress:
    """Where a command of several processes tells what goes on: in the first of them alone."""
    if progress is None or not make_accelerator().is_main_process:
        return SilentProgress()
    return progress


def say_skipped(job: Job) -> None:
    """What is unusual about the data: for the single stages, whose results have no place for it."""
    for note in job.notes:
        job.progress.say(f"note: {note}")
    for name, why in dict([*job.train.dataset.skipped, *job.test.dataset.skipped]).items():
        job.progress.say(f"left out: {name}: {why}")


def say_of_label_adaptation(job: Job) -> None:
    """For what aligns labels, where the recipe is one for `train`."""
    if job.recipe.label_adaptation.held_out:
        job.progress.say(
            "label_adaptation.held_out is of 'semalign train' alone: here it is learned on the training faces."
        )
