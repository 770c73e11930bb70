"""Landmarks carried over by a warp go along with the points, and a face held out is judged by the others alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.carrying import alike, held_out, ridge, warp_weights


def spread_points(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points about as far apart as a face's, no two on one spot."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.4, 1.0, (count, 1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), known=st.integers(5, 40), wanted=st.integers(1, 20))
def test_a_warp_that_is_affine_takes_the_landmarks_along(seed: int, known: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = spread_points(rng, known), rng.uniform(-1.2, 1.2, (wanted, 2))
    weights = warp_weights(source, target)
    matrix, shift = rng.normal(size=(2, 2)), rng.uniform(-300, 300, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-8)
    np.testing.assert_allclose(weights @ (source @ matrix + shift), target @ matrix + shift, atol=1e-6)


def test_a_landmark_on_a_known_point_goes_where_that_goes() -> None:
    rng = np.random.default_rng(0)
    source = spread_points(rng, 30)
    moved = source + rng.normal(0, 0.02, source.shape)
    found = warp_weights(source, source[[3, 17]]) @ moved
    assert np.abs(found - moved[[3, 17]]).max() < 0.005
    between = warp_weights(source, source[:1] * 0.5 + source[1:2] * 0.5) @ (source + np.eye(30)[:, :1] * 0.1)
    assert 0.01 < (between - (source[0] + source[1]) / 2)[0, 0] < 0.1  # half of it, as its other neighbour stays


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.01, 1.0, 100.0]))
def test_a_face_held_out_is_told_by_what_the_others_teach(seed: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = torch.from_numpy(rng.normal(size=(3, 20, 6))), torch.from_numpy(rng.normal(size=(3, 20, 2)))
    folds = rng.permutation(20) % 4
    found = held_out(x, y, folds, (penalty, 7.0))[0]
    for fold in range(4):
        own = torch.from_numpy(folds == fold)
        weights, bias = ridge(x[:, ~own], y[:, ~own], penalty)
        torch.testing.assert_close(found[:, own], x[:, own] @ weights + bias[:, None])
    assert torch.equal(held_out(x, y, folds, (penalty,))[0], found)


def test_what_is_linear_is_learned_and_a_penalty_holds_it_back() -> None:
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(50, 5)))
    true = torch.from_numpy(rng.normal(size=(5, 2)))
    weights, bias = ridge(x, x @ true + 3, 1e-6)
    torch.testing.assert_close(weights, true, atol=1e-4, rtol=0)
    torch.testing.assert_close(bias, torch.full((2,), 3.0, dtype=torch.float64), atol=1e-4, rtol=0)
    assert float(ridge(x, x @ true, 100.0)[0].norm()) < 0.7 * float(true.norm())


def test_landmarks_of_the_same_faces_are_learned_together() -> None:
    there = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 0]], bool)
    groups = {tuple(columns.tolist()): rows.tolist() for columns, rows in alike(there)}
    assert groups == {(0, 1): [0, 1, 2, 3], (2,): [1, 2]}


def test_few_known_points_on_a_line_are_no_frame() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        warp_weights(np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), np.zeros((1, 2)))
