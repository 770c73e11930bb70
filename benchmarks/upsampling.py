"""How the head gets from the trunk's resolution to the heatmap's: pixel shuffle, bilinear, transposed convolution.

    python benchmarks/upsampling.py [--faces 600] [--epochs 8] [--seeds 3]

The factor is 4, as from 64×64 to the paper's 256×256, here from 32×32 to 128×128. Each head is trained on the same
synthetic faces with exact labels and tested on others against the truth. A head that takes longer for a step gets fewer
epochs, so that all of them train for as long as pixel shuffle does in --epochs; the steps' times for that are medians,
measured beforehand, the heads in turn.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import Row, Timing, faces_of, finish, in_turn, run

from semalign.core.metrics import nme_interocular
from semalign.data import open_dataset
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings
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
PROBE, TURNS = 96, 3  # faces of a trial epoch, and how many of them each head gets


def main(faces: int = 600, epochs: int = 8, seeds: int = 3) -> None:
    np.seterr(all="raise", under="ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = synthesize(folder, faces)
        times = step_times(folder, train)
        rows = [
            row_of(make(folder, head, seed, train, round(epochs * times[HEADS[0]].ratio(times[head]))), train, test)
            | {"ms": times[head].milliseconds / PROBE}
            for seed in range(seeds)
            for head in HEADS
        ]
    settings = {"faces": faces, "data": "synthetic, exact labels, 200 test faces"}
    finish("upsampling", [settings | row for row in rows], digits=3)


def synthesize(folder: Path, count: int) -> list[Faces]:
    """Training and test faces with exact annotations."""
    settings = SynthesisSettings(count=count + 200, test_count=200, seed=11, noise=NoiseSettings(scale=0.0))
    dataset = open_dataset(write_dataset(folder / "data", settings))
    parts = (dataset.select(split=split) for split in ("train", "test"))
    return [faces_of(part, CropSettings(), NETWORK.input_size) for part in parts]


def make(folder: Path, head: str, seed: int, train: Faces, epochs: int) -> Trainer[StackedHourglass]:
    network = build_hourglass(replace(NETWORK, upsampling=head), train.dataset.scheme.count, seed)  # type: ignore[arg-type]
    task = heatmap_task(train.crops, train.dataset.scheme, network, HEATMAP, AugmentationSettings())
    training = TrainingSettings(epochs=epochs, learning_rate=2e-3, precision="bf16", ema=0.99)
    return Trainer(folder / f"{head}-{seed}-{epochs}", network, make_accelerator(), task, training, seed)


def step_times(folder: Path, train: Faces) -> dict[str, Timing]:
    """Times of an epoch of PROBE faces, by head."""
    few = train.take(np.arange(PROBE))
    labels = few.crops.to_crop(few.dataset.points())

    def trainers(turn: int) -> list[dict[str, Trainer[StackedHourglass]]]:
        return [{head: make(folder / f"probe-{turn}", head, 0, few, 1) for head in HEADS}]

    forms = {head: lambda made, head=head: made[head].fit(labels) for head in HEADS}
    return in_turn(forms, TURNS, trainers)


def row_of(trainer: Trainer[StackedHourglass], train: Faces, test: Faces) -> Row:
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
    run(main)
