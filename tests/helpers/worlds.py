"""Very small data sets and networks for tests of training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semalign.data import open_dataset
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache, CropSettings, build_crops
from semalign.data.samples import Dataset
from semalign.models.hourglass import HourglassSettings, StackedHourglass, build_hourglass
from semalign.models.mobile import MobileSettings
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset
from semalign.training.settings import HeatmapSettings, TrainingSettings
from semalign.training.task import HeatmapTask, Task, heatmap_task
from semalign.training.trainer import Trainer, make_accelerator

NETWORK = HourglassSettings(input_size=64, heatmap_size=32, stacks=2, width=8, depth=2)
MOBILE = MobileSettings(input_size=64, heatmap_size=32, width=8, growth=1.5, scales=3, blocks=2, decoder=16)
TRAINING = TrainingSettings(epochs=3, batch_size=4, warmup=0.5, precision="fp32")
HEATMAP = HeatmapSettings(sigma=12.0)


@dataclass(frozen=True)
class Small:
    """Ten synthetic faces and their crops."""

    dataset: Dataset
    crops: CropCache

    def network(self, seed: int = 0) -> StackedHourglass:
        return build_hourglass(NETWORK, self.dataset.scheme.count, seed)

    def trainer(self, folder: Path, **changes: object) -> Trainer[StackedHourglass]:
        training = replace(TRAINING, **changes)  # type: ignore[arg-type]
        return Trainer(
            folder, self.network(), make_accelerator(), self.task(), training, seed=3,
        )  # fmt: skip

    def task(self) -> HeatmapTask:
        return heatmap_task(self.crops, self.dataset.scheme, NETWORK, HEATMAP, AugmentationSettings())

    def labels(self) -> np.ndarray:
        return self.crops.to_crop(self.dataset.points())


def batch_of(
    task: Task, rows: np.ndarray, labels: np.ndarray, seed: int, share: slice | None = None
) -> tuple[Tensor, Any]:
    """A batch of a task, or a process's share of it, on the CPU."""
    generator, device = torch.Generator().manual_seed(seed), torch.device("cpu")
    read = task.read(rows, labels, generator, share or slice(0, len(rows)), device)
    return task.batch(read, generator, device)


def small_world(folder: Path, count: int = 10) -> Small:
    """Make the faces and their crops in a folder."""
    settings = SynthesisSettings(count=count, test_count=0, seed=1, face=FaceSettings(size=96))
    dataset = open_dataset(write_dataset(folder / "data", settings))
    return Small(dataset, build_crops(dataset.samples, CropSettings(), NETWORK.input_size))
