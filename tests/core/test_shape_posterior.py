"""The most probable shape: exact against the formula, sure landmarks stay, unsure ones follow the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.shape_posterior import LEAST, LOOSE, fit_shape_prior, frames_of, posterior


def shapes(count: int = 200, seed: int = 0) -> np.ndarray:
    """Six points, the sixth of which follows the first."""
    rng = np.random.default_rng(seed)
    mean = np.array([[-1.0, -1], [1, -1], [0, 0], [-0.6, 0.8], [0.6, 0.8], [-1.5, 0.2]])
    moved = rng.normal(0, 0.01, (count, 6, 2))
    moved[:, 0] *= 10
    moved[:, 5] = 1.5 * moved[:, 0] + rng.normal(0, 0.005, (count, 2))
    return 40 * (mean + moved) + rng.normal(0, 30, (count, 1, 2))


PRIOR = fit_shape_prior(shapes())


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-3.1, 3.1),
    st.floats(0.01, 300),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.integers(0, 2**31),
)
def test_frames_are_the_similarity_that_made_the_shape(angle, size, shift, seed):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (size * PRIOR.mean @ turn.T + np.array(shift))[None]
    weights = np.random.default_rng(seed).uniform(0.01, 1, (1, 6))
    frames = frames_of(points, PRIOR.mean, weights)
    assert frames.size.item() == pytest.approx(size, rel=1e-6)
    assert np.allclose(frames.to_mean(points)[0], PRIOR.mean, atol=1e-6)
    assert np.allclose(frames.to_picture(frames.to_mean(points)), points, atol=1e-6 * (1 + size))
    of_tensors = frames_of(*(torch.from_numpy(values) for values in (points, PRIOR.mean, weights)))
    for own, other in zip(frames, of_tensors, strict=True):
        assert np.allclose(own, other.numpy(), rtol=1e-12)


def test_points_at_one_place_give_finite_frames():
    frames = frames_of(np.full((2, 6, 2), 5.0), PRIOR.mean, np.ones((2, 6)))
    assert all(np.isfinite(part).all() for part in frames)


def test_the_prior_is_of_size_one_without_turn_scale_and_shift():
    assert (PRIOR.mean**2).sum(axis=1).mean() == pytest.approx(1.0)
    assert np.allclose(PRIOR.mean.mean(axis=0), 0, atol=1e-12)
    plain = fit_shape_prior(shapes())
    turned = fit_shape_prior(shapes() @ np.array([[0.0, 3.0], [-3.0, 0.0]]))
    aligned = frames_of(turned.mean[None], plain.mean, np.ones((1, 6))).to_mean(turned.mean[None])[0]
    assert np.allclose(aligned, plain.mean, atol=1e-9)


def test_mirror_images_make_the_prior_symmetrical():
    flip = (1, 0, 2, 4, 3, 5)
    prior = fit_shape_prior(shapes(), flip)
    mirrored = prior.mean[list(flip)] * [-1.0, 1.0]
    back = frames_of(mirrored[None], prior.mean, np.ones((1, 6))).to_mean(mirrored[None])[0]
    assert np.allclose(back, prior.mean, atol=0.02)


def test_the_posterior_is_that_of_the_formula_for_arrays_and_tensors():
    rng = np.random.default_rng(0)
    seen = PRIOR.mean + 0.1 * rng.normal(size=(3, 6, 2))
    variance = rng.uniform(size=(3, 6))
    mean = PRIOR.mean.flatten()
    turned = np.stack([-PRIOR.mean[:, 1], PRIOR.mean[:, 0]], 1).flatten()
    x = np.array([1.0, 0] * 6)
    free = sum(np.outer(v, v) for v in (mean, turned, x, 1 - x))
    wide = PRIOR.covariance + LOOSE * free + LEAST * np.eye(12)
    found = posterior(PRIOR, seen, variance)
    for row in range(3):
        errors = np.diag(variance[row].repeat(2))
        expected = mean + wide @ np.linalg.inv(wide + errors) @ (seen[row].flatten() - mean)
        assert np.allclose(found[row].flatten(), expected, atol=1e-9)
    learning = torch.from_numpy(variance).requires_grad_()
    same = posterior(PRIOR, torch.from_numpy(seen), learning)
    assert np.allclose(same.detach().numpy(), found, atol=1e-12)
    same.sum().backward()
    assert learning.grad is not None and learning.grad.abs().sum() > 0


def test_sure_landmarks_stay_and_an_unsure_one_goes_where_the_others_say():
    truth = shapes(40, seed=9)
    frames = frames_of(truth, PRIOR.mean, np.ones((40, 6)))
    seen = frames.to_mean(truth)
    right = seen.copy()
    seen[:, 5] += 2.0  # the network is far off, and knows it
    variance = np.full((40, 6), 1e-9)
    variance[:, 5] = 10.0
    found = posterior(PRIOR, seen, variance)
    assert np.allclose(found[:, :5], right[:, :5], atol=1e-3)
    missed = np.linalg.norm(found[:, 5] - right[:, 5], axis=1).mean()
    by_the_mean = np.linalg.norm(PRIOR.mean[5] - right[:, 5], axis=1).mean()
    assert missed < 0.25 * by_the_mean
