"""Face finders: frames of the boxes at every scale, relations, threads, bad files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.detect import faces
from semalign.detect.faces import BoxRelation, Cascade, CascadeFinder, YuNetFinder
from semalign.errors import SemalignError


class Square:
    """A classifier that sees a white square, as detectMultiScale gives it: x, y, width, height."""

    def __init__(self, name: str = "") -> None:
        self.calls: list[tuple[int, ...]] = []

    def detectMultiScale(self, grey: np.ndarray, minSize: tuple[int, int], **_: object) -> np.ndarray:  # noqa: N802
        self.calls.append((*grey.shape, minSize[0]))
        rows, columns = np.nonzero(grey > 127)
        if not len(rows):
            return np.empty((0, 4))
        return np.array([[columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]])


PLAIN = BoxRelation(0.0, 0.0, 1.0)


def white_square(width: int, height: int, x: int, y: int, side: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y : y + side, x : x + side] = 255
    return picture


@pytest.fixture
def square(monkeypatch: pytest.MonkeyPatch) -> Square:
    seen = Square()
    monkeypatch.setattr(CascadeFinder, "_classifier", lambda self, name: seen)
    return seen


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("enlarged", [1, 10])
def test_boxes_are_in_the_frame_of_the_picture_at_every_scale(square, monkeypatch, mirrored, enlarged):
    monkeypatch.setattr(faces, "CASCADES", ((Cascade("any", PLAIN, mirrored),),))
    picture = white_square(400 * enlarged, 300 * enlarged, 120 * enlarged, 60 * enlarged, 80 * enlarged)
    (box,) = CascadeFinder()(picture)
    expected = np.array([120, 60, 200, 140]) * enlarged - 0.5
    assert np.abs(box - expected).max() <= (0 if enlarged == 1 else 7)
    height, width, least = square.calls[0]
    assert max(height, width) <= 600 and least == round(0.06 * width)


def test_profiles_are_asked_only_where_nothing_was_found(square, monkeypatch):
    asked: list[str] = []
    empty = Square()
    monkeypatch.setattr(
        CascadeFinder, "_classifier", lambda self, name: (asked.append(name), square if "profile" in name else empty)[1]
    )
    monkeypatch.setattr(empty, "detectMultiScale", lambda grey, **_: ())
    assert len(CascadeFinder()(white_square(200, 200, 50, 50, 60))) == 2  # from both sides
    assert asked[0] == "haarcascade_frontalface_default" and len(asked) == 4
    asked.clear()
    monkeypatch.setattr(CascadeFinder, "_classifier", lambda self, name: (asked.append(name), square)[1])
    assert len(CascadeFinder()(white_square(200, 200, 50, 50, 60))) == 1
    assert asked == ["haarcascade_frontalface_default"]


@given(side=st.floats(1, 100), x=st.floats(-50, 50), y=st.floats(-50, 50))
def test_a_relation_shifts_and_scales_in_sides_of_the_box(side, x, y):
    (box,) = BoxRelation(right=0.1, down=-0.2, scale=0.8)(np.array([[x, y, x + side, y + side / 2]]))
    assert np.allclose((box[:2] + box[2:]) / 2, [x + 0.6 * side, y + 0.05 * side])
    assert np.allclose(box[2:] - box[:2], 0.8 * side)


def test_real_cascades_load_in_every_thread_and_find_nothing_in_nothing():
    finder = CascadeFinder(smallest=0.3)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(finder, [np.full((90, 120, 3), level, np.uint8) for level in (0, 128, 255)]))
    assert [boxes.shape for boxes in found] == [(0, 4)] * 3
    assert finder(np.zeros((1, 1, 3), np.uint8)).shape == (0, 4)


def test_a_real_face_is_found_near_its_landmarks(shared_data: Path):
    from semalign.data import open_dataset, read_image

    samples = open_dataset(shared_data / "300w").select(subsets=["helen/trainset"]).samples[:120:12]
    finder, hits = CascadeFinder(), 0
    for sample in samples:
        low, high = sample.points.min(axis=0), sample.points.max(axis=0)
        side = (high - low).max()
        boxes = finder(read_image(sample.image))
        away = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - (low + high) / 2).max(axis=1) / side
        size = np.abs(np.log((boxes[:, 2] - boxes[:, 0]) / side))
        hits += bool(((away < 0.3) & (size < 0.35)).any())
    assert hits >= 8


def test_a_missing_cascade_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(SemalignError, match="install opencv-python-headless"):
        CascadeFinder()(np.zeros((60, 60, 3), np.uint8))


@pytest.mark.parametrize("wrong", [{"smallest": 0.0}, {"smallest": 2.0}, {"pixels": 10}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="smallest"):
        CascadeFinder(**wrong)


def test_yunet_files_that_are_none_are_refused(tmp_path: Path):
    with pytest.raises(SemalignError, match="no such file"):
        YuNetFinder(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("this is no network")
    with pytest.raises(SemalignError, match="no YuNet network"):
        YuNetFinder(tmp_path / "text.onnx")


def test_yunet_points_give_the_landmarks_box(shared_data: Path):
    from semalign.data import open_dataset

    dataset = open_dataset(shared_data / "300w").select(subsets=["helen/trainset"])
    points = dataset.points()
    eyes = [points[:, list(members)].mean(axis=1) for members in dataset.scheme.pupils]
    five = np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], axis=1)
    low, high = points.min(axis=1), points.max(axis=1)
    side = (high - low).max(axis=1)
    boxes = YuNetFinder.landmarks_boxes(five)
    away = ((boxes[:, :2] + boxes[:, 2:]) / 2 - (low + high) / 2) / side[:, None]
    assert np.abs(np.median(away, axis=0)).max() < 0.02 and away.std(axis=0).max() < 0.08
    assert np.median((boxes[:, 2] - boxes[:, 0]) / side) == pytest.approx(1.0, abs=0.03)


def test_yunet_rows_are_scaled_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    five = np.array([[40.0, 40], [60, 40], [50, 50], [43, 60], [57, 60]])

    class Network:
        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            self.size = size

        def detect(self, picture: np.ndarray) -> tuple[int, np.ndarray]:
            assert picture.shape[1::-1] == self.size
            return 1, np.concatenate([[30, 30, 40, 40], five.ravel(), [0.9]])[None].astype(np.float32)

    monkeypatch.setattr(YuNetFinder, "_network", lambda self: Network())
    (tmp_path / "y.onnx").write_bytes(b"x")
    finder = YuNetFinder(tmp_path / "y.onnx", longest=100)
    (small,), (large,) = finder(np.zeros((100, 100, 3), np.uint8)), finder(np.zeros((300, 300, 3), np.uint8))
    assert np.allclose((small + 0.5) * 3 - 0.5, large)
    assert np.allclose(small, YuNetFinder.landmarks_boxes(five[None])[0])
