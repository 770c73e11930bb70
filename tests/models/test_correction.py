"""A correction for hidden landmarks: moves with the face, works without spreads, and its file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.error_scale import ErrorScale
from semalign.core.shape_posterior import fit_shape_prior
from semalign.errors import SemalignError
from semalign.models import pretrained
from semalign.models.correction import Correction, Errors, Presence, ShapeCorrection, load_correction, save_correction
from semalign.models.correction_network import CorrectionNetwork
from semalign.models.ghcu import Ghcu, GhcuSettings, build_ghcu, save_ghcu
from semalign.schemes import LandmarkScheme, load_scheme

SCHEME = LandmarkScheme("five", ("a", "b", "c", "d", "e"))
RNG = np.random.default_rng(4)
MEAN = np.array([[-1.0, -1], [1, -1], [0, 0], [-0.6, 0.8], [0.6, 0.8]])
FACES = 30 * (MEAN + RNG.normal(0, 0.1, (50, 5, 2))) + 100
LIMIT = 1_000_000  # bytes of a file that ships


def correction(scheme: LandmarkScheme = SCHEME) -> ShapeCorrection:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CorrectionNetwork(scheme.count)
        for value in network.parameters():
            torch.nn.init.normal_(value, std=0.5)
    prior = fit_shape_prior(np.tile(FACES, (1, -(-scheme.count // 5), 1))[:, : scheme.count])
    return ShapeCorrection(prior, network.reader(), scheme, {"recipe": "r"}, {"seed": 3})


CORRECTION = correction()
SURE = RNG.uniform(0, 1, (50, 5))
SPREAD = RNG.uniform(1, 5, (50, 5, 2))


@settings(deadline=None, max_examples=30)
@given(st.floats(-3.1, 3.1), st.floats(0.05, 50), st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)))
def test_what_it_says_turns_grows_and_moves_with_the_face(angle, size, shift):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    plain = CORRECTION(FACES[:3], SURE[:3], SPREAD[:3])
    moved = CORRECTION(size * FACES[:3] @ turn.T + shift, SURE[:3], size * SPREAD[:3])
    assert np.allclose(moved.visibility, plain.visibility, atol=1e-5)
    assert np.allclose(moved.points, size * plain.points @ turn.T + shift, atol=1e-4 * (1 + size))


def test_points_are_moved_only_where_that_is_asked_for():
    judged = CORRECTION(FACES, SURE, SPREAD, move=False)
    assert judged.points is FACES
    corrected = CORRECTION(FACES, SURE, SPREAD)
    assert np.array_equal(judged.visibility, corrected.visibility)
    assert np.abs(corrected.points - FACES).max() > 0.1
    assert ((judged.visibility > 0) & (judged.visibility < 1)).all()


def test_a_face_is_judged_alike_alone_and_among_others():
    together, alone = CORRECTION(FACES, SURE, SPREAD), CORRECTION(FACES[7:8], SURE[7:8], SPREAD[7:8])
    assert np.allclose(together.points[7], alone.points[0], atol=1e-9)
    assert np.allclose(together.visibility[7], alone.visibility[0], atol=1e-6)


def test_without_spreads_they_count_as_the_usual_ones():
    usual = correction()
    size = 30 * np.sqrt((MEAN**2).sum(1).mean())
    usual.reader.usual[:, 1] = math.log(2.0 / size)
    without = usual(MEAN[None] * 30, SURE[:1], None)
    known = usual(MEAN[None] * 30, SURE[:1], np.full((1, 5, 2), 2.0))
    assert np.allclose(without.visibility, known.visibility, atol=0.02)
    assert not np.allclose(
        without.visibility, usual(MEAN[None] * 30, SURE[:1], np.full((1, 5, 2), 9.0)).visibility, 0.02
    )


def test_what_is_learned_is_computed_alike_without_pytorch():
    network = CorrectionNetwork(5).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.5)
    seen = RNG.normal(size=(20, 5, 2)).astype(np.float32)
    seen[3, 1] = np.nan
    with torch.no_grad():
        ours, theirs = network.reader()(seen), network(torch.from_numpy(seen))
    for own, other in zip(ours, theirs, strict=True):
        assert np.allclose(own, other.numpy(), atol=1e-5)
        assert own.dtype == other.numpy().dtype


def test_no_faces_are_judged_as_none():
    judged = CORRECTION(np.empty((0, 5, 2)), np.empty((0, 5)), None)
    assert judged.points.shape == (0, 5, 2) and judged.visibility.shape == (0, 5)


def test_its_file_gives_the_same(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    save_correction(path, CORRECTION)
    again = load_correction(path, SCHEME)
    assert isinstance(again, Correction)
    assert (again.base, again.about, again.scheme) == (CORRECTION.base, CORRECTION.about, SCHEME)
    before, after = CORRECTION(FACES, SURE, SPREAD), again(FACES, SURE, SPREAD)
    assert np.allclose(before.points, after.points, atol=1e-3)
    assert np.allclose(before.visibility, after.visibility, atol=1e-6)


def test_files_of_others_are_refused_in_a_sentence(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    save_correction(path, CORRECTION)
    other = LandmarkScheme("three", ("a", "b", "c"))
    with pytest.raises(SemalignError, match=r"'five' \(5 points\), but the network has 'three'"):
        load_correction(path, other)
    save_ghcu(tmp_path / "g.safetensors", Ghcu(build_ghcu(GhcuSettings(16), 5, seed=0), SCHEME))
    with pytest.raises(SemalignError, match="holds no correction for hidden landmarks"):
        load_correction(tmp_path / "g.safetensors")
    with pytest.raises(SemalignError, match="there is no such model file"):
        load_correction(tmp_path / "none.safetensors")


def test_a_correction_beside_a_model_file_is_found(tmp_path: Path):
    assert pretrained.correction_beside(tmp_path / "model.safetensors", SCHEME) is None
    save_correction(tmp_path / "model.correction.safetensors", CORRECTION)
    for name in ("model.safetensors", "model.onnx"):
        found = pretrained.correction_beside(tmp_path / name, SCHEME)
        assert found is not None and found.about == {"seed": 3}


@pytest.mark.parametrize("name", pretrained.corrections())
def test_a_shipped_correction_is_small_and_belongs_to_a_shipped_model(name: str):
    path = pretrained.corrections()[name]
    assert path.stat().st_size <= LIMIT
    model, made = pretrained.load(name), load_correction(path)
    found = pretrained.correction_for(model.about, model.scheme)
    assert found is not None and found.about == made.about
    assert made.about["terms"] == model.about["terms"]
    assert "--correct" in pretrained.card(name)
    exported = {**model.about, "terms": "other words"}
    assert pretrained.correction_for(exported, model.scheme) is not None


def test_the_default_has_a_correction_and_others_have_none():
    assert pretrained.DEFAULT in pretrained.corrections()
    assert pretrained.correction_for({}, load_scheme("ibug68")) is None
    demo = pretrained.load("synthetic-demo")
    assert pretrained.correction_for(demo.about, demo.scheme) is None


def test_uncertainty_turns_grows_and_is_kept_in_the_file(tmp_path: Path):
    lengths = np.array([[[4e-4, 0], [0, 1e-4]]] * 5)
    scale = ErrorScale(lengths, np.full(5, -7.0), 0.5)
    plain = correction()
    assert plain(FACES, SURE, SPREAD).uncertainty is None
    presence = Presence(np.array([8.0, -0.5]), -6.0)
    told = replace(plain, errors=Errors(scale, ErrorScale(lengths / 4, np.full(5, -7.0), 0.5), presence))
    found, moved = told(FACES, SURE, SPREAD, move=False), told(FACES, SURE, SPREAD)
    assert np.median(moved.uncertainty / found.uncertainty) == pytest.approx(0.5, rel=0.1)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = told(3 * FACES @ quarter.T, SURE, 3 * SPREAD, move=False)
    assert np.allclose(turned.uncertainty, 3 * found.uncertainty[..., ::-1], rtol=1e-5)
    save_correction(tmp_path / "c.safetensors", told)
    again = load_correction(tmp_path / "c.safetensors")(FACES, SURE, SPREAD, move=False)
    assert np.allclose(again.uncertainty, found.uncertainty, rtol=1e-4)
    assert np.allclose(again.presence, found.presence) and np.allclose(found.presence, moved.presence)
    assert np.corrcoef(found.presence, SURE.mean(axis=1))[0, 1] > 0.5
