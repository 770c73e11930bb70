"""A very small network, trained until its heatmaps have peaks, and its exported files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import MOBILE, NETWORK

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import render_gaussians
from semalign.data.crops import CropCache, CropSettings
from semalign.export import export_onnx, quantize_onnx
from semalign.models.checkpoint import Model
from semalign.models.hourglass import build_hourglass
from semalign.models.network import HeatmapNetwork, build_network
from semalign.schemes import LandmarkScheme

SIGMA = 1.5
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)
SCHEME = LandmarkScheme("dots", ("red", "green", "blue"))


def dots(count: int, seed: int, size: int = NETWORK.input_size) -> tuple[np.ndarray, np.ndarray]:
    """Grey pictures (b, 3, s, s) uint8 with a red, a green and a blue dot, and the dots' middles (b, 3, 2)."""
    random = np.random.default_rng(seed)
    points = random.uniform(size / 4, 3 * size / 4, (count, len(COLOURS), 2))
    images = np.full((count, 3, size, size), 110.0) + random.normal(0, 6, (count, 3, size, size))
    y, x = np.mgrid[:size, :size]
    for index, colour in enumerate(COLOURS):
        far = (x - points[:, index, 0, None, None]) ** 2 + (y - points[:, index, 1, None, None]) ** 2
        weight = np.exp(-far / (2 * 4.0**2))[:, None]
        images = images * (1 - weight) + weight * colour[:, None, None]
    return images.clip(0, 255).astype(np.uint8), points


@dataclass(frozen=True)
class Exported:
    """A model, its files, and pictures that it was not trained on."""

    model: Model
    float32: Path
    int8: Path
    images: np.ndarray
    points: np.ndarray


@pytest.fixture(scope="session")
def model() -> Model:
    return trained(build_hourglass(NETWORK, SCHEME.count, seed=1))


@pytest.fixture(scope="session")
def mobile() -> Model:
    return trained(build_network(MOBILE, SCHEME.count, seed=1))


def trained(network: HeatmapNetwork) -> Model:
    """For inputs and heatmaps of NETWORK's sizes."""
    images, points = dots(64, seed=2)
    inputs = torch.from_numpy(images).float() / 255
    scale = rescaling(NETWORK.input_size, NETWORK.heatmap_size)
    targets = render_gaussians(transform_points(torch.from_numpy(points), scale).float(), NETWORK.heatmap_size, SIGMA)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    network.train()
    for step in range(80):
        rows = torch.arange(8) + 8 * (step % 8)
        loss = torch.stack([((maps - targets[rows]) ** 2).mean() for maps in network(inputs[rows])]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Model(network.eval(), SCHEME, CropSettings(scale=1.4), SIGMA, {"terms": "for tests", "seed": 1})


@pytest.fixture(scope="session")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("exported")
    float32, int8 = folder / "dots.onnx", folder / "dots-int8.onnx"
    export_onnx(float32, model)
    quantize_onnx(int8, float32, dots(24, seed=3)[0])
    return Exported(model, float32, int8, *dots(9, seed=4))


@pytest.fixture(scope="session")
def cache(exported: Exported) -> CropCache:
    """The pictures as a crop cache with a margin; the images' frames are turned about and twice as fine."""
    size, inset = NETWORK.input_size, 16
    framed = np.full((len(exported.images), size + 2 * inset, size + 2 * inset, 3), 110, np.uint8)
    framed[:, inset:-inset, inset:-inset] = exported.images.transpose(0, 2, 3, 1)
    image_to_crop = np.tile(np.array([[0.0, -0.5, 40.0], [0.5, 0.0, -7.25]]), (len(framed), 1, 1))
    return CropCache(tuple(map(str, range(len(framed)))), framed, image_to_crop, size)
