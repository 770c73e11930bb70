"""How the head gets from the trunk's resolution to the heatmap's: pixel shuffle, bilinear, transposed convolution.

    python benchmarks/upsampling.py [--faces 600] [--epochs 8] [--seeds 2]

The factor is 4, as from 64×64 to the paper's 256×256, here from 32×32 to 128×128. Each head is trained on the same
synthetic faces with exact labels and tested on others against the truth; time is the median of its training steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.core.metrics import distances, interocular, nme
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings, build_crops
from semalign.data.w300 import open_300w
from semalign.models.hourglass import HourglassSettings, StackedHourglass, build_hourglass, count_parameters
from semalign.pipeline.prepare import Faces
from semalign.synthetic import NoiseSettings, SynthesisSettings, write_dataset
from semalign.training.inference import predict
from semalign.training.settings import HeatmapSettings, TrainingSettings
from semalign.training.task import heatmap_task
from semalign.training.trainer import Trainer, make_accelerator

HEADS = ("shuffle", "bilinear", "transposed")
NETWORK = HourglassSettings(input_size=128, heatmap_size=128, stacks=1, width=48)
HEATMAP = HeatmapSettings(sigma=4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    training = TrainingSettings(epochs=options.epochs, learning_rate=2e-3, precision="bf16", ema=0.99)
    with tempfile.TemporaryDirectory() as folder:
        train, test = synthesize(Path(folder), options.faces)
        trainers = {
            (head, seed): make(Path(folder), head, seed, train, training)
            for head in HEADS
            for seed in range(options.seeds)
        }
        rows = measure(trainers, train, test)
    table = Table("head", "seed", "parameters", "nme_interocular", "ms a step and face")
    for row in rows:
        table.add_row(
            row["head"], str(row["seed"]), f"{row['parameters']:,}", f"{row['nme_interocular']:.3f}", f"{row['ms']:.2f}"
        )
    Console().print(table)
    settings = {"faces": options.faces, "epochs": options.epochs, "data": "synthetic, exact labels, 200 test faces"}
    Console().print(f"written: {write_results('upsampling', [settings | row for row in rows])}")


def synthesize(folder: Path, count: int) -> tuple[Faces, Faces]:
    """Training and test faces with exact annotations."""
    settings = SynthesisSettings(count=count + 200, test_count=200, seed=11, noise=NoiseSettings(scale=0.0))
    dataset = open_300w(write_dataset(folder / "data", settings))
    parts = (dataset.select(split="train"), dataset.select(split="test"))
    crops = [build_crops(folder / "crops", part.samples, CropSettings(), NETWORK.input_size) for part in parts]
    return Faces(parts[0], crops[0]), Faces(parts[1], crops[1])


def make(folder: Path, head: str, seed: int, train: Faces, training: TrainingSettings) -> Trainer[StackedHourglass]:
    network = build_hourglass(replace(NETWORK, upsampling=head), train.dataset.scheme.count, seed)  # type: ignore[arg-type]
    task = heatmap_task(train.crops, train.dataset.scheme, network.settings, HEATMAP, AugmentationSettings())
    return Trainer(folder / f"{head}-{seed}", network, make_accelerator(), task, training, seed)


def measure(trainers: dict[tuple[str, int], Trainer], train: Faces, test: Faces) -> list[dict[str, object]]:
    labels = train.crops.to_crop(train.dataset.points())
    rows = []
    for (head, seed), trainer in trainers.items():
        steps: list[float] = []
        last = time.perf_counter()

        def tick(done: int, note: str, steps: list[float] = steps) -> None:
            nonlocal last
            now = time.perf_counter()
            steps.append(now - last)
            last = now

        trainer.fit(lambda epoch: (labels, {}), advance=tick)
        with trainer.averaged_weights() as network:
            found = predict(network, test.crops, HEATMAP.pixels(NETWORK.heatmap_size))
        apart = distances(found.points, test.reference)
        error = float(nme(apart, interocular(test.reference, test.dataset.scheme)).mean())
        milliseconds = 1000 * median(steps) / trainer.training.batch_size
        rows.append(
            {
                "head": head,
                "seed": seed,
                "parameters": count_parameters(network),
                "nme_interocular": error,
                "ms": milliseconds,
            }
        )
    return rows


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
