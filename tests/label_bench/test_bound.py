"""The best linear combination: never worse than either witness, and the best that a search over all weights finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from semalign.label_bench.bound import best_combination, face_frames
from semalign.label_bench.methods import Found
from semalign.label_bench.scores import Truth
from semalign.schemes import load_scheme

SCHEME = load_scheme("ibug68")
EYES = SCHEME.outer_eyes


def world(faces: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, annotations and predictions, whose errors differ in size, direction and with each other."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 100, (68, 2)) * rng.uniform(1, 2, (faces, 1, 1)) + rng.normal(0, 2, (faces, 68, 2))
    common = rng.normal(0, 1, truth.shape)
    annotations = truth + common + rng.normal(0, 1, truth.shape) * [3.0, 0.5]
    predictions = truth + common * 0.5 + rng.normal(0, 1, truth.shape) * [0.7, 2.0] + 0.3
    return truth, annotations, predictions


def squares(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean squared error of each landmark in the faces' units."""
    unit = np.abs(face_frames(truth, EYES))[:, None]
    return ((np.linalg.norm(points - truth, axis=2) / unit) ** 2).mean(axis=0)


def test_it_is_never_worse_than_a_witness_or_their_mean() -> None:
    truth, annotations, predictions = world()
    best = squares(best_combination(annotations, [predictions], truth, face_frames(truth, EYES)), truth)
    for other in (annotations, predictions, (annotations + predictions) / 2):
        assert (best <= squares(other, truth) + 1e-12).all()


def test_two_witnesses_allow_more_than_their_mean() -> None:
    truth, annotations, first = world()
    second = truth + np.random.default_rng(2).normal(0, 1.0, truth.shape)
    frames = face_frames(truth, EYES)
    both, one, mean = (
        squares(best_combination(annotations, witnesses, truth, frames), truth)
        for witnesses in ([first, second], [first], [(first + second) / 2])
    )
    assert (both <= np.minimum(one, mean) + 1e-12).all() and both.mean() < 0.9 * one.mean()


def test_it_is_what_a_grid_of_weights_finds() -> None:
    truth, annotations, predictions = world()
    frames = face_frames(truth, EYES)
    landmark = 30
    found = squares(best_combination(annotations, [predictions], truth, frames), truth)[landmark]

    def complex_of(points: np.ndarray) -> np.ndarray:
        return (points[:, landmark, 0] + 1j * points[:, landmark, 1]) / frames

    a, d = complex_of(annotations) - complex_of(truth), complex_of(predictions) - complex_of(annotations)
    a, d = np.stack([a.real, a.imag], 1), np.stack([d.real, d.imag], 1)
    centre, step = np.array([0.5, 0.0, 0.0, 0.5]), 0.25
    for _ in range(14):  # finer and finer around the best
        grid = [centre + step * np.array(way) for way in itertools.product((-2, -1, 0, 1, 2), repeat=4)]
        errors = [((a + d @ weights.reshape(2, 2).T) ** 2).sum(axis=1).mean() for weights in grid]
        centre, step = grid[int(np.argmin(errors))], step * 0.6
    assert found <= min(errors) + 1e-12
    assert found == pytest.approx(min(errors), rel=1e-4)


def test_absent_points_stay_absent_and_unknown_truth_is_not_learned_from() -> None:
    truth, annotations, predictions = world()
    frames = face_frames(truth, EYES)
    annotations[3, 7] = np.nan
    truth[5, 7] = np.nan
    found = best_combination(annotations, [predictions], truth, frames)
    assert np.isnan(found[3, 7]).all() and np.isfinite(found[5, 7]).all()


def test_rows_say_what_share_of_the_annotations_error_is_removed() -> None:
    truth, annotations, predictions = world()
    halfway = (annotations + truth) / 2  # half of the error: a quarter of the variance is left
    found = [Found("annotation", annotations), Found("prediction", predictions), Found("half", halfway)]
    rows = {row["method"]: row for row in Truth(truth, annotations, SCHEME).rows(found, [predictions])}
    assert rows["annotation"]["removed"] == pytest.approx(0.0)
    assert rows["half"]["removed"] == pytest.approx(0.75)
    assert rows["bound"]["of_bound"] == pytest.approx(1.0)
    assert set(rows["half"]["removed_by_region"]) == set(SCHEME.regions)
