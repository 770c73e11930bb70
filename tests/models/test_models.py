"""Networks and model files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from worlds import NETWORK

from semalign.core.adaptation import fit_linear_adaptation
from semalign.core.kernel_adaptation import KernelAdaptation, fit_kernel_adaptation
from semalign.core.translation import Translation
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.hourglass import (
    PRESETS,
    HourglassSettings,
    SmoothHalving,
    build_hourglass,
)
from semalign.models.network import count_parameters
from semalign.schemes import load_scheme


@pytest.mark.parametrize("upsampling", ["shuffle", "bilinear", "transposed"])
@pytest.mark.parametrize("heatmap", [16, 32, 64])
def test_every_stack_gives_heatmaps_of_the_wanted_size(upsampling, heatmap):
    settings = replace(NETWORK, heatmap_size=heatmap, upsampling=upsampling)
    stacks = build_hourglass(settings, 5, seed=0)(torch.rand(2, 3, 64, 64))
    assert [tuple(maps.shape) for maps in stacks] == [(2, 5, heatmap, heatmap)] * 2


def test_heatmaps_start_near_zero_and_depend_on_the_seed():
    image = torch.rand(1, 3, 64, 64)
    first, again, other = (build_hourglass(NETWORK, 5, seed)(image)[-1].detach() for seed in (0, 0, 1))
    assert float(first.abs().max()) < 0.1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_building_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    build_hourglass(NETWORK, 5, seed=7)
    assert torch.equal(torch.get_rng_state(), state)


def test_presets_are_the_papers_and_a_compact_one():
    paper = PRESETS["standard"]
    assert (paper.stacks, paper.input_size, paper.heatmap_size) == (4, 256, 256)
    assert count_parameters(build_hourglass(PRESETS["compact"], 68, 0)) < 4_000_000


def test_smooth_halving_is_a_binomial_mean_of_four_pixels_each_way():
    image = torch.rand(1, 2, 8, 6)
    halved = SmoothHalving(2)(image)
    assert halved.shape == (1, 2, 4, 3)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    expected = (image[0, 1, 1:5, 1:5] * taps[:, None] * taps).sum()
    assert float(halved[0, 1, 1, 1]) == pytest.approx(float(expected), abs=1e-6)
    assert torch.allclose(SmoothHalving(1)(torch.full((1, 1, 4, 4), 0.7)), torch.full((1, 1, 2, 2), 0.7))


def test_a_smooth_network_minds_less_where_a_picture_lies_on_its_grid():
    """Moved by a pixel of the trunk (4 of the input), the heatmaps move along; how far from exactly, relative to themselves."""
    blob = F.interpolate(
        torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)), (96, 96), mode="bilinear"
    )

    def change(resampling):
        network = build_hourglass(replace(NETWORK, resampling=resampling), 5, seed=0).eval()
        with torch.no_grad():
            here, there = network(blob[..., :64, :64])[0], network(blob[..., 4:68, 4:68])[0]
        inner, step = slice(8, -8), here.shape[-1] // 16
        moved = here.roll((-step, -step), (2, 3))[..., inner, inner]
        return float((there[..., inner, inner] - moved).std() / moved.std())

    assert change("smooth") < 0.75 * change("plain")


def test_resampling_has_no_weights():
    plain = build_hourglass(NETWORK, 5, seed=0)
    smooth = build_hourglass(replace(NETWORK, resampling="smooth"), 5, seed=1)
    smooth.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert not torch.equal(smooth.eval()(image)[-1], plain.eval()(image)[-1])


@pytest.mark.parametrize(
    "wrong", [{"input_size": 100}, {"heatmap_size": 48}, {"heatmap_size": 1024}, {"input_size": 64, "depth": 5}]
)
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        HourglassSettings(**wrong)


@pytest.fixture
def model() -> Model:
    scheme = load_scheme("ibug68")
    return Model(build_hourglass(NETWORK, 68, 3).eval(), scheme, CropSettings(), 1.5, {"seed": 3})


def test_a_model_file_gives_the_same_model_back(model, tmp_path):
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors", model.scheme)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.network(image)[-1], loaded.network(image)[-1])
    assert (loaded.scheme, loaded.crop, loaded.sigma, loaded.about) == (model.scheme, model.crop, 1.5, {"seed": 3})
    assert not loaded.network.training


def test_files_that_are_no_models_are_refused_in_one_sentence(model, tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(SemalignError, match="no such model file"):
        load_model(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(SemalignError, match="cannot be read as a model file"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(SemalignError, match="not a Semalign model"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 1})})
    with pytest.raises(SemalignError, match="not a complete"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"semalign": json.dumps({"format": 99})})
    with pytest.raises(SemalignError, match="format 99"):
        load_model(path)
    save_model(path, model)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SemalignError, match="damaged"):
        load_model(path)


def test_a_model_of_another_scheme_is_refused(model, tmp_path):
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(SemalignError, match=r"'ibug68' \(68 points\).*'aflw19' \(19 points\)"):
        load_model(tmp_path / "m.safetensors", load_scheme("aflw19"))


def test_a_model_file_keeps_how_its_crops_are_read(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, replace(model, tta=2))
    assert load_model(path).tta == 2
    save_model(path, model)
    assert load_model(path).tta == 1


def test_scales_of_a_hourglass_may_grow_wider():
    settings = replace(NETWORK, width=8, depth=3, growth=2.0, input_size=64)
    assert settings.widths == (8, 16, 32, 64)
    assert replace(settings, growth=1.0).widths == (8, 8, 8, 8)
    assert replace(settings, width=20, growth=1.5).widths == (20, 32, 48, 64)
    wide, even = (build_hourglass(s, 5, seed=0) for s in (settings, replace(settings, growth=1.0)))
    assert count_parameters(wide) > 4 * count_parameters(even)
    assert wide(torch.rand(1, 3, 64, 64))[-1].shape == (1, 5, 32, 32)
    with pytest.raises(ValueError, match="growth"):
        replace(settings, growth=0.5)


def test_a_label_adaptation_comes_back_from_the_file_and_corrects_what_the_network_says(model, tmp_path):
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(60, model.scheme.count, 2)) + 5 * rng.normal(size=(model.scheme.count, 2))
    adaptation = fit_linear_adaptation(predicted, predicted + 0.1 * rng.normal(size=predicted.shape), count=2)
    path = tmp_path / "model.safetensors"
    save_model(path, replace(model, adaptation=adaptation))
    back = load_model(path).adaptation
    assert back is not None and back.count == 2
    assert all(np.array_equal(value, getattr(back, key)) for key, value in vars(adaptation).items())
    assert np.allclose(back.corrected(predicted), adaptation.corrected(predicted), rtol=0, atol=1e-12)
    save_model(path, model)
    assert load_model(path).adaptation is None


def test_a_kernel_label_adaptation_comes_back_and_is_kept_in_half_the_room(model, tmp_path):
    rng = np.random.default_rng(0)
    predicted = 40 * rng.normal(size=(model.scheme.count, 2)) + rng.normal(size=(60, model.scheme.count, 2))
    adaptation = fit_kernel_adaptation(predicted, predicted + rng.normal(size=predicted.shape))
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_model(whole, replace(model, adaptation=adaptation))
    save_model(half, replace(model, adaptation=adaptation), half=True)
    back, rough = load_model(whole).adaptation, load_model(half).adaptation
    assert isinstance(back, KernelAdaptation) and isinstance(rough, KernelAdaptation)
    assert np.allclose(back.corrected(predicted), adaptation.corrected(predicted), rtol=0, atol=1e-9)
    assert np.abs(rough.corrected(predicted) - adaptation.corrected(predicted)).max() < 0.02
    assert half.stat().st_size < 0.6 * whole.stat().st_size


def test_what_the_mesh_means_comes_back_and_is_kept_in_a_quarter_of_the_room(model, tmp_path):
    rng = np.random.default_rng(0)
    mesh = Translation(rng.normal(size=(478, 2)), rng.normal(size=1434), rng.normal(size=(1435, 68, 2)), np.array(0.1))
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_model(whole, replace(model, mesh=mesh))
    save_model(half, replace(model, mesh=mesh), half=True)
    again, shorter = load_model(whole).mesh, load_model(half).mesh
    assert again is not None and shorter is not None and load_model(whole).adaptation is None
    for key, value in vars(mesh).items():
        assert np.array_equal(getattr(again, key), value)
        assert np.allclose(getattr(shorter, key), value, rtol=1e-3, atol=1e-4)
    assert half.stat().st_size < whole.stat().st_size - 0.7 * mesh.coefficients.nbytes
