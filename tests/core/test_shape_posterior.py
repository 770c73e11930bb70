"""The most probable shape: exact against the formula, sure landmarks stay, unsure ones follow the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.shape_posterior import LEAST, LOOSE, fit_shape_prior, frames_of, posterior


def shapes(count: int = 200, seed: int = 0) -> torch.Tensor:
    """Six points, the sixth of which follows the first."""
    rng = np.random.default_rng(seed)
    mean = np.array([[-1.0, -1], [1, -1], [0, 0], [-0.6, 0.8], [0.6, 0.8], [-1.5, 0.2]])
    moved = rng.normal(0, 0.01, (count, 6, 2))
    moved[:, 0] *= 10
    moved[:, 5] = 1.5 * moved[:, 0] + rng.normal(0, 0.005, (count, 2))
    return torch.from_numpy(40 * (mean + moved) + rng.normal(0, 30, (count, 1, 2)))


PRIOR = fit_shape_prior(shapes())


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-3.1, 3.1),
    st.floats(0.01, 300),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.integers(0, 2**31),
)
def test_frames_are_the_similarity_that_made_the_shape(angle, size, shift, seed):
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    points = (size * PRIOR.mean @ turn.T + torch.tensor(shift, dtype=torch.float64))[None]
    weights = torch.from_numpy(np.random.default_rng(seed).uniform(0.01, 1, (1, 6)))
    frames = frames_of(points, PRIOR.mean, weights)
    assert frames.size.item() == pytest.approx(size, rel=1e-6)
    assert torch.allclose(frames.to_mean(points)[0], PRIOR.mean, atol=1e-6)
    assert torch.allclose(frames.to_picture(frames.to_mean(points)), points, atol=1e-6 * (1 + size))


def test_points_at_one_place_give_finite_frames():
    frames = frames_of(torch.full((2, 6, 2), 5.0, dtype=torch.float64), PRIOR.mean, torch.ones(2, 6).double())
    assert all(torch.isfinite(part).all() for part in frames)


def test_the_prior_is_of_size_one_without_turn_scale_and_shift():
    assert PRIOR.mean.square().sum(dim=1).mean().item() == pytest.approx(1.0)
    assert torch.allclose(PRIOR.mean.mean(dim=0), torch.zeros(2).double(), atol=1e-12)
    plain = fit_shape_prior(shapes())
    turned = fit_shape_prior(shapes() @ torch.tensor([[0.0, 3.0], [-3.0, 0.0]], dtype=torch.float64))
    aligned = frames_of(turned.mean[None], plain.mean, torch.ones(1, 6).double()).to_mean(turned.mean[None])[0]
    assert torch.allclose(aligned, plain.mean, atol=1e-9)


def test_mirror_images_make_the_prior_symmetrical():
    flip = (1, 0, 2, 4, 3, 5)
    prior = fit_shape_prior(shapes(), flip)
    mirrored = prior.mean[list(flip)] * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    back = frames_of(mirrored[None], prior.mean, torch.ones(1, 6).double()).to_mean(mirrored[None])[0]
    assert torch.allclose(back, prior.mean, atol=0.02)


def test_the_posterior_is_that_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    seen = PRIOR.mean + 0.1 * torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    variance = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    mean = PRIOR.mean.flatten()
    turned = torch.stack([-PRIOR.mean[:, 1], PRIOR.mean[:, 0]], 1).flatten()
    x = torch.tensor([1.0, 0] * 6, dtype=torch.float64)
    free = sum(torch.outer(v, v) for v in (mean, turned, x, 1 - x))
    wide = PRIOR.covariance + LOOSE * free + LEAST * torch.eye(12)
    for row in range(3):
        errors = torch.diag(variance[row].repeat_interleave(2))
        expected = mean + wide @ torch.linalg.inv(wide + errors) @ (seen[row].flatten() - mean)
        assert torch.allclose(posterior(PRIOR, seen, variance)[row].flatten(), expected, atol=1e-9)


def test_sure_landmarks_stay_and_an_unsure_one_goes_where_the_others_say():
    truth = shapes(40, seed=9)
    frames = frames_of(truth, PRIOR.mean, torch.ones(40, 6).double())
    seen = frames.to_mean(truth)
    right = seen.clone()
    seen[:, 5] += 2.0  # the network is far off, and knows it
    variance = torch.full((40, 6), 1e-9, dtype=torch.float64)
    variance[:, 5] = 10.0
    found = posterior(PRIOR, seen, variance)
    assert torch.allclose(found[:, :5], right[:, :5], atol=1e-3)
    missed = (found[:, 5] - right[:, 5]).norm(dim=1).mean()
    by_the_mean = (PRIOR.mean[5] - right[:, 5]).norm(dim=1).mean()
    assert missed < 0.25 * by_the_mean
