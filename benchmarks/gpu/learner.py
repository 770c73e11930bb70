"""One network in training on one device, fast enough for a card that is lent for minutes.

What the product's trainer does batch by batch on the host, this does for an epoch at once on the device: the crops
lie there as bytes, an epoch's augmented pictures are made in a few large calls, and a step (forward, loss, backward)
is captured as a CUDA graph and replayed, so that several networks keep a card busy side by side, each on a stream of
its own. The pictures' changes, the search and the decoding are the product's functions. On a CPU the same code runs
step by step.

Shape legend: b faces, n landmarks, s side of a crop, i side of the input, h side of the heatmap. Points are float64
tensors on the CPU in the crop frame, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from loss import EnlargedLoss, Target
from torch import Tensor

from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.core.search import SearchSettings, search_labels
from semalign.core.warp import warp
from semalign.data.augment import AugmentationSettings, apply_augmentation, augmented_points, draw_augmentation
from semalign.data.crops import CropCache
from semalign.models.hourglass import StackedHourglass
from semalign.training.settings import HeatmapSettings, TrainingSettings

WARM_UP = 3  # steps before a step is captured
AT_ONCE = 128  # pictures changed in one call
LOOK = 32  # pictures predicted in one call


class Crops:
    """Crops on a device, as bytes, and the maps of the frames that all of them share."""

    def __init__(self, cache: CropCache, flip_index: tuple[int, ...], device: torch.device) -> None:
        self.device, self.input_size, self.flip = device, cache.input_size, torch.tensor(flip_index)
        self.pixels = torch.from_numpy(np.ascontiguousarray(cache.images.transpose(0, 3, 1, 2))).to(
            device
        )  # (b, 3, s, s)
        self.image_to_crop = torch.from_numpy(np.array(cache.image_to_crop))  # (b, 2, 3)
        self.crop_to_input = cache.crop_to_input[None]  # (1, 2, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def to_crop(self, points: np.ndarray) -> Tensor:
        """Points (b, n, 2) of the image frames in the crop frame."""
        return transform_points(torch.from_numpy(points).double(), self.image_to_crop)

    def to_image(self, points: Tensor, rows: np.ndarray | None = None) -> np.ndarray:
        """Points of all crops, or of some rows, in the image frames (float64)."""
        maps = self.image_to_crop if rows is None else self.image_to_crop[rows]
        return transform_points(points.double().cpu(), invert(maps)).numpy()

    def plain(self, rows: np.ndarray) -> Tensor:
        """The un-augmented inputs (k, 3, i, i) of some rows, float32."""
        crops = self.pixels[torch.from_numpy(rows).to(self.device)].float().div_(255.0)
        inputs = warp(crops, self.crop_to_input.to(self.device), self.input_size)
        return inputs.contiguous(memory_format=torch.channels_last)

    def changed(
        self, rows: np.ndarray, labels: Tensor, settings: AugmentationSettings, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Some faces changed at random: pictures (k, 3, i, i), and their labels (k, n, 2) in the input frame, float64, CPU."""
        count, size = len(rows), self.pixels.shape[-1]
        index = torch.from_numpy(rows).to(self.device)
        images = torch.empty(count, 3, self.input_size, self.input_size, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        points = torch.empty_like(labels)
        for start in range(0, count, AT_ONCE):
            part = slice(start, min(start + AT_ONCE, count))
            drawn = draw_augmentation(settings, part.stop - start, size, self.input_size, generator)
            crops = self.pixels[index[part]].float().div_(255.0)
            images[part] = apply_augmentation(crops, drawn, self.input_size)
            points[part] = augmented_points(labels[part], drawn, self.flip)
        return images, points


class Found(NamedTuple):
    """A network's landmarks on some crops, in the crop frame."""

    subpixel: Tensor  # (k, n, 2)
    argmax: Tensor  # (k, n, 2): each heatmap's highest pixel


class Learner:
    """A network with its optimizer; a stream and a captured step on a GPU.

    Args:
        network: with heatmaps that are enlarged bilinearly, or not at all.
        training: batch size, optimizer (RMSprop, as in the paper) and precision.
        heatmap: σ and foreground weight.
        device: where to train.
    """

    def __init__(
        self, network: StackedHourglass, training: TrainingSettings, heatmap: HeatmapSettings, device: torch.device
    ) -> None:
        settings = network.settings
        if settings.upsampling != "bilinear" and settings.upsampling_factor > 1:
            raise ValueError("the network's heatmaps must be enlarged bilinearly")
        self.device, self.training = device, training
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.size, self.sigma = settings.heatmap_size, heatmap.pixels(settings.heatmap_size)
        self.to_heatmap = rescaling(settings.input_size, self.size)
        coarse = settings.input_size // 4
        self.loss = EnlargedLoss(coarse, settings.upsampling_factor, self.sigma, heatmap.foreground_weight, device)
        self.optimizer = torch.optim.RMSprop(network.parameters(), lr=0.0, foreach=True)
        self.maps: list[Tensor] = []  # of the heads, before they are enlarged
        for head in network.heads:
            head.predict.register_forward_hook(lambda _module, _inputs, maps: self.maps.append(maps))  # type: ignore[union-attr]
        self.graph: torch.cuda.CUDAGraph | None = None

    def alone(self) -> AbstractContextManager[object]:
        """A context in which everything of this network is queued on its own stream."""
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def _backward(self, images: Tensor, points: Tensor) -> Tensor:
        """Gradients of the loss summed over the stacks; points (k, n, 2) float32 of the heatmap frame."""
        self.maps.clear()
        low = self.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low, cache_enabled=False):
            self.network(images)
        target: Target = self.loss.target(points)
        total = torch.stack([self.loss(maps.float().contiguous(), target) for maps in self.maps]).sum()
        self.maps.clear()
        total.backward()
        return total.detach()

    def restart(self, network: StackedHourglass) -> StackedHourglass:
        """Take the weights of another network of the same shape and begin anew; the network in training."""
        self.network.load_state_dict(network.state_dict())
        self.optimizer.state.clear()
        if self.stream is not None:
            torch.cuda.synchronize(self.device)
        return self.network

    def try_to_capture(self, images: Tensor, points: Tensor, say: Callable[[str], None]) -> None:
        """`capture`; where it fails, say so and go on step by step."""
        try:
            self.capture(images, points)
        except RuntimeError as error:
            self.optimizer.zero_grad(set_to_none=True)
            say(f"no CUDA graph, steps are launched one by one: {str(error).splitlines()[0]}")

    def capture(self, images: Tensor, points: Tensor) -> None:
        """Record a step on a GPU, on these inputs (which are only looked at); the weights stay as they are."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.train()
        torch.backends.cudnn.benchmark = True  # here alone: each further size of batch would cost seconds
        try:
            with self.alone():
                self.images, self.points = images.clone(memory_format=torch.preserve_format), points.clone()
                for _ in range(WARM_UP):
                    self.optimizer.zero_grad(set_to_none=True)
                    self._backward(self.images, self.points)
                self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize(self.device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self.total = self._backward(self.images, self.points)
            self.graph = graph
        finally:
            torch.backends.cudnn.benchmark = False
            self.network.load_state_dict(kept)
            torch.cuda.synchronize(self.device)

    def step(self, images: Tensor, points: Tensor, rate: float) -> Tensor:
        """One step; the loss, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.graph is None:
            self.optimizer.zero_grad(set_to_none=True)
            total = self._backward(images, points)
        else:
            self.images.copy_(images)
            self.points.copy_(points)
            self.graph.replay()
            total = self.total.clone()
        self.optimizer.step()
        return total

    def to_heatmap_frame(self, points: Tensor) -> Tensor:
        """Points (b, n, 2) of the input frame, float32 of the heatmap frame on the device."""
        return transform_points(points, self.to_heatmap).float().to(self.device)

    def heatmaps(self, crops: Crops, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Rows and the last stack's heatmaps (k, n, h, h) of their plain crops, float32."""
        self.network.eval()
        low = self.training.precision == "bf16"
        for start in range(0, len(rows), LOOK):
            part = rows[start : start + LOOK]
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                maps = self.network(crops.plain(part))[-1].float().contiguous()
            self.maps.clear()
            yield part, maps

    def predict(self, crops: Crops, rows: np.ndarray) -> Found:
        """Landmarks on some crops, with sub-pixels and as the paper reads them, at the highest pixel."""
        back, fine, coarse = invert(self._crop_to_heatmap(crops)), [], []
        for _, maps in self.heatmaps(crops, rows):
            highest = maps.flatten(2).argmax(-1)
            fine.append(decode_heatmaps(maps, self.sigma).points.cpu())
            coarse.append(torch.stack([highest % self.size, highest // self.size], -1).cpu())
        return Found(*(transform_points(torch.cat(points).double(), back) for points in (fine, coarse)))

    def search(self, crops: Crops, rows: np.ndarray, observations: Tensor, settings: SearchSettings) -> Tensor:
        """Labels (k, n, 2) for some rows, found around their observations (k, n, 2) (Eq. 8)."""
        forth = self._crop_to_heatmap(crops)
        back, found, start = invert(forth), [], 0
        for part, maps in self.heatmaps(crops, rows):
            o = observations[start : start + len(part)]
            start += len(part)
            result = search_labels(maps, transform_points(o, forth).to(maps), self.sigma, settings)
            points = transform_points(result.points.double().cpu(), back)
            found.append(torch.where(result.moved.cpu()[..., None], points, o))
        return torch.cat(found)

    def _crop_to_heatmap(self, crops: Crops) -> Tensor:
        return compose(self.to_heatmap, crops.crop_to_input)


class Epoch:
    """One epoch of one network: its pictures and their points, in the order in which they are learned."""

    def __init__(
        self,
        learner: Learner,
        crops: Crops,
        rows: np.ndarray,
        labels: Tensor,
        augmentation: AugmentationSettings,
        seed: list[int],
    ) -> None:
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.learner, self.size = learner, learner.training.batch_size
        self.steps = -(-len(rows) // self.size)  # the last batch is filled up from the beginning
        order = torch.from_numpy(np.resize(rng.permutation(len(rows)), self.steps * self.size))
        learner.network.train()
        if learner.stream is not None:  # weights may have been put in place from elsewhere
            learner.stream.wait_stream(torch.cuda.default_stream(learner.device))
        with learner.alone():
            self.images, points = crops.changed(rows, labels[rows], augmentation, generator)
            self.points, self.order = learner.to_heatmap_frame(points), order.to(learner.device)
            self.total = torch.zeros((), device=learner.device)

    def step(self, index: int, rate: float) -> None:
        """Learn from batch `index`."""
        with self.learner.alone():
            chosen = self.order[index * self.size : (index + 1) * self.size]
            batch = self.images[chosen].contiguous(memory_format=torch.channels_last)
            self.total += self.learner.step(batch, self.points[chosen], rate)

    def loss(self) -> float:
        """Mean over the steps; waits for the device."""
        with self.learner.alone():
            return float(self.total) / self.steps


def train_epoch(epochs: list[Epoch], rates: list[float]) -> list[float]:
    """An epoch of several networks side by side, at the learning rate of each step; the mean loss of each."""
    for index, rate in enumerate(rates):
        for epoch in epochs:
            epoch.step(index, rate)
    return [epoch.loss() for epoch in epochs]
