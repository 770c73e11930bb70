"""The reader of WFLW: lines of its lists, attributes, what is missing or spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import open_dataset
from semalign.data.formats import wflw
from semalign.errors import SemalignError

FOLDER = "WFLW_annotations/list_98pt_rect_attr_train_test"
IMAGES = ("0--Parade/0_Parade_marchingband_1_5.jpg", "7--Cheering/7_Cheering_Cheering_7_16.jpg")


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(15, 65, (98, 2)).round(6)


def line(seed: int, image: str, attributes: str = "0 0 0 0 0 0", rectangle: str = "10 12 70 68") -> str:
    return " ".join([*map(str, points(seed).ravel()), rectangle, attributes, image])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def write(train: list[str] | None, test: list[str] | None) -> Path:
        root = tmp_path / "WFLW"
        for name in IMAGES:
            (root / "WFLW_images" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "WFLW_images" / name), np.zeros((80, 90, 3), np.uint8))
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        for split, lines in (("train", train), ("test", test)):
            if lines is not None:
                (root / FOLDER / f"list_98pt_rect_attr_{split}.txt").write_text("\n".join(lines) + "\n")
        return root

    return write


def test_official_counts() -> None:
    assert wflw.OFFICIAL == {"train": 7500, "test": 2500}
    assert tuple(wflw.OFFICIAL_TAGS) == wflw.ATTRIBUTES and sum(wflw.OFFICIAL_TAGS.values()) == 3053


def test_lines_become_samples(make: Callable[..., Path]) -> None:
    root = make(
        [line(0, IMAGES[0]), line(1, IMAGES[0], "1 0 0 0 0 1")],
        [line(2, IMAGES[1], "0 1 1 1 1 0"), line(3, IMAGES[1], rectangle="10 12 10 68")],
    )
    dataset = open_dataset(root)
    assert (dataset.name, dataset.scheme.name, dataset.root) == ("wflw", "wflw98", root)
    assert dataset.ids() == (
        "train/0--Parade/0_Parade_marchingband_1_5-00001.jpg",
        "train/0--Parade/0_Parade_marchingband_1_5-00002.jpg",
        "test/7--Cheering/7_Cheering_Cheering_7_16-00001.jpg",
        "test/7--Cheering/7_Cheering_Cheering_7_16-00002.jpg",
    )
    assert [(sample.split, sample.subset) for sample in dataset.samples] == [("train",) * 2] * 2 + [("test",) * 2] * 2
    for seed, sample in enumerate(dataset.samples):
        np.testing.assert_array_equal(sample.points, points(seed))
    assert [sample.tags for sample in dataset.samples] == [
        (),
        ("pose", "blur"),
        ("expression", "illumination", "make-up", "occlusion"),
        (),
    ]
    assert [sample.box for sample in dataset.samples] == [(10.0, 12.0, 70.0, 68.0)] * 3 + [None]
    assert dataset.samples[2].image == root / "WFLW_images" / IMAGES[1]


def test_what_is_missing_is_said(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(None, [line(2, IMAGES[1], "0 0 0 0 0 1"), line(3, "9--Gone/a.jpg")])
    assert open_dataset(root).notes == (
        "list_98pt_rect_attr_train.txt is missing (7500 faces in the official set).",
        "WFLW_images/9--Gone is missing (1 faces of the annotations).",
        "The training set has 0 of the official 7500 faces.",
        "The test set has 1 of the official 2500 faces.",
        "The test subset pose has 0 of the official 326 faces.",
        "The test subset expression has 0 of the official 314 faces.",
        "The test subset illumination has 0 of the official 698 faces.",
        "The test subset make-up has 0 of the official 206 faces.",
        "The test subset occlusion has 0 of the official 736 faces.",
        "The test subset blur has 1 of the official 773 faces.",
    )
    monkeypatch.setattr(wflw, "OFFICIAL", {"train": 1, "test": 1})
    monkeypatch.setattr(wflw, "OFFICIAL_TAGS", {"blur": 1})
    assert open_dataset(make([line(0, IMAGES[0])], [line(1, IMAGES[1], "0 0 0 0 0 1")])).notes == ()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("1 2 3", "line 2: has 3 fields where 98 points, a rectangle, 6 attributes and a path make 207"),
        (line(1, "").strip(), "line 2: has 206 fields"),
        (line(1, IMAGES[0]).replace(" 10 12 ", " ten 12 "), "line 2: holds a field that is no number"),
        (line(1, "0--Parade/none.jpg"), "none.jpg: there is no such image"),
        ("nan " + line(1, IMAGES[0]).partition(" ")[2], "line 2: point 0 (from 0) is not finite"),
        ("900 " + line(1, IMAGES[0]).partition(" ")[2], "line 2: point 0 (from 0) lies 810 px off the image"),
    ],
)
def test_bad_lines(make: Callable[..., Path], bad: str, sentence: str) -> None:
    root = make([line(0, IMAGES[0]), bad, "", line(2, IMAGES[1])], None)
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert sentence in str(caught.value) and str(caught.value).endswith(".")
    dataset = open_dataset(root, keep_going=True)
    assert [sample.id[-10:] for sample in dataset.samples] == ["-00001.jpg", "-00004.jpg"]
    assert dataset.skipped == (("train/00002", str(caught.value)),)


def test_no_usable_list(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"give the folder that holds list_98pt_rect_attr_train_test \(WFLW\)"):
        open_dataset(make(None, None), reader=wflw.READER)
    with pytest.raises(SemalignError, match="holds no annotated face"):
        open_dataset(make([], None))
    (tmp_path / "WFLW" / FOLDER / "list_98pt_rect_attr_train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SemalignError, match="cannot be read as text"):
        open_dataset(tmp_path / "WFLW")


def test_real_faces(shared_data: Path, make: Callable[..., Path]) -> None:
    """Real faces as lines of a list: points inside the image, and named in anatomical order."""
    folder = shared_data / "format_samples/wflw"
    if not folder.is_dir():
        pytest.skip("the samples of other formats are not here")
    content = json.loads((folder / "test_wflw.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    lines = []
    for face in content["annotations"]:
        coordinates = np.array(face["keypoints"]).reshape(98, 3)[:, :2]
        left, top, width, height = face["bbox"]
        box = f"{left:.0f} {top:.0f} {left + width:.0f} {top + height:.0f}"
        image = f"7--Cheering/{names[face['image_id']]}"
        lines.append(" ".join([*map(str, coordinates.ravel()), box, "1 0 0 0 0 0", image]))
    root = make(None, lines)
    for name in names.values():
        (root / "WFLW_images/7--Cheering" / name).write_bytes((folder / name).read_bytes())
    dataset = open_dataset(root)
    assert len(dataset) == len(content["annotations"]) >= 3
    for sample in dataset.samples:
        left_pupil, right_pupil, chin = sample.points[[96, 97, 16]]
        assert left_pupil[0] < right_pupil[0] and chin[1] > max(left_pupil[1], right_pupil[1])
        ring = sample.points[60:68]
        assert (ring.min(0) - 2 < left_pupil).all() and (left_pupil < ring.max(0) + 2).all()
