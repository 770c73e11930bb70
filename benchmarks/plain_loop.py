"""Training and label search against a plain loop, as one writes it in an afternoon: same network, same pictures, same work.

    python benchmarks/plain_loop.py [--recipe 300w-compact 300w-detector] [--faces 48] [--turns 7] [--threads 1] [--workers 0]

The plain training is a `Dataset` and a `DataLoader`: crops in memory, augmentation with cv2 (one `warpAffine`, then light, blur
and occluders), Gaussians in NumPy, the same loss, gradient clipping, AdamW and running average in PyTorch's own words. The
plain search is a forward pass and Eq. 8 over all pixels of each landmark's region at once, on unfolded patches; that it gives
the product's labels is checked. Both sides begin with crops that are cut (the product's lie in its cache, the plain loop's in
memory), have the same network with the same weights, and see as many faces in batches of 16, or of 32 in the search. The search
is the paper's: whole pixels, no guard, no label adaptation. Neither side's time holds the writing of checkpoints, and both have
the allocator's setting that the product makes (`semalign.training.memory`).

Faces are synthetic with the noise of annotators. The search is asked with the shipped model of the recipe's name where there is
one, else with random weights. All are timed in turn, epoch by epoch; `ratio` is the median of what the product takes over the
plain loop, by the clock and of the processor, which other jobs on the machine disturb less.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import typer
from harness import Row, Timing, finish, in_turn, run
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from semalign.core.search import SearchSettings, scaled_radius
from semalign.data import open_dataset
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache, build_crops
from semalign.data.samples import Dataset as Faces
from semalign.models import pretrained
from semalign.models.network import HeatmapNetwork, build_network
from semalign.pipeline import load_recipe
from semalign.pipeline.recipe import Recipe
from semalign.searches import NetworkEvidence, Observations, make_search
from semalign.synthetic import SynthesisSettings, write_dataset
from semalign.training.schedule import learning_rate
from semalign.training.task import heatmap_task
from semalign.training.trainer import Trainer, make_accelerator

BATCH, LOOKS = 16, 32  # faces of a training step, and of a look in the search
BEYOND = 16  # pixels that an observation may lie outside a heatmap
SAME = 1e-2  # pixels of the picture: labels are on whole pixels of heatmaps, which differ by rounding
PAPERS = SearchSettings(precision="integer", guard=False)


def main(
    recipe: Annotated[list[str] | None, typer.Option(help="Shipped recipes whose networks draw heatmaps.")] = None,
    faces: Annotated[int, typer.Option(help="Of an epoch.")] = 48,
    searched: Annotated[int, typer.Option(help="Faces of a search.")] = 192,
    turns: Annotated[int, typer.Option(help="That count, of each work.")] = 7,
    threads: int = 1,
    workers: Annotated[int, typer.Option(help="Processes of the plain loop's DataLoader.")] = 0,
) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        dataset = open_dataset(
            write_dataset(Path(name) / "data", SynthesisSettings(count=max(faces, searched), test_count=0, seed=0))
        )
        for chosen in recipe or ["300w-compact", "300w-detector"]:
            settings = load_recipe(chosen)
            common = {"recipe": chosen, "threads": threads, "load": os.getloadavg()[0]}
            kinds = ["fp32"] if settings.start.precision == "fp32" else ["fp32", "bf16"]
            rows += [common | training(settings, part(dataset, faces), turns, kind, workers) for kind in kinds]
            rows.append(common | search(settings, part(dataset, searched), turns))
    finish("plain-loop", rows, digits=3)


def part(dataset: Faces, count: int) -> Faces:
    """The first faces."""
    return replace(dataset, samples=dataset.samples[:count])


def crops_of(recipe: Recipe, dataset: Faces) -> CropCache:
    """As the product cuts and keeps them."""
    return build_crops(dataset.samples, recipe.crop, recipe.network.input_size)


def compared(work: str, timings: dict[str, Timing], faces: int) -> Row:
    """Milliseconds for a face of both sides, and the medians of their ratios."""
    ours, plain = timings["semalign"], timings["plain loop"]
    clock = [one / other for one, other in zip(ours.clock, plain.clock, strict=True)]
    processor = [one / other for one, other in zip(ours.processor, plain.processor, strict=True)]
    return {
        "work": work,
        "faces": faces,
        "ms": ours.milliseconds / faces,
        "plain ms": plain.milliseconds / faces,
        "ratio": median(clock),
        "processor ms": ours.processor_milliseconds / faces,
        "plain processor ms": plain.processor_milliseconds / faces,
        "processor ratio": median(processor),
        "lowest": min(processor),
        "highest": max(processor),
        "turns": len(clock),
    }


class Unkept(Trainer[HeatmapNetwork]):
    """A trainer that writes nothing."""

    def save(self) -> None:
        """Nothing."""


def training(recipe: Recipe, dataset: Faces, turns: int, precision: str, workers: int) -> Row:
    """An epoch of both sides in turn, from the same weights on."""
    crops = crops_of(recipe, dataset)
    labels = crops.to_crop(dataset.points())
    settings = replace(recipe.start, batch_size=BATCH, precision=precision, epochs=2 * turns + 2)
    network = build_network(recipe.network, dataset.scheme.count, seed=0)
    plain = PlainTraining(recipe, settings, deepcopy(network), crops, labels, dataset.scheme.flip_index, workers)
    task = heatmap_task(crops, dataset.scheme, recipe.network, recipe.heatmap, recipe.augmentation)
    trainer = Unkept(Path(), network, make_accelerator(), task, settings, seed=0)
    timings = in_turn({"semalign": lambda: trainer.train_epoch(labels), "plain loop": plain.epoch}, turns)
    losses = {"loss": trainer.records[-1]["loss"], "plain loss": plain.losses[-1]}
    return compared(f"training, {precision}", timings, len(crops)) | losses


class PlainFaces(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Augmented pictures (3, s, s) float32 and their Gaussians (n, h, h)."""

    def __init__(self, recipe: Recipe, crops: CropCache, labels: np.ndarray, flip_index: Sequence[int]) -> None:
        self.settings, self.network, self.heatmap = recipe.augmentation, recipe.network, recipe.heatmap
        self.images, self.labels, self.flip = np.asarray(crops.images), labels, list(flip_index)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size, heatmap_size = self.network.input_size, self.network.heatmap_size
        rng = np.random.default_rng()
        matrix, flipped = self.geometry(rng, self.images.shape[1], size)
        image = cv2.warpAffine(self.images[index], matrix, (size, size), flags=cv2.INTER_LINEAR)
        points = self.labels[index] @ matrix[:, :2].T + matrix[:, 2]
        if flipped:
            points = points[self.flip]
        picture = self.changed(rng, image.astype(np.float32) / 255)
        points = (points + 0.5) * (heatmap_size / size) - 0.5
        steps, sigma = np.arange(heatmap_size), self.heatmap.pixels(heatmap_size)
        columns = np.exp(-((steps - points[:, :1]) ** 2) / (2 * sigma**2)).astype(np.float32)
        rows = np.exp(-((steps - points[:, 1:]) ** 2) / (2 * sigma**2)).astype(np.float32)
        return np.ascontiguousarray(picture.transpose(2, 0, 1)), rows[:, :, None] * columns[:, None, :]

    def geometry(self, rng: np.random.Generator, crop: int, size: int) -> tuple[np.ndarray, bool]:
        """crop_to_input (2, 3) of a turn, a zoom, a shift and perhaps a mirror, and whether it is one."""
        s: AugmentationSettings = self.settings
        zoom, angle = math.exp(rng.normal() * s.scale), rng.normal() * s.rotation
        matrix = cv2.getRotationMatrix2D(((crop - 1) / 2,) * 2, angle, zoom)
        matrix[:, 2] += (size - crop) / 2 + rng.normal(size=2) * s.shift * size
        flipped = bool(rng.random() < s.flip)
        if flipped:
            matrix[0] = -matrix[0]
            matrix[0, 2] += size - 1
        return matrix, flipped

    def changed(self, rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
        """Blur, light and something in front."""
        s, size = self.settings, len(picture)
        if rng.random() < s.blur:
            picture = cv2.GaussianBlur(picture, (9, 9), 0.3 + rng.random() * s.blur_sigma)
        mean = picture.mean()
        gain = np.exp(rng.normal() * s.contrast + rng.normal(size=3) * s.colour).astype(np.float32)
        picture = (picture - mean) * gain + (mean + np.float32(rng.normal() * s.brightness))
        if rng.random() < s.grey:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        if rng.random() < s.occlusion:
            side = ((0.25 + 0.75 * rng.random(2)) * s.occlusion_size * size).astype(int)
            x, y = (rng.random(2) * (size - side)).astype(int)
            picture[y : y + side[1], x : x + side[0]] = rng.random(3)
        return np.asarray(np.clip(picture, 0, 1), np.float32)


class PlainTraining:
    """The loop."""

    def __init__(
        self,
        recipe: Recipe,
        settings: Any,
        network: nn.Module,
        crops: CropCache,
        labels: np.ndarray,
        flip_index: Sequence[int],
        workers: int,
    ) -> None:
        self.network, self.settings, self.foreground = network, settings, recipe.heatmap.foreground_weight
        faces = PlainFaces(recipe, crops, labels, flip_index)
        self.loader = DataLoader(
            faces, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        weights = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": weights, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        self.step, self.losses = 0, [math.nan]

    def epoch(self) -> None:
        """One pass over the faces."""
        self.network.train()
        total = 0.0
        for images, targets in self.loader:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.settings, self.step, len(self.loader))
            with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16"):
                outputs = self.network(images)
            weight = 1 + self.foreground * targets
            loss = torch.stack([(weight * (maps.float() - targets).square()).mean() for maps in outputs]).sum()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
            self.optimizer.step()
            self.average.update_parameters(self.network)
            self.step += 1
            total += loss.item()
        self.losses.append(total / len(self.loader))


def search(recipe: Recipe, dataset: Faces, turns: int) -> Row:
    """A search of both sides in turn, and by how much their labels differ."""
    network = build_network(recipe.network, dataset.scheme.count, seed=0).eval()
    if recipe.name in pretrained.available():
        network.load_state_dict(pretrained.load(recipe.name).network.state_dict())
    sigma, points = recipe.heatmap.pixels(network.heatmap_size), dataset.points()
    settings = replace(PAPERS, likelihood_weight=getattr(recipe.search, "likelihood_weight", PAPERS.likelihood_weight))
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        evidence = NetworkEvidence(network, crops, sigma, dataset.scheme)
        found["semalign"] = make_search(settings)(Observations(points, points), evidence).points

    def plain() -> None:
        found["plain loop"] = plain_search(
            network, images, crops.image_to_crop, crops.input_size, points, sigma, settings
        )

    crops = crops_of(recipe, dataset)
    images = np.asarray(crops.images)
    row = compared("search", in_turn({"semalign": ours, "plain loop": plain}, turns), len(crops))
    apart = np.linalg.norm(found["semalign"] - found["plain loop"], axis=-1)
    moved = np.linalg.norm(found["semalign"] - points, axis=-1) > SAME
    return row | {"landmarks": apart.size, "moved": int(moved.sum()), "differing": int((apart > SAME).sum())}


@torch.inference_mode()
def plain_search(
    network: HeatmapNetwork,
    images: np.ndarray,
    image_to_crop: np.ndarray,
    input_size: int,
    points: np.ndarray,
    sigma: float,
    settings: SearchSettings,
) -> np.ndarray:
    """Labels (b, n, 2) in the pictures: the pixel of least cost (Eq. 8) in each region."""
    size = network.heatmap_size
    reach, radius = scaled_radius(settings.region, size), scaled_radius(settings.template, size)
    line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    template = line[:, None] * line
    inset = (images.shape[1] - input_size) // 2
    inner = slice(inset, inset + input_size)
    steps, scale, parts = torch.arange(-reach, reach + 1), size / input_size, []
    for start in range(0, len(images), LOOKS):
        part = slice(start, start + LOOKS)
        pictures = torch.from_numpy(images[part, inner, inner]).permute(0, 3, 1, 2).float() / 255
        heatmaps = network(pictures)[-1].clamp(min=0)
        maps = image_to_crop[part]
        o = points[part] @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2] - inset
        o = torch.from_numpy((o + 0.5) * scale - 0.5).float()
        centre = o.round().long()
        y = (centre[..., 1:] + steps)[..., :, None].expand(-1, -1, -1, len(steps))
        x = (centre[..., :1] + steps)[..., None, :].expand(-1, -1, len(steps), -1)
        around = F.pad(heatmaps, (reach + radius + BEYOND,) * 4)
        reading = torch.arange(2 * (reach + radius) + 1)
        first = centre.clamp(-BEYOND, size - 1 + BEYOND) + BEYOND
        flat = (first[..., 1:, None] + reading[:, None]) * around.shape[-1] + first[..., :1, None] + reading
        windows = around.flatten(2).gather(2, flat.flatten(2)).view(flat.shape)
        patches = windows.unfold(2, 2 * radius + 1, 1).unfold(3, 2 * radius + 1, 1)
        chi = ((template - patches).square() / template).sum((-2, -1))
        prior = (x - o[..., :1, None]).square() + (y - o[..., 1:, None]).square()
        best = (prior + settings.likelihood_weight * chi).flatten(2).argmin(-1)
        move = torch.stack([best % len(steps), best // len(steps)], -1) - reach
        found = ((centre + move).double().numpy() + 0.5) / scale - 0.5 + inset
        parts.append((found - maps[:, None, :, 2]) / maps[:, None, [0, 1], [0, 1]])
    return np.concatenate(parts)


if __name__ == "__main__":
    run(main)
