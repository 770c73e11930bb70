"""Exported files against PyTorch: the same points to a hundredth of a pixel, for any number of crops; int8 near them."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semalign.core.adaptation import fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.export import LandmarkGraph, export_onnx, quantize_onnx
from semalign.inference import Landmarker, OnnxBackend
from semalign.inference.heatmaps import predict
from semalign.inference.onnx import input_squares
from semalign.models.checkpoint import Model
from semalign.models.head import MirroredHead
from semalign.models.hourglass import build_hourglass
from semalign.schemes import LandmarkScheme

onnx = pytest.importorskip("onnx")


def in_pytorch(model: Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        decoded = LandmarkGraph(model)(torch.from_numpy(images))
    return decoded.points.numpy(), decoded.confidence.numpy()


def test_the_network_has_learnt_something(exported: Any) -> None:
    """Else the comparisons below would compare empty heatmaps."""
    points, confidence = in_pytorch(exported.model, exported.images)
    assert np.linalg.norm(points - exported.points, axis=2).mean() < 1.0
    assert confidence.mean() > 0.5


@pytest.mark.parametrize("count", [1, 2, 9])
def test_points_are_pytorchs_to_a_hundredth_of_a_pixel(exported: Any, count: int) -> None:
    images = exported.images[:count]
    points, confidence = in_pytorch(exported.model, images)
    found = OnnxBackend(exported.float32, threads=1)(images)
    assert found.points.shape == (count, 3, 2)
    np.testing.assert_allclose(found.points, points, atol=0.01)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-3)


def test_a_crop_cache_gives_what_the_pytorch_path_gives(exported: Any, cache: CropCache) -> None:
    ours = predict(exported.model.network, cache, exported.model.sigma, exported.model.scheme)
    found = OnnxBackend(exported.float32, threads=1, batch_size=4).predict(cache)
    np.testing.assert_allclose(found.points, ours.points, atol=0.02)  # a pixel of a crop is two of these images
    np.testing.assert_allclose(found.confidence, ours.confidence, atol=1e-3)
    assert np.array_equal(input_squares(cache, np.arange(len(cache))), exported.images)
    assert found.points.dtype == ours.points.dtype == np.float64


def test_a_model_with_a_mirrored_crop_is_exported_with_it(exported: Any, cache: CropCache, tmp_path: Path) -> None:
    model = replace(exported.model, tta=2)
    export_onnx(tmp_path / "two.onnx", model)
    ours = Landmarker(model).on_crops(cache)
    found = OnnxBackend(tmp_path / "two.onnx", threads=1, batch_size=4).predict(cache)
    np.testing.assert_allclose(found.points, ours.points, atol=0.02)  # a pixel of a crop is two of these images
    np.testing.assert_allclose(found.confidence, ours.confidence, atol=1e-3)
    assert np.abs(ours.points - Landmarker(exported.model).on_crops(cache).points).max() > 0.05
    np.testing.assert_array_equal(ours.points, Landmarker(exported.model, tta=2).on_crops(cache).points)
    with pytest.raises(SemalignError, match="tta"):
        export_onnx(tmp_path / "four.onnx", replace(model, tta=4))


@pytest.mark.parametrize("upsampling", ["shuffle", "bilinear", "transposed"])
def test_the_mean_of_both_looks_is_taken_before_the_heatmaps_are_large(exported: Any, upsampling: str) -> None:
    settings = replace(exported.model.network.settings, upsampling=upsampling)
    network = build_hourglass(settings, 3, seed=5).eval()
    scheme = LandmarkScheme("paired", ("left", "right", "middle"), pairs=((0, 1),))
    images = torch.from_numpy(exported.images).float() / 255
    head = MirroredHead(network.last_head, scheme.flip_index)
    with torch.no_grad():
        found = head(network.last_features(images)[1], network.last_features(images.flip(-1))[1])
        expected = (network(images)[-1] + network(images.flip(-1))[-1].flip(-1)[:, [1, 0, 2]]) / 2
    assert float(expected.std()) > 1e-4
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_int8_with_two_looks_keeps_the_last_head_in_float32(exported: Any, tmp_path: Path) -> None:
    export_onnx(tmp_path / "two.onnx", replace(exported.model, tta=2))
    quantize_onnx(tmp_path / "two8.onnx", tmp_path / "two.onnx", exported.images)
    nodes = onnx.load(tmp_path / "two8.onnx").graph.node
    types = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "two8.onnx").graph.initializer}
    produced = {name: node for node in nodes for name in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    quantised = [produced.get(node.input[1]) is not None for node in convolutions]
    assert quantised == [True] * (len(convolutions) - 1) + [False]
    assert types[convolutions[-1].input[1]] == onnx.TensorProto.FLOAT
    points, _ = in_pytorch(replace(exported.model, tta=2), exported.images)
    assert (
        np.linalg.norm(OnnxBackend(tmp_path / "two8.onnx", threads=1)(exported.images).points - points, axis=2).max()
        < 2
    )


@pytest.mark.parametrize("kind", ["linear", "kernel"])
def test_a_model_is_exported_with_its_label_adaptation(
    exported: Any, cache: CropCache, tmp_path: Path, kind: str
) -> None:
    rng = np.random.default_rng(0)
    bare = Landmarker(exported.model).on_crops(cache).points
    shapes = np.concatenate([bare, bare[rng.integers(len(bare), size=60)] + rng.normal(size=(60, 3, 2))])
    annotated = shapes * 1.02 + 1 + 0.5 * rng.normal(size=shapes.shape)
    adaptation = (
        fit_linear_adaptation(shapes, annotated, 2) if kind == "linear" else fit_kernel_adaptation(shapes, annotated)
    )
    model = replace(exported.model, adaptation=adaptation)
    export_onnx(tmp_path / "adaptation.onnx", model)
    ours = Landmarker(model).on_crops(cache).points
    found = OnnxBackend(tmp_path / "adaptation.onnx", threads=1, batch_size=4).predict(cache).points
    np.testing.assert_allclose(found, ours, atol=0.02)  # a pixel of a crop is two of these images
    assert np.abs(ours - bare).max() > 0.5


def test_int8_stays_near_and_is_integer_arithmetic(exported: Any) -> None:
    points, _ = in_pytorch(exported.model, exported.images)
    quantized = OnnxBackend(exported.int8, threads=1)
    moved = np.linalg.norm(quantized(exported.images).points - points, axis=2)
    assert 0 < moved.mean() < 0.3
    assert quantized.precision == "int8"
    kinds = {node.op_type for node in onnx.load(exported.int8).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert exported.int8.stat().st_size < 1.5 * exported.float32.stat().st_size


def test_the_file_says_what_it_is_and_nothing_of_where_it_was_made(exported: Any) -> None:
    model = OnnxBackend(exported.float32)
    assert (model.scheme, model.crop, model.sigma) == (exported.model.scheme, exported.model.crop, exported.model.sigma)
    assert (model.input_size, model.pixels, model.about["terms"]) == (64, "uint8", "for tests")
    graph = onnx.load(exported.float32)
    assert [entry.key for entry in graph.metadata_props] == ["semalign"]
    assert json.loads(graph.metadata_props[0].value)["scheme"]["landmarks"] == ["red", "green", "blue"]
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    content = exported.float32.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", [{"upsampling": "bilinear"}, {"upsampling": "transposed"}, {"resampling": "smooth"}], ids=str
)
def test_float_crops_and_other_networks(exported: Any, tmp_path: Path, other: dict[str, Any]) -> None:
    settings = replace(exported.model.network.settings, **other)
    model = replace(exported.model, network=build_hourglass(settings, 3, seed=5).eval())
    export_onnx(tmp_path / "m.onnx", model, "float32")
    images = exported.images.astype(np.float32) / 255
    with torch.no_grad():
        points = LandmarkGraph(model, "float32")(torch.from_numpy(images)).points.numpy()
    found = OnnxBackend(tmp_path / "m.onnx", threads=1)
    np.testing.assert_allclose(found(images).points, points, atol=0.01)
    with pytest.raises(ValueError, match="uint8"):
        found(exported.images)
    quantize_onnx(tmp_path / "m8.onnx", tmp_path / "m.onnx", images)
    assert OnnxBackend(tmp_path / "m8.onnx", threads=1)(images).points.shape == points.shape


def test_crops_that_do_not_fit_are_refused(exported: Any) -> None:
    model = OnnxBackend(exported.float32)
    with pytest.raises(ValueError, match=r"\(3, 32, 32\)"):
        model(exported.images[:, :, ::2, ::2])
    with pytest.raises(ValueError, match="float32 for"):
        model(exported.images.astype(np.float32))


def test_bad_files_and_wishes_are_refused_in_one_sentence(exported: Any, tmp_path: Path) -> None:
    broken, foreign = tmp_path / "broken.onnx", tmp_path / "foreign.onnx"
    broken.write_bytes(b"no graph")
    graph = onnx.load(exported.float32)
    del graph.metadata_props[:]
    onnx.save(graph, foreign)
    crops = exported.images[:2]
    for path, words in (
        (tmp_path / "none.onnx", "no such model file"),
        (broken, "cannot be read as an ONNX file"),
        (foreign, "is not a Semalign model"),
    ):
        for use in (OnnxBackend, lambda source: quantize_onnx(tmp_path / "out.onnx", source, crops)):
            with pytest.raises(SemalignError, match=words):
                use(path)
    with pytest.raises(SemalignError, match="is int8 already"):
        quantize_onnx(tmp_path / "out.onnx", exported.int8, crops)
    with pytest.raises(SemalignError, match="some dozens"):
        quantize_onnx(tmp_path / "out.onnx", exported.float32, crops[:0])
    with pytest.raises(SemalignError, match="'uint16'"):
        export_onnx(tmp_path / "out.onnx", exported.model, "uint16")  # type: ignore[arg-type]
    assert not (tmp_path / "out.onnx").exists()


def test_weights_that_are_half_precision_numbers_are_stored_as_such(exported: Any, tmp_path: Path) -> None:
    network = deepcopy(exported.model.network)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(value.half().float())
    model = replace(exported.model, network=network)
    export_onnx(tmp_path / "plain.onnx", model)
    export_onnx(tmp_path / "half.onnx", model, half=True)
    plain, half = (OnnxBackend(tmp_path / name, threads=1)(exported.images) for name in ("plain.onnx", "half.onnx"))
    for one, other in zip(plain, half, strict=True):
        np.testing.assert_array_equal(one, other)
    stored = {tensor.data_type for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in stored
    for name in ("plain", "half"):  # both can be quantised, to the same
        quantize_onnx(tmp_path / f"{name}8.onnx", tmp_path / f"{name}.onnx", exported.images)
    eight = [OnnxBackend(tmp_path / f"{name}8.onnx", threads=1)(exported.images).points for name in ("plain", "half")]
    np.testing.assert_array_equal(*eight)
