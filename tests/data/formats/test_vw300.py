"""The reader of 300-VW: official lists, frame numbers, broken frames, counts that differ, what is spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import open_dataset, read_pts, write_pts
from semalign.data.formats import vw300
from semalign.data.formats.vw300 import OFFICIAL, Vw300, broken_frames
from semalign.data.video import read_picture
from semalign.errors import SemalignError


def points(video: str, number: int) -> np.ndarray:
    return np.random.default_rng([int(video), number]).uniform(10, 38, (68, 2)).round(3)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Videos with (frames, annotations); frame k (from 0) is grey of level 10 k."""

    def write(videos: dict[str, tuple[int, int]]) -> Path:
        root = tmp_path / "300VW_Dataset_2015_12_14"
        for video, (frames, annotated) in videos.items():
            (root / video / "annot").mkdir(parents=True)
            path = str(root / video / "vid.avi")
            writer = cv2.VideoWriter(path, cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (48, 48))
            for frame in range(frames):
                writer.write(np.full((48, 48, 3), 10 * frame, np.uint8))
            writer.release()
            for number in range(1, annotated + 1):
                write_pts(root / video / f"annot/{number:06d}.pts", points(video, number))
        return root

    return write


def test_official_lists() -> None:
    counts = {part.subset: (part.split, len(part.videos)) for part in OFFICIAL}
    assert counts == {
        "train": ("train", 50),
        "category-1": ("test", 31),
        "category-2": ("test", 19),
        "category-3": ("test", 14),
    }
    everything = [video for part in OFFICIAL for video in part.videos]
    assert len(set(everything)) == 114 and all(len(video) == 3 and video.isdigit() for video in everything)
    assert set(vw300.BROKEN) <= set(everything)


def test_broken_frames() -> None:
    assert broken_frames("531") == {109, *range(279, 288), *range(322, 326)}
    assert broken_frames("540") == {744, 746, 747, 748, 749, 750}
    assert broken_frames("001") == frozenset()
    for text in vw300.BROKEN.values():
        ends = [int(number) for item in text.split() for number in item.split("-")]
        assert ends == sorted(set(ends))  # ranges ascend and do not overlap


def test_samples_are_frames(make: Callable[..., Path]) -> None:
    root = make({"213": (3, 3), "001": (4, 4), "410": (2, 2), "548": (2, 2)})
    dataset = open_dataset(root)
    assert (dataset.name, dataset.scheme.name, dataset.root) == ("300vw", "ibug68", root)
    assert dataset.ids()[:5] == ("001/000001", "001/000002", "001/000003", "001/000004", "548/000001")
    assert dataset.subsets() == {"train": 4, "category-1": 2, "category-2": 3, "category-3": 2}
    assert {(sample.split, sample.subset == "train") for sample in dataset.samples} == {
        ("train", True),
        ("test", False),
    }
    for sample in dataset.samples:
        video, number = sample.id.split("/")
        assert sample.frame == int(number) - 1 and sample.image == root / video / "vid.avi"
        np.testing.assert_allclose(sample.points, points(video, int(number)), atol=1e-9)
        assert read_picture(sample).mean() == pytest.approx(10 * sample.frame, abs=2)
    assert open_dataset(root.parent).ids() == dataset.ids()
    assert dataset.notes[0].startswith("train has 1 of the official 50 videos; 002, 003, 004, ")
    assert "category-3 has 1 of the official 14 videos; 411, 516, 517, " in dataset.notes[3]


def test_every_so_many_frames(make: Callable[..., Path]) -> None:
    root = make({"001": (7, 7), "002": (4, 4)})
    dataset = open_dataset(root, reader=Vw300(every=3))
    assert dataset.ids() == ("001/000001", "001/000004", "001/000007", "002/000001", "002/000004")
    assert dataset.notes[-1] == "Every 3 frames one was taken."
    with pytest.raises(SemalignError, match="every is 0, which leaves no frames; choose 1 or more"):
        open_dataset(root, reader=Vw300(every=0))


def test_counts_that_differ_and_broken_frames_are_said(make: Callable[..., Path]) -> None:
    root = make({"001": (3, 5), "002": (5, 3), "411": (22, 22), "999": (2, 2)})
    dataset = open_dataset(root)
    numbers = [int(name[4:]) for name in dataset.ids() if name.startswith("411")]
    assert numbers == [number for number in range(1, 23) if number not in (19, 20)]
    assert dataset.subsets() == {"train": 6, "category-3": 20}
    assert {note for note in dataset.notes if "official" not in note} == {
        "001: 2 annotations beyond the video's last frame (3) were left out.",
        "002: 3 of 5 frames are annotated.",
        "411: 2 frames known to be broken were left out.",
    }
    assert dataset.notes[-1] == "999: on none of the official lists, left out."


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no video": (lambda root: (root / "002/vid.avi").unlink(), "vid.avi: there is no such video"),
    "no annotations": (lambda root: [p.unlink() for p in (root / "002/annot").iterdir()], "annot: holds no .pts file"),
    "a name": (lambda root: (root / "002/annot/first.pts").write_text(""), "first.pts: its name is no number"),
    "number 0": (lambda root: (root / "002/annot/000000.pts").write_text(""), "000000.pts: its name is no number"),
    "wrong count": (
        lambda root: write_pts(root / "002/annot/000002.pts", np.zeros((66, 2))),
        "000002.pts: holds 66 points where the scheme ibug68 has 68",
    ),
    "off the frame": (
        lambda root: write_pts(root / "002/annot/000002.pts", points("002", 2) + 80),
        "check that image and annotation belong together",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_bad_samples(make: Callable[..., Path], kind: str) -> None:
    spoil, sentence = SPOILT[kind]
    root = make({"001": (2, 2), "002": (3, 3)})
    spoil(root)
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert sentence in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)
    dataset = open_dataset(root, keep_going=True)
    ((name, why),) = dataset.skipped
    whole = kind in ("wrong count", "off the frame")
    assert why == str(caught.value) and name == ("002/000002" if whole else "002/vid.avi")
    assert len(dataset) == (4 if whole else 2)


def test_folders_that_hold_no_videos(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"give the folder that holds 001/vid\.avi \(300-VW\)\."):
        open_dataset(tmp_path, reader=vw300.READER)


def test_real_annotations(shared_data: Path) -> None:
    """The .pts files of real frames hold what another converter made of them."""
    folder = shared_data / "format_samples/300vw"
    if not folder.is_dir():
        pytest.skip("the samples of other formats are not here")
    content = json.loads((folder / "anno_300vw.json").read_text())
    for image, face in zip(content["images"], content["annotations"], strict=True):
        path = folder / image["file_name"].replace("imgs", "annot").replace(".jpg", ".pts")
        np.testing.assert_allclose(read_pts(path) + 1, np.array(face["keypoints"]).reshape(68, 3)[:, :2])
    assert 731 in broken_frames("401") and 732 not in broken_frames("401")
