"""Fitting a correction: on faces whose hidden landmarks are lost it brings them back and knows which they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semalign.errors import SemalignError
from semalign.inference import Landmarks
from semalign.schemes import LandmarkScheme
from semalign.training.error_scale import fit_presence, measure_errors
from semalign.training.shape_correction import SeenFaces, ShapeCorrectionSettings, fit_shape_correction

NAMES = tuple("abcdefgh")
SCHEME = LandmarkScheme("eight", NAMES, pairs=((0, 1), (2, 3), (4, 5), (6, 7)))
MEAN = np.array([[-1.0, -1], [1, -1], [-1.2, 0], [1.2, 0], [-0.8, 1], [0.8, 1], [-0.2, 0.3], [0.2, 0.3]])
QUICK = ShapeCorrectionSettings(epochs=12, batch_size=64, learning_rate=0.02)


def shapes(count: int, seed: int) -> np.ndarray:
    """Faces that vary in two directions and a little more, of any size and place."""
    rng = np.random.default_rng(seed)
    wide, open_ = rng.normal(0, 0.15, (2, count, 1, 1))
    faces = MEAN * np.concatenate([1 + wide, 1 - wide], axis=2) + open_ * MEAN[:, 1:] * np.array([0.0, 0.5])
    faces = faces + rng.normal(0, 0.01, faces.shape)
    return np.exp(rng.normal(0, 0.3, (count, 1, 1))) * 40 * faces + rng.normal(100, 20, (count, 1, 2))


def seen(count: int, seed: int) -> SeenFaces:
    """A third of the landmarks is hidden, and there peaks are low, wide and somewhere."""
    rng = np.random.default_rng([seed, 1])
    labels = shapes(count, seed)
    size = np.ptp(labels, axis=1).max(axis=1)[:, None]
    hidden = rng.random(labels.shape[:2]) < 0.3
    points = labels + np.where(hidden, 0.2, 0.01)[..., None] * size[..., None] * rng.normal(size=labels.shape)
    low = np.where(hidden, rng.uniform(0.3, 0.8, hidden.shape), rng.uniform(0.7, 1.0, hidden.shape))
    spread = (np.where(hidden, 0.06, 0.03) * size)[..., None] * rng.uniform(0.8, 1.2, labels.shape)
    return SeenFaces(points, low, spread, labels, hidden)


def nothing(count: int, seed: int) -> Landmarks:
    """No face: low, wide peaks everywhere."""
    rng = np.random.default_rng([seed, 2])
    points = rng.uniform(0, 100, (count, 8, 2))
    return Landmarks(points, rng.uniform(0.1, 0.6, (count, 8)), SCHEME, rng.uniform(4, 8, points.shape))


@pytest.fixture(scope="module")
def fitted():
    return fit_shape_correction(shapes(400, 0), seen(400, 0), SCHEME, QUICK, seed=1, base={"recipe": "r"})


@pytest.mark.parametrize("known", [True, False])
def test_hidden_landmarks_come_back_and_are_known(fitted, known):
    new = seen(200, 7)
    judged = fitted(new.points, new.confidence, new.spread if known else None)
    before, after = (np.linalg.norm(points - new.labels, axis=2) for points in (new.points, judged.points))
    assert after[new.hidden].mean() < 0.4 * before[new.hidden].mean()
    assert after[~new.hidden].mean() < (1.1 if known else 1.6) * before[~new.hidden].mean()
    assert judged.visibility[~new.hidden].mean() > 0.85
    assert judged.visibility[new.hidden].mean() < 0.35
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):  # what is said is about what is
        chosen = (judged.visibility >= low) & (judged.visibility <= high)
        assert abs(judged.visibility[chosen].mean() - (~new.hidden[chosen]).mean()) < 0.15


def test_it_sees_no_difference_between_a_face_and_its_mirror_image(fitted):
    new = seen(100, 8)
    other = new.mirrored(SCHEME.flip_index)
    plain, mirrored = (fitted(part.points, part.confidence, part.spread).points for part in (new, other))
    back = mirrored[:, list(SCHEME.flip_index)] * (-1, 1)
    size = np.ptp(new.labels, axis=1).max(axis=1)[:, None]
    assert (np.linalg.norm(back - plain, axis=2) / size).mean() < 0.02


def test_the_same_seed_gives_the_same_correction(fitted):
    again = fit_shape_correction(shapes(400, 0), seen(400, 0), SCHEME, QUICK, seed=1)
    new = seen(5, 3)
    assert np.array_equal(
        fitted(new.points, new.confidence, new.spread).points, again(new.points, new.confidence, new.spread).points
    )


def test_faces_that_are_not_whole_are_refused():
    faces = shapes(10, 0)
    faces[3, 2] = np.nan
    for wrong in (faces, faces[:1]):
        with pytest.raises(SemalignError, match="at least two faces whose landmarks are all there"):
            fit_shape_correction(wrong, seen(10, 0), SCHEME, QUICK)


def test_a_network_without_spreads_will_do():
    some = replace(seen(200, 0), spread=None)
    made = fit_shape_correction(shapes(200, 0), some, SCHEME, replace(QUICK, epochs=4))
    judged = made(some.points, some.confidence, None)
    assert np.isfinite(judged.points).all()
    assert judged.visibility[~some.hidden].mean() > judged.visibility[some.hidden].mean() + 0.3


def test_measured_errors_are_as_large_as_errors_are(fitted):
    measured = replace(fitted, errors=measure_errors(fitted, seen(400, 8), nothing(300, 8)))
    new, empty = seen(400, 9), nothing(300, 9)
    for move in (False, True):
        judged = measured(new.points, new.confidence, new.spread, move)
        normal = (judged.points - new.labels) / judged.uncertainty
        assert np.sqrt((normal**2).mean()) == pytest.approx(1, abs=0.1)
        for hidden in (False, True):
            assert np.sqrt((normal[new.hidden == hidden] ** 2).mean()) == pytest.approx(1, abs=0.5)
    there, not_there = (measured(one.points, one.confidence, one.spread, move=False).presence for one in (new, empty))
    assert there.mean() > 0.9 and not_there.mean() < 0.1
    both, truth = np.concatenate([there, not_there]), np.repeat([1.0, 0.0], [400, 300])
    assert abs(both.mean() - truth.mean()) < 0.05


def test_presence_is_what_counting_gives():
    """Of boxes that look alike, the share that holds a face, with as many that hold none."""
    looks = np.array([[0.2, -3.0], [0.8, -6.0]])
    empty, faces = looks[np.repeat([0, 1], [90, 10])], looks[np.repeat([0, 1], [20, 180])]
    found = fit_presence(empty, faces)
    chance = 1 / (1 + np.exp(-(looks @ found.weights + found.bias)))
    assert np.allclose(chance, [0.1 / (0.1 + 0.9), 0.9 / (0.9 + 0.1)], atol=0.005)
