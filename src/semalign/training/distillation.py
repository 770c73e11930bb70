"""Distillation (Hinton et al., 2015) of heatmaps: a network learns in part from what other networks see in the same pictures.

Annotations of one face carry one person's noise; several networks' heatmaps say where a landmark may lie, and how surely.

Shape legend: b images, n landmarks, h heatmap, s side of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semalign.models.network import HeatmapNetwork
from semalign.training.task import HeatmapTask, Read


@dataclass(frozen=True)
class DistillationTask:
    """A heatmap task whose targets are drawn from the labels and, for a share, from teachers' heatmaps.

    Each batch asks one teacher, drawn at random, for the pictures or their mirror images: the mean of all of them is what
    the squared error is least for, at the price of one.

    Args:
        task: pictures, labels and loss.
        teachers: at least one; networks of the same landmarks whose Gaussians have the same σ in sides of the heatmap.
        share: of a target that is the teacher's, 0 to 1.
        precision: of the teachers, 'bf16' or 'fp32'.
    """

    task: HeatmapTask
    teachers: Sequence[HeatmapNetwork]
    share: float
    precision: str = "fp32"

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.task)

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """The task's."""
        return self.task.read(rows, labels, generator, share, device)

    def batch(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Float[Tensor, "b n h h"]]:
        """Pictures and their targets; the pictures are those that the task alone would draw."""
        images, targets = self.task.batch(read, generator, device)
        teacher = self.teachers[int(torch.randint(len(self.teachers), (), generator=generator))].to(device).eval()
        mirrored = bool(torch.rand((), generator=generator) < 0.5) and bool(self.task.source.scheme.pairs)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            seen = self._seen(teacher, images, mirrored, targets.shape[-1])
        return images, targets.lerp_(seen, self.share)

    def _seen(
        self, teacher: HeatmapNetwork, images: Float[Tensor, "b 3 s s"], mirrored: bool, size: int
    ) -> Float[Tensor, "b n h h"]:
        """The teacher's heatmaps in [0, 1] at the student's size."""
        pictures = images
        if teacher.input_size != images.shape[-1]:
            side = teacher.input_size
            pictures = F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        heatmaps: Tensor = teacher(pictures.flip(-1) if mirrored else pictures)[-1].float()
        if mirrored:
            heatmaps = heatmaps.flip(-1)[:, list(self.task.source.scheme.flip_index)]
        if heatmaps.shape[-1] != size:
            heatmaps = F.interpolate(heatmaps, size=(size, size), mode="bilinear", align_corners=False)
        return heatmaps.clamp(0, 1)

    def loss(self, outputs: Sequence[Float[Tensor, "b n h h"]], targets: Float[Tensor, "b n h h"]) -> Tensor:
        """The task's."""
        return self.task.loss(outputs, targets)
