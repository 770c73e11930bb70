"""The detector: exact points, inexact boxes, what is kept and what is dropped, input of every kind, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dots import SCHEME
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from worlds import NETWORK

from semalign.data import read_pts
from semalign.data.crops import CropSettings
from semalign.data.images import open_picture
from semalign.detect import Detector, DetectorSettings, Face
from semalign.detect.detector import as_boxes, overlap
from semalign.detect.turned import boxes_of_points
from semalign.errors import SemalignError
from semalign.export import export_onnx
from semalign.inference import Landmarks
from semalign.inference.torch_backend import quick_precision
from semalign.models import pretrained
from semalign.models.checkpoint import Model, save_model
from semalign.models.hourglass import build_hourglass
from semalign.schemes import load_scheme


@given(x=st.floats(60, 140), y=st.floats(55, 105), side=st.floats(30, 90))
@settings(max_examples=20)
def test_points_are_exact_in_the_image_frame(dots, x, y, side):
    points = dots.points(x, y, side)
    (face,) = dots.detector()(dots.picture([points]), [dots.box(points)])
    assert np.abs(face.points - points).max() < 0.012 * side
    assert face.confidence.min() > 0.8
    assert np.allclose(face.box, dots.box(points), atol=0.012 * side)


def test_a_refinement_makes_up_for_an_inexact_box(dots):
    points = dots.points(100, 80, 60)
    x0, y0, x1, y1 = dots.box(points)
    seen = []
    for refinements in (0, 1):
        (face,) = dots.detector(refinements=refinements)(dots.picture([points]), [[x0 + 9, y0 - 30, x1 + 55, y1 + 34]])
        seen.append(np.abs(face.points - points).max())
    (exact,) = dots.detector(refinements=0)(dots.picture([points]), [dots.box(points)])
    assert seen[1] < 0.6 * seen[0]
    assert seen[1] == pytest.approx(np.abs(exact.points - points).max(), abs=0.1)


def test_the_box_of_a_crop_in_which_nothing_was_seen_is_not_used():
    before = np.array([[0.0, 0.0, 10.0, 10.0]] * 4)
    points = np.array(
        [[[1, 2], [9, 8], [5, 5]], [[1, 1], [1, 1], [1, 2]], [[30, 30], [38, 38], [35, 35]], [[1, 1], [9, 9], [99, 99]]]
    )
    confidence = np.array([[0.9] * 3, [0.9] * 3, [0.9] * 3, [0.9, 0.8, 0.01]])
    boxes = boxes_of_points(Landmarks(points.astype(float), confidence, SCHEME), before)
    assert boxes.tolist() == [[1, 2, 9, 8], [0, 0, 10, 10], [0, 0, 10, 10], [1, 1, 9, 9]]


def test_found_faces_are_sure_and_each_there_once_the_largest_first(dots):
    small, large = dots.points(50, 80, 30), dots.points(130, 80, 60)
    boxes = [dots.box(small), dots.box(large), [v + 2 for v in dots.box(large)], [5.0, 5.0, 25.0, 25.0]]
    picture = dots.picture([small, large])
    faces = dots.detector(boxes)(picture)
    assert [round(face.box[0]) for face in faces] == [100, 35]
    assert len(dots.detector(boxes, score_threshold=0.0)(picture)) == 3
    assert dots.detector(boxes, score_threshold=1.0)(picture) == []


def test_only_the_largest_faces_are_kept_if_asked_for(dots):
    small, large = dots.points(50, 80, 30), dots.points(130, 80, 60)
    boxes, picture = [dots.box(small), dots.box(large)], dots.picture([small, large])
    (face,) = dots.detector(boxes, max_faces=1)(picture)
    assert round(face.box[0]) == 100
    assert len(dots.detector(max_faces=1)(picture, boxes)) == 2  # given boxes are all kept
    with pytest.raises(ValueError, match="max_faces"):
        DetectorSettings(max_faces=0)


def test_given_boxes_are_kept_in_their_order_whatever_they_hold(dots):
    small, large = dots.points(50, 80, 30), dots.points(130, 80, 60)
    faces = dots.detector()(
        dots.picture([small, large]), [[5, 5, 25, 25], dots.box(small), dots.box(large), dots.box(large)]
    )
    assert [round(face.score) for face in faces] == [0, 1, 1, 1]
    assert faces[1].box[0] < faces[2].box[0] == faces[3].box[0]
    assert dots.detector()(dots.picture([small]), []) == []


def test_a_batch_is_what_single_calls_give(dots):
    places = [(60, 60, 40), (120, 90, 70), (90, 80, 50)]
    pictures = [dots.picture([dots.points(*place)]) for place in places]
    boxes = [[dots.box(dots.points(*place))] for place in places]
    detector = dots.detector([boxes[2][0]], batch_size=2)
    together = detector.batch(pictures, [boxes[0], [], None])
    alone = [detector(pictures[0], boxes[0]), [], detector(pictures[2])]
    assert [len(faces) for faces in together] == [1, 0, 1]
    for faces, others in zip(together, alone, strict=True):
        for face, other in zip(faces, others, strict=True):
            assert np.allclose(face.points, other.points, atol=1e-4)
    with pytest.raises(SemalignError, match="boxes for 1 of 3 images"):
        detector.batch(pictures, [boxes[0]])
    assert detector.batch([]) == []


def test_views_see_the_same(dots):
    points = dots.points(100, 80, 60)
    scheme = dots.scheme
    assert scheme.flip_index == (0, 1, 2)
    (face,) = dots.detector(tta=4)(dots.picture([points]), [dots.box(points)])
    assert np.abs(face.points - points).max() < 1.0


def test_without_pairs_no_version_is_mirrored(dots):
    backend = dots.detector(tta=4).landmarker.backend
    assert not dots.scheme.mirrors and backend.tta == 1
    paired = replace(dots.model(), scheme=replace(dots.scheme, pairs=((0, 1),)))
    assert Detector(paired, "cpu", settings=DetectorSettings(tta=4)).landmarker.backend.tta == 4


def test_threads_share_a_detector(dots):
    places = [(50 + 5 * index, 80, 40 + index) for index in range(16)]
    pictures = [dots.picture([dots.points(*place)]) for place in places]
    boxes = [[dots.box(dots.points(*place))] for place in places]
    detector = dots.detector()
    alone = [detector(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(detector, pictures, boxes))
    for faces, others in zip(alone, shared, strict=True):
        assert np.array_equal(faces[0].points, others[0].points)
    assert not any(parameter.grad is not None for parameter in detector.model.network.parameters())


def test_a_face_beyond_the_border_and_one_pixel_give_finite_points(dots):
    detector = dots.detector()
    for picture, box in (
        (dots.picture([]), [-500.0, -500.0, -400.0, -400.0]),
        (np.zeros((1, 1, 3), np.uint8), [0, 0, 1, 1]),
    ):
        (face,) = detector(picture, [box])
        assert np.isfinite(face.points).all()


@pytest.mark.parametrize("kind", ["grey", "rgba", "sixteen", "column"])
def test_pictures_of_every_kind_become_rgb(kind):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    rgb = np.repeat(grey[..., None], 3, axis=2)
    given_as = {
        "grey": grey,
        "column": grey[..., None],
        "rgba": np.dstack([np.full_like(rgb, 255), grey]),  # white, seen through on black
        "sixteen": grey.astype(np.uint16) * 257,
    }
    assert np.array_equal(open_picture(given_as[kind]).pixels, rgb)


def test_an_image_file_is_turned_upright(dots, tmp_path: Path):
    points = dots.points(100, 80, 60)
    picture = dots.picture([points])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    Image.fromarray(np.rot90(picture)).save(tmp_path / "turned.png", exif=exif)
    (face,) = dots.detector()(tmp_path / "turned.png", [dots.box(points)])
    assert np.abs(face.points - points).max() < 0.7


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3)) - 1, "from -1 to -1; give 0 to 1, or 0 to 255"),
        (np.full((4, 4), np.nan), "no finite numbers"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((3, 8, 9), np.uint8), "channels last"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (Path("missing.jpg"), "no such image"),
    ],
)
def test_what_is_no_picture_is_refused(image, words):
    with pytest.raises(SemalignError, match=words):
        open_picture(image)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[1, 2, 3]], r"\(1, 3\)"),
        ([[5, 0, 5, 9]], "no box"),
        ([[0, 0, float("nan"), 9]], "no box"),
        ([[1, 2], [1, 2, 3]], "numbers"),
        (np.arange(4.0), r"\(4,\)"),
    ],
)
def test_what_is_no_box_is_refused(boxes, words):
    with pytest.raises(SemalignError, match=words):
        as_boxes(boxes)


CORNER = st.floats(-50, 50)
BOX = st.tuples(CORNER, CORNER, st.floats(0.1, 40), st.floats(0.1, 40)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(a=BOX, b=BOX)
def test_overlap_is_symmetric_and_one_for_the_same(a, b):
    assert overlap(a, a) == pytest.approx(1.0)
    assert 0 <= overlap(a, b) <= 1 + 1e-9
    assert overlap(a, b) == pytest.approx(overlap(b, a))


def test_overlap_counts_what_is_common():
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    scheme = load_scheme("ibug68")
    save_model(tmp_path / "m.safetensors", Model(build_hourglass(NETWORK, 68, 0), scheme, CropSettings(), 2.0))
    return tmp_path / "m.safetensors"


def test_a_saved_detector_gives_the_same(model_file: Path, tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
    detector = Detector.from_pretrained(model_file, "cpu")
    detector.save(tmp_path / "again.safetensors")
    again = Detector.from_pretrained(str(tmp_path / "again.safetensors"))
    first, second = detector(picture, [[20, 20, 60, 60]]), again(picture, [[20, 20, 60, 60]])
    assert len(first) == 1 and again.scheme == load_scheme("ibug68")
    assert np.allclose(first[0].points, second[0].points, atol=1e-3)


@pytest.fixture
def exported(dots, tmp_path: Path) -> Path:
    """The model that sees dots, as `semalign export` writes it."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    export_onnx(tmp_path / "dots.onnx", dots.model())
    return tmp_path / "dots.onnx"


def test_an_exported_model_finds_what_the_model_finds(dots, exported: Path):
    faces = [dots.points(60, 60, 50), dots.points(140, 90, 70)]
    picture, boxes = dots.picture(faces), [dots.box(points) for points in faces]
    detector = Detector.from_pretrained(exported)
    ours, theirs = dots.detector()(picture, boxes), detector(picture, boxes)
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one.points, other.points, atol=0.02) and one.scheme == other.scheme
        assert np.allclose(one.confidence, other.confidence, atol=1e-3)
    assert detector.device == "cpu"


def test_what_an_exported_model_cannot_do_is_refused(exported: Path, tmp_path: Path):
    with pytest.raises(SemalignError, match="tta"):
        Detector.from_pretrained(exported, settings=DetectorSettings(tta=2))
    with pytest.raises(SemalignError, match="already"):
        Detector.from_pretrained(exported).save(tmp_path / "copy.onnx")
    with pytest.raises(SemalignError, match="no such model file"):
        Detector.from_pretrained(tmp_path / "none.onnx")
    with pytest.raises(SemalignError, match="exported model"):
        pretrained.load(exported)


def test_half_precision_files_are_computed_in_single(model_file: Path, tmp_path: Path):
    from safetensors import safe_open

    with safe_open(model_file, framework="pt") as file:
        metadata = file.metadata()
    half = {name: value.half() if value.is_floating_point() else value for name, value in load_file(model_file).items()}
    save_file(half, tmp_path / "half.safetensors", metadata=metadata)
    network = Detector.from_pretrained(tmp_path / "half.safetensors").model.network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    name = next(iter(dict(network.named_parameters())))
    assert torch.equal(dict(network.named_parameters())[name].cpu(), half[name].float())


def test_a_device_that_is_not_there_is_refused(dots):
    with pytest.raises(SemalignError, match="'cuda:99'"):
        Detector(dots.model(), "cuda:99")
    with pytest.raises(SemalignError, match="'abacus'"):
        Detector(dots.model(), "abacus")


@pytest.mark.parametrize("wrong", [{"refinements": -1}, {"tta": 5}, {"tta": 0}, {"batch_size": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="refinements"):
        DetectorSettings(**wrong)


def test_a_face_cannot_be_changed_and_writes_itself(dots, tmp_path: Path):
    points = dots.points(50, 40, 30.0)
    face = Face(points, np.array([0.5, 0.25, 0.75]), dots.scheme, track=3)
    points[:] = 0
    assert face.points[0].tolist() == [35.0, 26.5]
    with pytest.raises(ValueError, match="read-only"):
        face.points[0] = 0
    assert face.score == pytest.approx(0.5)
    face.to_pts(tmp_path / "a.pts")
    assert np.allclose(read_pts(tmp_path / "a.pts"), face.points, atol=1e-6)
    values = face.to_dict()
    assert (values["track"], values["scheme"], values["score"]) == (3, "dots", 0.5)
    assert values["points"] == np.round(face.points, 3).tolist() and values["box"] == [35.0, 26.5, 65.0, 53.5]


def test_drawing_marks_the_landmarks_by_confidence_and_leaves_the_picture_alone(dots):
    points = dots.points(100, 80, 90.0)
    picture = np.full((160, 200, 3), 120, np.uint8)
    drawn = Face(points, np.array([1.0, 0.0, 1.0]), dots.scheme).draw(picture)
    assert (picture == 120).all() and drawn.shape == picture.shape
    sure, unsure = (drawn[round(y), round(x)].astype(int) for x, y in points[:2])
    assert sure[2] > sure[0] + 100 and unsure[0] > unsure[2] + 100  # blue and orange
    assert (drawn[5, 5] == 120).all()
    assert Face(points + 1e9, np.ones(3), dots.scheme).draw(picture).shape == picture.shape


def test_half_the_digits_where_the_processor_has_them_and_never_unasked_elsewhere(dots, monkeypatch):
    box, rng = [[30.0, 25.0, 120.0, 110.0]], np.random.default_rng(0)
    picture = rng.integers(0, 256, (140, 160, 3), np.uint8)
    network = build_hourglass(NETWORK, 68, seed=0)
    model = Model(network, load_scheme("ibug68"), CropSettings(), sigma=1.5)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True})
    assert quick_precision(torch.device("cpu")) == "bf16" and quick_precision(torch.device("cuda")) == "fp32"
    found = {}
    for precision in ("fp32", "bf16", "auto"):
        detector = Detector(model, "cpu", settings=DetectorSettings(precision=precision))
        found[precision] = detector(picture, box)[0].points
    assert np.array_equal(found["auto"], found["bf16"]) and not np.array_equal(found["bf16"], found["fp32"])
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    assert np.array_equal(Detector(model, "cpu")(picture, box)[0].points, found["fp32"])
