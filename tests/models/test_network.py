"""What all networks have in common, and modules from outside as networks."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from worlds import MOBILE, NETWORK

from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models import HeatmapModule, HeatmapNetwork, Model
from semalign.models.arrays import KEY
from semalign.models.checkpoint import load_model, save_model
from semalign.models.hourglass import HourglassSettings, StackedHourglass, build_hourglass
from semalign.models.kinds import KINDS, continued, kind_in
from semalign.models.network import HeadedNetwork, NetworkSettings, Sizes, build_network
from semalign.schemes import load_scheme

KIND = pytest.mark.parametrize("settings", [NETWORK, MOBILE], ids=lambda settings: settings.kind)
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


class Halved(nn.Module):
    """Its heatmaps are the picture's colours at half the resolution, or what it is told."""

    def __init__(self, outputs: object = None) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, images: Tensor) -> object:
        return F.avg_pool2d(images, 2) if self.outputs is None else self.outputs


@KIND
def test_every_kind_is_what_the_package_asks_for(settings):
    network = build_network(settings, 5, seed=0)
    assert isinstance(network, HeatmapNetwork) and isinstance(network, HeadedNetwork)
    assert (network.input_size, network.heatmap_size, network.landmarks) == (64, 32, 5)
    assert isinstance(settings, NetworkSettings) and isinstance(network, Sizes)
    assert network.settings == settings and KINDS[settings.kind] is type(settings)
    assert network.device == torch.device("cpu")
    maps = network(IMAGES)
    assert {tuple(one.shape) for one in maps} == {(2, 5, 32, 32)}
    earlier, features = network.last_features(IMAGES)
    assert torch.equal(network.last_head(features), network(IMAGES)[-1]) and len(earlier) == len(maps) - 1


@KIND
def test_heatmaps_start_near_zero_and_follow_from_the_seed(settings):
    state = torch.get_rng_state()
    first, again, other = (build_network(settings, 5, seed)(IMAGES)[-1].detach() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert float(first.abs().max()) < 0.1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_weights_are_those_of_the_class_itself_after_the_seed():
    torch.manual_seed(7)
    itself = StackedHourglass(NETWORK, 5).state_dict()
    for network in (build_network(NETWORK, 5, seed=7), build_hourglass(NETWORK, 5, seed=7)):
        assert all(torch.equal(value, itself[name]) for name, value in network.state_dict().items())
        assert network.state_dict()["stem.0.weight"].is_contiguous(memory_format=torch.channels_last)


@KIND
def test_a_model_file_knows_its_kind(settings, tmp_path):
    model = Model(build_network(settings, 68, seed=3).eval(), load_scheme("ibug68"), CropSettings(), 1.5)
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.network.settings == settings and type(loaded.network) is type(model.network)
    assert torch.equal(loaded.network(IMAGES)[-1], model.network(IMAGES)[-1])


def rewritten(path: Path, network: dict[str, object]) -> None:
    """The file with another description of its network."""
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()[KEY])
    save_file(load_file(path), path, metadata={KEY: json.dumps({**description, "network": network})})


def test_a_file_without_a_kind_holds_a_hourglass_and_one_of_an_unknown_kind_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    model = Model(build_hourglass(NETWORK, 68, seed=3).eval(), load_scheme("ibug68"), CropSettings(), 1.5)
    save_model(path, model)
    old = asdict(NETWORK)
    assert old.pop("kind") == "hourglass"
    rewritten(path, old)
    loaded = load_model(path)
    assert loaded.network.settings == NETWORK
    assert torch.equal(loaded.network(IMAGES)[-1], model.network(IMAGES)[-1])
    rewritten(path, {**old, "kind": "hourglas"})
    with pytest.raises(SemalignError, match=r"'hourglas' in .*m\.safetensors is unknown; did you mean 'hourglass'"):
        load_model(path)
    rewritten(path, {"kind": "mobile", "stacks": 1})
    with pytest.raises(SemalignError, match="not a complete"):
        load_model(path)
    assert kind_in({}) == "hourglass"


def test_a_trained_network_keeps_its_shape_but_can_be_made_smooth():
    smooth = HourglassSettings(resampling="smooth")
    assert continued(NETWORK, smooth) == replace(NETWORK, resampling="smooth")
    assert continued(replace(NETWORK, resampling="smooth"), HourglassSettings()).resampling == "smooth"
    assert continued(MOBILE, smooth) == MOBILE and continued(NETWORK, MOBILE) == NETWORK
    assert continued(None, smooth) == smooth


@pytest.mark.parametrize("form", ["tensor", "list", "tuple"])
def test_a_module_from_outside_is_a_network(form):
    maps = torch.rand(2, 3, 32, 32)
    outputs = {"tensor": maps, "list": [maps / 2, maps], "tuple": (maps,)}[form]
    network = HeatmapModule(Halved(outputs), input_size=64, heatmap_size=32, landmarks=3)
    assert isinstance(network, HeatmapNetwork) and network.settings is None
    assert (network.name, network.device) == ("Halved", torch.device("cpu"))  # it has no weights
    assert torch.equal(network(IMAGES)[-1], maps)
    assert len(network(IMAGES)) == (2 if form == "list" else 1)
    assert not network.eval().module.training


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (
            torch.rand(2, 5, 32, 32),
            r"Halved: gives \(2, 5, 32, 32\) for pictures \(2, 3, 64, 64\), but heatmaps \(2, 3, 32",
        ),
        (torch.rand(2, 3, 32, 16), r"\(2, 3, 32, 16\).*change the module, or the sizes"),
        (torch.rand(2, 3, 2), r"\(2, 3, 2\)"),
        ([torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16)], r"\(2, 3, 16, 16\)"),
        ([1.0], "an object of type float"),
        ({"heatmaps": torch.rand(2, 3, 32, 32)}, "type dict, not heatmaps; let its forward return a tensor"),
        ([], "type list, not heatmaps"),
    ],
)
def test_a_module_that_gives_something_else_is_refused(outputs, words):
    network = HeatmapModule(Halved(outputs), input_size=64, heatmap_size=32, landmarks=3)
    with pytest.raises(SemalignError, match=words):
        network(IMAGES)


def test_a_network_from_outside_cannot_be_written_as_a_model_file(tmp_path):
    model = Model(HeatmapModule(Halved(), 64, 32, 68), load_scheme("ibug68"), CropSettings(), 1.5)
    assert model.input_size == 64
    with pytest.raises(SemalignError, match=r"m\.safetensors: the network Halved is not one of Semalign's.*ONNX"):
        save_model(tmp_path / "m.safetensors", model)
    assert not list(tmp_path.iterdir())
