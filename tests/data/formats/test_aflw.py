"""The reader of AFLW-Full: the layout of its arrays, the split, what is missing or spoilt."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semalign.data import open_dataset
from semalign.data.formats import aflw
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

scipy_io = pytest.importorskip("scipy.io")
FACES, TRAIN = 6, 4
ORDER = np.array([3, 1, 6, 2, 5, 4])  # from 1, as in the file
NAMES = ["0/image00001.jpg", "2/image00002.jpg", "2/image00002.jpg", "0/image00004.jpg", "3/image5.jpg", "0/image6.jpg"]


def x(face: int) -> np.ndarray:
    return 20.0 + face + np.arange(19)


def y(face: int) -> np.ndarray:
    return 30.25 + 2 * face + np.arange(19)[::-1]


def arrays() -> dict[str, Any]:
    names = np.empty((FACES, 1), dtype=object)
    names[:, 0] = NAMES
    mask = np.ones((FACES, 19))
    mask[[0, 3], 7] = 0
    return {
        "nameList": names,
        "data": np.array([np.concatenate([x(face), y(face)]) for face in range(FACES)]),
        "bbox": np.array([(10.0 + face, 60.0, 20.0 + face, 70.0) for face in range(FACES)]),
        "mask_new": mask,
        "ra": ORDER[None].astype(np.float64),
    }


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr(aflw, "FACES", FACES)
    monkeypatch.setattr(aflw, "TRAIN_FACES", TRAIN)

    def write(images: str = "flickr", **changes: Any) -> Path:
        root = tmp_path / "aflw"
        for name in set(NAMES):
            (root / images / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / images / name), np.zeros((80, 90, 3), np.uint8))
        content = {key: value for key, value in (arrays() | changes).items() if value is not None}
        scipy_io.savemat(str(root / aflw.ANNOTATION), content)
        return root

    return write


def test_faces_come_in_the_order_of_the_split(make: Callable[..., Path]) -> None:
    root = make()
    dataset = open_dataset(root)
    assert (dataset.name, dataset.scheme.name, dataset.root, dataset.notes) == ("aflw", "aflw19", root, ())
    assert [sample.split for sample in dataset.samples] == ["train"] * 4 + ["test"] * 2
    for row, sample in zip(ORDER - 1, dataset.samples, strict=True):
        np.testing.assert_allclose(sample.points, np.stack([x(row), y(row)], axis=1))
        assert sample.box == (10.0 + row, 20.0 + row, 60.0, 70.0)
        assert sample.image == root / "flickr" / NAMES[row] and sample.frame is None
        assert sample.visible is not None and sample.visible.sum() == (18 if row in (0, 3) else 19)
    assert [sample.group for sample in dataset.samples] == ["", "", "", "", "frontal", ""]
    assert dataset.ids()[0] == "flickr/2/image00002-00002.jpg" and len(set(dataset.ids())) == FACES


@pytest.mark.parametrize("images", ["data/flickr", "images"])
def test_other_places_of_the_images_and_one_level_up(make: Callable[..., Path], images: str) -> None:
    root = make(images)
    assert len(open_dataset(root)) == FACES
    assert open_dataset(root.parent).root == root


def test_missing_folders_are_said_and_missing_images_are_bad(make: Callable[..., Path]) -> None:
    root = make()
    (root / "flickr/3/image5.jpg").unlink()
    with pytest.raises(SemalignError, match=r"image5\.jpg: there is no such image"):
        open_dataset(root)
    dataset = open_dataset(root, keep_going=True)
    assert [name for name, _ in dataset.skipped] == ["flickr/3/image5-00004.jpg"]
    (root / "flickr/3").rmdir()
    dataset = open_dataset(root)
    assert len(dataset) == 5 and dataset.notes == (
        "flickr/3 is missing (1 faces of the annotations).",
        "The test set has 1 of the official 2 faces.",
    )


def test_bad_faces(make: Callable[..., Path]) -> None:
    data = arrays()["data"]
    data[1, 4] = np.nan
    data[2] = 5.0
    data[4, 19:] += 100
    dataset = open_dataset(make(data=data), keep_going=True)
    reasons = [why for _, why in dataset.skipped]
    assert len(dataset) == 3 and len(reasons) == 3
    assert "face 2 (from 0): all points lie on one spot" in reasons[0]
    assert "face 1 (from 0): point 4 (from 0) is not finite" in reasons[1]
    assert "face 4 (from 0): point" in reasons[2] and "check that image and annotation belong together" in reasons[2]
    boxes = arrays()["bbox"]
    boxes[2] = (60, 10, 20, 70)
    assert open_dataset(make(bbox=boxes)).samples[0].box is None  # the landmarks' box takes its place


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ra": None}, "is not the annotation of AFLW-Full ('ra')"),
        ({"ra": np.array([[1, 1, 2, 3, 4, 5]])}, "ra is no order of the faces"),
        ({"data": np.zeros((FACES, 42))}, "is not the annotation of AFLW-Full"),
    ],
)
def test_bad_files(make: Callable[..., Path], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SemalignError) as caught:
        open_dataset(make(**changes))
    assert sentence in str(caught.value) and str(caught.value).endswith("replace it.")


def test_other_bad_input(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = make()
    with pytest.raises(SemalignError, match="AFLW has 19 points a face, the scheme three 3"):
        open_dataset(root, LandmarkScheme("three", ("a", "b", "c")))
    monkeypatch.setattr(aflw, "FACES", 24386)
    with pytest.raises(SemalignError, match="holds 6 faces where the official file has 24386; replace it"):
        open_dataset(root)
    (root / aflw.ANNOTATION).write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(SemalignError, match="cannot be read as a MATLAB file"):
        open_dataset(root)
    with pytest.raises(SemalignError, match="there is no such folder; give the folder that holds AFLWinfo_release"):
        open_dataset(tmp_path / "nowhere", reader=aflw.READER)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SemalignError, match=r"give the folder that holds AFLWinfo_release\.mat \(AFLW\)\."):
        open_dataset(tmp_path / "empty", reader=aflw.READER)


def test_without_scipy_the_extra_is_named(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(SemalignError, match=r"needs scipy; install it with pip install 'semalign\[mat\]'"):
        open_dataset(root)


def test_real_faces(shared_data: Path, make: Callable[..., Path]) -> None:
    """Two real faces in the official format: the points are in anatomical order, and the box goes round them."""
    folder = shared_data / "format_samples/aflw"
    if not folder.is_dir():
        pytest.skip("the samples of other formats are not here")
    content = json.loads((folder / "test_aflw.json").read_text())
    by_id = {image["id"]: image["file_name"] for image in content["images"]}
    root, names = make(), np.empty((FACES, 1), dtype=object)
    names[:, 0] = NAMES
    values = arrays()
    for row, face in enumerate(content["annotations"]):
        names[row, 0] = f"0/{by_id[face['image_id']]}"
        (root / "flickr" / names[row, 0]).write_bytes((folder / by_id[face["image_id"]]).read_bytes())
        values["data"][row] = np.array(face["keypoints"]).reshape(19, 3)[:, :2].T.ravel()
        left, top, width, height = face["bbox"]
        values["bbox"][row] = left, left + width, top, top + height
    dataset = open_dataset(make(**(values | {"nameList": names})))
    real = [sample for sample in dataset.samples if sample.image.stat().st_size > 5000]
    assert len(real) == 2
    for sample in real:
        box = sample.box
        assert box is not None
        assert (sample.points >= box[:2]).all() and (sample.points <= box[2:]).all()
        left, right = dataset.scheme.outer_eyes or (0, 0)
        assert sample.points[left, 0] < sample.points[right, 0]
        assert sample.points[18, 1] > sample.points[16, 1] > sample.points[13, 1] > sample.points[8, 1]
