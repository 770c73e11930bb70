"""Selecting from a data set, and joining two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.data import Dataset, join, open_dataset
from semalign.errors import SemalignError
from semalign.schemes import load_scheme


@pytest.fixture
def dataset(make_300w: Callable[..., Path]) -> Dataset:
    return open_dataset(make_300w())


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


def test_joining_keeps_both_in_order_and_their_truth_if_both_have_one(dataset: Dataset) -> None:
    truth = dict(zip(dataset.ids(), dataset.points(), strict=True))
    first, second = replace(dataset, truth=truth, notes=("one.",)), replace(dataset, truth=truth, notes=("two.",))
    both = join(first, second.grouped("more"))
    assert both.ids() == dataset.ids() + tuple(f"more/{name}" for name in dataset.ids())
    assert {sample.group for sample in both.samples[len(dataset) :]} == {"more"}
    np.testing.assert_array_equal(both.points(), np.concatenate([dataset.points()] * 2))
    assert both.truth is not None and set(both.truth) == set(both.ids()) and both.notes == ("one.", "two.")
    assert join(first, dataset.grouped("more")).truth is None


def test_joining_refuses_other_schemes_and_ids_that_meet(dataset: Dataset) -> None:
    with pytest.raises(SemalignError, match=r"both have a sample 'afw/image_0001.jpg'; give one of them a group"):
        join(dataset, dataset)
    with pytest.raises(SemalignError, match="only data sets of one scheme can be joined"):
        join(dataset, replace(dataset, scheme=load_scheme("aflw19")))
