"""Annotation noise: as large, as correlated and as habitual as the settings say, and as measured between people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semalign.core.curves import tangents
from semalign.evaluation.labels import label_error
from semalign.schemes import load_scheme
from semalign.synthetic import Face, FaceSettings, GroupNoise, NoiseSettings, annotate, make_annotators, render_face
from semalign.synthetic.annotators import correlation_root, curves_through, marked_again

SCHEME = load_scheme("ibug68")
NO_HABIT = NoiseSettings(habit=0.0)
JAW = list(SCHEME.regions["contour"])


def marks(face: Face, settings: NoiseSettings, count: int = 400) -> np.ndarray:
    """Deviations (count, 68, 2) from the truth in % of the outer-eye distance."""
    person, rng = make_annotators(1, 0, settings)[0], np.random.default_rng(0)
    unit = np.linalg.norm(face.points[45] - face.points[36]) / 100
    return np.stack([annotate(face, person, rng, settings) - face.points for _ in range(count)]) / unit


def only(region: str, **noise: float) -> NoiseSettings:
    """Noise in one region alone."""
    still = dict.fromkeys(SCHEME.regions, GroupNoise(0.0, 0.0, 0.0))
    return NoiseSettings(
        habit=0.0, **{**still, region: GroupNoise(**{"shared": 0.0, "own": 0.0, "spread": 0.0, **noise})}
    )


def test_the_settings_have_a_group_for_every_region() -> None:
    for region in SCHEME.regions:
        assert isinstance(getattr(NoiseSettings(), region), GroupNoise)


def test_without_noise_the_marks_are_the_truth(faces: tuple[Face, ...]) -> None:
    settings = NoiseSettings(scale=0.0)
    for face in faces:
        for person in make_annotators(2, 0, settings):
            np.testing.assert_allclose(
                annotate(face, person, np.random.default_rng(1), settings), face.points, atol=1e-9
            )


def test_noise_is_reproducible(frontal: Face) -> None:
    first, second = make_annotators(2, 7, NO_HABIT)
    again = make_annotators(5, 7, NO_HABIT)
    assert np.array_equal(again[1].slide, second.slide) and again[1].index == 1
    assert np.array_equal(*(annotate(frontal, first, np.random.default_rng(3), NO_HABIT) for _ in range(2)))
    assert not np.array_equal(*(annotate(frontal, first, np.random.default_rng(s), NO_HABIT) for s in (3, 4)))


@pytest.mark.parametrize("region", list(SCHEME.regions))
def test_spread_is_as_large_as_set_and_has_no_direction(frontal: Face, region: str) -> None:
    deviation = marks(frontal, only(region, spread=1.3))
    members = list(SCHEME.regions[region])
    others = sorted(set(range(SCHEME.count)) - set(members))
    assert np.abs(deviation[:, others]).max() < 1e-9
    np.testing.assert_allclose(deviation[:, members].std((0, 1)), 1.3, rtol=0.07)
    assert abs(np.corrcoef(deviation[:, members].reshape(-1, 2).T)[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("noise", "size"), [({"shared": 2.0}, 2.0), ({"own": 1.5}, 1.5), ({"shared": 1.2, "own": 0.9}, 1.5)]
)
def test_sliding_is_along_the_curve_and_as_large_as_set(frontal: Face, noise: dict[str, float], size: float) -> None:
    weak = JAW[1:-1]
    deviation = marks(frontal, only("contour", **noise))
    along = (deviation * tangents(frontal.points[None], SCHEME)).sum(-1)[:, weak]
    normal = tangents(frontal.points[None], SCHEME)[..., ::-1] * (-1, 1)
    across = (deviation * normal).sum(-1)[:, weak]
    assert along.std() == pytest.approx(size, rel=0.08)
    assert across.std() < 0.15 * along.std()


def test_neighbours_share_their_sliding_and_distant_points_do_not(frontal: Face) -> None:
    deviation = marks(frontal, only("contour", shared=2.0))
    along = (deviation * tangents(frontal.points[None], SCHEME)).sum(-1)[:, JAW]
    correlation = np.corrcoef(along.T)
    reach = NoiseSettings().reach
    for apart in (1, 2, 4, 10):
        expected = np.exp(-0.5 * (apart / reach) ** 2)
        assert np.diagonal(correlation, apart)[2:-2].mean() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("count", "closed"), [(17, False), (12, True), (4, False), (6, True)])
def test_the_shared_part_has_unit_variance(count: int, closed: bool) -> None:
    root = correlation_root(count, closed, 4.0)
    covariance = root @ root.T
    np.testing.assert_allclose(np.diagonal(covariance), 1.0, atol=1e-9)
    if closed:
        np.testing.assert_allclose(covariance[0, 1], covariance[0, -1], atol=1e-9)


def test_corners_and_tips_take_part_in_a_share_of_the_sliding(frontal: Face) -> None:
    settings = replace(only("eyes", own=1.0), strong=0.25)
    size = np.linalg.norm(marks(frontal, settings), axis=2).std(0)
    strong = [index for index in SCHEME.regions["eyes"] if index in SCHEME.strong]
    weak = [index for index in SCHEME.regions["eyes"] if index not in SCHEME.strong]
    assert size[strong].mean() == pytest.approx(0.25 * size[weak].mean(), rel=0.2)
    still = marks(frontal, replace(settings, strong=0.0), 5)
    assert np.abs(still[:, strong]).max() < 1e-9


def test_hidden_points_are_guessed_with_the_stated_factor(frontal: Face) -> None:
    settings = NoiseSettings(habit=0.0, occluded=3.0, scale=0.05)
    hidden = replace(frontal, visible=np.zeros(SCHEME.count, bool))
    ratio = np.linalg.norm(marks(hidden, settings), axis=2) / np.linalg.norm(marks(frontal, settings), axis=2)
    assert np.median(ratio) == pytest.approx(3.0, rel=0.02)


def test_habit_is_the_share_of_the_variance_that_stays(frontal: Face) -> None:
    people = make_annotators(40, 0, replace(NO_HABIT, habit=0.4))
    settings = replace(NO_HABIT, habit=0.4)
    rng = np.random.default_rng(0)
    all_marks = np.stack([[annotate(frontal, person, rng, settings) for _ in range(20)] for person in people])
    deviation = all_marks - frontal.points
    between, whole = deviation.mean(1).var(0).sum(), deviation.reshape(-1, SCHEME.count, 2).var(0).sum()
    assert between / whole == pytest.approx(0.4 + 0.6 / 20, abs=0.08)


def test_an_annotator_with_nothing_but_habits_repeats_himself(frontal: Face) -> None:
    settings = replace(NO_HABIT, habit=1.0)
    first, second = make_annotators(2, 0, settings)
    one, two = (annotate(frontal, first, np.random.default_rng(seed), settings) for seed in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-9)
    assert np.abs(one - annotate(frontal, second, np.random.default_rng(1), settings)).max() > 0.1


def test_noise_does_not_depend_on_the_size_of_the_image(plain: FaceSettings) -> None:
    person = make_annotators(1, 0, NO_HABIT)[0]
    small, large = (render_face(np.random.default_rng(3), replace(plain, size=size)) for size in (64, 128))
    marked = [annotate(face, person, np.random.default_rng(1), NO_HABIT) for face in (small, large)]
    same = small.visible == large.visible
    np.testing.assert_allclose(((marked[0] + 0.5) * 2 - 0.5)[same], marked[1][same], atol=1e-9)


def test_two_annotations_differ_as_those_of_people_do() -> None:
    settings, scale = NoiseSettings(), FaceSettings(size=48)
    people, first, second = make_annotators(6, 2, settings), [], []
    for index in range(100):
        face, rng = render_face(np.random.default_rng([2, index]), scale), np.random.default_rng([2, index, 3])
        for found in (first, second):
            found.append(annotate(face, people[int(rng.integers(6))], rng, settings))
    error = label_error(np.stack(second), np.stack(first), SCHEME)
    measured = {"contour": 5.99, "brows": 2.62, "mouth": 2.03, "nose": 1.68, "eyes": 1.45}  # duplicates inside 300W
    assert error["all"] == pytest.approx(2.96, rel=0.08)
    for region, size in measured.items():
        assert error["regions"][region]["mean"] == pytest.approx(size, rel=0.12), region
    assert error["regions"]["contour"]["along"] == pytest.approx(5.59, rel=0.12)
    assert error["regions"]["contour"]["across"] == pytest.approx(1.33, rel=0.12)


def test_curves_through_points_hold_them_at_their_places(faces: tuple[Face, ...]) -> None:
    for face in faces[:10]:
        for found, given in zip(curves_through(face.points), SCHEME.curves, strict=True):
            landmarks = face.points[list(given.landmarks)]
            np.testing.assert_allclose(found.line[found.vertices], landmarks, atol=1e-9)
            np.testing.assert_allclose(found.slid(np.zeros(len(landmarks))), landmarks, atol=1e-9)
            assert (np.diff(found.positions) > 0).all()
            assert not found.closed or np.array_equal(found.line[0], found.line[-1])


def test_points_marked_again_slide_along_the_curves_as_people_do(faces: tuple[Face, ...]) -> None:
    """The jaw of faces whose curves are known only by their landmarks: as far along it as the settings say, less across."""
    points = np.stack([face.points for face in faces])
    along, across = [], []
    for seed in range(10):
        told = label_error(marked_again(points, 6, seed, NO_HABIT), points, SCHEME)["regions"]["contour"]
        along.append(told["along"])
        across.append(told["across"])
    expected = np.sqrt(2 / np.pi) * np.hypot(NO_HABIT.contour.shared, NO_HABIT.contour.own)
    assert np.mean(along) == pytest.approx(expected, rel=0.1)
    assert np.mean(across) < np.mean(along) / 2.5


def test_points_are_marked_again_by_seed_and_face(faces: tuple[Face, ...]) -> None:
    points = np.stack([face.points for face in faces])
    first = marked_again(points, 6, 0)
    np.testing.assert_array_equal(first[:5], marked_again(points[:5], 6, 0))
    assert not np.array_equal(first, marked_again(points, 6, 1))
    np.testing.assert_allclose(marked_again(points, 6, 0, NoiseSettings(scale=0.0)), points, atol=1e-9)
