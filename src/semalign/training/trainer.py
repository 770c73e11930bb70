"""The training engine: one network, one stage, epoch by epoch, resumable to the bit.

Hugging Face Accelerate carries device and processes: it keeps the loop ours, adds no base classes, and what it does
(placement, DDP, reduction, clipping) is what PyTorch does. Everything random is a function of (seed, epoch, step), and every
process computes the draws of the whole batch and takes its rows: a killed run goes on to the same bits, and several processes
give what one would, to rounding.

Shape legend: b images, n landmarks.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from semalign.errors import SemalignError
from semalign.files import write_text
from semalign.models.checkpoint import load_tensors, save_tensors
from semalign.training.memory import keep_large_blocks
from semalign.training.schedule import learning_rate
from semalign.training.settings import TrainingSettings
from semalign.training.task import Task
from semalign.training.tensorboard import EventLog

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
Record = dict[str, Any]
Network = TypeVar("Network", bound=nn.Module)


class Trainer(Generic[Network]):
    """Trains a network for a task; owns the optimizer, the averaged weights and the stage's folder.

    Args:
        folder: for the checkpoint and the log (one JSON object a line and epoch).
        network: trained in place.
        accelerator: device and processes, see `make_accelerator`.
        task: what it is trained for.
        training: how long, how fast.
        seed: of all draws.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        accelerator: Accelerator,
        task: Task,
        training: TrainingSettings,
        seed: int,
    ) -> None:
        if training.batch_size % accelerator.num_processes:
            raise SemalignError(
                f"batch_size: {training.batch_size} pictures cannot be shared evenly by {accelerator.num_processes} processes; "
                "choose a multiple."
            )
        self.folder, self.accelerator, self.task = Path(folder), accelerator, task
        self.training, self.seed = training, seed
        self.network = network.to(accelerator.device)
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.optimizer = _make_optimizer(network, training)
        self.wrapped, self.prepared = accelerator.prepare(network, self.optimizer)
        self.epoch = 0
        self.records: list[Record] = []

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one is filled up from the epoch's beginning."""
        return math.ceil(len(self.task) / self.training.batch_size)

    def fit(
        self,
        labels_of_epoch: Callable[[int], tuple[np.ndarray, Record]],
        after_epoch: Callable[[int], Record] | None = None,
        advance: Callable[[int, str], None] | None = None,
    ) -> None:
        """Train to the last epoch from wherever the stage stands, with a checkpoint after each epoch.

        Args:
            labels_of_epoch: called before each epoch (counted from 0) with the averaged weights in place; returns labels
                (b, n, 2) float64 in the crop frames, and what to log about them.
            after_epoch: called after each epoch with the averaged weights in place; what it returns is logged.
            advance: called after each batch with (1, a note for the progress bar).
        """
        writes = self.training.tensorboard and self.accelerator.is_main_process
        events = EventLog(self.folder, self.epoch + 1) if writes else None
        for epoch in range(self.epoch, self.training.epochs):
            begin = time.perf_counter()
            with self.averaged_weights():
                labels, about_labels = labels_of_epoch(epoch)
            record = self._train_epoch(epoch, labels, advance) | about_labels
            record["seconds"] = time.perf_counter() - begin
            self.epoch = epoch + 1
            if after_epoch is not None:
                with self.averaged_weights():
                    record |= after_epoch(epoch)
            self.records.append(record)
            self.save()
            if events is not None:
                events.write(record)

    def _train_epoch(self, epoch: int, labels: np.ndarray, advance: Callable[[int, str], None] | None) -> Record:
        self.wrapped.train()
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.task))
        size = self.training.batch_size
        order = np.resize(order, self.steps_per_epoch * size)
        total = torch.zeros((), device=self.accelerator.device)
        rate = 0.0
        for step in range(self.steps_per_epoch):
            rate = learning_rate(self.training, epoch * self.steps_per_epoch + step, self.steps_per_epoch)
            total += self._step(order[step * size : (step + 1) * size], labels, rate, epoch, step)
            if advance is not None:
                advance(1, f"loss {total.item() / (step + 1):.4f}" if step % 10 == 9 else "")
        mean = self.accelerator.reduce(total / self.steps_per_epoch, reduction="mean")
        return {"epoch": epoch + 1, "loss": float(mean), "learning_rate": rate}

    def _step(self, rows: np.ndarray, labels: np.ndarray, rate: float, epoch: int, step: int) -> Tensor:
        device = self.accelerator.device
        generator = torch.Generator().manual_seed(int(np.random.default_rng([self.seed, epoch, step]).integers(2**62)))
        share = len(rows) // self.accelerator.num_processes
        start = self.accelerator.process_index * share
        inputs, targets = self.task.batch(rows, labels, generator, slice(start, start + share), device)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            outputs = self.wrapped(inputs)
        loss = self.task.loss(outputs, targets)
        if not torch.isfinite(loss):
            raise SemalignError(
                f"{self.folder}: the loss became {float(loss)} in epoch {epoch + 1}; lower the learning rate and run again."
            )
        self.prepared.zero_grad()
        self.accelerator.backward(loss)
        if self.training.gradient_clip:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.training.gradient_clip)
        self.prepared.step()
        self._average(epoch * self.steps_per_epoch + step)
        return loss.detach()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = min(self.training.ema, (1 + step) / (10 + step)) if self.training.ema else 0.0
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def averaged_weights(self) -> _Swapped[Network]:
        """A context in which the network holds the averaged weights and is in evaluation mode."""
        return _Swapped(self)

    def save(self) -> None:
        """Write checkpoint and log (main process only); the checkpoint is the truth, the log follows it."""
        if self.accelerator.is_main_process:
            tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
            tensors |= {f"average.{k}": v for k, v in self.average.items()}
            for index, state in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
            tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            save_tensors(self.folder / CHECKPOINT, tensors, {"epoch": self.epoch, "records": self.records})
            write_text(self.folder / LOG, "".join(json.dumps(record) + "\n" for record in self.records))
        self.accelerator.wait_for_everyone()

    def resume(self) -> bool:
        """Continue from the stage's checkpoint; False if there is none."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return False
        tensors, description = load_tensors(path)
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = value
        try:
            self.network.load_state_dict(parts["network"])
            self._load_optimizer(parts["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise SemalignError(
                f"{path}: belongs to a run with other settings; choose another folder or delete it."
            ) from error
        for name, value in parts["average"].items():
            self.average[name].copy_(value)
        self.epoch, self.records = int(description["epoch"]), list(description["records"])
        return True

    def _load_optimizer(self, flat: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in flat.items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def train_on(
    folder: Path,
    network: Network,
    task: Task,
    labels: np.ndarray,
    training: TrainingSettings,
    seed: int,
    advance: Callable[[int, str], None] | None = None,
) -> Network:
    """Train on the same labels (crop frames) in every epoch, from wherever the folder's training stands.

    Returns:
        The network with its averaged weights, in evaluation mode, on the training's device.
    """
    trainer = Trainer(folder, network, make_accelerator(), task, training, seed)
    trainer.resume()
    trainer.fit(lambda epoch: (labels, {}), advance=advance)
    with trainer.averaged_weights() as averaged:
        return copy.deepcopy(averaged)


class _Swapped(Generic[Network]):
    """Exchanges the network's weights for the averaged ones while it is open."""

    def __init__(self, trainer: Trainer[Network]) -> None:
        self.trainer = trainer

    def __enter__(self) -> Network:
        network = self.trainer.network
        self.own = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.trainer.average)
        return network.eval()

    def __exit__(self, *_: object) -> None:
        self.trainer.network.load_state_dict(self.own)


def make_accelerator() -> Accelerator:
    """The device (a GPU where there is one) and the processes of this run; precision is the trainer's own."""
    keep_large_blocks()
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    return Accelerator(cpu=not accelerated, mixed_precision="no")


def _make_optimizer(network: torch.nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
    """Weight decay on the weights of convolutions alone, not on biases and normalisation."""
    heavy = [p for p in network.parameters() if p.ndim > 1]
    light = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": heavy, "weight_decay": training.weight_decay}, {"params": light, "weight_decay": 0.0}]
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=training.learning_rate)
    return torch.optim.AdamW(groups, lr=training.learning_rate)
