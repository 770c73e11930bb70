"""The light network: its shapes, that it learns, and how small it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import MOBILE, Small, batch_of, small_world

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.data.augment import AugmentationSettings
from semalign.models.mobile import MobileSettings
from semalign.models.network import build_network, count_parameters
from semalign.training.settings import HeatmapSettings
from semalign.training.task import heatmap_task

STILL = AugmentationSettings(
    rotation=0.0,
    scale=0.0,
    shift=0.0,
    flip=0.0,
    brightness=0.0,
    contrast=0.0,
    colour=0.0,
    grey=0.0,
    blur=0.0,
    occlusion=0.0,
)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("heatmap", [16, 32, 64])
@pytest.mark.parametrize(("size", "scales"), [(64, 2), (64, 4), (96, 3)])
def test_heatmaps_have_the_wanted_size(size, scales, heatmap, stride):
    heatmap = heatmap * size // 64
    settings = replace(MOBILE, input_size=size, scales=scales, heatmap_size=heatmap, stride=stride)
    network = build_network(settings, 5, seed=0)
    assert [tuple(maps.shape) for maps in network(torch.rand(2, 3, size, size))] == [(2, 5, heatmap, heatmap)]


def test_the_default_is_small():
    settings = MobileSettings()
    assert settings.widths == (16, 32, 64, 128)
    assert count_parameters(build_network(settings, 68, 0)) < 500_000


@pytest.mark.parametrize(
    "wrong",
    [{"input_size": 100}, {"heatmap_size": 48}, {"heatmap_size": 512}, {"scales": 1}, {"growth": 0.5}, {"blocks": 0}],
)
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        MobileSettings(**wrong)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small_world(tmp_path_factory.mktemp("small"), count=4)


def test_it_learns_a_few_faces_by_heart(small):
    """By the task that trains every network: the points are found to a pixel of its heatmap, 2 of the input."""
    rows, heatmap = np.arange(4), HeatmapSettings(sigma=12.0)
    task = heatmap_task(small.crops, small.dataset.scheme, MOBILE, heatmap, STILL)
    images, targets = batch_of(task, rows, small.labels(), seed=0)
    network = build_network(MOBILE, small.dataset.scheme.count, seed=0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = task.loss(network(images), targets)
        loss.backward()
        optimizer.step()
    points = transform_points(torch.from_numpy(small.labels()), small.crops.crop_to_input.expand(4, 2, 3))
    expected = transform_points(points, rescaling(64, 32))
    with torch.no_grad():
        found = decode_heatmaps(network.eval()(images)[-1], heatmap.pixels(32)).points
    assert float((found - expected).norm(dim=-1).mean()) < 1.0
