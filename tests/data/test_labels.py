"""The label store: versions come back as they were written, and none is ever changed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from semalign.data import LabelStore, open_dataset
from semalign.errors import SemalignError

IDS = ("afw/a.jpg", "ibug/image_092 _01.jpg")
POINTS = np.arange(12, dtype=float).reshape(2, 3, 2)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5))


@st.composite
def versions(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(SHAPES)
    parts = hnp.arrays(np.float64, shape, elements=st.floats(allow_infinity=False, width=64))
    return {
        "ids": draw(st.lists(st.text(min_size=1, max_size=8), min_size=shape[0], max_size=shape[0], unique=True)),
        "points": draw(hnp.arrays(np.float64, (*shape, 2), elements=FINITE)),
        "iteration": draw(st.integers(0, 1000)),
        "provenance": draw(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), FINITE), max_size=3)),
        "prior_cost": draw(st.none() | parts),
        "likelihood_cost": draw(st.none() | parts),
        "confidence": draw(st.none() | parts),
    }


@given(versions())
@settings(max_examples=25)
def test_round_trip(given_version: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = LabelStore(Path(folder) / "labels")
        written = store.append(**given_version)
        read = store.read()
        for version in (written, read):
            assert (version.index, version.iteration) == (0, given_version["iteration"])
            assert version.ids == tuple(given_version["ids"])
            assert version.provenance == given_version["provenance"]
            np.testing.assert_array_equal(version.points, given_version["points"])
            for name in ("prior_cost", "likelihood_cost", "confidence"):
                expected = given_version[name]
                expected = np.full(version.points.shape[:2], np.nan) if expected is None else expected
                np.testing.assert_array_equal(getattr(version, name), expected)
            assert np.isnan(version.movement).all()


def test_versions_follow_each_other(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels")
    assert store.versions() == ()
    store.append(IDS, POINTS, iteration=0)
    moved = store.append(IDS, POINTS + (3.0, -4.0), iteration=1, provenance={"model": "m.safetensors", "seed": 3})
    assert store.versions() == (0, 1)
    assert (moved.index, store.read().index, store.read(-2).index, store.read(0).index) == (1, 1, 0, 0)
    np.testing.assert_allclose(store.read(1).movement, 5.0)
    assert store.read(1).provenance == {"model": "m.safetensors", "seed": 3}
    assert sorted(path.name for path in store.folder.iterdir()) == ["0000.parquet", "0001.parquet"]


def test_pandas_reads_it(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=4, confidence=np.full((2, 3), 0.5))
    table = pd.read_parquet(store.path(0))
    assert list(table) == [
        *("image", "landmark", "x", "y", "prior_cost", "likelihood_cost", "movement", "confidence"),
        *("spread_x", "spread_y", "iteration", "visibility"),
    ]
    assert list(table.image) == [IDS[0]] * 3 + [IDS[1]] * 3
    assert list(table.landmark) == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(table[["x", "y"]].to_numpy(), POINTS.reshape(-1, 2))
    assert (table.confidence == 0.5).all() and (table.iteration == 4).all() and table.prior_cost.isna().all()


def test_how_sure_a_label_is_comes_back(tmp_path: Path) -> None:
    store, spread = LabelStore(tmp_path), np.arange(12.0).reshape(2, 3, 2)
    store.append(IDS, POINTS, iteration=0)
    store.append(IDS, POINTS + 1, iteration=1, spread=spread)
    assert np.isnan(store.read(0).spread).all() and np.array_equal(store.read(1).spread, spread)
    assert (pd.read_parquet(store.path(1)).spread_y == spread[..., 1].ravel()).all()
    with pytest.raises(SemalignError, match="spread has shape"):
        store.append(IDS, POINTS, iteration=2, spread=spread[..., 0])


def test_a_file_of_version_0_1_has_no_spread(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    table = pq.read_table(store.path(0))
    pq.write_table(table.drop_columns(["spread_x", "spread_y"]), store.path(0))
    assert np.array_equal(store.read().points, POINTS) and np.isnan(store.read().spread).all()


def test_start_with_the_annotations(tmp_path: Path, make_300w: Callable[..., Path]) -> None:
    dataset = open_dataset(make_300w()).select("train")
    store = LabelStore(tmp_path / "labels")
    first = store.start(dataset, {"data": "300w"})
    assert (first.index, first.iteration, first.ids) == (0, 0, dataset.ids())
    np.testing.assert_array_equal(store.read(0).points, dataset.points())
    bytes_before = store.path(0).read_bytes()
    assert store.start(dataset, {"data": "again"}).provenance == {"data": "300w"}
    assert store.path(0).read_bytes() == bytes_before
    with pytest.raises(SemalignError, match=r"0000\.parquet: exists with other labels and is never overwritten"):
        store.start(dataset.select(exclude=dataset.ids()[:1]))


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    store.append(IDS, POINTS + 1, iteration=1, index=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert store.append(IDS, POINTS + 1, iteration=1, index=1).index == 1  # continued runs write the same again
    changes: list[dict[str, Any]] = [{"points": POINTS + 2}, {"iteration": 2}, {"ids": IDS[::-1]}]
    for change in changes:
        arguments = {"ids": IDS, "points": POINTS + 1, "iteration": 1, **change}
        with pytest.raises(SemalignError, match=r"0001\.parquet: exists with other labels and is never overwritten"):
            store.append(**arguments, index=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"points": np.where(POINTS == 8, np.nan, POINTS)}, "landmark 1 of ibug/image_092 _01.jpg is not finite"),
        ({"points": np.where(POINTS == 1, np.inf, POINTS)}, "landmark 0 of afw/a.jpg is not finite"),
        ({"points": POINTS[:1]}, "2 images and points of shape (1, 3, 2)"),
        ({"points": POINTS[..., 0]}, "2 images and points of shape (2, 3)"),
        ({"ids": (), "points": POINTS[:0]}, "0 images and points of shape (0, 3, 2)"),
        ({"ids": (IDS[0], IDS[0])}, "an image occurs twice"),
        ({"confidence": np.ones((2, 4))}, "confidence has shape (2, 4); give (2, 3)"),
        ({"index": 3}, "the next label version is 1"),
        ({"ids": IDS[::-1]}, "the labels are not those of the images of version 0, in its order"),
        ({"points": POINTS[:, :2]}, "the labels are not those of the images of version 0, in its order"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    with pytest.raises(SemalignError) as caught:
        store.append(**{"ids": IDS, "points": POINTS, "iteration": 1, **arguments})
    assert sentence in str(caught.value)
    assert store.versions() == (0,)


def test_versions_that_are_not_there(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels")
    with pytest.raises(SemalignError, match="holds no label versions; give the folder 'labels' of a run"):
        store.read()
    store.append(IDS, POINTS, iteration=0)
    store.append(IDS, POINTS, iteration=1)
    for index in (2, -3):
        with pytest.raises(SemalignError, match=rf"holds no label version {index}; choose from 0 to 1"):
            store.read(index)


def no_whole_images(path: Path) -> None:
    pd.read_parquet(path).iloc[1:].to_parquet(path)


def no_column(path: Path) -> None:
    pd.read_parquet(path).drop(columns="movement").to_parquet(path)


def nothing_in_it(path: Path) -> None:
    pd.read_parquet(path).iloc[:0].to_parquet(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
        no_whole_images,
        no_column,
        nothing_in_it,
    ],
    ids=["truncated", "empty", "rows", "column", "no rows"],
)
def test_damaged_versions_are_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    spoil(store.path(0))
    with pytest.raises(SemalignError) as caught:
        store.read()
    assert str(caught.value).startswith(f"{store.path(0)}: is no label version that can be read")
    assert "\n" not in str(caught.value)


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)

    def half(table: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.write_table", half)
    with pytest.raises(SemalignError, match=r"cannot write .*0001\.parquet: the disk is full"):
        store.append(IDS, POINTS + 1, iteration=1)
    assert [path.name for path in tmp_path.iterdir()] == ["0000.parquet"]
    assert store.versions() == (0,)


def test_absent_points_stay_absent_in_every_version_and_the_file_says_what_is_hidden(tmp_path: Path) -> None:
    points, visibility = POINTS.astype(float).copy(), np.array([[2, 1, 0], [-1, -1, -1]], np.int8)
    points[0, 2] = np.nan
    store = LabelStore(tmp_path)
    store.append(IDS, points, iteration=0, visibility=visibility)
    assert store.append(IDS, points, iteration=0, index=0).index == 0  # a continued run
    store.append(IDS, points + 1, iteration=1)
    for index in (0, 1):
        version = store.read(index)
        assert np.array_equal(version.visibility, visibility) and np.array_equal(
            version.points, points + index, equal_nan=True
        )
    assert np.isnan(version.movement[0, 2]) and np.nanmax(version.movement) == pytest.approx(2**0.5)
    table = pd.read_parquet(store.path(1))
    assert table.visibility[:3].tolist() == [2, 1, 0] and table.visibility[3:].isna().all()
    with pytest.raises(
        SemalignError, match=r"landmark 2 of afw/a\.jpg was not annotated and has a label; leave it NaN"
    ):
        store.append(IDS, np.nan_to_num(points), iteration=2)
    with pytest.raises(SemalignError, match=r"landmark 0 of afw/a\.jpg is not finite"):
        store.append(IDS, np.where(np.arange(3)[:, None] == 0, np.nan, points), iteration=2)
    assert store.versions() == (0, 1)
