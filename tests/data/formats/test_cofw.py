"""The reader of COFW: arrays with their axes reversed, images written out once, flags of hidden points."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from semalign.data import open_dataset, read_image
from semalign.data.formats import cofw
from semalign.errors import SemalignError

h5py = pytest.importorskip("h5py")
COUNTS = {"train": 3, "test": 2}


def picture(split: str, index: int) -> np.ndarray:
    """RGB (40, 50 + index, 3), or grey for the last one of a split."""
    rng = np.random.default_rng([len(split), index])
    shape = (40, 50 + index) if index == COUNTS[split] - 1 else (40, 50 + index, 3)
    return rng.integers(0, 256, shape, np.uint8)


def shape(split: str, index: int) -> np.ndarray:
    """A row of phis: 29 x, 29 y from 1, 29 flags."""
    rng = np.random.default_rng([len(split), index, 1])
    flags = np.zeros(29)
    flags[index : index + 3] = 1
    return np.concatenate([rng.uniform(5, 40, 29), rng.uniform(5, 35, 29), flags])


def write(path: Path, split: str, count: int) -> None:
    suffix = "Tr" if split == "train" else "T"
    with h5py.File(path, "w") as file:
        cells = file.create_dataset(f"Is{suffix}", (1, count), dtype=h5py.ref_dtype)
        for index in range(count):
            pixels = picture(split, index)
            cells[0, index] = file.create_dataset(f"#refs#/{index}", data=pixels.T).ref
        file[f"phis{suffix}"] = np.stack([shape(split, index) for index in range(count)], axis=1)
        file[f"bboxes{suffix}"] = np.tile(np.array([[4.0], [6.0], [30.0], [25.0]]), (1, count))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "COFW_color"
    folder.mkdir()
    for part in cofw.OFFICIAL:
        write(folder / part.file, part.split, COUNTS[part.split])
    return folder


def test_faces_and_images(root: Path) -> None:
    dataset = open_dataset(root)
    assert (dataset.name, dataset.scheme.name, dataset.root) == ("cofw", "cofw29", root)
    assert dataset.ids() == (
        "train/000001.png", "train/000002.png", "train/000003.png", "test/000001.png", "test/000002.png"
    )  # fmt: skip
    assert dataset.notes == (
        "COFW_train_color.mat has 3 of the official 1345 faces.",
        "COFW_test_color.mat has 2 of the official 507 faces.",
    )
    for sample in dataset.samples:
        split, index = sample.split, int(sample.image.stem) - 1
        row = shape(split, index)
        np.testing.assert_allclose(sample.points, np.stack([row[:29], row[29:58]], axis=1) - 1.0)
        assert sample.visible is not None
        np.testing.assert_array_equal(sample.visible, row[58:] == 0)
        assert sample.box == (3.0, 5.0, 33.0, 30.0)
        pixels = picture(split, index)
        expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        np.testing.assert_array_equal(read_image(sample.image), expected)
        assert sample.image == root / "COFW_images" / sample.id


def test_images_are_written_once_and_again_when_the_file_changes(root: Path, tmp_path: Path) -> None:
    images = tmp_path / "elsewhere"
    first = open_dataset(root, reader=cofw.Cofw(images)).samples[0].image
    assert first == images / "train/000001.png" and not (root / "COFW_images").exists()
    first.write_bytes(b"mine")
    with pytest.raises(SemalignError, match=r"000001\.png: is no image"):
        open_dataset(root, reader=cofw.Cofw(images))
    first.unlink()
    assert len(open_dataset(root, reader=cofw.Cofw(images))) == 5
    first.write_bytes(b"mine")
    write(root / "COFW_train_color.mat", "train", 2)
    assert len(open_dataset(root, reader=cofw.Cofw(images))) == 4
    np.testing.assert_array_equal(read_image(first), picture("train", 0))


def test_a_missing_file_is_said(root: Path) -> None:
    (root / "COFW_test_color.mat").unlink()
    dataset = open_dataset(root.parent)
    assert len(dataset) == 3 and dataset.notes[1] == "COFW_test_color.mat is missing (507 faces in the official set)."
    (root / "COFW_train_color.mat").unlink()
    with pytest.raises(
        SemalignError, match=r"the folder that holds COFW_train_color\.mat or COFW_test_color\.mat \(COFW\)"
    ):
        open_dataset(root, reader=cofw.READER)


def test_bad_faces(root: Path) -> None:
    with h5py.File(root / "COFW_train_color.mat", "r+") as file:
        file["phisTr"][3, 0] = np.nan
        file["IsTr"][0, 1] = file.create_dataset("#refs#/bad", data=np.zeros((5, 4))).ref
    with pytest.raises(SemalignError, match=r"face train/000001\.png: point 3 \(from 0\) is not finite"):
        open_dataset(root)
    for _ in range(2):  # found while writing the images, and kept for the next time
        dataset = open_dataset(root, keep_going=True)
        assert [name for name, _ in dataset.skipped] == ["train/000001.png", "train/000002.png"]
        assert "image 1 (from 0) is an array (4, 5) of float64; replace the file." in dataset.skipped[1][1]
        assert len(dataset) == 3


@pytest.mark.parametrize("kind", ["no HDF5", "no array", "wrong shape"])
def test_bad_files(root: Path, kind: str) -> None:
    path = root / "COFW_test_color.mat"
    if kind == "no HDF5":
        path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    else:
        with h5py.File(path, "r+") as file:
            del file["phisT"]
            if kind == "wrong shape":
                file["phisT"] = np.zeros((58, 2))
    with pytest.raises(SemalignError, match=r"test_color\.mat: cannot be read as a file of COFW .*official one\."):
        open_dataset(root)


def test_without_h5py_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SemalignError, match=r"needs h5py; install it with pip install 'semalign\[mat\]'"):
        open_dataset(root)


def test_a_folder_that_cannot_be_written(root: Path) -> None:
    (root / "file").write_bytes(b"")
    with pytest.raises(SemalignError, match=r"cannot write .*images/train"):
        open_dataset(root, reader=cofw.Cofw(root / "file/images"))
