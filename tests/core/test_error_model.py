"""The error model where errors are known: it finds them without the truth, and labels that are near the best there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Float

from semalign.core.error_model import ErrorModel, fit_error_model

FACES, POINTS, CORRELATION = 800, 12, 0.5
ANNOTATOR, FIRST, SECOND = 0.03, 0.02, 0.026  # standard deviations along an axis, sizes of the face


@dataclass(frozen=True)
class World:
    """Faces, what two witnesses and an annotator make of them, and how far all are usually off."""

    truth: np.ndarray
    observed: np.ndarray
    first: np.ndarray
    second: np.ndarray
    factor: np.ndarray  # (b, n) of the witnesses' variance
    along: np.ndarray  # (n, 2, 2) how an annotator's error lies
    size: np.ndarray

    def error(self, points: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean(((points - self.truth) / self.size[:, None, None]) ** 2)))


def world(
    seed: int = 0,
    annotator: float = ANNOTATOR,
    tails: float = 0.0,
    faces: int = FACES,
    second: float = SECOND,
    correlation: float | np.ndarray = CORRELATION,
) -> World:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(POINTS, 2))
    mean = (mean - mean.mean(0)) / np.sqrt(((mean - mean.mean(0)) ** 2).sum(1).mean())
    shapes = mean + 0.1 * rng.normal(size=(faces, 1, 1)) * rng.normal(size=(POINTS, 2))
    angle = rng.uniform(0, np.pi, POINTS)
    axes = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    along = axes.transpose(0, 2, 1) @ (np.array([[1.3], [0.6]]) * axes)  # more along an axis than across it
    factor = np.exp(0.6 * rng.normal(size=(faces, POINTS)))

    def drawn() -> np.ndarray:
        return rng.normal(size=shapes.shape)

    shared = np.broadcast_to(correlation, POINTS)[:, None] * min(FIRST, second) ** 2  # of the better witness's variance
    common = drawn() * np.sqrt(shared)
    witness = [
        shapes + np.sqrt(factor)[..., None] * (common + drawn() * np.sqrt(scale**2 - shared))
        for scale in (FIRST, second)
    ]
    observed = shapes + annotator * np.einsum("nij,bnj->bni", along, drawn())
    observed += (rng.random((faces, POINTS, 1)) < tails) * drawn() * 0.3
    size, turn = rng.uniform(30, 60, faces), rng.normal(0, 0.2, faces)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)

    def placed(points: np.ndarray) -> np.ndarray:
        return np.einsum("bij,bnj->bni", rotation, points) * size[:, None, None] + 100.0

    return World(placed(shapes), placed(observed), *map(placed, witness), factor, along, size)


def fit(w: World, *correlations: float) -> ErrorModel:
    return fit_error_model(w.observed, w.first, w.second, *([correlations] if correlations else []))


def labels(w: World, model: ErrorModel) -> Float[np.ndarray, "b n 2"]:
    return model.posterior(w.observed, w.first, w.second).points


def together(model: ErrorModel, w: World) -> np.ndarray:
    return model.word[:, None] * w.first + (1 - model.word[:, None]) * w.second


@pytest.fixture(scope="module")
def usual() -> World:
    return world()


@pytest.fixture(scope="module")
def fitted(usual: World) -> ErrorModel:
    return fit(usual, CORRELATION)


def test_errors_are_told_apart_without_the_truth(usual, fitted):
    covariance = ANNOTATOR**2 * usual.along @ usual.along.transpose(0, 2, 1)
    found = fitted.annotator[0]
    assert np.trace(found, axis1=1, axis2=2).mean() == pytest.approx(
        np.trace(covariance, axis1=1, axis2=2).mean(), rel=0.2
    )
    far = np.linalg.eigh(covariance)[1][:, :, 1]  # where the annotator slides
    assert np.abs(np.einsum("ni,ni->n", far, np.linalg.eigh(found)[1][:, :, 1])).mean() > 0.9
    assert (fitted.word > 0.6).all()  # the first witness errs less
    assert fitted.scale[0, -1] > 1.8 * fitted.scale[0, 0]  # where the witnesses are apart, they err more


def test_labels_are_near_the_best_that_can_be_had(usual, fitted):
    both = together(fitted, usual)
    weights = np.linspace(0, 1, 101)
    bound = min(usual.error(usual.observed + weight * (both - usual.observed)) for weight in weights)
    assert usual.error(labels(usual, fitted)) < 1.01 * bound < min(map(usual.error, (usual.observed, both)))
    assert usual.error(labels(usual, fit(usual))) < 1.08 * bound  # not told the correlation


@pytest.mark.parametrize("annotator", [0.005, 0.12])
def test_who_errs_little_is_believed_whatever_the_correlation_may_be(annotator):
    w = world(2, annotator)
    model = fit(w)
    share = model.posterior(w.observed, w.first, w.second).witnesses.mean()
    assert share < 0.35 if annotator < FIRST else share > 0.85
    assert w.error(labels(w, model)) < 1.6 * min(w.error(w.observed), w.error(together(model, w)))
    assert w.error(labels(w, model)) < 0.75 * max(w.error(w.observed), w.error(together(model, w)))


@pytest.mark.parametrize("second", [0.006, 0.06, 0.12])
def test_a_witness_that_errs_far_more_than_the_other_does_no_harm(second):
    w = world(3, second=second)
    model = fit(w)
    alone = [w.error((w.observed + p) / 2) for p in (w.first, w.second)]
    assert w.error(labels(w, model)) < 1.02 * min(alone)
    found = np.trace(model.annotator, axis1=2, axis2=3).mean() / 2
    wanted = ANNOTATOR**2 * np.trace(w.along @ w.along.transpose(0, 2, 1), axis1=1, axis2=2).mean() / 2
    assert found == pytest.approx(wanted, rel=0.25)


def test_labels_say_how_sure_they_are(usual):
    found = fit(usual).posterior(usual.observed, usual.first, usual.second)
    within = np.abs(found.points - usual.truth) < 1.645 * found.spread
    assert 0.85 < within.mean() < 0.97
    error, order = np.abs(found.points - usual.truth).ravel(), np.argsort(found.spread.ravel())
    tenths = [(error[part] ** 2).mean() ** 0.5 for part in np.array_split(order, 10)]
    said = [(found.spread.ravel()[part] ** 2).mean() ** 0.5 for part in np.array_split(order, 10)]
    assert np.allclose(np.log(tenths), np.log(said), atol=0.45) and tenths[-1] > 1.5 * tenths[0]


def test_few_faces_are_not_taken_at_their_word():
    w = world(4, faces=60)
    model = fit(w)
    found = model.posterior(w.observed, w.first, w.second)
    both = together(model, w)
    bound = min(w.error(w.observed + weight * (both - w.observed)) for weight in np.linspace(0, 1, 101))
    assert w.error(found.points) < 1.05 * bound
    assert 0.8 < (np.abs(found.points - w.truth) < 1.645 * found.spread).mean() < 0.97
    sizes = np.trace(model.annotator, axis1=2, axis2=3).mean(0)
    assert sizes.std() < 0.2 * sizes.mean()  # of the landmarks, which have the same in truth


def test_landmarks_whose_witnesses_are_more_alike_than_others_are_not_taken_for_well_annotated():
    """What is common to witnesses is unseen: of landmarks that differ in it alone, the annotators' errors seem to differ."""
    shared = np.linspace(0.0, 0.9, POINTS)
    w = world(5, correlation=shared)
    model = fit(w)
    both = together(model, w)
    bound = min(w.error(w.observed + weight * (both - w.observed)) for weight in np.linspace(0, 1, 101))
    assert w.error(labels(w, model)) < 1.03 * bound
    sizes = np.trace(model.annotator, axis1=2, axis2=3).mean(0)
    assert np.corrcoef(sizes, shared)[0, 1] > 0.5  # which is what it cannot know
    assert sizes.std() < 0.2 * sizes.mean()


def test_a_few_slipped_points_change_no_weights():
    plain, slipped = world(1), world(1, tails=0.02)
    usual, other = fit(plain), fit(slipped)
    traces = [np.trace(model.annotator, axis1=2, axis2=3).mean() for model in (usual, other)]
    assert traces[1] < 1.25 * traces[0]
    assert other.tails > 1.5 * usual.tails  # but all labels are less sure


def test_absent_points_stay_absent_and_the_others_are_found(usual, fitted):
    observed = usual.observed.copy()
    observed[::2, 3] = np.nan
    found = fitted.posterior(observed, usual.first, usual.second)
    absent = np.isnan(observed)
    assert np.array_equal(np.isnan(found.points), absent) and np.array_equal(np.isnan(found.spread), absent)
    assert np.array_equal(np.isnan(found.witnesses), absent[..., 0])
    assert np.array_equal(found.points[1::2], labels(usual, fitted)[1::2])
    again = fit_error_model(observed, usual.first, usual.second, (CORRELATION,))
    assert np.trace(again.annotator[0, 3]) == pytest.approx(np.trace(fitted.annotator[0, 3]), rel=0.15)
    assert np.isfinite(again.posterior(observed, usual.first, usual.second).points[1::2]).all()


def test_a_landmark_that_no_face_has_and_a_face_that_has_none_are_in_nobody_s_way(usual, fitted):
    observed = usual.observed.copy()
    observed[:, 5], observed[7] = np.nan, np.nan
    model = fit_error_model(observed, usual.first, usual.second, (CORRELATION,))
    found = model.posterior(observed, usual.first, usual.second)
    assert np.array_equal(np.isnan(found.points), np.isnan(observed))
    others = [landmark for landmark in range(POINTS) if landmark != 5]
    assert np.abs(found.points[8:, others] - labels(usual, fitted)[8:, others]).mean() < 0.05  # of some 45 pixels


def test_labels_turn_and_scale_with_the_faces(usual, fitted):
    def moved(points: np.ndarray) -> np.ndarray:
        return 2.0 * points[..., ::-1] * [1.0, -1.0] + 30.0

    plain = fitted.posterior(usual.observed, usual.first, usual.second)
    other = fitted.posterior(*map(moved, (usual.observed, usual.first, usual.second)))
    assert np.allclose(other.points, moved(plain.points), atol=1e-6)
    assert np.allclose(other.spread, 2.0 * plain.spread[..., ::-1], atol=1e-6)


def test_a_correlation_that_is_none_is_refused(usual):
    for wrong in ((), (1.0,), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="0 to below 1"):
            fit_error_model(usual.observed, usual.first, usual.second, wrong)
