"""Fusing a unit's shape with peaks: against conditional normal distributions written out, and on errors of known size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.fusion import Fusion, fit_fusion, fuse
from semalign.core.gate import face_sizes, measures

N = 12


def covariances(rng: np.random.Generator, size: float) -> np.ndarray:
    """(2, n, n): errors of which most is shared by neighbours."""
    place = np.arange(N)
    kernel = np.exp(-(((place[:, None] - place[None]) / 4) ** 2)) + 0.05 * np.eye(N)
    return np.stack([kernel, kernel[::-1, ::-1] * rng.uniform(0.5, 2)]) * size**2


def faces(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Shapes of several sizes."""
    shape = np.stack([np.linspace(0, 1, N), np.sin(np.linspace(0, 3, N))], axis=-1)
    return torch.from_numpy(shape * rng.uniform(20, 40, (count, 1, 1)) + rng.uniform(0, 30, (count, 1, 2)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_it_is_the_mean_of_the_truth_given_unit_and_peaks(seed):
    """The oracle: joint normal distribution of truth and peaks, conditioned face by face with `numpy.linalg.inv`."""
    rng = np.random.default_rng(seed)
    covariance = covariances(rng, 0.05)
    fusion = Fusion(torch.from_numpy(covariance), *rng.uniform(0.1, 2, 2), rng.uniform(-8, -2))
    unit = faces(rng, 3)
    peaks = unit + torch.from_numpy(rng.normal(0, 2, unit.shape))
    measured = torch.from_numpy(rng.uniform(-2, 1, (3, N, 2)))
    fused = fuse(fusion, unit, peaks, measured)
    for row in range(3):
        spread = measured[row] @ torch.tensor([fusion.low, fusion.distance]).double() + fusion.offset
        noise = np.diag(spread.exp().numpy())
        for axis in (0, 1):
            gain = covariance[axis] @ np.linalg.inv(covariance[axis] + noise)
            expected = unit[row, :, axis].numpy() + gain @ (peaks - unit)[row, :, axis].numpy()
            assert np.allclose(fused[row, :, axis], expected, atol=1e-6)


@pytest.mark.parametrize("offset", [-40.0, 40.0])
def test_sure_peaks_are_kept_and_lost_ones_count_for_nothing(offset):
    rng = np.random.default_rng(0)
    unit = faces(rng, 4).float()
    peaks = unit + torch.from_numpy(rng.normal(0, 1, unit.shape)).float()
    fusion = Fusion(torch.from_numpy(covariances(rng, 0.05)), 0.0, 0.0, offset)
    fused = fuse(fusion, unit, peaks, torch.zeros(4, N, 2))
    assert fused.dtype == torch.float32
    assert torch.allclose(fused, peaks if offset < 0 else unit, atol=1e-3)


def drawn(seed: int, count: int = 400) -> tuple[torch.Tensor, ...]:
    """Unit, peaks, measures, truth: shared errors of the unit, peaks that are off by 0.005 or, if low, by far."""
    rng = np.random.default_rng(seed)
    truth = faces(rng, count)
    size = face_sizes(truth)[:, None, None].numpy()
    roots = np.linalg.cholesky(covariances(np.random.default_rng(0), 0.05))
    unit = truth + torch.from_numpy(np.einsum("aij,bja->bia", roots, rng.normal(0, 1, (count, N, 2))) * size)
    confidence = rng.choice([0.2, 1.0], (count, N), p=[0.25, 0.75])
    spread = np.where(confidence < 1, 0.3, 0.005)[..., None] * size
    peaks = truth + torch.from_numpy(rng.normal(0, 1, truth.shape) * spread)
    return unit, peaks, measures(peaks, torch.from_numpy(confidence), unit), truth


def test_a_fit_finds_how_sure_each_is_and_the_fused_shapes_are_nearer_than_either():
    fusion = fit_fusion(*drawn(0))
    expected = covariances(np.random.default_rng(0), 0.05)
    assert np.allclose(fusion.covariance, expected, atol=0.2 * expected.max())
    unit, peaks, measured, truth = drawn(1)
    error = {
        name: float((points - truth).norm(dim=-1).mean())
        for name, points in (("unit", unit), ("peaks", peaks), ("fused", fuse(fusion, unit, peaks, measured)))
    }
    assert error["fused"] < 0.4 * min(error["unit"], error["peaks"])
    spread = fusion.low * 0.8 + fusion.distance * np.log(0.3) + fusion.offset
    assert np.exp(spread / 2) == pytest.approx(0.3, rel=0.3)


def test_landmarks_without_a_known_point_do_not_count():
    unit, peaks, measured, truth = drawn(2)
    there = fit_fusion(unit, peaks, measured, truth)
    truth = truth.clone()
    gone = torch.from_numpy(np.random.default_rng(0).random(truth.shape[:2]) < 0.3)
    truth[gone] = torch.nan
    fusion = fit_fusion(unit, peaks, measured, truth)
    assert np.linalg.eigvalsh(fusion.covariance).min() > -1e-12
    assert torch.allclose(fusion.covariance, there.covariance, atol=0.2 * float(there.covariance.max()))
    assert fusion.offset == pytest.approx(there.offset, abs=0.5)


def test_a_few_faces_that_never_differ_still_give_finite_numbers():
    unit = faces(np.random.default_rng(0), 2)
    fusion = fit_fusion(unit, unit, torch.zeros(2, N, 2), unit)
    fused = fuse(fusion, unit, unit + 1, torch.zeros(2, N, 2))
    assert fused.isfinite().all()
