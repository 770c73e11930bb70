"""The face mesh as a network that is trained on: where its heatmaps are before any training, and what learns how fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from semalign.core.affine import invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.core.warp import warp
from semalign.data.crops import CropSettings
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.face_mesh import INPUT, POINTS, face_mesh
from semalign.models.mesh_network import MeshNetwork, MeshSettings
from semalign.models.network import build_network
from semalign.schemes import load_scheme
from semalign.training.settings import TrainingSettings
from semalign.training.trainer import make_optimizer

CHOSEN = (33, 263, 1, 61, 291, 152)  # points of the mesh: corners of eyes and mouth, nose, chin


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    with np.load(Path(__file__).with_name("face_mesh.npz")) as kept:
        return torch.from_numpy(kept["pictures"]).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def meshes(pictures) -> np.ndarray:
    """Of many faces: the two of the pictures, each point moved a little, at any place and turned."""
    random = np.random.default_rng(0)
    with torch.inference_mode():
        found = face_mesh()(pictures).double().numpy()[random.integers(0, 2, 80)]
    found = found + random.normal(0, 2, found.shape)
    angle = random.uniform(-1, 1, (80, 1))
    x, y = found[..., 0].copy(), found[..., 1].copy()
    found[..., 0] = 3 * (np.cos(angle) * x - np.sin(angle) * y) + random.uniform(0, 500, (80, 1))
    found[..., 1] = 3 * (np.sin(angle) * x + np.cos(angle) * y) + random.uniform(0, 500, (80, 1))
    found[..., 2] *= 3
    return found


@pytest.fixture(scope="module")
def network(meshes) -> MeshNetwork:
    made = build_network(MeshSettings(), len(CHOSEN), 0)
    assert isinstance(made, MeshNetwork)
    made.begin(meshes, meshes[:, CHOSEN, :2])
    return made.eval()


def decoded(heatmaps: Tensor) -> Tensor:
    """In the frame of the network's input."""
    size = heatmaps.shape[-1]
    found = decode_heatmaps(heatmaps, 4.8 * size / 256)
    return transform_points(found.points.double(), rescaling(size, INPUT))


def test_before_any_training_both_sets_show_what_the_mesh_s_points_mean(network, pictures):
    with torch.inference_mode():
        first, last = network(pictures)
        wanted = face_mesh()(pictures)[:, CHOSEN, :2]
    assert first.shape == last.shape == (2, len(CHOSEN), 48, 48)
    assert (decoded(first) - wanted).norm(dim=-1).max() < 6
    assert (decoded(last) - wanted).norm(dim=-1).mean() < 3
    assert torch.allclose(decoded(first), decoded(last), atol=1e-2)


def test_a_turned_face_has_its_landmarks_turned(network, pictures):
    angle, middle = torch.tensor(0.3, dtype=torch.float64), (INPUT - 1) / 2
    linear = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(1, 2, 2)
    turn = torch.cat([linear, (middle - linear.sum(-1) * middle)[..., None]], dim=2)
    with torch.inference_mode():
        plain, turned = decoded(network(pictures)[-1]), decoded(network(warp(pictures, turn, INPUT))[-1])
    assert (transform_points(turned, invert(turn)) - plain).norm(dim=-1).mean() < 4
    assert (turned - plain).norm(dim=-1).mean() > 10


def test_training_varies_the_second_look_by_the_picture_alone(network, pictures):
    with torch.no_grad():
        network.train()
        both, again, alone = network(pictures)[0], network(pictures)[0], network(pictures[1:])[0]
        brighter = network(pictures + 1e-4)[0]
        still = network.eval()(pictures)[0]
    assert torch.equal(both, again) and torch.allclose(both[1:], alone, atol=1e-3)
    assert not torch.allclose(both, brighter, atol=1e-3) and not torch.allclose(both, still, atol=1e-3)


def test_landmarks_that_some_faces_lack_are_learned_from_the_others(meshes, network, pictures):
    wanted = meshes[:, CHOSEN, :2].copy()
    wanted[::2, 1] = np.nan
    wanted[:, 3] = np.nan
    gappy = MeshNetwork(MeshSettings(), len(CHOSEN)).eval()
    gappy.begin(meshes, wanted)
    with torch.inference_mode():
        found, whole = decoded(gappy(pictures)[0]), decoded(network(pictures)[0])
    others = [0, 2, 4, 5]
    assert torch.allclose(found[:, others], whole[:, others], atol=1e-2)
    assert (found[:, 1] - whole[:, 1]).norm(dim=-1).max() < 4
    assert gappy.map.weight.isfinite().all()


def test_the_mesh_learns_slowly_the_correction_fast_and_the_rest_not_at_all(meshes, pictures):
    network = MeshNetwork(MeshSettings(), len(CHOSEN))
    network.begin(meshes, meshes[:, CHOSEN, :2])
    settings = TrainingSettings(learning_rate=1e-3, pretrained_rate=0.1, weight_decay=0.5)
    groups = {
        (group["share"], group["weight_decay"]): set(group["params"])
        for group in make_optimizer(network, settings).param_groups
    }
    assert set(groups) == {(1.0, 0.5), (1.0, 0.0), (0.1, 0.5), (0.1, 0.0)}
    assert groups[0.1, 0.5] | groups[0.1, 0.0] == set(network.second.parameters())
    sum(maps.square().sum() for maps in network(pictures)).backward()
    learned = {name for name, value in network.named_parameters() if value.grad is not None}
    assert not any(name.startswith(("first.", "map.")) for name in learned)
    assert {"width", "second.stem.0.weight", "second.lips.shared.0.depthwise.weight", "correction.own"} <= learned


def test_the_same_seed_gives_the_same_network_whether_or_not_the_mesh_was_asked_before():
    face_mesh.cache_clear()
    one, other = (build_network(MeshSettings(), 3, seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_file_holds_it(network, pictures, tmp_path):
    scheme = load_scheme("ibug68")
    whole = build_network(MeshSettings(), scheme.count, 0)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(whole, scheme, CropSettings(1.6, 1.25), 0.9, {}))
    again = load_model(path).network
    assert again.settings == MeshSettings() and POINTS == 478
    with torch.inference_mode():
        assert torch.equal(again(pictures)[-1], whole.eval()(pictures)[-1])
