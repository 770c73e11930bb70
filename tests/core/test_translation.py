"""Landmarks from other points of the same faces: what is linear is found, and no face is translated by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.translation import LEAST_FACES, fit_translation, translated

KNOWN, WANTED, FACES = 30, 7, 160


def faces(seed: int, noise: float = 0.0, count: int = FACES) -> tuple[np.ndarray, np.ndarray]:
    """Meshes (b, 30, 3) and landmarks (b, 7, 2) that are linear in them, anywhere, of any size and turn."""
    rng = np.random.default_rng(seed)
    mean, modes = rng.normal(size=(KNOWN, 3)), 0.15 * rng.normal(size=(4, KNOWN, 3))
    own = mean + np.einsum("bk,knd->bnd", rng.normal(size=(count, 4)), modes)
    mixing = rng.dirichlet(np.full(KNOWN, 0.3), WANTED)
    landmarks = mixing @ own[..., :2] + 0.2 * own[:, :WANTED, 2:]
    size, angle = rng.uniform(20, 80, count), rng.uniform(-0.5, 0.5, count)
    turn = (
        np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
        * size[:, None, None]
    )
    shift = rng.uniform(0, 500, (count, 1, 2))
    known = np.concatenate(
        [own[..., :2] @ turn.transpose(0, 2, 1) + shift, own[..., 2:] * size[:, None, None]], axis=-1
    )
    return known, landmarks @ turn.transpose(0, 2, 1) + shift + noise * size[:, None, None] * rng.normal(
        size=landmarks.shape
    )


def error(found: np.ndarray, wanted: np.ndarray, known: np.ndarray) -> float:
    """Mean distance in sizes of the mesh."""
    size = np.sqrt(((known[..., :2] - known[..., :2].mean(1, keepdims=True)) ** 2).sum(-1).mean(1))
    return float((np.linalg.norm(found - wanted, axis=-1) / size[:, None]).mean())


def test_what_is_linear_is_found_in_new_faces():
    known, wanted = faces(0)
    translation = fit_translation(known[:120], wanted[:120])
    assert error(translation(known[120:]), wanted[120:], known[120:]) < 0.01
    assert error(np.repeat(known[120:, :1, :2], WANTED, 1), wanted[120:], known[120:]) > 0.3


def test_the_more_noise_the_more_it_is_held_back_and_the_noise_is_not_learned():
    quiet, loud = faces(1), faces(1, noise=0.2)
    assert fit_translation(*loud).ridge > fit_translation(*quiet).ridge
    found = translated(*loud, np.arange(FACES) % 5)
    assert error(found, quiet[1], quiet[0]) < 0.5 * error(loud[1], quiet[1], quiet[0])


def test_no_face_is_translated_by_its_own_landmarks():
    known, wanted = faces(2, noise=0.1)
    folds = np.arange(FACES) % 4
    found = translated(known, wanted, folds)
    other = wanted.copy()
    other[folds == 3] += 100.0
    again = translated(known, other, folds)
    assert np.array_equal(again[folds == 3], found[folds == 3])
    assert np.abs(again[folds != 3] - found[folds != 3]).max() > 1.0


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-300, 300))
def test_it_goes_along_when_a_picture_is_turned_scaled_and_shifted(angle, size, shift):
    known, wanted = faces(3, count=60)
    translation = fit_translation(known, wanted)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = np.concatenate([known[..., :2] @ turn.T + shift, size * known[..., 2:]], axis=-1)
    assert np.allclose(translation(moved), translation(known) @ turn.T + shift, atol=1e-6 * (1 + abs(shift)))


def test_an_absent_landmark_is_learned_from_the_faces_that_have_it():
    known, wanted = faces(4)
    some = wanted.copy()
    some[:40, 2], some[:, 5] = np.nan, np.nan
    found = fit_translation(known, some)(known)
    assert error(found[:, [2]], wanted[:, [2]], known) < 0.02
    assert np.isfinite(found).all()
    whole = fit_translation(known, wanted)(known)
    assert error(found[:, [0, 1, 3, 4, 6]], whole[:, [0, 1, 3, 4, 6]], known) < 0.01


def test_too_few_faces_are_refused():
    known, wanted = faces(5)
    with pytest.raises(ValueError, match=f"{LEAST_FACES} faces"):
        fit_translation(known[: LEAST_FACES - 1], wanted[: LEAST_FACES - 1])
