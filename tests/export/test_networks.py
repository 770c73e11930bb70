"""Other networks than the hourglass, exported: the same points as PyTorch's, with and without the mirror image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds import NETWORK

from semalign.data.crops import CropCache, CropSettings
from semalign.export import LandmarkGraph, export_onnx, quantize_onnx
from semalign.inference import Landmarker, OnnxBackend
from semalign.models.cascade import CascadeNetwork, CascadeSettings
from semalign.models.checkpoint import Model
from semalign.models.face_mesh import face_mesh
from semalign.models.mesh_network import MeshNetwork, MeshSettings
from semalign.models.network import HeatmapModule, build_network
from semalign.schemes import LandmarkScheme

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SCHEME = LandmarkScheme("corners", ("left", "right", "chin"), pairs=((0, 1),))


def in_pytorch(model: Model, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return LandmarkGraph(model)(torch.from_numpy(images)).points.numpy()


def outside(model: Model) -> Model:
    """The same network, of which nothing but its heatmaps is known."""
    network = model.network
    return replace(model, network=HeatmapModule(network, network.input_size, network.heatmap_size, network.landmarks))


@pytest.mark.parametrize("tta", [1, 2])
def test_the_light_network_is_exported(
    exported: Any, cache: CropCache, mobile: Model, tmp_path: Path, tta: int
) -> None:
    model = replace(mobile, tta=tta)
    export_onnx(tmp_path / "m.onnx", model)
    found = OnnxBackend(tmp_path / "m.onnx", threads=1, batch_size=4)
    np.testing.assert_allclose(found(exported.images).points, in_pytorch(model, exported.images), atol=0.01)
    np.testing.assert_allclose(found.predict(cache).points, Landmarker(model).on_crops(cache).points, atol=0.02)
    assert np.linalg.norm(found(exported.images).points - exported.points, axis=2).mean() < 1.5
    quantize_onnx(tmp_path / "m8.onnx", tmp_path / "m.onnx", exported.images)
    rounded = OnnxBackend(tmp_path / "m8.onnx", threads=1)(exported.images).points
    assert np.linalg.norm(rounded - found(exported.images).points, axis=2).mean() < 0.5


def test_of_a_network_from_outside_the_mean_of_both_heatmaps_is_decoded(exported: Any, tmp_path: Path) -> None:
    plain, images = replace(exported.model, tta=2), exported.images
    model = outside(plain)
    assert LandmarkGraph(plain).head is not None and LandmarkGraph(model).head is None
    np.testing.assert_allclose(in_pytorch(model, images), in_pytorch(plain, images), atol=1e-3)
    export_onnx(tmp_path / "two.onnx", model)
    for count in (1, 5):
        found = OnnxBackend(tmp_path / "two.onnx", threads=1)(images[:count]).points
        np.testing.assert_allclose(found, in_pytorch(model, images[:count]), atol=0.01)
    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "two.onnx").metadata_props}
    network = json.loads(entries["semalign"])["network"]
    assert network == {"kind": "StackedHourglass", "input_size": 64, "heatmap_size": NETWORK.heatmap_size}


def test_the_trained_mesh_is_exported_with_both_its_looks(tmp_path: Path) -> None:
    with np.load(Path(__file__).parents[1] / "models" / "face_mesh.npz") as kept:
        images = kept["pictures"].transpose(0, 3, 1, 2)
    network = build_network(MeshSettings(), 3, seed=0)
    assert isinstance(network, MeshNetwork)
    with torch.no_grad():  # three of the mesh's points
        for index, point in enumerate((33, 263, 152)):
            for axis in (0, 1):
                network.map.weight[2 * index + axis] = 0.0
                network.map.weight[2 * index + axis, 3 * point + axis] = 1.0
        network.map.bias.zero_()
    model = Model(network.eval(), SCHEME, CropSettings(1.6, 1.25), 0.9, {}, tta=2)
    export_onnx(tmp_path / "mesh.onnx", model)
    backend = OnnxBackend(tmp_path / "mesh.onnx", threads=1)
    found = backend(images).points
    for count in (1, 3):  # any number of crops
        np.testing.assert_allclose(backend(images[[0] * count]).points, found[[0] * count], atol=0.01)
    np.testing.assert_allclose(found, in_pytorch(model, images), atol=0.05)
    with torch.inference_mode():
        mesh = face_mesh()(torch.from_numpy(images).float() / 255)[:, [33, 263, 152], :2].numpy()
    assert np.linalg.norm(found - mesh, axis=2).mean() < 4  # of 192 pixels


@pytest.mark.parametrize("tta", [1, 2])
def test_a_network_of_points_is_exported_as_points(tmp_path: Path, tta: int) -> None:
    network = build_network(CascadeSettings(input_size=96, heatmap_size=48), 3, seed=0)
    assert isinstance(network, CascadeNetwork)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # steps and doubts that differ, as after training
        for stage in network.stages:
            stage.own.copy_(torch.randn(stage.own.shape, generator=generator) / 4)
            stage.own[..., 2] /= 8
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 96, 96), dtype=np.uint8)
    model = Model(network.eval(), SCHEME, CropSettings(1.4, 1.3), 1.2, {}, tta=tta)
    export_onnx(tmp_path / "points.onnx", model)
    found = OnnxBackend(tmp_path / "points.onnx", threads=1)(images)
    with torch.no_grad():
        answer = LandmarkGraph(model)(torch.from_numpy(images))
    for one, other in zip(found, answer, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=0.01)
    with torch.no_grad():  # what is found through the heatmaps is the same
        peaks = LandmarkGraph(model)._peaks(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(found.points, peaks.points.numpy(), atol=0.02)
    np.testing.assert_allclose(found.confidence, peaks.confidence.numpy(), atol=0.15)  # of the highest pixel
    np.testing.assert_allclose(found.spread, peaks.spread.numpy() * 2, rtol=0.1)
