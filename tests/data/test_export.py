"""Exported labels are a data set that the reader reads."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.data import Dataset, LabelStore, LabelVersion, export_labels, open_dataset
from semalign.data.export import write_pts as original_write_pts
from semalign.errors import SemalignError


@pytest.fixture
def dataset(make_300w: Callable[..., Path]) -> Dataset:
    return open_dataset(make_300w())


@pytest.fixture
def version(dataset: Dataset, tmp_path: Path) -> LabelVersion:
    """Labels of the training faces, moved by (0.25, -1)."""
    train = dataset.select("train")
    store = LabelStore(tmp_path / "labels")
    store.start(train)
    return store.append(train.ids(), train.points() + (0.25, -1.0), iteration=1, provenance={"model": "aligned"})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_copy_is_read_as_a_data_set(dataset: Dataset, version: LabelVersion, tmp_path: Path) -> None:
    originals = contents(dataset.root)
    calls: list[tuple[int, int]] = []
    out = export_labels(version, dataset, tmp_path / "out", lambda done, total: calls.append((done, total)))
    copy = open_dataset(out)
    assert copy.ids() == dataset.ids()
    for one, other in zip(dataset.samples, copy.samples, strict=True):
        moved = (0.25, -1.0) if one.split == "train" else (0.0, 0.0)
        np.testing.assert_allclose(other.points, one.points + moved, atol=1e-6)
        assert other.image.read_bytes() == one.image.read_bytes()
    assert copy.notes == ("The training labels are label version 1, exported by Semalign.", *dataset.notes)
    assert json.loads((out / "provenance.json").read_text()) == {
        "label_version": 1,
        "iteration": 1,
        "data": "300w",
        "scheme": "ibug68",
        "faces": 10,
        "faces_with_these_labels": 7,
        "faces_with_their_annotations": 3,
        "labels": {"model": "aligned"},
    }
    assert calls == [(done, 10) for done in range(1, 11)]
    assert contents(dataset.root) == originals


def test_truth_goes_with_it(make_synthetic: Callable[..., Path], tmp_path: Path) -> None:
    synthetic = open_dataset(make_synthetic(moved=(1.0, 2.0)))
    version = LabelStore(tmp_path / "labels").start(synthetic)
    copy = open_dataset(export_labels(version, synthetic, tmp_path / "out"))
    assert copy.name == "synthetic" and copy.truth is not None and synthetic.truth is not None
    for name in synthetic.ids():
        np.testing.assert_array_equal(copy.truth[name], synthetic.truth[name])


def test_a_finished_export_is_kept(dataset: Dataset, version: LabelVersion, tmp_path: Path) -> None:
    out = export_labels(version, dataset, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert export_labels(version, dataset, out) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_disk_full_halfway_and_again(
    dataset: Dataset, version: LabelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = contents(export_labels(version, dataset, tmp_path / "complete"))
    written: list[Path] = []

    def full_after_four(path: Path, points: np.ndarray, absent: bool) -> None:
        if len(written) == 4:
            raise SemalignError(f"cannot write {path}: the disk is full; free some space and run the command again.")
        written.append(path)
        original_write_pts(path, points, absent)

    monkeypatch.setattr("semalign.data.export.write_pts", full_after_four)
    out = tmp_path / "out"
    with pytest.raises(SemalignError, match="the disk is full"):
        export_labels(version, dataset, out)
    assert not (out / "provenance.json").exists()
    monkeypatch.undo()
    assert contents(export_labels(version, dataset, out)) == complete


def test_full_disk_while_an_image_is_copied(
    dataset: Dataset, version: LabelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SemalignError, match=r"cannot write .*image_0001\.jpg: the disk is full"):
        export_labels(version, dataset, tmp_path / "out")
    monkeypatch.undo()
    assert list(contents(tmp_path / "out")) == ["provenance.started.json"]


def test_folders_that_hold_something_else(dataset: Dataset, version: LabelVersion, tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"300w: is not empty and holds no export of labels"):
        export_labels(version, dataset, dataset.root)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SemalignError, match=r"file: is not empty"):
        export_labels(version, dataset, tmp_path / "file")
    out = export_labels(version, dataset, tmp_path / "out")
    with pytest.raises(SemalignError, match=r"out: holds the export of other labels"):
        export_labels(replace(version, index=2), dataset, out)


def test_labels_of_other_data(dataset: Dataset, version: LabelVersion, tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"has no image afw/image_0001\.jpg, of which there are labels"):
        export_labels(version, dataset.select(exclude=["afw/image_0001.jpg"]), tmp_path / "out")
    fewer = LabelStore(tmp_path / "fewer").append(version.ids, version.points[:, :5], iteration=0)
    with pytest.raises(SemalignError, match="has 68 landmarks a face, the label version 5"):
        export_labels(fewer, dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_has_gone(dataset: Dataset, version: LabelVersion, tmp_path: Path) -> None:
    dataset.samples[3].image.unlink()
    with pytest.raises(SemalignError, match=r"image_0002\.jpg: cannot be read .*; restore it and export again"):
        export_labels(version, dataset, tmp_path / "out")
