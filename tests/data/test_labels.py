"""The label store: versions come back as they were written, and none is ever changed."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow.dataset as arrow_dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from semalign.data import LabelPart, LabelStore, open_dataset
from semalign.data.label_files import faces_of_group
from semalign.errors import SemalignError

IDS = ("afw/a.jpg", "ibug/image_092 _01.jpg")
POINTS = np.arange(12, dtype=float).reshape(2, 3, 2)
OLD = Path(__file__).with_name("labels_of_0.1.parquet")  # version 1 of three faces, written by version 0.1
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
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    table = pq.read_table(store.path(0))
    pq.write_table(table.drop_columns(["spread_x", "spread_y"]), store.path(0))
    assert np.array_equal(store.read().points, POINTS) and np.isnan(store.read().spread).all()


def test_a_folder_of_version_0_1_opens_and_goes_on(tmp_path: Path) -> None:
    points = np.random.default_rng(5).uniform(40, 200, (3, 5, 2)).round(3)
    store, ids = LabelStore(tmp_path), ("afw/a.jpg", "helen/trainset/b 1.jpg", "ibug/ü.jpg")
    shutil.copy(OLD, store.path(0))
    version = store.read()
    assert (version.shape, version.iteration, version.ids) == ((3, 5), 1, ids)
    assert version.provenance == {"model": "m.safetensors", "seed": 3}
    assert np.array_equal(version.points, points + (3, -4)) and np.array_equal(version.likelihood_cost, points[..., 0])
    assert np.allclose(version.movement, 5) and (version.prior_cost == 25).all() and (version.confidence == 0.5).all()
    assert np.isnan(version.spread).all() and (version.visibility == -1).all()
    assert store.append(ids, points + (3, -4), iteration=1, index=0).ids == ids
    store.append(ids, points, iteration=2)
    np.testing.assert_allclose(store.read().movement, 5)
    assert store.to_arrow().count_rows() == 30


@pytest.mark.parametrize("rows", [1_000_000, 1, 4, 7, 68])
def test_row_groups_that_end_within_faces(tmp_path: Path, rows: int) -> None:
    store, points = LabelStore(tmp_path), np.random.default_rng(0).normal(size=(20, 3, 2))
    ids = tuple(f"{index}.jpg" for index in range(20))
    confidence = np.where(np.arange(60).reshape(20, 3) < 31, np.nan, 0.25)  # nothing is said at first
    visibility = np.arange(60).reshape(20, 3) % 4 - 1
    points[visibility == 0] = np.nan
    store.append(ids, points, iteration=0, confidence=confidence, visibility=visibility)
    if rows > 1:
        pq.write_table(pq.read_table(store.path(0)), store.path(0), row_group_size=rows)
    else:  # as pandas writes it, with other types
        pd.read_parquet(store.path(0)).astype({"landmark": "int64", "iteration": "int8"}).to_parquet(store.path(0))
    version = store.read()
    assert np.array_equal(version.visibility, visibility)
    for start, stop in ((0, 20), (0, 1), (19, 20), (3, 11), (5, 5), (-2, 30)):
        part = version.part(start, stop)
        assert part.ids == ids[start:stop] and part.shape == points[start:stop].shape[:2]
        assert np.array_equal(part.points, points[start:stop], equal_nan=True)
        assert np.array_equal(part.confidence, confidence[start:stop], equal_nan=True)
        assert np.array_equal(part.visibility, version.visibility[start:stop])
    assert [name for part in version.parts(7) for name in part.ids] == list(ids)
    store.append(ids, points + 1, iteration=1)
    np.testing.assert_allclose(store.read().movement, np.where(visibility == 0, np.nan, 2**0.5))


def many(count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """More faces of five landmarks than a row group has."""
    return tuple(f"{index}.jpg" for index in range(count)), np.random.default_rng(1).normal(size=(count, 5, 2))


def test_labels_of_several_row_groups_written_whole_and_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semalign.data.label_files.ROWS", 1004)
    size = faces_of_group(5)
    assert size == 200
    ids, points = many(2 * size + 10)
    whole, parted = LabelStore(tmp_path / "whole"), LabelStore(tmp_path / "parted")
    cuts = [0, 3, size - 1, size, 2 * size + 4, len(ids)]
    for index in (0, 1):
        spread = np.abs(points) if index else None
        whole.append(ids, points + index, iteration=index, spread=spread)
        parts = [
            LabelPart(ids[a:b], points[a:b] + index, spread=np.abs(points[a:b]) if index else None)
            for a, b in pairwise(cuts)
        ]
        parted.append_parts(iter(parts), iteration=index)
    for index in (0, 1):
        assert whole.path(index).read_bytes() == parted.path(index).read_bytes()
    footer = pq.read_metadata(whole.path(1))
    assert [footer.row_group(group).num_rows for group in range(3)] == [size * 5, size * 5, 50]
    version = whole.read()
    assert version.ids == ids and np.array_equal(version.points, points + 1)
    assert [part.shape[0] for part in version.parts()] == [size, size, 10]
    assert pickle.loads(pickle.dumps(version.part(size - 2, size + 2))).ids == ids[size - 2 : size + 2]
    copied = LabelStore(tmp_path / "copied")
    copied.append_parts(version.parts(70), iteration=1)
    assert np.array_equal(copied.read().spread, np.abs(points))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ids, points: [(ids, points[:, :4])], r"0001.*not those of the images of version 0, in its order"),
        (lambda ids, points: [(ids[:9], points[:9])], r"0001.*not those of the images of version 0, in its order"),
        (lambda ids, points: [(ids, points), (("more",), points[:1])], r"not those of the images of version 0"),
        (lambda ids, points: [(ids[:9], points[:9]), (ids[9:], points[9:, :4])], "parts of 5 and of 4 landmarks"),
        (lambda ids, points: [], "0 images and points of shape"),
    ],
)
def test_parts_that_are_refused(tmp_path: Path, change: Callable[..., Any], sentence: str) -> None:
    store, (ids, points) = LabelStore(tmp_path), many(20)
    store.append(ids, points, iteration=0)
    parts = [LabelPart(*part) for part in change(ids, points)]
    with pytest.raises(SemalignError, match=sentence):
        store.append_parts(parts, iteration=1)
    with pytest.raises(SemalignError, match=r"exists with other labels|landmarks|0 images"):
        store.append_parts(parts, iteration=0, index=0)
    assert [path.name for path in tmp_path.iterdir()] == ["0000.parquet"]
    with pytest.raises(SemalignError, match="an image occurs twice"):
        LabelStore(tmp_path / "twice").append_parts([LabelPart(ids, points)] * 2, iteration=0)


def test_only_what_is_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, (ids, points) = LabelStore(tmp_path), many(2 * faces_of_group(5))
    store.append(ids, points, iteration=0)
    read: list[tuple[int, set[str]]] = []
    plain = pq.ParquetFile.read_row_group

    def watched(self: pq.ParquetFile, group: int, columns: list[str], **more: Any) -> Any:
        read.append((group, set(columns)))
        return plain(self, group, columns, **more)

    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read_row_group", watched)
    version = store.read()
    assert version.shape == (len(ids), 5) and read == [(0, {"landmark", "iteration"})]
    read.clear()
    last = version.part(len(ids) - 2, len(ids))
    assert np.array_equal(last.points, points[-2:]) and last.points is last.points
    assert read == [(1, {"x", "y", "landmark"})]
    assert version.confidence.strides == (0, 0) and np.isnan(version.confidence).all()  # no memory for what nobody says


def test_arrow_has_all_versions(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    with pytest.raises(SemalignError, match="holds no label versions"):
        store.to_arrow()
    store.append(IDS, POINTS, iteration=0)
    store.append(IDS, POINTS + 1, iteration=1)
    labels, field = store.to_arrow(), arrow_dataset.field
    assert labels.count_rows() == 12 and labels.schema.names[-1] == "version"
    some = labels.to_table(columns=["image", "x"], filter=(field("version") == 1) & (field("image") == IDS[1]))
    assert some["x"].to_pylist() == (POINTS[1, :, 0] + 1).tolist()


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


def words(column: str) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        table = pd.read_parquet(path)
        table.assign(**{column: ["a"] * len(table)}).to_parquet(path)

    return spoil


def other_rows(path: Path) -> None:
    pd.read_parquet(path).iloc[[0, 2, 1, 3, 4, 5]].to_parquet(path)


def other_images(path: Path) -> None:
    pd.read_parquet(path).assign(image=["a", "a", "b", "b", "b", "b"]).to_parquet(path)


def one_image(path: Path) -> None:
    pd.read_parquet(path).assign(image="a").to_parquet(path)


def no_image(path: Path) -> None:
    pd.read_parquet(path).assign(image=[None, *["a"] * 5]).to_parquet(path)


def other_visibility(path: Path) -> None:
    pd.read_parquet(path).assign(visibility=7).to_parquet(path)


def list_of_origin(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"semalign": b"[1]"}), path)


def another_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(2)
    data[column.data_page_offset + column.total_compressed_size - 4] ^= 1  # of x; without a checksum a label is another
    path.write_bytes(data)


def everything(store: LabelStore) -> None:
    version = store.read()
    for name in ("ids", "points", "prior_cost", "likelihood_cost", "movement", "confidence", "spread", "visibility"):
        getattr(version, name)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        no_whole_images,
        no_column,
        nothing_in_it,
        *map(words, ("landmark", "x", "confidence", "iteration", "visibility")),
        other_rows,
        other_images,
        one_image,
        no_image,
        other_visibility,
        list_of_origin,
        another_byte,
    ],
)
def test_damaged_versions_are_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)
    spoil(store.path(0))
    with pytest.raises(SemalignError) as caught:
        everything(store)
    assert str(caught.value).startswith(f"{store.path(0)}: is no label version that can be read")
    assert "\n" not in str(caught.value)


def test_a_file_that_changes_after_it_was_opened(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    version = store.append(IDS, POINTS, iteration=0)
    shutil.copy(store.path(0), tmp_path / "kept")
    store.path(0).unlink()
    with pytest.raises(SemalignError, match="No such file"):
        _ = version.points
    LabelStore(tmp_path).append(IDS, POINTS + 1, iteration=0)
    with pytest.raises(SemalignError, match="it has changed since it was opened"):
        _ = version.points
    assert np.array_equal(store.read().points, POINTS + 1)


@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_were_changed_never_end_in_another_error(tmp_path: Path, seed: int) -> None:
    store, (ids, points) = LabelStore(tmp_path), many(20)
    store.append(ids, points, iteration=0, provenance={"source": "annotations"})
    whole, rng = store.path(0).read_bytes(), np.random.default_rng(seed)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        store.path(0).write_bytes(data[: None if rng.random() < 0.8 else rng.integers(len(data))])
        with suppress(SemalignError):
            everything(store)


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LabelStore(tmp_path)
    store.append(IDS, POINTS, iteration=0)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
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
