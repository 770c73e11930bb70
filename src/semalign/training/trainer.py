"""The training engine: one network, one stage, epoch by epoch, resumable to the bit.

Hugging Face Accelerate carries device and processes: it keeps the loop ours, adds no base classes, and what it does
(placement, DDP, reduction, clipping) is what PyTorch does. Everything random is a function of (seed, epoch, step), and every
process computes the draws of the whole batch and takes its rows: a killed run goes on to the same bits, and several processes
give what one would, to rounding.

Shape legend: b images, n landmarks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from semalign.ahead import made_ahead
from semalign.errors import SemalignError
from semalign.files import write_text
from semalign.models.checkpoint import load_tensors, save_tensors
from semalign.models.network import HeatmapNetwork
from semalign.training.memory import keep_large_blocks
from semalign.training.schedule import learning_rate
from semalign.training.settings import TrainingSettings
from semalign.training.task import Read, Task
from semalign.training.tensorboard import EventLog

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
Record = dict[str, Any]
Network = TypeVar("Network", bound=nn.Module)


class Trainer(Generic[Network]):
    """Trains a network for a task, epoch by epoch; owns the optimizer, the averaged weights and the training's folder.

        trainer.resume()
        for epoch in trainer.epochs_left():
            trainer.train_epoch(labels)

    Args:
        folder: for the checkpoint and the log (one JSON object a line and epoch).
        network: trained in place.
        accelerator: device and processes, see `make_accelerator`.
        task: what it is trained for.
        training: how long, how fast.
        seed: of all draws.

    Attributes:
        epoch: how many are done.
        advance: called after each batch with (1, a note for the progress bar).
        after_epoch: called after each epoch with the averaged network; what it returns is logged.
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
        self._average = AveragedModel(self.network, multi_avg_fn=self._mix, use_buffers=True)
        self._average.n_averaged.fill_(1)  # the weights at the beginning count
        self.optimizer = make_optimizer(network, training)
        learner = network.learner if isinstance(network, HeatmapNetwork) else network
        self.wrapped, self.prepared = accelerator.prepare(learner, self.optimizer)
        self.epoch = 0
        self.records: list[Record] = []
        self.advance: Callable[[int, str], None] | None = None
        self.after_epoch: Callable[[Network], Record] | None = None
        self._since = time.perf_counter()

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one is filled up from the epoch's beginning."""
        return math.ceil(len(self.task) / self.training.batch_size)

    @property
    def steps_left(self) -> int:
        """Batches until the training's end."""
        return (self.training.epochs - self.epoch) * self.steps_per_epoch

    @property
    def averaged(self) -> Network:
        """The network with its averaged weights, in evaluation mode: the training's result. It changes with the training."""
        averaged: Network = self._average.module.eval()  # type: ignore[assignment]
        return averaged

    def epochs_left(self) -> Iterator[int]:
        """The epochs to the end from wherever the training stands, counted from 0; each wants one `train_epoch`."""
        self._since = time.perf_counter()
        yield from range(self.epoch, self.training.epochs)

    def fit(self, labels: np.ndarray) -> None:
        """Train to the end on the same labels (b, n, 2), crop frames, in every epoch."""
        for _ in self.epochs_left():
            self.train_epoch(labels)

    def train_epoch(self, labels: np.ndarray, about_labels: Record | None = None) -> None:
        """One epoch, after which the checkpoint and the log are written.

        Args:
            labels: (b, n, 2) float64 in the crop frames.
            about_labels: what to log about them.

        Raises:
            SemalignError: a loss or a weight is no number any more; the checkpoint is then as it was before the epoch.
        """
        events = self._events
        record = self._train_epoch(self.epoch, labels) | (about_labels or {})
        record["seconds"] = time.perf_counter() - self._since
        self.epoch += 1
        if self.after_epoch is not None:
            record |= self.after_epoch(self.averaged)
        self.records.append(record)
        self.save()
        if events is not None:
            events.write(record)
        self._since = time.perf_counter()

    @cached_property
    def _events(self) -> EventLog | None:
        writes = self.training.tensorboard and self.accelerator.is_main_process
        return EventLog(self.folder, self.epoch + 1) if writes else None

    def _train_epoch(self, epoch: int, labels: np.ndarray) -> Record:
        self.wrapped.train()
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.task))
        size = self.training.batch_size
        order = np.resize(order, self.steps_per_epoch * size)
        total = torch.zeros((), device=self.accelerator.device)
        rate = 0.0

        def read(step: int) -> tuple[Read, torch.Generator]:
            return self._read(order[step * size : (step + 1) * size], labels, epoch, step)

        for step, (batch, generator) in enumerate(made_ahead(read, range(self.steps_per_epoch))):
            rate = learning_rate(self.training, epoch * self.steps_per_epoch + step, self.steps_per_epoch)
            total += self._step(batch, generator, rate, epoch, step)
            if self.advance is not None:
                self.advance(1, f"loss {total.item() / (step + 1):.4f}" if step % 10 == 9 else "")
        if not all(bool(torch.isfinite(value).all()) for value in self.network.parameters()):
            raise self._spoilt("a weight became infinite or nan", epoch, self.steps_per_epoch - 1)
        mean = self.accelerator.reduce(total / self.steps_per_epoch, reduction="mean")
        return {"epoch": epoch + 1, "loss": float(mean), "learning_rate": rate}

    def _read(self, rows: np.ndarray, labels: np.ndarray, epoch: int, step: int) -> tuple[Read, torch.Generator]:
        """What a step needs from the CPU, and the generator of all that is random in it; a thread makes it ahead."""
        generator = torch.Generator().manual_seed(int(np.random.default_rng([self.seed, epoch, step]).integers(2**62)))
        share = len(rows) // self.accelerator.num_processes
        start = self.accelerator.process_index * share
        own = slice(start, start + share)
        return self.task.read(rows, labels, generator, own, self.accelerator.device), generator

    def _step(self, batch: Read, generator: torch.Generator, rate: float, epoch: int, step: int) -> Tensor:
        device = self.accelerator.device
        inputs, targets = self.task.batch(batch, generator, device)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            outputs = self.wrapped(inputs)
        loss = self.task.loss(outputs, targets)
        if not torch.isfinite(loss):
            raise self._spoilt(f"the loss became {float(loss.detach())}", epoch, step)
        self.prepared.zero_grad()
        self.accelerator.backward(loss)
        if self.training.gradient_clip:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.training.gradient_clip)
        self.prepared.step()
        self._average.update_parameters(self.network)
        return loss.detach()

    def _spoilt(self, what: str, epoch: int, step: int) -> SemalignError:
        """The sentence for a training that cannot go on; the checkpoint is that of the last whole epoch."""
        kept = f"the state after epoch {self.epoch} is kept" if self.epoch else "nothing was kept before it"
        return SemalignError(
            f"{self.folder}: {what} in epoch {epoch + 1}, batch {step + 1} of {self.steps_per_epoch}; {kept}. Check the "
            "annotations with 'semalign data check', or train anew in another folder with a lower learning rate."
        )

    def _mix(self, average: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        """The averaged weights (of one type) after a step; the average is short at the beginning, whatever its decay."""
        step = int(self._average.n_averaged) - 1  # it lies on the CPU; `count`, on the device, would be waited for
        decay = min(self.training.ema, (1 + step) / (10 + step)) if self.training.ema else 0.0
        if average[0].is_floating_point():
            torch._foreach_lerp_(list(average), list(now), 1 - decay)
        else:
            torch._foreach_copy_(list(average), list(now))

    def save(self) -> None:
        """Write checkpoint and log (main process only); the checkpoint is the truth, the log follows it."""
        if self.accelerator.is_main_process:
            tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
            tensors |= {f"average.{k}": v for k, v in self._average.module.state_dict().items()}
            for index, state in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
            tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            save_tensors(self.folder / CHECKPOINT, tensors, {"epoch": self.epoch, "records": self.records})
            self._write_log()
        self.accelerator.wait_for_everyone()

    def _write_log(self) -> None:
        write_text(self.folder / LOG, "".join(json.dumps(record) + "\n" for record in self.records))

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
            self._average.module.load_state_dict(parts["average"])
            self._load_optimizer(parts["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise SemalignError(
                f"{path}: belongs to a run with other settings; choose another folder or delete it."
            ) from error
        self.epoch, self.records = int(description["epoch"]), list(description["records"])
        self._average.n_averaged.fill_(1 + self.epoch * self.steps_per_epoch)
        if self.accelerator.is_main_process and self._log_lacks_lines():
            self._write_log()  # it was broken off after the checkpoint
        return True

    def _log_lacks_lines(self) -> bool:
        log = self.folder / LOG
        return not log.is_file() or len(log.read_text(encoding="utf-8").splitlines()) < len(self.records)

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
    trainer.advance = advance
    trainer.resume()
    trainer.fit(labels)
    return trainer.averaged


def make_accelerator() -> Accelerator:
    """The device (a GPU where there is one) and the processes of this run; precision is the trainer's own."""
    keep_large_blocks()
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    return Accelerator(cpu=not accelerated, mixed_precision="no")


def make_optimizer(network: torch.nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
    """Weight decay on the weights of convolutions alone, not on biases and normalisation; what is pretrained learns slowly."""
    learned = set(network.pretrained) if isinstance(network, HeatmapNetwork) else set()
    groups = []
    for share, own in ((1.0, False), (training.pretrained_rate, True)):
        for decay, heavy in ((training.weight_decay, True), (0.0, False)):
            parameters = [p for p in network.parameters() if (p in learned) == own and (p.ndim > 1) == heavy]
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "share": share})
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=training.learning_rate)
    return torch.optim.AdamW(groups, lr=training.learning_rate)
