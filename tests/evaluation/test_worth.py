"""Worth in workers, against the formulas of the yardstick that it is taken from, and against labels of known worth."""

from __future__ import annotations

import numpy as np
import pytest

from semalign.errors import SemalignError
from semalign.evaluation.annotators import LANDMARKS, AnnotatorMarks
from semalign.evaluation.worth import workers_of

FACES = 240
IDS = tuple(f"lfpw/trainset/image_{number:04d}.jpg" for number in range(FACES))
REGIONS = {
    "brows": (17, 21, 22, 26), "nose": (30, 31, 33, 35), "eyes": (36, 39, 42, 45), "mouth": (48, 51, 54, 57, 62, 66),
    "contour": (8,),
}  # fmt: skip


def own_frame(difference, eyes):
    axis = (eyes[:, 1] - eyes[:, 0]) / ((eyes[:, 1] - eyes[:, 0]) ** 2).sum(1, keepdims=True)
    across = np.stack([-axis[:, 1], axis[:, 0]], 1)
    return 100 * np.stack([(difference * axis[:, None]).sum(-1), (difference * across[:, None]).sum(-1)], -1)


def centred(difference):
    return difference - np.median(difference, axis=0)


def adapted(difference, components, folds=10):
    fold, flat = np.arange(len(difference)) % folds, difference.reshape(len(difference), -1)
    rest = np.empty_like(difference)
    for k in range(folds):
        a, t = components[fold != k], components[fold == k]
        learned = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ flat[fold != k])
        rest[fold == k] = difference[fold == k] - (t @ learned).reshape(-1, *difference.shape[1:])
    return rest


def by_region(difference):
    length = np.linalg.norm(difference, axis=-1)
    places = {name: [LANDMARKS.index(p) for p in points] for name, points in REGIONS.items()}
    return {"all": length.mean()} | {name: length[:, own].mean() for name, own in places.items()}


def oracle(workers, o, labels):
    """(one worker's own error, floor, plain, adapted, error, worth), the first four as the yardstick's own script."""
    eyes = o[:, [36, 45]]
    shapes = own_frame(o - o.mean(1, keepdims=True), eyes).reshape(len(o), -1)
    components = np.linalg.svd(shapes - shapes.mean(0), full_matrices=False)[0][:, :10] * np.sqrt(len(o))
    components = np.c_[np.ones(len(o)), components]
    against = [workers[:, k] - np.delete(workers, k, 1).mean(1) for k in range(3)]
    parts = [by_region(centred(own_frame(one, eyes))) for one in against]
    one = {name: np.mean([part[name] for part in parts]) / np.sqrt(1.5) for name in parts[0]}
    floor = {name: value / np.sqrt(3) for name, value in one.items()}
    difference = centred(own_frame(labels[:, list(LANDMARKS)] - workers.mean(1), eyes))
    plain, rest = by_region(difference), by_region(adapted(difference, components))
    error = {name: np.sqrt(max(rest[name] ** 2 - floor[name] ** 2, 1e-9)) for name in rest}
    return one, floor, plain, rest, error, {name: (one[name] / error[name]) ** 2 for name in rest}


@pytest.fixture(scope="module")
def world():
    """Truth, annotations of it and three workers, all with noise of one worker's size."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 200, (68, 2)) + rng.normal(0, 4, (FACES, 68, 2))
    truth[:, 36], truth[:, 45] = [50.0, 80.0], [150.0, 90.0]
    workers = truth[:, None, LANDMARKS] + rng.normal(0, 2, (FACES, 3, 19, 2)) + rng.normal(0, 5, (19, 2))
    annotations = truth + rng.normal(0, 2, truth.shape)
    return truth, annotations, AnnotatorMarks(IDS, workers), rng


def test_figures_are_those_of_the_yardstick(world):
    truth, annotations, marks, rng = world
    workers = workers_of(IDS, annotations, marks)
    for labels in (annotations, truth, (annotations + truth) / 2 + rng.normal(0, 3, truth.shape)):
        one, floor, plain, rest, error, worth = oracle(marks.points, annotations, labels)
        found = workers.worth(labels)
        assert workers.own_error == pytest.approx(one) and workers.floor == pytest.approx(floor)
        assert found.plain == pytest.approx(plain) and found.adapted == pytest.approx(rest)
        assert found.error == pytest.approx(error) and found.worth == pytest.approx(worth)


def test_labels_as_good_as_a_worker_are_worth_one_and_half_the_variance_two(world):
    truth, annotations, marks, rng = world
    workers = workers_of(IDS, annotations, marks)
    assert workers.worth(annotations).worth["all"] == pytest.approx(1.0, rel=0.15)
    halved = truth + rng.normal(0, np.sqrt(2), truth.shape)
    assert workers.worth(halved).worth["all"] == pytest.approx(2.0, rel=0.25)


def test_faces_that_are_not_marked_or_lack_a_point_are_left_out(world):
    _, annotations, marks, _ = world
    ids = ("other/a.jpg", *IDS)
    more = np.concatenate([annotations[:1], annotations])
    more[5] = np.where(np.arange(68)[:, None] == 3, np.nan, more[5])
    assert workers_of(ids, more, marks).rows == [row for row in range(1, len(ids)) if row != 5]
    with pytest.raises(SemalignError, match="too few"):
        workers_of(IDS[:4], annotations[:4], marks)


def test_labels_that_say_how_far_they_err_lie_within_their_radius() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 40, (68, 2)) + 100 + rng.normal(0, 2, (400, 68, 2))
    ids = tuple(f"{row}.jpg" for row in range(400))
    marked = truth[:, None, list(LANDMARKS)] + rng.normal(0, 1.5, (400, 3, 19, 2))
    workers = workers_of(ids, truth, AnnotatorMarks(ids, marked))
    for sd in (0.5, 3.0):
        labels = truth + rng.normal(0, sd, truth.shape)
        assert 0.87 < workers.within(labels, np.full(truth.shape, sd)) < 0.93
        assert workers.within(labels, np.full(truth.shape, 3 * sd)) > workers.within(labels, np.full(truth.shape, sd))
    assert workers.within(truth + rng.normal(0, 3.0, truth.shape), np.full(truth.shape, 0.5)) < 0.7
