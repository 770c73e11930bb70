"""Photographs that occur twice are found, whatever was done to the copy; different faces are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.core.similarity import to_complex
from semalign.data import (
    find_near_duplicates,
    independent_folds,
    leaky_training_ids,
    open_dataset,
    read_image,
    write_pts,
)
from semalign.data.duplicates import KNOWN_DUPLICATES_300W
from semalign.data.samples import Dataset
from semalign.data.thumbnails import Frames, thumbnail, thumbnails

MakeDataset = Callable[..., Path]
SIZE = 160


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Eight faces, two of them test faces, that share their layout and differ in structure."""
    rng = np.random.default_rng(5)
    shape = rng.uniform(50, 110, (68, 2))
    for index in range(8):
        folder = "lfpw/testset" if index >= 6 else "helen/trainset"
        coarse = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        save(tmp_path / folder / f"face_{index}.png", image, shape + rng.normal(0, 0.4, (68, 2)))
    return open_dataset(tmp_path)


def save(path: Path, image: np.ndarray, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
    write_pts(path.with_suffix(".pts"), points)


def add_copy(dataset: Dataset, source: int, name: str) -> Dataset:
    """A sample turned, scaled, darkened, compressed, in another size, and annotated by somebody else."""
    sample = dataset.samples[source]
    turn = cv2.getRotationMatrix2D((80, 80), 8.0, 0.75)
    image = cv2.warpAffine(read_image(sample.image), turn, (150, 140), borderMode=cv2.BORDER_REFLECT)
    image = (30 + 0.6 * image).astype(np.uint8)
    points = sample.points @ turn[:, :2].T + turn[:, 2] + np.random.default_rng(9).normal(0, 0.8, (68, 2))
    save(dataset.root / name, image, points)
    return open_dataset(dataset.root)


def test_different_faces_are_no_duplicates(dataset: Dataset) -> None:
    assert find_near_duplicates(dataset) == []
    assert leaky_training_ids(dataset) == ()
    assert find_near_duplicates(dataset.select(subsets=[])) == []


def test_a_changed_copy_is_found(dataset: Dataset) -> None:
    changed = add_copy(dataset, 2, "afw/copy.jpg")
    calls: list[tuple[int, int]] = []
    ((first, second, likeness),) = find_near_duplicates(changed, lambda done, total: calls.append((done, total)))
    assert {first, second} == {"afw/copy.jpg", "helen/trainset/face_2.png"}
    assert 0.8 <= likeness <= 1.0
    assert calls == [(done, 9) for done in range(1, 10)]
    assert leaky_training_ids(changed) == ()  # both are training faces


def test_training_copies_of_test_faces_leak(dataset: Dataset) -> None:
    changed = add_copy(dataset, 6, "afw/copy.jpg")
    assert leaky_training_ids(changed) == ("afw/copy.jpg",)
    assert len(changed.select("train", exclude=leaky_training_ids(changed))) == 6
    assert leaky_training_ids(changed.select("train")) == ()
    assert leaky_training_ids(replace(changed, name="synthetic")) == ()


def test_known_ones_are_left_out_whatever_they_look_like(make_300w: MakeDataset) -> None:
    root = make_300w({"lfpw/trainset": 2, "lfpw/testset": 1})
    for old, new in (
        ("lfpw/trainset/image_0002", KNOWN_DUPLICATES_300W[0][1]),
        ("lfpw/testset/image_0001", KNOWN_DUPLICATES_300W[0][0]),
    ):
        for ending in ("png", "pts"):
            (root / f"{old}.{ending}").rename(root / f"{new}.{ending}")
    assert leaky_training_ids(open_dataset(root)) == ("lfpw/trainset/image_0862.png",)
    (root / "lfpw/testset/image_0007.png").unlink()
    (root / "lfpw/testset/image_0007.pts").unlink()
    assert leaky_training_ids(open_dataset(root)) == ()


def test_thumbnails_of_one_face_in_two_frames_agree(dataset: Dataset) -> None:
    """A dot is found at the same place of the thumbnail, to a sub-pixel, whatever the image's size."""
    shape = dataset.samples[0].points
    places = []
    for scale in (1.0, 4.0):
        size = int(SIZE * scale)
        points = (shape + 0.5) * scale - 0.5
        dot = (np.array([83.0, 71.0]) + 0.5) * scale - 0.5
        columns, rows = np.meshgrid(np.arange(size), np.arange(size))
        blob = np.exp(-((columns - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * (4.0 * scale) ** 2))
        image = np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8)
        path = dataset.root / f"afw/dot_{size}.png"
        save(path, image, points)
        sample = replace(dataset.samples[0], id=path.name, image=path, points=points)
        one = replace(dataset, samples=(sample,))
        ((shown,),) = thumbnails(one)
        shapes = to_complex(points[None, 17:])
        (frame,) = Frames(shapes).of(shapes)
        assert np.array_equal(shown, thumbnail(sample, frame))
        weight = shown / shown.sum()
        columns, rows = np.meshgrid(np.arange(64), np.arange(64))
        centre = np.array([(weight * columns).sum(), (weight * rows).sum()])
        np.testing.assert_allclose(centre, frame[:, :2] @ dot + frame[:, 2], atol=0.1)
        places.append(centre)
    np.testing.assert_allclose(places[0], places[1], atol=0.1)


def test_real_data(shared_data: Path) -> None:
    """The three known pairs are found by their looks alone, and no test face has another copy in the training set."""
    dataset = open_dataset(shared_data / "300w")
    lfpw = dataset.select(subsets=["lfpw/trainset", "lfpw/testset"])
    split = {sample.id: sample.split for sample in lfpw.samples}
    across = {
        tuple(sorted((first, second), key=lambda name: split[name]))
        for first, second, _ in find_near_duplicates(lfpw)
        if split[first] != split[second]
    }
    assert across == {(f"{test}.jpg", f"{train}.jpg") for test, train in KNOWN_DUPLICATES_300W}
    assert set(leaky_training_ids(lfpw)) == {f"{train}.jpg" for _, train in KNOWN_DUPLICATES_300W}


def test_folds_are_even_and_keep_what_is_alike_together(dataset: Dataset) -> None:
    changed = add_copy(dataset, 2, "afw/copy.jpg")
    apart = 0
    for seed in range(12):
        folds = independent_folds(changed, 3, seed)
        assert sorted(set(folds)) == [0, 1, 2] and np.bincount(folds).max() <= 4
        fold = dict(zip(changed.ids(), folds, strict=True))
        assert fold["afw/copy.jpg"] == fold["helen/trainset/face_2.png"]
        apart += fold["helen/trainset/face_2.png"] != fold["helen/trainset/face_3.png"]
    assert apart  # and only those
    assert np.array_equal(independent_folds(changed, 3, 4), independent_folds(changed, 3, 4))
    assert len(independent_folds(dataset.select(subsets=[]), 3, 0)) == 0


def test_samples_of_one_file_share_a_fold(dataset: Dataset) -> None:
    frames = tuple(
        replace(sample, id=f"{sample.id}/{number}", frame=number) for sample in dataset.samples for number in range(3)
    )
    folds = independent_folds(replace(dataset, samples=frames), 4, 0).reshape(-1, 3)
    assert (folds == folds[:, :1]).all() and len(set(folds[:, 0])) == 4
