"""What a network is trained for: the batches it sees and the loss of what it makes of them.

The engine (`semalign.training.trainer`) owns everything else. A task draws all that is random for the whole batch of all
processes from the generator that it is given, and makes the pictures of its own share only.

Shape legend: b images, n landmarks, k stacks, h heatmap, s side of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import chi_square_loss, foreground_weights, render_gaussians, weighted_mse
from semalign.core.warp import sent
from semalign.data.augment import (
    Augmentation,
    AugmentationSettings,
    apply_augmentation,
    augmented_points,
    draw_augmentation,
)
from semalign.data.crops import CropCache, as_pictures
from semalign.models.network import HeatmapNetwork, Located, PointNetwork, Sizes
from semalign.schemes import LandmarkScheme
from semalign.training.settings import HeatmapSettings

DOUBT = 0.2  # weight of the doubt's likelihood beside the distances


@runtime_checkable
class Task(Protocol):
    """Batches and their loss."""

    def __len__(self) -> int:
        """How many faces an epoch has."""

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """What of a batch is made on the CPU, by a thread and ahead of the batch's turn: by no network and on no device.

        Args:
            rows: the faces of the whole batch.
            labels: (all faces, n, 2) float64 in the crop frames, NaN where absent.
            generator: of this batch, on the CPU; to be drawn from for all of `rows`.
            share: this process's part of the batch.
            device: where it will go.
        """

    def batch(self, read: Read, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Any]:
        """The network's input and the loss's target for the faces that were read.

        Args:
            read: of this task.
            generator: the same, for what is still to be drawn; for all of the batch's faces.
            device: where to put them.
        """

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """A float32 scalar."""


class Read(NamedTuple):
    """Pictures as bytes, what is to be done to them, and where their points will then be; all on the CPU.

    Attributes:
        pixels: the crops of this process's faces, pinned if they go to a GPU.
        augmentation: of these.
        points: of these, input frame, float64.
        faces: how many the whole batch has.
        share: which of them are this process's.
    """

    pixels: UInt8[Tensor, "b c c 3"]
    augmentation: Augmentation
    points: Float[Tensor, "b n 2"]
    faces: int
    share: slice


@dataclass(frozen=True)
class PictureSource:
    """Augmented pictures from a crop cache, with the labels carried along."""

    crops: CropCache
    scheme: LandmarkScheme
    augmentation: AugmentationSettings
    input_size: int

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """As `Task.read`; mirrored pictures have left and right exchanged."""
        crop_size, faces = self.crops.images.shape[1], len(rows)
        drawn = draw_augmentation(self.augmentation, faces, crop_size, self.input_size, generator)
        drawn, rows = drawn.rows(share.start, share.stop), rows[share]
        points = augmented_points(torch.from_numpy(labels[rows]), drawn, torch.tensor(self.scheme.flip_index))
        return Read(self.crops.pixels(rows, device), drawn, points, faces, share)

    def pictures(self, read: Read, device: torch.device) -> Float[Tensor, "b 3 s s"]:
        """The augmented pictures on the device, in [0, 1], channels last in memory."""
        images = apply_augmentation(as_pictures(read.pixels, device), read.augmentation, self.input_size)
        return images.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class HeatmapTask:
    """Pictures to heatmaps: a Gaussian for each landmark, in each set that the network gives (intermediate supervision)."""

    source: PictureSource
    network: Sizes
    heatmap: HeatmapSettings

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.source.crops)

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """As `Task.read`."""
        return self.source.read(rows, labels, generator, share, device)

    def batch(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Float[Tensor, "b n h h"]]:
        """Pictures and their Gaussians, both drawn on the device; NaN in the whole map of a point that is absent."""
        images = self.source.pictures(read, device)
        return images, self.targets(read.points, device)

    def targets(self, points: Float[Tensor, "b n 2"], device: torch.device) -> Float[Tensor, "b n h h"]:
        """The Gaussians of points of the input frame; NaN in the whole map of one that is absent."""
        size = self.network.heatmap_size
        points = sent(transform_points(points, rescaling(self.network.input_size, size)).float(), device)
        targets = render_gaussians(points, size, self.heatmap.pixels(size))
        return targets.masked_fill_(points.isnan().any(-1)[..., None, None], torch.nan)

    def loss(self, outputs: Sequence[Float[Tensor, "b n h h"]], targets: Float[Tensor, "b n h h"]) -> Tensor:
        """The sum over the sets of heatmaps of heatmap MSE or Eq. 9, see docs/method.md; absent points do not count."""
        there = ~targets[..., 0, 0].isnan()
        if not there.any():
            return torch.stack([0.0 * heatmaps.float().sum() for heatmaps in outputs]).sum()
        if not there.all():
            outputs, targets = [heatmaps[there][None] for heatmaps in outputs], targets[there][None]
        if self.heatmap.loss == "chi-square":
            losses = [chi_square_loss(heatmaps.float(), targets) for heatmaps in outputs]
        else:
            weight = foreground_weights(targets, self.heatmap.foreground_weight)
            losses = [weighted_mse(heatmaps.float(), targets, weight) for heatmaps in outputs]
        return torch.stack(losses).sum()


@dataclass(frozen=True)
class PointTask:
    """Pictures to points, in each stage that the network has (intermediate supervision), and to how far off they are.

    The loss is the distance from the labels, which is the error that detectors are judged by, and for the doubt the likelihood
    of that distance under a Laplace distribution of that mean. Distances are in pixels of an input of which the face takes up
    three quarters.
    """

    source: PictureSource

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.source.crops)

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """As `Task.read`."""
        return self.source.read(rows, labels, generator, share, device)

    def batch(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Float[Tensor, "b n 2"]]:
        """Pictures and the labels in them (input frame), NaN where absent."""
        return self.source.pictures(read, device), sent(read.points.float(), device)

    def loss(self, outputs: Located, targets: Float[Tensor, "b n 2"]) -> Tensor:
        """The sum over the stages of the mean distance, and `DOUBT` of the doubt's; absent points do not count."""
        there = targets.isfinite().all(-1)
        known = torch.where(there[..., None], targets, 0.0)
        low = torch.where(there[..., None], targets, torch.inf).amin(1)
        side = (torch.where(there[..., None], targets, -torch.inf).amax(1) - low).amax(1, keepdim=True)
        unit = torch.where(side > 0, side, 1.0) / (0.75 * self.source.input_size)
        count = there.sum().clamp(min=1)
        distances = [torch.where(there, (p.float() - known).norm(dim=-1) / unit, 0.0) for p in outputs.stages]
        doubt = outputs.doubt.float()
        unlikely = torch.where(there, doubt.log() + distances[-1].detach() / doubt, 0.0)
        return (torch.stack([d.sum() for d in distances]).sum() + DOUBT * unlikely.sum()) / count


def heatmap_task(
    crops: CropCache,
    scheme: LandmarkScheme,
    network: Sizes,
    heatmap: HeatmapSettings,
    augmentation: AugmentationSettings,
) -> HeatmapTask:
    """What a network that draws heatmaps is trained for; of the network only the sizes count: settings will do."""
    return HeatmapTask(PictureSource(crops, scheme, augmentation, network.input_size), network, heatmap)


def task_for(
    network: HeatmapNetwork,
    crops: CropCache,
    scheme: LandmarkScheme,
    heatmap: HeatmapSettings,
    augmentation: AugmentationSettings,
) -> HeatmapTask | PointTask:
    """What a network is trained for: points, if it gives them, else heatmaps."""
    if isinstance(network, PointNetwork):
        return PointTask(PictureSource(crops, scheme, augmentation, network.input_size))
    return heatmap_task(crops, scheme, network, heatmap, augmentation)
