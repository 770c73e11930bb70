"""The face mesh against MediaPipe's own answers, and in mirrored pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semalign.errors import SemalignError
from semalign.models import face_mesh as module
from semalign.models.face_mesh import INPUT, POINTS, FaceMesh, face_mesh, square_around

ORACLE = Path(__file__).with_name("face_mesh.npz")  # two synthetic faces and what MediaPipe 0.10.14 finds in them


@pytest.fixture(scope="module")
def oracle() -> tuple[torch.Tensor, np.ndarray]:
    with np.load(ORACLE) as kept:
        pictures = torch.from_numpy(kept["pictures"]).permute(0, 3, 1, 2).float() / 255
        return pictures, kept["points"].astype(np.float64)


def test_it_finds_what_mediapipe_finds(oracle):
    pictures, points = oracle
    with torch.inference_mode():
        found = face_mesh()(pictures).numpy()
    assert np.abs(found[..., :2] - (points[..., :2] - 0.5)).max() < 1e-3  # MediaPipe's pixels begin at their corner
    assert np.abs(found[:, :468, 2] - points[:, :468, 2]).max() < 1e-3


def test_a_face_does_not_depend_on_the_others_of_its_batch(oracle):
    pictures, _ = oracle
    with torch.inference_mode():
        both, alone = face_mesh()(pictures), face_mesh()(pictures[:1])
    assert torch.allclose(both[:1], alone, atol=1e-3)


def test_mirroring_exchanges_points_in_pairs(oracle):
    pictures, _ = oracle
    mirror = face_mesh().mirror
    assert torch.equal(mirror[mirror], torch.arange(POINTS))
    with torch.inference_mode():
        plain, mirrored = face_mesh()(pictures)[..., :2], face_mesh()(pictures.flip(3))[..., :2]
    back = mirrored * torch.tensor([-1.0, 1.0]) + torch.tensor([INPUT - 1.0, 0.0])
    assert (plain - back[:, mirror]).norm(dim=-1).mean() < 4.0  # of 192 pixels
    assert (plain - back).norm(dim=-1).mean() > 20.0


def test_the_square_around_a_part_turns_with_it():
    points = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [2.0, 1.0]]])
    upright = square_around(points, points[:, :2])
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = square_around(points @ turn.T, points[:, :2] @ turn.T)
    assert torch.allclose(turned[..., :2], turn @ upright[..., :2], atol=1e-6)
    assert torch.allclose(turned[..., 2], upright[..., 2] @ turn.T, atol=1e-6)
    corners = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]) @ upright[0].T
    assert torch.allclose(corners, torch.tensor([[-1.0, -0.25], [5.0, 1.25]]))


def test_missing_weights_are_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "face_mesh.safetensors")
    face_mesh.cache_clear()
    try:
        with pytest.raises(SemalignError, match="install semalign again"):
            face_mesh()
    finally:
        monkeypatch.undo()
        face_mesh.cache_clear()
    assert isinstance(face_mesh(), FaceMesh)
