"""The coordinate regressor: shape, start, precision, files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_tensors, save_tensors
from semalign.models.network import count_parameters
from semalign.paper.regressor import (
    PRESETS,
    RegressorModel,
    RegressorSettings,
    build_regressor,
    load_regressor,
    save_regressor,
)
from semalign.paper.resnet import ResNet
from semalign.schemes import load_scheme

NETWORK = RegressorSettings(input_size=64, width=4, blocks=(1, 1, 1))


@pytest.fixture
def model() -> RegressorModel:
    network = build_regressor(NETWORK, 68, 3).eval()
    return RegressorModel(network, load_scheme("ibug68"), CropSettings(), {"labels": 2})


def test_the_standard_trunk_is_resnet_18_without_its_classifier():
    trunk = ResNet(64, (2, 2, 2, 2))
    assert count_parameters(trunk) == 11_689_512 - (512 * 1000 + 1000)  # as published, less 1000 classes
    assert trunk(torch.rand(1, 3, 256, 256)).shape == (1, 512, 8, 8)
    assert PRESETS["standard"] == RegressorSettings(256, 64, (2, 2, 2, 2))


def test_it_begins_with_the_mean_face_and_depends_on_the_seed():
    mean = torch.tensor([[10.0, 20.0], [40.5, 31.0], [float("nan")] * 2], dtype=torch.float64)
    image = torch.rand(2, 3, 64, 64)
    first, again, other = (build_regressor(NETWORK, 3, seed, mean).eval()(image).detach() for seed in (0, 0, 1))
    expected = torch.tensor([[10.0, 20.0], [40.5, 31.0], [31.5, 31.5]]).expand(2, 3, 2)
    assert float((first - expected).abs().max()) < 2.0
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_points_scale_with_the_input():
    """The same head outputs lie at the same share of any input, pixel centres at integers."""
    for size in (64, 128):
        network = build_regressor(replace(NETWORK, input_size=size), 2, 0).eval()
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.copy_(torch.tensor([-0.5, 0.5, 0.0, 0.25]))
            points = network(torch.rand(1, 3, size, size))
        assert points.tolist() == [[[-0.5, size - 0.5], [(size - 1) / 2, 0.75 * size - 0.5]]]


def test_building_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    build_regressor(NETWORK, 5, seed=7)
    assert torch.equal(torch.get_rng_state(), state)


def test_autocast_does_not_round_the_points():
    """In bfloat16 a coordinate between 32 and 64 would be a multiple of a quarter of a pixel."""
    network = build_regressor(NETWORK, 68, 0, torch.rand(68, 2) * 30 + 33).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        points = network(torch.rand(1, 3, 64, 64))
    assert points.dtype == torch.float32
    assert float((points * 4 % 1).minimum(1 - points * 4 % 1).median()) > 0.05


@pytest.mark.parametrize(
    "wrong", [{"input_size": 60}, {"input_size": 0}, {"width": 0}, {"blocks": ()}, {"blocks": (1, 0, 1)}]
)
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        replace(NETWORK, **wrong)


def test_a_file_gives_the_same_model_back(model, tmp_path):
    save_regressor(tmp_path / "r.safetensors", model)
    loaded = load_regressor(tmp_path / "r.safetensors", model.scheme)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.network(image), loaded.network(image))
    assert (loaded.scheme, loaded.crop, loaded.about) == (model.scheme, model.crop, {"labels": 2})
    assert loaded.network.settings == NETWORK and not loaded.network.training


def test_files_that_are_no_regressors_are_refused_in_one_sentence(model, tmp_path):
    path = tmp_path / "r.safetensors"
    with pytest.raises(SemalignError, match="no such model file"):
        load_regressor(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 1, "kind": "rotation"})})
    with pytest.raises(SemalignError, match="no coordinate regressor"):
        load_regressor(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 99, "kind": "regressor"})})
    with pytest.raises(SemalignError, match="format 99"):
        load_regressor(path)
    save_regressor(path, model)
    tensors, description = load_tensors(path)
    tensors.pop("head.weight")
    save_tensors(path, tensors, description)
    with pytest.raises(SemalignError, match="not a complete coordinate regressor"):
        load_regressor(path)


def test_a_regressor_of_another_scheme_is_refused(model, tmp_path):
    save_regressor(tmp_path / "r.safetensors", model)
    with pytest.raises(SemalignError, match=r"'ibug68' \(68 points\).*'aflw19' \(19 points\)"):
        load_regressor(tmp_path / "r.safetensors", load_scheme("aflw19"))
