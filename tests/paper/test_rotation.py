"""The rotation network: what it sees, its start, its files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_tensors, save_tensors
from semalign.models.norm import BatchNorm
from semalign.paper.rotation import RotationModel, RotationSettings, build_rotation, load_rotation, save_rotation

NETWORK = RotationSettings(input_size=32, width=4, blocks=(1, 1, 1))


@pytest.fixture
def model() -> RotationModel:
    return RotationModel(build_rotation(NETWORK, 3).eval(), CropSettings(scale=1.5), {"seed": 3})


def test_it_begins_upright_and_depends_on_the_seed():
    image = torch.rand(2, 3, 32, 32)
    first, again, other = (build_rotation(NETWORK, seed).eval()(image).detach() for seed in (0, 0, 1))
    assert float((first - torch.tensor([1.0, 0.0])).abs().max()) < 0.1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_pictures_of_any_size_are_seen_alike():
    network = build_rotation(NETWORK, 0).eval()
    y, x = torch.meshgrid(torch.linspace(0, 3, 32), torch.linspace(0, 5, 32), indexing="ij")
    small = torch.stack([x.sin(), y.cos(), (x + y).sin()])[None] * 0.5 + 0.5
    large = torch.nn.functional.interpolate(small, (96, 96), mode="bilinear", align_corners=False)
    with torch.no_grad():
        network.head.weight.mul_(1000)
        seen, again, other = network(small), network(large), network(small.flip(2))
    assert float((seen - again).norm()) < 0.1 * float((seen - other).norm())


@pytest.mark.parametrize("disc", [0.6, 1.0])
def test_what_lies_outside_the_disc_is_not_seen(disc):
    network = build_rotation(replace(NETWORK, disc=disc), 0).eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            nn.init.ones_(module.weight)  # as after some training: at the start blocks are shortcuts, which skip pixels
    torch.manual_seed(0)
    steps = torch.arange(32) - 15.5
    inside = steps[:, None] ** 2 + steps**2 <= (16 * disc) ** 2
    picture, another = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        plain = network(picture)
        assert torch.equal(network(torch.where(inside, picture, another)), plain)
        edge = inside & (steps[:, None] ** 2 + steps**2 > (16 * disc - 2) ** 2)
        assert not torch.equal(network(torch.where(edge, another, picture)), plain)


@pytest.mark.parametrize("wrong", [{"input_size": 60}, {"blocks": ()}, {"disc": 0.0}])
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        replace(NETWORK, **wrong)


def test_a_file_gives_the_same_model_back(model, tmp_path):
    save_rotation(tmp_path / "r.safetensors", model)
    loaded = load_rotation(tmp_path / "r.safetensors")
    image = torch.rand(1, 3, 48, 48)
    assert torch.equal(model.network(image), loaded.network(image))
    assert (loaded.crop, loaded.about) == (model.crop, {"seed": 3})
    assert loaded.network.settings == NETWORK and not loaded.network.training


def test_files_that_are_no_rotation_networks_are_refused_in_one_sentence(model, tmp_path):
    path = tmp_path / "r.safetensors"
    with pytest.raises(SemalignError, match="no such model file"):
        load_rotation(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 1})})
    with pytest.raises(SemalignError, match="no rotation network"):
        load_rotation(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 99, "kind": "rotation"})})
    with pytest.raises(SemalignError, match="format 99"):
        load_rotation(path)
    save_rotation(path, model)
    tensors, description = load_tensors(path)
    save_tensors(path, tensors, description | {"network": {"input_size": 32}})
    with pytest.raises(SemalignError, match="not a complete rotation network"):
        load_rotation(path)
