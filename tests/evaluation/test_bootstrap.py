from __future__ import annotations

import numpy as np
import pytest

from semalign.evaluation import paired_bootstrap
from semalign.evaluation.bootstrap import Difference


def test_the_interval_is_that_of_the_normal_approximation_for_many_faces() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 5, 2000)
    values = reference + rng.normal(-0.1, 0.5, 2000)
    found = paired_bootstrap(values, reference, np.random.default_rng(1))
    difference = values - reference
    error = difference.std() / np.sqrt(2000)
    assert found.mean == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.05 * error)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.05 * error)


def test_pairing_finds_what_the_spread_between_faces_would_hide() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 100, 50)
    values = reference - rng.uniform(0, 1, 50)
    assert paired_bootstrap(values, reference, rng).verdict == "lower"
    assert paired_bootstrap(reference, values, rng).verdict == "higher"
    assert paired_bootstrap(rng.permutation(values), reference, rng).verdict == "undecided"


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        values = rng.normal(0.3, 1.0, 60)
        found = paired_bootstrap(values, np.zeros(60), rng, resamples=400, level=0.8)
        covered += found.low <= 0.3 <= found.high
    assert 0.73 <= covered / 300 <= 0.87


def test_it_is_a_function_of_the_generator() -> None:
    values = np.random.default_rng(0).normal(size=30)
    twice = [paired_bootstrap(values, np.zeros(30), np.random.default_rng(7)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0] != paired_bootstrap(values, np.zeros(30), np.random.default_rng(8))


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-2.0, -0.1, "lower"), (0.1, 2.0, "higher"), (-0.1, 0.1, "undecided")]
)
def test_the_verdict_asks_whether_zero_is_left_out(low: float, high: float, verdict: str) -> None:
    assert Difference(0.0, low, high, 0.95).verdict == verdict


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0, np.nan])])
def test_faces_without_a_value_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        paired_bootstrap(values, np.zeros(len(values)), np.random.default_rng(0))
