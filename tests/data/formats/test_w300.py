"""The reader of the official 300W layout, complete, partial and spoilt."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semalign.data import open_dataset, read_pts, write_pts
from semalign.data.faults import OUTSIDE_TOLERANCE
from semalign.data.formats import w300
from semalign.data.formats.w300 import OFFICIAL
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme

MakeDataset = Callable[..., Path]
FACE = "helen/trainset/image_0002"  # the sample that the tests spoil


def test_official_counts() -> None:
    counts = {(part.split, part.group): 0 for part in OFFICIAL}
    for part in OFFICIAL:
        counts[part.split, part.group] += part.count
    assert counts == {("train", ""): 3148, ("test", "common"): 554, ("test", "challenging"): 135}


def test_samples_come_in_order_with_their_split(make_300w: MakeDataset) -> None:
    root = make_300w()
    dataset = open_dataset(root)
    assert (dataset.root, dataset.name, dataset.truth, dataset.skipped) == (root, "300w", None, ())
    assert dataset.scheme == load_scheme("ibug68")
    assert dataset.ids() == (
        "afw/image_0001.jpg",
        "afw/image_0002.jpg",
        "helen/trainset/image_0001.jpg",
        "helen/trainset/image_0002.jpg",
        "helen/trainset/image_0003.jpg",
        "lfpw/trainset/image_0001.png",
        "lfpw/trainset/image_0002.png",
        "lfpw/testset/image_0001.png",
        "lfpw/testset/image_0002.png",
        "ibug/image_0001.jpg",
    )
    kinds = {sample.subset: (sample.split, sample.group) for sample in dataset.samples}
    assert kinds["lfpw/testset"] == ("test", "common") and kinds["ibug"] == ("test", "challenging")
    assert {kinds[subset] for subset in ("afw", "helen/trainset", "lfpw/trainset")} == {("train", "")}
    for sample in dataset.samples:
        assert sample.image == root / sample.id and sample.image.is_file() and sample.box is None
        np.testing.assert_array_equal(sample.points, read_pts(sample.image.with_suffix(".pts")))


def test_what_is_missing_is_said(make_300w: MakeDataset) -> None:
    assert open_dataset(make_300w()).notes == (
        "afw holds 2 of the official 337 faces.",
        "helen/trainset holds 3 of the official 2000 faces.",
        "lfpw/trainset holds 2 of the official 811 faces.",
        "helen/testset is missing (330 faces in the official set).",
        "lfpw/testset holds 2 of the official 224 faces.",
        "ibug holds 1 of the official 135 faces.",
        "The training set has 7 of the official 3148 faces.",
        "The common test set has 2 of the official 554 faces.",
        "The full test set has 3 of the official 689 faces.",
    )


def test_a_complete_set_has_no_notes(make_300w: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [w300.Part(part.folder, part.split, part.group, 1) for part in OFFICIAL]
    monkeypatch.setattr(w300, "OFFICIAL", tuple(small))
    root = make_300w({part.folder: 1 for part in small})
    assert open_dataset(root).notes == ()
    shutil.copy(root / "ibug/image_0001.jpg", root / "ibug/more.jpg")
    shutil.copy(root / "ibug/image_0001.pts", root / "ibug/more.pts")
    assert open_dataset(root).notes == (
        "ibug holds 2 of the official 1 faces.",
        "The full test set has 4 of the official 3 faces.",
    )


def test_names_with_spaces_and_capitals_and_strangers(make_300w: MakeDataset) -> None:
    root = make_300w({"ibug": 2})
    (root / "ibug/image_0001.jpg").rename(root / "ibug/image_092 _01.jpg")
    (root / "ibug/image_0001.pts").rename(root / "ibug/image_092 _01.pts")
    (root / "ibug/image_0002.jpg").rename(root / "ibug/image_0002.JPG")
    for stranger in ("._image_0001.jpg", ".DS_Store", "readme.txt", "image_0002.mat"):
        (root / "ibug" / stranger).write_bytes(b"")
    assert open_dataset(root).ids() == ("ibug/image_0002.JPG", "ibug/image_092 _01.jpg")


def test_root_one_level_up_or_down(make_300w: MakeDataset) -> None:
    root = make_300w()
    expected = open_dataset(root)
    above = open_dataset(root.parent)
    assert (above.root, above.ids(), above.notes) == (root, expected.ids(), expected.notes)
    for inside in ("afw", "lfpw", "lfpw/testset"):
        below = open_dataset(root / inside)
        assert (below.root.resolve(), below.ids()) == (root.resolve(), expected.ids())
        assert below.notes[0] == f"{root / inside} is a part of {below.root}, all of which is read."
        assert below.notes[1:] == expected.notes


def test_two_data_sets_in_a_folder_are_no_choice(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 1}, "one")
    make_300w({"afw": 1}, "two")
    with pytest.raises(
        SemalignError, match=r"several data sets \(300W in one, 300W in two\); give the folder of one of them"
    ):
        open_dataset(root.parent)
    assert open_dataset(root).root == root


def test_another_scheme(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 1}, count=3)
    three = LandmarkScheme("three", ("a", "b", "c"))
    assert open_dataset(root, three).points().shape == (1, 3, 2)
    with pytest.raises(SemalignError, match=r"holds 3 points where the scheme ibug68 has 68"):
        open_dataset(root)


def spoil_truncated(root: Path) -> None:
    path = root / f"{FACE}.jpg"
    path.write_bytes(path.read_bytes()[:12])


def spoil_off_image(root: Path) -> None:
    points = read_pts(root / f"{FACE}.pts")
    write_pts(root / f"{FACE}.pts", points + (60 + 0.6 * np.ptp(points, axis=0).max(), 0))


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no annotation": (lambda root: (root / f"{FACE}.pts").unlink(), "image_0002.jpg: has no .pts beside it"),
    "no image": (lambda root: (root / f"{FACE}.jpg").unlink(), "image_0002.pts: has no image beside it"),
    "two images": (
        lambda root: (root / f"{FACE}.png").write_bytes(b""),
        "one image and one .pts belong (image_0002.jpg, image_0002.png, image_0002.pts)",
    ),
    "wrong count": (
        lambda root: write_pts(root / f"{FACE}.pts", np.zeros((67, 2))),
        "image_0002.pts: holds 67 points where the scheme ibug68 has 68",
    ),
    "not finite": (
        lambda root: (root / f"{FACE}.pts").write_text("version: 1\nn_points: 1\n{\nnan 3\n}"),
        "image_0002.pts: point 0 (from 0) is not finite",
    ),
    "on one spot": (
        lambda root: write_pts(root / f"{FACE}.pts", np.full((68, 2), 9.0)),
        "image_0002.pts: all points lie on one spot",
    ),
    "off the image": (
        spoil_off_image,
        " px off the image of 60×60 px; check that image and annotation belong together",
    ),
    "empty image": (lambda root: (root / f"{FACE}.jpg").write_bytes(b""), "image_0002.jpg: is empty"),
    "truncated image": (spoil_truncated, "; copy it again or remove the sample."),
    "no text": (lambda root: (root / f"{FACE}.pts").write_bytes(b"\xff\xfe"), "image_0002.pts: is not a text file"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_bad_samples(make_300w: MakeDataset, kind: str) -> None:
    """The first bad sample stops, or is left out and listed."""
    spoil, sentence = SPOILT[kind]
    root = make_300w()
    good = open_dataset(root).ids()
    spoil(root)
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    dataset = open_dataset(root, keep_going=True)
    assert dataset.ids() == tuple(name for name in good if not name.startswith(FACE))
    ((name, why),) = dataset.skipped
    assert name.startswith(FACE) and why == str(caught.value)


def test_points_a_little_outside_are_kept(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 1})
    points = read_pts(root / "afw/image_0001.pts")
    side = np.ptp(points, axis=0).max()
    points[:, 1] -= points[:, 1].min() + 0.5 + 0.99 * OUTSIDE_TOLERANCE * side
    write_pts(root / "afw/image_0001.pts", points)
    assert len(open_dataset(root)) == 1
    write_pts(root / "afw/image_0001.pts", points - (0, 0.02 * side))
    with pytest.raises(SemalignError, match="px off the image"):
        open_dataset(root)


def test_folders_that_hold_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"nowhere: there is no such folder"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SemalignError, match=r"file: is a file, not a folder"):
        open_dataset(tmp_path / "file")
    with pytest.raises(
        SemalignError, match=r"is no data set of a known layout; give the folder that holds afw, helen, "
    ):
        open_dataset(tmp_path)
    (tmp_path / "set/afw").mkdir(parents=True)
    for keep_going in (False, True):
        with pytest.raises(SemalignError, match=r"set: holds no annotated face"):
            open_dataset(tmp_path / "set", keep_going=keep_going)


def test_nothing_but_bad_samples(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 1})
    (root / "afw/image_0001.pts").unlink()
    with pytest.raises(SemalignError, match="holds no usable face"):
        open_dataset(root, keep_going=True)


@pytest.mark.parametrize("folder", ["", "helen/trainset"])
def test_unreadable_folder(make_300w: MakeDataset, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """As for a user without the right to list it; a superuser may list everything, so the refusal is simulated."""
    root = make_300w()
    locked, scandir = root / folder, os.scandir

    def refuse(path: Path) -> object:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    if not folder:
        monkeypatch.setattr(os.path, "isdir", lambda path: Path(path) == root)  # nothing inside can be looked at either
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert str(caught.value) == f"{locked}: cannot be read (Permission denied); check the folder's permissions."


def test_real_data(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "300w")
    assert dataset.subsets() == {"afw": 337, "helen/trainset": 870, "lfpw/trainset": 805, "lfpw/testset": 224}
    assert "helen/testset is missing (330 faces in the official set)." in dataset.notes
    assert "The training set has 2012 of the official 3148 faces." in dataset.notes
    points = dataset.points()
    scheme = dataset.scheme
    assert scheme.outer_eyes is not None
    assert (points[:, scheme.outer_eyes[0], 0] < points[:, scheme.outer_eyes[1], 0]).mean() > 0.99
