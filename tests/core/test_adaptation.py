"""Label adaptation: a network's systematic errors are found where they are, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from semalign.core import adaptation
from semalign.core.adaptation import (
    LinearAdaptation,
    choose_components,
    fit_linear_adaptation,
    shape_scores,
    systematic_offsets,
)

FACES, POINTS = 800, 30


def similarity(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Each face somewhere else, turned and scaled; complex points (b, n)."""
    frame = rng.uniform(20, 60, (len(points), 1)) * np.exp(1j * rng.normal(0, 0.3, (len(points), 1)))
    return points * frame + rng.uniform(0, 200, (len(points), 1)), frame


def plane(points: np.ndarray) -> np.ndarray:
    return np.stack([points.real, points.imag], axis=-1)


@pytest.fixture
def faces() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=POINTS) + 1j * rng.normal(size=POINTS)
    turned = (rng.normal(size=POINTS) + 1j * rng.normal(size=POINTS)) * 0.3
    pose = rng.normal(size=(FACES, 1))
    shape = mean + pose * turned
    bias = 0.05 * (1 + 1j) + 0.04 * pose * (rng.normal(size=POINTS) + 1j * rng.normal(size=POINTS))
    truth, frame = similarity(rng, shape)
    noise = 0.05 * (rng.normal(size=shape.shape) + 1j * rng.normal(size=shape.shape))
    own = 0.02 * (rng.normal(size=shape.shape) + 1j * rng.normal(size=shape.shape))
    return {
        "truth": truth,
        "annotated": truth + noise * frame,
        "predicted": truth + (bias + own) * frame,
        "frame": frame,
    }


def test_a_bias_that_depends_on_pose_is_found_and_noise_is_left(faces):
    offsets = systematic_offsets(plane(faces["predicted"]), plane(faces["annotated"]), count=3)
    corrected = faces["predicted"] - (offsets[..., 0] + 1j * offsets[..., 1])

    def error(points: np.ndarray) -> float:
        return float((np.abs(points - faces["truth"]) / np.abs(faces["frame"])).mean())

    noise_floor = 0.02 * np.sqrt(np.pi / 2)  # mean length of the predictions' own noise
    assert error(faces["predicted"]) > 3 * noise_floor
    assert error(corrected) < 1.15 * noise_floor


def test_without_a_bias_next_to_nothing_is_explained(faces):
    offsets = systematic_offsets(plane(faces["truth"]), plane(faces["annotated"]), count=5)
    noise = faces["annotated"] - faces["truth"]
    assert np.linalg.norm(offsets, axis=2).mean() < 0.12 * np.abs(noise).mean()


def test_offsets_turn_and_scale_with_the_faces(faces):
    offsets = systematic_offsets(plane(faces["predicted"]), plane(faces["annotated"]), count=3)
    turn = 2.5 * np.exp(0.7j)
    moved = systematic_offsets(plane(faces["predicted"] * turn + 7), plane(faces["annotated"] * turn + 7), count=3)
    expected = plane((offsets[..., 0] + 1j * offsets[..., 1]) * turn)
    assert np.allclose(moved, expected, atol=1e-8)


def test_few_faces_get_fewer_components(faces):
    few = [plane(faces[name][:10]) for name in ("predicted", "annotated")]
    offsets = systematic_offsets(*few, count=20)
    frames = np.abs(faces["frame"][:10])
    lengths = np.linalg.norm(offsets, axis=2) / frames
    assert lengths.std(axis=0).max() < 0.2 * lengths.mean()  # the mean offset only, the same for every face


def test_a_label_adaptation_learned_from_some_faces_corrects_others(faces):
    half = FACES // 2
    adaptation = fit_linear_adaptation(plane(faces["predicted"][:half]), plane(faces["annotated"][:half]), count=3)
    seen = adaptation.corrected(plane(faces["predicted"][half:]))
    apart = np.abs(seen[..., 0] + 1j * seen[..., 1] - faces["truth"][half:]) / np.abs(faces["frame"][half:])
    assert apart.mean() < 1.2 * 0.02 * np.sqrt(np.pi / 2)


def test_components_are_used_where_there_is_a_bias_and_only_there(faces):
    predicted, annotated = plane(faces["predicted"]), plane(faces["annotated"])
    assert choose_components(predicted, annotated, (0, 1)) == 1
    assert choose_components(plane(faces["truth"]), annotated, (0, 30)) == 0


def test_components_are_not_used_to_come_near_labels_that_repeat_the_network(faces):
    predicted, found, annotated = (plane(faces[name]) for name in ("truth", "predicted", "annotated"))
    assert choose_components(predicted, found, (0, 1)) == 1
    assert choose_components(predicted, found, (0, 1), judged_by=annotated) == 0


def test_one_face_has_no_label_adaptation_but_its_own_offset(faces):
    one = [plane(faces[name][:1]) for name in ("predicted", "annotated")]
    assert choose_components(*one, (0, 5)) == 0
    assert np.allclose(fit_linear_adaptation(*one, count=0).corrected(one[0]), one[1])


def test_an_absent_point_is_learned_from_the_faces_that_have_it(faces):
    some, (predicted, annotated) = np.arange(FACES) % 3 > 0, (faces["predicted"], faces["annotated"])
    points = plane(annotated)
    points[~some, 4] = np.nan
    whole, part = (fit_linear_adaptation(plane(predicted), given, 3) for given in (plane(annotated), points))
    others = np.arange(POINTS) != 4
    assert np.array_equal(part.coefficients[:, others], whole.coefficients[:, others])
    features = np.concatenate([np.ones((FACES, 1)), scores(part, plane(predicted))], axis=1)
    frame = own_frames(part, plane(predicted))
    wanted = ((predicted - annotated) / frame)[some, 4]
    expected = np.linalg.lstsq(features[some], wanted, rcond=None)[0]
    assert np.allclose(part.coefficients[:, 4] @ [1, 1j], expected)
    assert np.isfinite(part.corrected(plane(predicted))).all()


def scores(adaptation: LinearAdaptation, predicted: np.ndarray) -> np.ndarray:
    return shape_scores(predicted, adaptation.mean, adaptation.components, adaptation.centre)[0]


def own_frames(adaptation: LinearAdaptation, predicted: np.ndarray) -> np.ndarray:
    return shape_scores(predicted, adaptation.mean, adaptation.components, adaptation.centre)[1]


def test_a_point_that_few_faces_have_gets_their_mean_offset_and_one_that_none_has_gets_none(faces):
    predicted, points = plane(faces["predicted"]), plane(faces["annotated"])
    points[5:, 4] = np.nan
    points[:, 9] = np.nan
    found = fit_linear_adaptation(predicted, points, 3)
    frame = own_frames(found, predicted)
    mean = ((faces["predicted"] - faces["annotated"]) / frame)[:5, 4].mean()
    assert np.allclose(found.coefficients[0, 4] @ [1, 1j], mean) and not found.coefficients[1:, 4].any()
    assert not found.coefficients[:, 9].any()
    assert choose_components(predicted, points, (0, 2, 4)) in (0, 2, 4)


def test_of_many_faces_some_are_learned_from_and_all_are_corrected_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    annotated = rng.normal(0, 1, (12, 2)) * (40, 60) + rng.normal(0, 2, (400, 12, 2))
    predicted = annotated + rng.normal(0, 3, (12, 2)) + rng.normal(0, 0.5, (400, 12, 2))
    whole = adaptation.fit_linear_adaptation(predicted, annotated, 3)
    expected = whole.offsets(predicted)
    monkeypatch.setattr(adaptation, "MOST_FACES", 200)
    monkeypatch.setattr(adaptation, "CHUNK", 64)
    assert whole.offsets(predicted) == pytest.approx(expected, abs=1e-9)
    assert len(adaptation.drawn(400, 200)) == len(set(adaptation.drawn(400, 200))) == 200
    some = adaptation.fit_linear_adaptation(predicted, annotated, 0)
    rows = adaptation.drawn(400, 200)
    few = adaptation.fit_linear_adaptation(predicted[rows], annotated[rows], 0)
    assert np.array_equal(some.coefficients, few.coefficients)
    assert np.linalg.norm(some.corrected(predicted) - annotated, axis=2).mean() < 1.0
    assert adaptation.choose_components(predicted, annotated, (0, 5)) in (0, 5)
