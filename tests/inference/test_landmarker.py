"""One landmarker for pictures, boxes and crops, whatever computes it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from dots import SCHEME, Dots
from torch import Tensor, nn

from semalign.core.adaptation import fit_linear_adaptation
from semalign.data.crops import CropCache, crop_maps, cut
from semalign.errors import SemalignError
from semalign.export import export_onnx
from semalign.inference import Backend, Landmarker, Landmarks, OnnxBackend, TorchBackend
from semalign.models import HeatmapModule

FACES = ((60.0, 70.0, 50.0), (140.0, 90.0, 36.0), (100.0, 60.0, 80.0))  # x, y, side


def scene(dots: Dots) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Pictures with two, no and one face: pictures, boxes, points."""
    first, second, third = (dots.points(*face) for face in FACES)
    pictures = [dots.picture([first, second]), dots.picture([]), dots.picture([third])]
    points = [np.stack([first, second]), np.empty((0, 3, 2)), third[None]]
    boxes = [np.array([dots.box(face) for face in own]).reshape(-1, 4) for own in points]
    return pictures, boxes, points


def test_each_box_of_each_picture_has_its_landmarks(dots: Dots) -> None:
    pictures, boxes, points = scene(dots)
    found = Landmarker(dots.model())(pictures, boxes)
    assert [len(own) for own in found] == [2, 0, 1]
    for own, wanted in zip(found, points, strict=True):
        assert own.scheme == SCHEME
        np.testing.assert_allclose(own.points, wanted, atol=0.3)
        assert own.confidence.shape == wanted.shape[:2] and (own.confidence > 0.7).all()


def test_no_boxes_give_no_landmarks(dots: Dots) -> None:
    found = Landmarker(dots.model())([dots.picture([])], [np.empty((0, 4))])
    assert [len(own) for own in found] == [0] and found[0].points.shape == (0, 3, 2)


def test_pictures_and_crops_give_the_same(dots: Dots) -> None:
    pictures, boxes, _ = scene(dots)
    landmarker = Landmarker(dots.model(), batch_size=2)
    maps, size = crop_maps(boxes[0], replace(landmarker.backend.crop, margin=1.0), landmarker.backend.input_size)
    images = np.stack([cut(pictures[0], matrix, size) for matrix in maps])
    done: list[int] = []
    on_crops = landmarker.on_crops(CropCache(("a", "b"), images, maps, landmarker.backend.input_size), done.append)
    found = landmarker(pictures, boxes)[0]
    for name in ("points", "confidence", "spread"):
        np.testing.assert_array_equal(getattr(found, name), getattr(on_crops, name))
    assert sum(done) == 2


def test_the_spread_is_told_in_pixels_of_the_image(dots: Dots) -> None:
    """The dots are Gaussians of 0.08 of their face's width, so that large faces have wide peaks."""
    pictures, boxes, points = scene(dots)
    found = Landmarker(dots.model())(pictures, boxes)
    for own, wanted in ((found[0], points[0]), (found[2], points[2])):
        assert own.spread is not None
        expected = 0.08 * np.ptp(wanted[..., 0], axis=1)[:, None, None]
        np.testing.assert_allclose(own.spread, np.broadcast_to(expected, own.spread.shape), rtol=0.25)


def test_some_of_the_landmarks_can_be_taken(dots: Dots) -> None:
    pictures, boxes, _ = scene(dots)
    both = Landmarker(dots.model())(pictures, boxes)[0]
    second = both.take(np.array([1]))
    np.testing.assert_array_equal(second.points, both.points[1:])
    assert replace(both, spread=None).take(np.array([0])).spread is None


def test_label_adaptation_is_taken_off(dots: Dots) -> None:
    """As where a detector's points were 2 px of a 50 px face too far right in training."""
    truth = np.stack([dots.points(100, 80, side) for side in np.linspace(40, 90, 60)])
    shifted = truth + [0.04, 0.0] * np.linspace(40, 90, 60)[:, None, None]
    model = replace(dots.model(), adaptation=fit_linear_adaptation(shifted, truth, count=0))
    pictures, boxes, _ = scene(dots)
    alone, found = (Landmarker(m)(pictures, boxes)[0].points for m in (dots.model(), model))
    np.testing.assert_allclose((alone - found)[..., 0], 0.04 * np.array([[50.0], [36.0]]) * np.ones(3), rtol=0.2)


def test_heatmaps_say_where_they_lie(dots: Dots) -> None:
    pictures, boxes, points = scene(dots)
    maps, to_image = Landmarker(dots.model()).heatmaps(pictures[0], boxes[0][0])
    for heatmap, wanted in zip(maps, points[0][0], strict=True):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        side = np.hypot(*to_image[:, 0])
        np.testing.assert_allclose(to_image[:, :2] @ [column, row] + to_image[:, 2], wanted, atol=side)


class Colours(nn.Module):
    """A network from outside that has no weights: its heatmaps are the picture's colours."""

    def forward(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 2)


def test_a_network_without_weights_is_on_the_cpu(dots: Dots) -> None:
    model = replace(dots.model(), network=HeatmapModule(Colours(), 64, 32, 3))
    pictures, boxes, _ = scene(dots)
    for own, known in zip(Landmarker(model)(pictures, boxes), Landmarker(dots.model())(pictures, boxes), strict=True):
        np.testing.assert_array_equal(own.points, known.points)


class Fixed:
    """A backend of its own: whoever writes one needs no class of ours."""

    scheme = SCHEME
    crop = Dots().model().crop
    margin = 1.0
    input_size = 64
    about: dict[str, str] = {}  # noqa: RUF012

    def predict(self, crops: CropCache, advance: object = None) -> Landmarks:
        return Landmarks(np.zeros((len(crops), 3, 2)), np.ones((len(crops), 3)), SCHEME)


def test_any_backend_will_do(dots: Dots) -> None:
    backend: Backend = Fixed()
    pictures, boxes, _ = scene(dots)
    found = Landmarker(backend)(pictures, boxes)
    assert [own.points.shape for own in found] == [(2, 3, 2), (0, 3, 2), (1, 3, 2)]
    with pytest.raises(SemalignError, match="no heatmaps"):
        Landmarker(backend).heatmaps(pictures[0], boxes[0][0])
    with pytest.raises(SemalignError, match="tta"):
        Landmarker(backend, tta=2)


def test_both_runtimes_keep_the_protocol(dots: Dots, tmp_path: Path) -> None:
    assert isinstance(TorchBackend(dots.model()), Backend)
    export_onnx(tmp_path / "dots.onnx", dots.model())
    exported = OnnxBackend(tmp_path / "dots.onnx", threads=1)
    assert isinstance(exported, Backend)
    pictures, boxes, _ = scene(dots)
    ours, theirs = (Landmarker(backend)(pictures, boxes)[0] for backend in (dots.model(), exported))
    np.testing.assert_allclose(theirs.points, ours.points, atol=0.02)
    assert ours.spread is not None and theirs.spread is not None
    np.testing.assert_allclose(theirs.spread, ours.spread, rtol=0.01)


def test_importing_it_loads_no_training(tmp_path: Path) -> None:
    script = (
        "import sys, semalign.inference; "
        "sys.exit(str([n for n in sys.modules if n.startswith('semalign.training') or n in ('pandas', 'matplotlib')]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
