"""A folder of one's own: images with .pts beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import LabelStore, check_dataset, open_dataset
from semalign.data.export import export_labels
from semalign.data.pts import read_pts, write_pts
from semalign.errors import SemalignError
from semalign.schemes import load_scheme


def face(folder: Path, name: str, count: int = 68, seed: int = 0) -> np.ndarray:
    """Write a grey picture and random points on it; returns the points."""
    folder.mkdir(parents=True, exist_ok=True)
    points = np.random.default_rng(seed).uniform(5, 55, (count, 2)).round(2)
    cv2.imwrite(str(folder / f"{name}.png"), np.full((60, 60, 3), 90, np.uint8))
    write_pts(folder / f"{name}.pts", points)
    return points


def test_a_flat_folder_is_a_data_set(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    points = [face(root, name, seed=seed) for seed, name in enumerate(["b", "a c"])]
    dataset = open_dataset(root)
    assert (dataset.name, dataset.scheme.name, dataset.ids()) == ("mine", "ibug68", ("a c.png", "b.png"))
    np.testing.assert_allclose(dataset.points(), [points[1], points[0]], atol=1e-9)
    assert {sample.split for sample in dataset.samples} == {"train"}
    assert check_dataset(root).counts == {"mine": 2}


def test_folders_are_subsets_and_those_called_test_are_for_testing(tmp_path: Path) -> None:
    for folder in ("b/train", "b/Test", "a", "val/deep", ".hidden"):
        face(tmp_path / folder, "x")
    dataset = open_dataset(tmp_path)
    assert dataset.ids() == ("a/x.png", "b/Test/x.png", "b/train/x.png", "val/deep/x.png")
    assert [sample.split for sample in dataset.samples] == ["train", "test", "train", "test"]
    assert dataset.subsets() == {"a": 1, "b/Test": 1, "b/train": 1, "val/deep": 1}


def test_the_number_of_points_tells_the_scheme(tmp_path: Path) -> None:
    face(tmp_path / "wflw", "x", 98)
    assert open_dataset(tmp_path / "wflw").scheme.name == "wflw98"
    face(tmp_path / "five", "x", 5)
    with pytest.raises(SemalignError, match=r"x\.pts: holds 5 points, which no shipped scheme has .*ibug68 \(68\)"):
        open_dataset(tmp_path / "five")
    with pytest.raises(SemalignError, match="holds 98 points where the scheme ibug68 has 68"):
        open_dataset(tmp_path / "wflw", load_scheme("ibug68"))


def test_bad_samples_stop_or_are_listed(tmp_path: Path) -> None:
    face(tmp_path, "good")
    (tmp_path / "lonely.png").write_bytes((tmp_path / "good.png").read_bytes())
    with pytest.raises(SemalignError, match=r"lonely\.png: has no \.pts beside it"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, keep_going=True)
    assert dataset.ids() == ("good.png",) and [name for name, _ in dataset.skipped] == ["lonely.png"]


def test_a_folder_of_a_known_layout_is_that(tmp_path: Path) -> None:
    face(tmp_path / "afw", "x")
    face(tmp_path / "other", "y")
    assert open_dataset(tmp_path).name == "300w"


def test_labels_are_written_back_in_its_own_folders(tmp_path: Path) -> None:
    face(tmp_path / "set/one", "x")
    dataset = open_dataset(tmp_path / "set")
    store = LabelStore(tmp_path / "labels")
    store.start(dataset, {"source": "annotations"})
    version = store.append(dataset.ids(), dataset.points() + 1.0, iteration=1, provenance={"source": "test"})
    out = export_labels(version, dataset, tmp_path / "out")
    np.testing.assert_allclose(read_pts(out / "one/x.pts"), dataset.points()[0] + 1.0, atol=1e-3)
    assert open_dataset(out).notes == ("The training labels are label version 1, exported by Semalign.",)
