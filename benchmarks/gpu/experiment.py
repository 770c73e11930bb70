"""Semantic alignment against training on the annotations, from one start: the loops of the comparison (Sec. 4.4, 5.2).

    start:  train on the annotations until the network knows its training faces better than others
    arms:   from the same weights, each for as long and at the same rates
            annotations        go on as before
            sa                 before each epoch search labels around the last labels, train on them (the paper's procedure)
            sa-without-update  search around the annotations
            out-of-fold        labels found once, in the heatmaps of networks that have not seen the face, with label adaptation
            truth              the exact points, where they are known: no label search can do better

A network is named by how many independent draws of annotation noise its labels hold and by its seed. Networks of a
group train side by side. Points are in the crop frame (`learner.Crops`) unless said otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from faces import Faces
from learner import Crops, Epoch, Learner, train_epoch
from state import Record, State
from torch import Tensor

from semalign.core.adaptation import systematic_offsets
from semalign.core.metrics import mean_errors, nme_interpupil
from semalign.core.search import SearchSettings
from semalign.data.augment import AugmentationSettings
from semalign.models.hourglass import HourglassSettings, StackedHourglass, build_hourglass
from semalign.synthetic.annotators import marked_again
from semalign.training.schedule import learning_rate
from semalign.training.settings import HeatmapSettings, TrainingSettings

ANNOTATORS = 6  # who share the marking of a further draw of noise
FOLD_SEED = 1000  # is added to a network's seed, times the fold from 1, for the network that does not see a fold
STAGES = {
    name: index
    for index, name in enumerate(("start", "annotations", "sa", "sa-without-update", "out-of-fold", "truth"))
}
ARMS = tuple(STAGES)[1:]
SEARCHING = ("sa", "sa-without-update")


@dataclass(frozen=True)
class Size:
    """What is trained, and how."""

    name: str
    network: HourglassSettings
    heatmap: HeatmapSettings
    augmentation: AugmentationSettings
    start: TrainingSettings
    arm: TrainingSettings
    search: SearchSettings  # the paper's
    best: SearchSettings  # ours, for labels out of fold
    components: int = 60  # of the label adaptation, out of fold
    searches: int = 10  # at most, one before each epoch
    look_every: int = 5  # epochs


@dataclass(frozen=True)
class Name:
    """Of a network: how many independent draws of annotation noise its labels hold, and its seed."""

    noise: int
    seed: int

    def __str__(self) -> str:
        return f"noise{self.noise}-seed{self.seed}"


@dataclass(frozen=True)
class Costs:
    """Seconds, for all networks of a group."""

    epoch: float
    look: float
    search: float
    prepare: float  # capturing the step, once

    def training(self, epochs: int, look_every: int, searches: int = 0) -> float:
        """A training of so many epochs."""
        looks = epochs // look_every + 1
        return epochs * self.epoch + looks * self.look + min(searches, epochs) * self.search


class Experiment:
    """One data set, one size, one device.

    Args:
        faces: packed.
        size: what is trained.
        state: what earlier calls left behind.
        device: where.
        deadline: of `time.monotonic`; nothing is begun that would end later.
        say: prints a line.
    """

    def __init__(
        self, faces: Faces, size: Size, state: State, device: torch.device, deadline: float, say: Callable[[str], None]
    ) -> None:
        self.faces, self.size, self.state, self.device = faces, size, state, device
        self.deadline, self.say = deadline, say
        self.train, self.test = faces.take(np.flatnonzero(~faces.test)), faces.take(np.flatnonzero(faces.test))
        flip, side = faces.scheme.flip_index, size.network.input_size
        self.crops, self.others = (Crops(part.crops(side), flip, device) for part in (self.train, self.test))
        self.rows, self.test_rows = np.arange(len(self.crops)), np.arange(len(self.others))
        self.sample = self.rows[:: max(1, len(self.rows) // len(self.test_rows))]  # whose training error is looked at
        self._learners: list[Learner] = []
        self._annotations: dict[Name, np.ndarray] = {}

    def start(self, names: list[Name], epochs: int) -> bool:
        """Train on the annotations from the beginning, or from where the state stands; False if time runs out."""
        behind = min(self.state.trained(str(name)) for name in names)
        if behind >= epochs:
            return True
        training, learners = scaled(self.size.start, epochs), self.learners(len(names))
        annotations = [self.crops.to_crop(self.annotations(name)) for name in names]
        for name, learner in zip(names, learners, strict=True):
            learner.restart(self._fresh(name.seed))
            if behind:
                self.state.load_weights(str(name), learner.network)
        if behind:  # the optimizer's statistics were not kept: an epoch that only gathers them
            train_epoch(self.pictures("start", names, learners, annotations, epochs), [0.0] * self._steps(self.rows))
        for epoch in range(behind, epochs):
            begin = time.monotonic()
            pictures = self.pictures("start", names, learners, annotations, epoch)
            losses = train_epoch(pictures, self._rates(training, epoch, self.rows))
            if (epoch + 1) % self.size.look_every == 0 or epoch + 1 == epochs:
                for name, learner, loss in zip(names, learners, losses, strict=True):
                    record = self._look(learner, annotations[names.index(name)]) | {"epoch": epoch + 1, "loss": loss}
                    self._tell(name, "start", record)
                    self._starts(name)["log"].append(record)
            if self.deadline - time.monotonic() < 1.5 * (time.monotonic() - begin) and epoch + 1 < epochs:
                break
        for name, learner in zip(names, learners, strict=True):
            self.state.save_weights(str(name), learner.network)
            self._starts(name)["epochs"] = epoch + 1
        self.state.save()
        return epoch + 1 == epochs

    def arm(self, names: list[Name], arm: str, epochs: int, start_epochs: int) -> None:
        """From the start's weights, train on what the arm takes for labels; its points go to the state."""
        training = scaled(self.size.arm, epochs)
        annotations = [self.crops.to_crop(self.annotations(name)) for name in names]
        labels = annotations
        if arm == "truth":
            assert self.train.truth is not None
            labels = [self.crops.to_crop(self.train.truth)] * len(names)
        elif arm == "out-of-fold":
            labels = self._out_of_fold(names, annotations, start_epochs)
        learners = self.learners(len(names))
        for name, learner in zip(names, learners, strict=True):
            self.state.load_weights(str(name), learner.restart(self._fresh(name.seed)))
        logs: list[list[Record]] = [[] for _ in names]
        for epoch in range(epochs):
            if arm in SEARCHING and epoch < self.size.searches:  # step 1, the networks fixed
                around = labels if arm == "sa" else annotations
                labels = [
                    learner.search(self.crops, self.rows, o, self.size.search)
                    for learner, o in zip(learners, around, strict=True)
                ]
            pictures = self.pictures(arm, names, learners, labels, epoch)  # step 2, the labels fixed
            losses = train_epoch(pictures, self._rates(training, epoch, self.rows))
            if (epoch + 1) % self.size.look_every == 0 or epoch + 1 == epochs:
                for index, (name, learner) in enumerate(zip(names, learners, strict=True)):
                    record = self._look(learner, annotations[index]) | {"epoch": epoch + 1, "loss": losses[index]}
                    record |= self._label_errors(labels[index], annotations[index])
                    self._tell(name, arm, record)
                    logs[index].append(record)
        for index, (name, learner) in enumerate(zip(names, learners, strict=True)):
            self._keep(f"{name}/{arm}", learner, labels[index])
            self.state.content["arms"][f"{name}/{arm}"] = {"epochs": epochs, "log": logs[index]}
        self.state.save()

    def _out_of_fold(self, names: list[Name], annotations: list[Tensor], epochs: int) -> list[Tensor]:
        """Labels of each fold by a network trained for as long as the start on the other folds.

        What its predictions of the fold differ from the annotations as a function of the shape (label adaptation) is added to
        the observations and taken off the labels, as in `semalign.searches.adapted`.
        """
        labels = [own.clone() for own in annotations]
        training, learners = scaled(self.size.start, epochs), self.learners(len(names))
        for fold in np.unique(self.train.folds):
            seen, unseen = self.rows[self.train.folds != fold], self.rows[self.train.folds == fold]
            for name, learner in zip(names, learners, strict=True):
                learner.restart(self._fresh(name.seed + FOLD_SEED * (int(fold) + 1)))
            for epoch in range(epochs):
                pictures = self.pictures(f"fold{fold}", names, learners, annotations, epoch, seen)
                train_epoch(pictures, self._rates(training, epoch, seen))
            for index, learner in enumerate(learners):
                own = annotations[index][unseen]
                found = learner.predict(self.crops, unseen).subpixel
                offsets = torch.from_numpy(systematic_offsets(found.numpy(), own.numpy(), self.size.components))
                labels[index][unseen] = learner.search(self.crops, unseen, own + offsets, self.size.best) - offsets
            self.say(f"out of fold {fold}: {len(unseen)} faces labelled by networks of {len(seen)} others")
        return labels

    def annotations(self, name: Name) -> np.ndarray:
        """What the network's training faces are annotated with (b, n, 2), image frame.

        The first draw of noise is the data set's own annotation or, where the truth is known, one around it.
        """
        if name not in self._annotations:
            points, draws = self.train.points, name.noise - 1
            if self.train.truth is not None:
                points, draws = self.train.truth, name.noise
            for draw in range(draws):
                points = marked_again(points, ANNOTATORS, 100 * name.seed + draw)
            self._annotations[name] = points
        return self._annotations[name]

    @cached_property
    def kept(self) -> np.ndarray:
        """Rows of the training faces whose points are kept: those that several people marked, else all."""
        return self.rows if self.train.marks is None else self.train.marked

    def learners(self, count: int) -> list[Learner]:
        """As many networks in training, made once: their weights are exchanged, a captured step is not."""
        while len(self._learners) < count:
            learner = Learner(self._fresh(0), self.size.start, self.size.heatmap, self.device)
            if self.device.type == "cuda":
                epoch = Epoch(
                    learner, self.crops, self.rows, self.crops.to_crop(self.train.points), self.size.augmentation, [0]
                )
                batch = slice(0, self.size.start.batch_size)
                learner.try_to_capture(epoch.images[batch], epoch.points[batch], self.say)
            self._learners.append(learner)
        return self._learners[:count]

    def measure(self, count: int) -> Costs:
        """What the parts of a training cost here, for a group of so many networks."""
        begin = time.monotonic()
        learners, names = self.learners(count), [Name(1, index) for index in range(count)]
        labels = [self.crops.to_crop(self.train.points)] * count
        prepare = self._since(begin)
        some, begin = min(20, self._steps(self.rows)), time.monotonic()
        pictures = self.pictures("start", names, learners, labels, 0)
        draw, begin = self._since(begin), time.monotonic()
        train_epoch(pictures, [0.0] * some)
        step, begin = self._since(begin) / some, time.monotonic()
        for learner in learners:
            self._look(learner, labels[0])
        look, begin = self._since(begin), time.monotonic()
        part = self.rows[: min(len(self.rows), 128)]
        for learner in learners:
            learner.search(self.crops, part, labels[0][part], self.size.search)
        search = self._since(begin) * len(self.rows) / len(part)
        return Costs(draw + step * self._steps(self.rows), look, search, prepare)

    def _since(self, begin: float) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic() - begin

    def _fresh(self, seed: int) -> StackedHourglass:
        return build_hourglass(self.size.network, self.faces.scheme.count, seed)

    def _steps(self, rows: np.ndarray) -> int:
        return -(-len(rows) // self.size.start.batch_size)

    def _rates(self, training: TrainingSettings, epoch: int, rows: np.ndarray) -> list[float]:
        steps = self._steps(rows)
        return [learning_rate(training, epoch * steps + step, steps) for step in range(steps)]

    def pictures(
        self,
        stage: str,
        names: list[Name],
        learners: list[Learner],
        labels: list[Tensor],
        epoch: int,
        rows: np.ndarray | None = None,
    ) -> list[Epoch]:
        """The epoch of each network; its draws depend on the network's seed, not on its noise, nor on the arm."""
        rows, second = self.rows if rows is None else rows, int(stage in ARMS)
        return [
            Epoch(learner, self.crops, rows, own, self.size.augmentation, [name.seed, second, epoch])
            for name, learner, own in zip(names, learners, labels, strict=True)
        ]

    def _look(self, learner: Learner, annotations: Tensor) -> Record:
        """Mean errors in %: on test faces, and on some training faces against what they were annotated with, and the truth."""
        scheme = self.faces.scheme
        found = self.others.to_image(learner.predict(self.others, self.test_rows).subpixel)
        own = self.crops.to_image(learner.predict(self.crops, self.sample).subpixel, self.sample)
        record = {f"test_{name}": value for name, value in mean_errors(found, self.test.reference, scheme).items()}
        record["train_nme_interpupil"] = self._error(own, self.crops.to_image(annotations[self.sample], self.sample))
        if self.train.truth is not None:
            record["train_truth_nme_interpupil"] = self._error(own, self.train.truth[self.sample])
        return record

    def _label_errors(self, labels: Tensor, annotations: Tensor) -> Record:
        """How far labels went from the annotations, and how far they are from the truth where it is known, in %."""
        found = self.crops.to_image(labels)
        record = {"moved_nme_interpupil": self._error(found, self.crops.to_image(annotations))}
        if self.train.truth is not None:
            record["labels_truth_nme_interpupil"] = self._error(found, self.train.truth)
        return record

    def _error(self, points: np.ndarray, reference: np.ndarray) -> float:
        return float(nme_interpupil(points, reference, self.faces.scheme).mean())

    def _keep(self, key: str, learner: Learner, labels: Tensor) -> None:
        """Put into the state what the tables are made of: points of the image frame."""
        test, own = learner.predict(self.others, self.test_rows), learner.predict(self.crops, self.kept)
        points = {
            "test": self.others.to_image(test.subpixel),
            "test-argmax": self.others.to_image(test.argmax),
            "train": self.crops.to_image(own.subpixel, self.kept),
            "labels": self.crops.to_image(labels)[self.kept],
        }
        self.state.arrays |= {f"{key}/{name}": value.astype(np.float32) for name, value in points.items()}

    def _starts(self, name: Name) -> Record:
        return self.state.content["starts"].setdefault(str(name), {"epochs": 0, "log": []})

    def _tell(self, name: Name, stage: str, record: Record) -> None:
        figures = "  ".join(f"{key} {value:.4g}" for key, value in record.items() if key != "epoch")
        self.say(f"{name} {stage} epoch {record['epoch']}: {figures}")


def scaled(training: TrainingSettings, epochs: int) -> TrainingSettings:
    """The same schedule over another number of epochs."""
    share = epochs / training.epochs
    return replace(training, epochs=epochs, milestones=tuple(round(m * share) for m in training.milestones))
