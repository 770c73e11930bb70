"""The correction unit: Table 1 to the letter, smaller inputs, and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from worlds import NETWORK

from semalign.core.fusion import Fusion
from semalign.core.gate import Gate
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models.checkpoint import Model, save_model
from semalign.models.ghcu import (
    Ghcu,
    GhcuSettings,
    build_ghcu,
    from_square,
    load_ghcu,
    reduce_heatmaps,
    save_ghcu,
    to_square,
)
from semalign.models.hourglass import build_hourglass
from semalign.models.network import count_parameters
from semalign.schemes import load_scheme

TABLE_1 = [(5, 64, 128), (3, 64, 64), (3, 32, 32), (3, 32, 16), (3, 16, 8), (3, 16, 4)]
GATE = Gate(low=3.0, distance=0.5, offset=-2.0)
FUSION = Fusion(torch.rand(2, 68, 68, dtype=torch.float64), low=8.0, distance=0.7, offset=-8.0)


def traced(size: int, landmarks: int = 5) -> list[tuple[int, int, int]]:
    """Kernel, channels and side of what each convolution gives, seen at work."""
    network = build_ghcu(GhcuSettings(size), landmarks, seed=0).eval()
    seen: list[tuple[int, int, int]] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda own, _, out: seen.append((own.kernel_size[0], out.shape[1], out.shape[-1]))
            )
    assert network(torch.rand(1, landmarks, size, size)).shape == (1, landmarks, 2)
    return seen


def test_at_256_it_is_table_1():
    assert traced(256) == TABLE_1
    network = build_ghcu(GhcuSettings(), 68, seed=0)
    assert [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)] == [
        (16 * 4 * 4, 256),
        (256, 2 * 68),
    ]
    convolutions, inputs = 0, 68
    for kernel, outputs, _ in TABLE_1:
        convolutions += inputs * outputs * kernel**2 + 2 * outputs  # batch normalisation brings scale and shift
        inputs = outputs
    assert count_parameters(network) == convolutions + (256 * 256 + 256) + (256 * 136 + 136)


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (128, [(5, 64, 64), (3, 32, 32), (3, 32, 16), (3, 16, 8), (3, 16, 4)]),
        (64, [(5, 64, 32), (3, 32, 16), (3, 16, 8), (3, 16, 4)]),
        (48, [(5, 64, 24), (3, 32, 12), (3, 16, 6), (3, 16, 3)]),
        (40, [(5, 64, 20), (3, 32, 10), (3, 16, 5), (3, 16, 3)]),
        (16, [(5, 64, 8), (3, 16, 4)]),
        (8, [(5, 64, 4)]),
    ],
)
def test_smaller_inputs_keep_the_first_layer_and_the_last_ones(size, kept):
    assert traced(size) == kept


def test_it_starts_at_the_mean_shape_and_depends_on_the_seed():
    mean = torch.linspace(-0.4, 0.4, 10).view(5, 2)
    heatmaps = torch.rand(3, 5, 64, 64)
    first, again, other = (build_ghcu(GhcuSettings(64), 5, seed, mean).eval()(heatmaps).detach() for seed in (0, 0, 1))
    assert float((first - mean).abs().max()) < 0.02
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert float(build_ghcu(GhcuSettings(64), 5, 0).eval()(heatmaps).detach().abs().max()) < 0.02


def test_building_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    build_ghcu(GhcuSettings(32), 5, seed=7)
    assert torch.equal(torch.get_rng_state(), state)


def test_larger_heatmaps_are_averaged_down_first():
    network = build_ghcu(GhcuSettings(16), 3, seed=0).eval()
    heatmaps = torch.rand(2, 3, 48, 48)
    by_hand = heatmaps.view(2, 3, 16, 3, 16, 3).mean(dim=(3, 5))
    assert torch.allclose(reduce_heatmaps(heatmaps, 16), by_hand, atol=1e-6)
    assert torch.allclose(network(heatmaps), network(by_hand), atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 16"):
        network(torch.rand(1, 3, 40, 40))


def test_the_input_is_fitted_to_the_heatmaps():
    assert [GhcuSettings(64).fitted(size).input_size for size in (48, 64, 128, 256)] == [48, 64, 64, 64]
    with pytest.raises(ValueError, match="must divide the heatmaps' side 96"):
        GhcuSettings(64).fitted(96)
    for wrong in (4, 512):
        with pytest.raises(ValueError, match="must be 8 to 256"):
            GhcuSettings(wrong)


def test_the_normalised_square_spans_the_extent_whatever_the_resolution():
    corners = torch.tensor([[[-0.5, -0.5], [47.5, 47.5], [23.5, 11.5]]], dtype=torch.float64)
    square = to_square(corners, 48)
    assert square.tolist() == [[[-0.5, -0.5], [0.5, 0.5], [0.0, -0.25]]]
    assert from_square(square, 96).tolist() == [[[-0.5, -0.5], [95.5, 95.5], [47.5, 23.5]]]
    assert torch.allclose(from_square(to_square(corners, 48), 48), corners)


@pytest.fixture
def ghcu() -> Ghcu:
    scheme = load_scheme("ibug68")
    network = build_ghcu(GhcuSettings(32), 68, 3)
    network(torch.rand(4, 68, 32, 32))  # moves the running statistics, which belong to the file
    return Ghcu(network.eval(), scheme, GATE, FUSION, {"seed": 3})


@pytest.mark.parametrize(("gate", "fusion"), [(None, None), (GATE, FUSION)])
def test_a_file_gives_the_same_unit_back(ghcu, gate, fusion, tmp_path):
    save_ghcu(tmp_path / "g.safetensors", replace(ghcu, gate=gate, fusion=fusion))
    loaded = load_ghcu(tmp_path / "g.safetensors", ghcu.scheme)
    heatmaps = torch.rand(2, 68, 32, 32)
    assert torch.equal(ghcu.network(heatmaps), loaded.network(heatmaps))
    assert (loaded.scheme, loaded.gate, loaded.about) == (ghcu.scheme, gate, {"seed": 3})
    if fusion is None:
        assert loaded.fusion is None
    else:
        assert torch.equal(loaded.fusion.covariance, fusion.covariance)
        assert (loaded.fusion.low, loaded.fusion.distance, loaded.fusion.offset) == (8.0, 0.7, -8.0)
    assert not loaded.network.training


def test_other_files_are_refused_in_one_sentence(ghcu, tmp_path):
    path = tmp_path / "g.safetensors"
    with pytest.raises(SemalignError, match="no such model file"):
        load_ghcu(path)
    save_model(path, Model(build_hourglass(NETWORK, 68, 3), ghcu.scheme, CropSettings(), 1.5))
    with pytest.raises(SemalignError, match="holds no correction unit"):
        load_ghcu(path)
    save_ghcu(path, ghcu)
    with pytest.raises(SemalignError, match=r"'ibug68' \(68 points\).*'aflw19' \(19 points\)"):
        load_ghcu(path, load_scheme("aflw19"))
    for description, message in (
        ({"kind": "ghcu", "format": 2}, "not a complete"),
        ({"kind": "ghcu", "format": 9}, "format 9"),
    ):
        save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps(description)})
        with pytest.raises(SemalignError, match=message):
            load_ghcu(path)
