"""How the head gets from the trunk's resolution to the heatmap's: pixel shuffle, bilinear, transposed convolution.

    python benchmarks/upsampling.py [--faces 600] [--epochs 8] [--seeds 3]

The factor is 4, as from 64×64 to the paper's 256×256, here from 32×32 to 128×128. Each head is trained on the same
synthetic faces with exact labels and tested on others against the truth. A head that takes longer for a step gets fewer
epochs, so that all of them train for as long as pixel shuffle does in --epochs; the steps' times for that are medians,
measured beforehand, the heads in turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.core.metrics import nme_interocular
from semalign.data import open_dataset
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings, build_crops
from semalign.inference.heatmaps import predict
from semalign.models.hourglass import HourglassSettings, StackedHourglass, build_hourglass
from semalign.models.network import count_parameters
from semalign.pipeline.prepare import Faces
from semalign.synthetic import NoiseSettings, SynthesisSettings, write_dataset
from semalign.training.settings import HeatmapSettings, TrainingSettings
from semalign.training.task import heatmap_task
from semalign.training.trainer import Trainer, make_accelerator

HEADS = ("shuffle", "bilinear", "transposed")
NETWORK = HourglassSettings(input_size=128, heatmap_size=128, stacks=1, width=48)
HEATMAP = HeatmapSettings(sigma=4.0)
PROBE, TURNS = 96, 4  # faces of a trial epoch, and how many of them each head gets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train, test = synthesize(Path(folder), options.faces)
        times = step_times(Path(folder), train)
        epochs = {head: round(options.epochs * times[HEADS[0]] / times[head]) for head in HEADS}
        rows = [
            row_of(make(Path(folder), head, seed, train, epochs[head]), train, test) | {"ms": times[head]}
            for seed in range(options.seeds)
            for head in HEADS
        ]
    table = Table("head", "seed", "epochs", "parameters", "nme_interocular", "ms a step and face")
    for row in rows:
        error, time_taken = f"{row['nme_interocular']:.3f}", f"{row['ms']:.2f}"
        table.add_row(row["head"], str(row["seed"]), str(row["epochs"]), f"{row['parameters']:,}", error, time_taken)
    Console().print(table)
    settings = {"faces": options.faces, "data": "synthetic, exact labels, 200 test faces"}
    Console().print(f"written: {write_results('upsampling', [settings | row for row in rows])}")


def synthesize(folder: Path, count: int) -> tuple[Faces, Faces]:
    """Training and test faces with exact annotations."""
    settings = SynthesisSettings(count=count + 200, test_count=200, seed=11, noise=NoiseSettings(scale=0.0))
    dataset = open_dataset(write_dataset(folder / "data", settings))
    parts = (dataset.select(split="train"), dataset.select(split="test"))
    crops = [build_crops(folder / "crops", part.samples, CropSettings(), NETWORK.input_size) for part in parts]
    return Faces(parts[0], crops[0]), Faces(parts[1], crops[1])


def make(folder: Path, head: str, seed: int, train: Faces, epochs: int) -> Trainer[StackedHourglass]:
    network = build_hourglass(replace(NETWORK, upsampling=head), train.dataset.scheme.count, seed)  # type: ignore[arg-type]
    task = heatmap_task(train.crops, train.dataset.scheme, network, HEATMAP, AugmentationSettings())
    training = TrainingSettings(epochs=epochs, learning_rate=2e-3, precision="bf16", ema=0.99)
    return Trainer(folder / f"{head}-{seed}-{epochs}", network, make_accelerator(), task, training, seed)


def step_times(folder: Path, train: Faces) -> dict[str, float]:
    """Milliseconds of a step for one face, by head: medians of short epochs, the heads in turn; the first ones warm up."""
    few = Faces(replace(train.dataset, samples=train.dataset.samples[:PROBE]), train.crops.take(np.arange(PROBE)))
    labels = few.crops.to_crop(few.dataset.points())
    times: dict[str, list[float]] = {head: [] for head in HEADS}
    for turn in range(TURNS):
        for head in HEADS:
            trainer = make(folder / f"probe-{turn}", head, 0, few, 1)
            begin = time.perf_counter()
            trainer.fit(labels)
            times[head].append(1000 * (time.perf_counter() - begin) / PROBE)
    return {head: median(values[1:]) for head, values in times.items()}


def row_of(trainer: Trainer[StackedHourglass], train: Faces, test: Faces) -> dict[str, Any]:
    """Train to the end; the error on the test faces."""
    labels = train.crops.to_crop(train.dataset.points())
    trainer.fit(labels)
    found = predict(trainer.averaged, test.crops, HEATMAP.pixels(NETWORK.heatmap_size), test.dataset.scheme)
    return {
        "head": trainer.network.settings.upsampling,
        "seed": trainer.seed,
        "epochs": trainer.training.epochs,
        "parameters": count_parameters(trainer.network),
        "nme_interocular": float(nme_interocular(found.points, test.reference, test.dataset.scheme).mean()),
    }


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
