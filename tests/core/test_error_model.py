"""The error model where errors are known: it finds them without the truth, and labels that are near the best there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Float

from semalign.core.error_model import ErrorModel, fit_error_model

FACES, POINTS, CORRELATION = 600, 12, 0.4


@dataclass(frozen=True)
class World:
    """Faces, what two networks and an annotator make of them, and their covariances in squared sizes of the face."""

    truth: np.ndarray
    observed: np.ndarray
    networks: list[np.ndarray]
    spread: np.ndarray
    annotator: np.ndarray
    network: np.ndarray  # of the mean of the two, for the usual spread
    factor: np.ndarray  # (b, n) of the networks' variance
    size: np.ndarray

    @property
    def predicted(self) -> Float[np.ndarray, "b n 2"]:
        return np.mean(self.networks, axis=0)

    def error(self, points: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean(((points - self.truth) / self.size[:, None, None]) ** 2)))


def world(seed: int = 0, tails: float = 0.0, faces: int = FACES) -> World:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(POINTS, 2))
    mean = (mean - mean.mean(0)) / np.sqrt(((mean - mean.mean(0)) ** 2).sum(1).mean())
    shapes = mean + 0.2 * rng.normal(size=(faces, 1, 1)) * rng.normal(size=(POINTS, 2))

    def covariance(scale: float) -> np.ndarray:
        mixed = rng.normal(size=(2 * POINTS, 4))
        return scale**2 * (mixed @ mixed.T / 4 + 0.3 * np.eye(2 * POINTS))

    def drawn(matrix: np.ndarray, factor: np.ndarray) -> np.ndarray:
        flat = rng.multivariate_normal(np.zeros(2 * POINTS), matrix, size=faces)
        return flat.reshape(faces, 2, POINTS).transpose(0, 2, 1) * np.sqrt(factor)[..., None]

    annotator, network = covariance(0.02), covariance(0.014)
    factor = np.exp(0.7 * rng.normal(size=(faces, POINTS)))
    common = drawn(CORRELATION * network, factor)
    networks = [shapes + common + drawn((1 - CORRELATION) * network, factor) for _ in range(2)]
    observed = shapes + drawn(annotator, np.ones((faces, POINTS)))
    observed += (rng.random((faces, POINTS, 1)) < tails) * rng.normal(size=shapes.shape) * 0.3
    size, turn = rng.uniform(30, 60, faces), rng.normal(0, 0.2, faces)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)

    def placed(points: np.ndarray) -> np.ndarray:
        return np.einsum("bij,bnj->bni", rotation, points) * size[:, None, None] + 100.0

    spread = np.repeat(np.sqrt(factor)[..., None] * size[:, None, None], 2, axis=2)
    return World(
        placed(shapes), placed(observed), [placed(points) for points in networks], spread,
        annotator, network * (1 + CORRELATION) / 2, factor, size,
    )  # fmt: skip


def best(w: World, slipped: np.ndarray | None = None) -> Float[np.ndarray, "b n 2"]:
    """The mean of the truth for who knows the covariances, and which points (b, n) have slipped and say nothing."""
    found = np.empty_like(w.truth)
    for row in range(len(found)):
        scale = np.tile(np.sqrt(w.factor[row]), 2)
        p, far = w.network * np.outer(scale, scale), np.zeros(2 * POINTS)
        if slipped is not None:
            far[np.tile(slipped[row], 2)] = 1e6
        gain = p @ np.linalg.inv(p + w.annotator + np.diag(far))
        d = (w.observed[row] - w.predicted[row]).T.ravel()
        found[row] = w.predicted[row] + (gain @ d).reshape(2, POINTS).T
    return found


@pytest.fixture(scope="module")
def usual() -> World:
    return world()


@pytest.fixture(scope="module")
def fitted(usual: World) -> ErrorModel:
    return fit_error_model(usual.observed, usual.networks, usual.spread, CORRELATION)


def test_errors_are_told_apart_without_the_truth(usual, fitted):
    for found, true, factor in (
        (fitted.annotator, usual.annotator, 1.0),
        (fitted.network, usual.network, usual.factor.mean()),
    ):
        assert np.trace(found) == pytest.approx(factor * np.trace(true), rel=0.25)
        found_sd, true_sd = np.sqrt(np.diag(found)), np.sqrt(np.diag(true))
        assert np.corrcoef(found_sd, true_sd)[0, 1] > 0.9
    assert fitted.network_scale[-1] > 3 * fitted.network_scale[0]  # who is less sure errs more
    assert fitted.annotator_scale[-1] < 1.6 * fitted.annotator_scale[0]  # and the annotator does not


def test_labels_are_near_the_best_that_can_be_had(usual, fitted):
    labels = fitted.posterior(usual.observed, usual.predicted, usual.spread).points
    bound = usual.error(best(usual))
    assert bound < 0.95 * min(
        map(usual.error, (usual.observed, usual.predicted, (usual.observed + usual.predicted) / 2))
    )
    assert usual.error(labels) < 1.1 * bound


def test_labels_say_how_sure_they_are(usual, fitted):
    found = fitted.posterior(usual.observed, usual.predicted, usual.spread)
    within = np.abs(found.points - usual.truth) < 1.645 * found.spread
    assert 0.85 < within.mean() < 0.95
    error, order = np.abs(found.points - usual.truth).ravel(), np.argsort(found.spread.ravel())
    tenths = [(error[part] ** 2).mean() ** 0.5 for part in np.array_split(order, 10)]
    said = [(found.spread.ravel()[part] ** 2).mean() ** 0.5 for part in np.array_split(order, 10)]
    assert np.allclose(np.log(tenths), np.log(said), atol=0.3) and tenths[-1] > 1.5 * tenths[0]


def test_a_slipped_point_does_not_pull():
    w = world(seed=1, tails=0.03)
    model = fit_error_model(w.observed, w.networks, w.spread, CORRELATION)
    found = model.posterior(w.observed, w.predicted, w.spread)
    far = np.linalg.norm(w.observed - w.truth, axis=2) > 0.2 * w.size[:, None]
    bound = w.error(best(w, far))
    assert bound < w.error(found.points) < 1.2 * bound < 0.8 * w.error(w.predicted)
    assert np.trace(model.annotator) < 1.5 * np.trace(w.annotator)
    assert found.network[far].mean() > 0.95


def test_absent_points_stay_absent_and_the_others_are_found(usual, fitted):
    observed = usual.observed.copy()
    observed[::2, 3] = np.nan
    found = fitted.posterior(observed, usual.predicted, usual.spread)
    assert np.array_equal(np.isnan(found.points), np.isnan(observed)) and np.array_equal(
        np.isnan(found.spread), np.isnan(observed)
    )
    whole = fitted.posterior(usual.observed, usual.predicted, usual.spread).points
    assert np.array_equal(found.points[1::2], whole[1::2])
    again = fit_error_model(observed, usual.networks, usual.spread, CORRELATION)
    assert np.trace(again.annotator) == pytest.approx(np.trace(fitted.annotator), rel=0.1)


def test_labels_turn_and_scale_with_the_faces(usual, fitted):
    def moved(points: np.ndarray) -> np.ndarray:
        return 2.0 * points[..., ::-1] * [1.0, -1.0] + 30.0

    plain = fitted.posterior(usual.observed, usual.predicted, usual.spread)
    other = fitted.posterior(moved(usual.observed), moved(usual.predicted), 2.0 * usual.spread[..., ::-1])
    assert np.allclose(other.points, moved(plain.points), atol=1e-6)
    assert np.allclose(other.spread, 2.0 * plain.spread[..., ::-1], atol=1e-6)


def test_what_cannot_be_fitted_is_refused(usual):
    with pytest.raises(ValueError, match="two networks"):
        fit_error_model(usual.observed, usual.networks[:1], usual.spread)
    with pytest.raises(ValueError, match="0 to below 1"):
        fit_error_model(usual.observed, usual.networks, usual.spread, 1.0)
