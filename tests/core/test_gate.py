"""The gate: which peaks are worth replacing by the correction unit's points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from semalign.core.gate import fit_gate, measures, unconfidence


def gate_data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Peaks with an error of 1 and, where they are low and far from the unit's point, 10; the unit's error is 3."""
    rng = np.random.default_rng(seed)
    measured = np.column_stack([rng.uniform(0, 1, 3000), rng.uniform(-5, 0, 3000)])
    failed = 2 * measured[:, 0] + measured[:, 1] > -0.5
    return measured, np.where(failed, 10.0, 1.0) + rng.normal(0, 0.3, 3000) - 3.0


def test_the_gate_finds_which_landmarks_to_replace():
    gate = fit_gate(*gate_data(0))
    assert gate.low / gate.distance == pytest.approx(2.0, rel=0.15)
    measured, gain = gate_data(1)
    replaced = unconfidence(gate, torch.from_numpy(measured)[None])[0].numpy() > 0
    assert float(((gain > 0) == replaced).mean()) > 0.97
    assert gain[replaced].sum() > 0.97 * gain[gain > 0].sum()


@pytest.mark.parametrize(("gain", "share"), [(-1.0, 0.0), (1.0, 1.0)])
def test_a_unit_that_never_or_always_gains_is_used_never_or_always(gain, share):
    measured, _ = gate_data(0)
    gate = fit_gate(measured, np.full(len(measured), gain))
    replaced = unconfidence(gate, torch.from_numpy(measured)[None]) > 0
    assert float(replaced.float().mean()) == share
    assert all(math.isfinite(value) for value in (gate.low, gate.distance, gate.offset))


def test_equal_measures_share_their_fate_in_the_gate():
    measured = np.zeros((4, 2))
    gate = fit_gate(measured, np.array([5.0, -1.0, -1.0, -1.0]))
    assert (unconfidence(gate, torch.zeros(1, 4, 2, dtype=torch.float64)) > 0).all()


def test_measures_are_the_missing_height_and_the_distance_by_the_faces_size():
    unit = torch.tensor([[[0.0, 0.0], [10.0, 0.0], [10.0, 40.0]]])  # √(10·40) = 20
    peaks = unit + torch.tensor([[[0.0, 0.0], [6.0, 8.0], [0.0, 2.0]]])
    seen = measures(peaks, torch.tensor([[1.0, 0.25, 0.9]]), unit)
    assert torch.allclose(seen[0, :, 0], torch.tensor([0.0, 0.75, 0.1]))
    assert torch.allclose(seen[0, :, 1].exp(), torch.tensor([1e-3, 0.5, 0.1]), atol=1e-6)
