"""The default finder: drawn faces, turned, small, many and none; odd pictures; threads, pickling, OpenCV's runtime; names."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from semalign.data.crops import CropSettings, crop_maps
from semalign.detect import CascadeFinder, CenterFaceFinder, FoundFaces
from semalign.detect import centerface_network as network
from semalign.detect.centerface import _scaled, angles_of
from semalign.detect.finders import open_finder
from semalign.detect.turned import angles_of_points, boxes_of_points, turned
from semalign.errors import SemalignError
from semalign.inference import Landmarks
from semalign.inference.landmarker import turned_back
from semalign.schemes import load_scheme
from semalign.synthetic import render_face

FINDER = CenterFaceFinder()


def drawn(side: int = 160) -> np.ndarray:
    """A synthetic face in a square picture of twice its side (of brows to chin)."""
    face = render_face(np.random.default_rng(1))  # 82 pixels of 144, a little above the middle
    return cv2.resize(face.image, (2 * side, 2 * side), interpolation=cv2.INTER_AREA)


def centres(found: FoundFaces) -> np.ndarray:
    return (found.boxes[:, :2] + found.boxes[:, 2:]) / 2


@pytest.mark.parametrize("side", [60, 160, 400])
def test_a_drawn_face_is_found_at_its_place_and_size(side):
    found = FINDER(drawn(side))
    assert len(found) == 1
    assert np.abs(centres(found)[0] / side - 0.97).max() < 0.15
    assert 0.9 < (found.boxes[0, 2] - found.boxes[0, 0]) / side < 1.4
    assert found.scores[0] >= 0.5


@pytest.mark.parametrize("degrees", [-135, -90, -45, 45, 90, 180])
def test_a_turned_face_is_found_with_its_angle(degrees):
    matrix = cv2.getRotationMatrix2D((159.5, 159.5), -degrees, 1.0)  # OpenCV turns counter-clockwise
    picture = cv2.warpAffine(drawn(), matrix, (320, 320), borderMode=cv2.BORDER_REPLICATE)
    found = FINDER(picture)
    assert len(found) == 1
    away = (found.angles[0] - np.radians(degrees) + np.pi) % (2 * np.pi) - np.pi
    assert abs(away) < np.radians(25)
    assert np.abs(centres(found)[0] - 160).max() < 40


def test_small_faces_are_found_alone_and_by_the_dozen():
    alone = np.full((480, 640, 3), 90, np.uint8)
    alone[200:250, 300:350] = drawn(25)
    assert np.abs(centres(FINDER(alone))[0] - 325).max() < 110 and len(FINDER(alone)) == 1
    many = np.tile(drawn(60), (5, 8, 1))
    assert len(FINDER(many)) == 40
    assert len(CenterFaceFinder(min_face=200)(many)) == 0
    assert len(CenterFaceFinder(min_face=0.05)(many)) == 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (7, 3), (40, 4000), (64, 64), (1300, 1100)])
def test_pictures_without_a_face_of_any_shape(shape):
    found = FINDER(np.full((*shape, 3), 128, np.uint8))
    assert found.boxes.shape == (0, 4) and found.angles.shape == (0,) and len(found) == 0


def test_a_wide_picture_and_a_grey_one():
    wide = np.full((300, 6000, 3), 90, np.uint8)
    wide[:, 3000:3300] = drawn(150)
    assert abs(centres(FINDER(wide))[0, 0] - 3150) < 40
    grey = np.repeat(cv2.cvtColor(drawn(), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert len(FINDER(grey)) == 1


def test_threads_and_copies_give_the_same():
    pictures = [drawn(side) for side in (50, 80, 110, 140)] * 2
    alone = [FINDER(picture) for picture in pictures]
    copy = pickle.loads(pickle.dumps(FINDER))
    assert copy == FINDER
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(copy, pictures))
    assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(alone, together, strict=True))


def test_a_small_face_is_looked_for_in_finer_searches_before_the_picture_is_turned_again(monkeypatch):
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[200:250, 300:350] = drawn(25)
    expected = centres(FINDER(picture))
    looks, run = [], network._run
    monkeypatch.setattr(network, "_run", lambda blob: looks.append(blob.shape[2:]) or run(blob))
    assert np.array_equal(centres(FINDER(picture)), expected)
    assert len([shape for shape in looks if min(shape) > 96]) == 6  # coarse in four directions, finer, finest


@pytest.mark.parametrize("scale", [0.8, 0.5, 0.31, 0.12, 0.004])
def test_a_smaller_picture_shows_a_dot_where_it_was(scale):
    picture = np.zeros((301, 457, 3), np.uint8)
    picture[150:190, 250:290] = 255  # its middle is (269.5, 169.5)
    small = _scaled(picture, scale)
    assert np.abs(np.array(small.shape[:2]) - np.array([301, 457]) * scale).max() <= 1
    weights = small[:, :, 0] / max(float(small[:, :, 0].sum()), 1.0)
    rows, columns = np.indices(weights.shape)
    middle = (np.array([(columns * weights).sum(), (rows * weights).sum()]) + 0.5) / scale - 0.5
    assert scale < 0.01 or np.abs(middle - [269.5, 169.5]).max() < 1 / scale


def test_opencv_gives_the_same_as_onnx_runtime_at_every_size(monkeypatch):
    pictures = [drawn(side) for side in (40, 100, 70, 40)]
    with_runtime = [FINDER(picture) for picture in pictures]
    monkeypatch.setattr(network, "_session", lambda process: None)
    for picture, expected in zip(pictures, with_runtime, strict=True):
        found = FINDER(picture)
        assert np.allclose(found.boxes, expected.boxes, atol=0.01)


def test_angles_boxes_and_crops_of_turned_faces_agree():
    scheme = load_scheme("ibug68")
    generator = np.random.default_rng(3)
    upright = generator.uniform(-40, 40, (1, 68, 2)) + [90, 70]
    upright[0, list(scheme.pupils[0])] = [70, 60]
    upright[0, list(scheme.pupils[1])] = [110, 60]
    angle = np.array([2.0])
    points = turned(upright, angle)
    assert np.allclose(angles_of_points(points, scheme), angle)
    assert np.allclose(angles_of_points(points, scheme, np.array([0.0])), 0.0)  # too far from what is known
    low, high = upright.min(axis=1), upright.max(axis=1)
    middle = turned((low + high)[:, None] / 2, angle)[:, 0]
    before = np.concatenate([middle - 50, middle + 50], axis=1)
    box = boxes_of_points(Landmarks(points, np.ones((1, 68)), scheme), before, angle)
    assert np.allclose(box[:, 2:] - box[:, :2], high - low)
    maps, size = crop_maps(box, CropSettings(), 64)
    back = turned_back(maps, angle, size)
    seen = points[0] @ back[0, :, :2].T + back[0, :, 2]
    plain, _ = crop_maps(np.concatenate([low, high], axis=1), CropSettings(), 64)
    assert np.allclose(seen, upright[0] @ plain[0, :, :2].T + plain[0, :, 2])
    five = np.array([[[-1.0, -1], [1, -1], [0, 0], [-1, 1], [1, 1]]])
    assert np.allclose(angles_of(turned(five, angle)), angle)


def test_finders_by_name():
    assert open_finder() == CenterFaceFinder()
    assert open_finder("centerface", 12.0) == CenterFaceFinder(12.0)
    assert isinstance(open_finder("cascades", 0.1), CascadeFinder)
    for wrong, sentence in (
        (("magic", None), "choose from centerface, cascades"),
        (("cascades", 20.0), "share"),
        (("centerface", -1.0), "smallest face is -1"),
        (("yunet.onnx", 20.0), "takes no smallest face"),
        (("yunet.onnx", None), "no such file"),
    ):
        with pytest.raises(SemalignError, match=sentence):
            open_finder(*wrong)
    with pytest.raises(ValueError, match="certainty"):
        CenterFaceFinder(certainty=0.0)


def test_the_weights_lie_beside_their_licence_and_are_small():
    licence = network.WEIGHTS.with_suffix(".LICENSE").read_text(encoding="utf-8")
    assert "MIT License" in licence and "CenterFace" in licence
    assert network.WEIGHTS.stat().st_size < 8_000_000
