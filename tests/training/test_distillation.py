"""Targets that are in part a teacher's heatmaps: which, of what, at which size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from worlds import NETWORK, Small, batch_of

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.models.hourglass import StackedHourglass
from semalign.training.distillation import DistillationTask
from semalign.training.task import Task
from semalign.training.trainer import Trainer, make_accelerator

ROWS = np.arange(4)


def draw(task: Task, labels: np.ndarray, seed: int = 0) -> tuple[Tensor, Tensor]:
    return batch_of(task, ROWS, labels, seed)


@torch.inference_mode()
def heatmaps(network: nn.Module, images: Tensor) -> Tensor:
    return network.eval()(images)[-1].clamp(0, 1)


def loud(small: Small, seed: int) -> nn.Module:
    """A network whose untrained heatmaps are far from zero."""
    network = small.network(seed)
    with torch.no_grad():
        network.heads[-1].predict.weight.mul_(300)
    return network


def test_without_a_share_nothing_changes(small):
    plain, taught = small.task(), DistillationTask(small.task(), [loud(small, 5)], 0.0)
    assert len(taught) == len(plain)
    for expected, seen in zip(draw(plain, small.labels()), draw(taught, small.labels()), strict=True):
        assert torch.equal(expected, seen)


def test_a_batch_has_one_teacher_and_either_the_pictures_or_their_mirror_images(small):
    teachers = [loud(small, 5), loud(small, 6)]
    task = DistillationTask(small.task(), teachers, 1.0)
    flip = list(small.dataset.scheme.flip_index)
    met = set()
    for seed in range(12):
        images, targets = draw(task, small.labels(), seed)
        for name, network in enumerate(teachers):
            mirrored = heatmaps(network, images.flip(3))[:, flip].flip(3)
            for view, expected in (("plain", heatmaps(network, images)), ("mirrored", mirrored)):
                if torch.allclose(targets, expected, atol=1e-5):
                    met.add((seed, name, view))
    assert len({seed for seed, *_ in met}) == len(met) == 12
    assert {(name, view) for _, name, view in met} == {(0, "plain"), (0, "mirrored"), (1, "plain"), (1, "mirrored")}


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_share_is_the_teachers(small, share):
    teachers, labels = [loud(small, 5)], small.labels()
    (_, own), (_, all_teacher), (_, mixed) = (
        draw(DistillationTask(small.task(), teachers, part), labels) for part in (0.0, 1.0, share)
    )
    assert torch.allclose(mixed, (1 - share) * own + share * all_teacher, atol=1e-6)


class Pointing(StackedHourglass):
    """Draws Gaussians at fixed places of its larger heatmap, whatever it sees."""

    def __init__(self, points: Tensor) -> None:
        super().__init__(replace(NETWORK, input_size=256, heatmap_size=128), points.shape[1])
        self.points = points
        self.saw: list[int] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.saw.append(images.shape[-1])
        return [render_gaussians(self.points, 128, 8.0).expand(len(images), -1, -1, -1)]


def test_a_larger_teacher_sees_larger_pictures_and_points_at_the_same_places(small):
    count, size = small.dataset.scheme.count, NETWORK.heatmap_size
    points = torch.rand(1, count, 2, generator=torch.Generator().manual_seed(0)) * 80 + 24
    teacher = Pointing(points)
    task = DistillationTask(small.task(), [teacher], 1.0)
    expected = transform_points(points.double(), rescaling(128, size))[0].float()
    with_mirror = expected[list(small.dataset.scheme.flip_index)] * torch.tensor([-1.0, 1.0]) + torch.tensor(
        [size - 1.0, 0]
    )
    seen = [decode_heatmaps(draw(task, small.labels(), seed)[1], size / 16).points for seed in range(6)]
    near = [min(float((p - q).abs().max()) for q in (expected, with_mirror)) for p in seen]
    assert teacher.saw == [256] * 6 and max(near) < 0.05


def test_a_student_comes_to_see_what_its_teacher_sees(small, tmp_path):
    teacher, student = loud(small, 5), small.network(7)
    images = draw(small.task(), small.labels(), seed=9)[0]
    wanted = heatmaps(teacher, images)
    before = float((heatmaps(student, images) - wanted).square().mean())
    training = small.trainer(tmp_path / "unused", epochs=12, learning_rate=3e-3).training
    task = DistillationTask(small.task(), [teacher], 1.0)
    trainer = Trainer(tmp_path / "taught", student, make_accelerator(), task, training, seed=3)
    labels = small.labels()
    trainer.fit(labels)
    assert float((heatmaps(trainer.averaged, images) - wanted).square().mean()) < 0.8 * before
