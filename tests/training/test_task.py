"""The loss of heatmaps: what absent points do to it, which is nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from worlds import HEATMAP, NETWORK, Small, batch_of, small_world

from semalign.training.distillation import DistillationTask
from semalign.training.task import HeatmapTask

ROWS = np.arange(4)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small_world(tmp_path_factory.mktemp("small"))


def batch(task: HeatmapTask | DistillationTask, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return batch_of(task, ROWS, labels, seed=5)


def holed(small: Small) -> np.ndarray:
    labels = small.labels()
    labels[0, 3:20] = labels[2, 60:] = np.nan
    return labels


@pytest.mark.parametrize("kind", ["mse", "chi-square"])
def test_absent_points_are_not_trained_on(small, kind):
    task = replace(small.task(), heatmap=replace(HEATMAP, loss=kind))
    images, targets = batch(task, holed(small))
    whole_images, whole = batch(task, small.labels())
    absent = targets.isnan().all(dim=(2, 3))
    assert torch.equal(images, whole_images) and torch.equal(targets[~absent], whole[~absent])
    assert absent.sum() == 17 + 8 and torch.equal(targets.isnan().any(dim=(2, 3)), absent)
    outputs = [torch.rand(targets.shape).requires_grad_() for _ in range(2)]
    loss = task.loss(outputs, targets)
    loss.backward()
    for maps in outputs:
        assert maps.grad is not None and not maps.grad[absent].any() and maps.grad[~absent].any(dim=(1, 2)).all()
    alone = task.loss([maps.detach()[~absent][None] for maps in outputs], targets[~absent][None])
    assert float(loss.detach()) == pytest.approx(float(alone))


def test_a_batch_without_any_point_teaches_nothing(small):
    task = small.task()
    _, targets = batch(task, np.full_like(small.labels(), np.nan))
    outputs = [torch.rand(targets.shape).requires_grad_()]
    loss = task.loss(outputs, targets)
    loss.backward()
    assert float(loss.detach()) == 0.0 and outputs[0].grad is not None and not outputs[0].grad.any()


def test_a_teacher_invents_no_absent_point(small):
    task = DistillationTask(small.task(), [small.network(1)], 0.5)
    _, targets = batch(task, holed(small))
    assert targets.isnan().all(dim=(2, 3)).sum() == 17 + 8


def test_a_network_learns_from_faces_with_absent_points(small, tmp_path: Path):
    trainer = small.trainer(tmp_path, epochs=1)
    trainer.fit(holed(small))
    assert np.isfinite(trainer.records[0]["loss"])
    assert all(torch.isfinite(value).all() for value in trainer.averaged.state_dict().values())
    assert NETWORK.heatmap_size == 32
