"""Selecting from a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semalign.data import Dataset, open_300w
from semalign.errors import SemalignError


@pytest.fixture
def dataset(make_300w: Callable[..., Path]) -> Dataset:
    return open_300w(make_300w())


def test_points_and_ids_go_together(dataset: Dataset) -> None:
    points = dataset.points()
    assert points.shape == (len(dataset), 68, 2) and points.dtype == np.float64
    for name, sample, row in zip(dataset.ids(), dataset.samples, points, strict=True):
        assert name == sample.id
        np.testing.assert_array_equal(row, sample.points)
    points[:] = 0.0
    assert dataset.points().any()  # a copy: nobody changes annotations by accident


def test_selecting(dataset: Dataset) -> None:
    train, test = dataset.select("train"), dataset.select("test")
    assert (len(train), len(test)) == (7, 3)
    assert train.ids() + test.ids() == dataset.ids()
    assert dataset.select(subsets=["ibug", "afw"]).subsets() == {"afw": 2, "ibug": 1}
    without = train.select(exclude=["afw/image_0001.jpg", "not there"])
    assert without.ids() == tuple(name for name in train.ids() if name != "afw/image_0001.jpg")
    assert dataset.select("train", subsets=["ibug"]).points().shape == (0, 68, 2)


def test_unknown_subset(dataset: Dataset) -> None:
    with pytest.raises(
        SemalignError, match=r"has no subset 'helen'; choose from afw, helen/trainset, ibug, lfpw/testset"
    ):
        dataset.select(subsets=["afw", "helen"])
