"""Kernel label adaptation: against a brute-force oracle, on faces with a bias that is not linear in the pose, its frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core import kernel_adaptation
from semalign.core.adaptation import aligned_shapes, fit_linear_adaptation
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.similarity import to_complex

POINTS, NOISE = 20, 0.05


def plane(points: np.ndarray) -> np.ndarray:
    return np.stack([points.real, points.imag], axis=-1)


def make_faces(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Faces somewhere, turned and scaled, whose predictions take most poses for others, by a wave over the poses."""
    form, rng = np.random.default_rng(99), np.random.default_rng(seed)

    def shape() -> np.ndarray:
        return form.normal(size=POINTS) + 1j * form.normal(size=POINTS)

    mean, turned = shape(), 0.3 * shape()
    pose = rng.normal(size=(count, 1))
    frame = rng.uniform(20, 60, (count, 1)) * np.exp(1j * rng.normal(0, 0.3, (count, 1)))
    truth = (mean + pose * turned) * frame + rng.uniform(0, 200, (count, 1))
    noise = NOISE * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape))
    return {
        "truth": plane(truth),
        "annotated": plane(truth + noise * frame),
        "predicted": plane(truth + 0.4 * np.sin(2 * pose) * turned * frame),
        "size": np.abs(frame),
    }


def error(points: np.ndarray, faces: dict[str, np.ndarray]) -> float:
    return float((np.linalg.norm(points - faces["truth"], axis=2) / faces["size"]).mean())


def test_a_bias_that_is_no_line_in_the_pose_is_taken_off_unseen_faces():
    seen, unseen = make_faces(500), make_faces(200, seed=1)
    kernel = fit_kernel_adaptation(seen["predicted"], seen["annotated"]).corrected(unseen["predicted"])
    line = fit_linear_adaptation(seen["predicted"], seen["annotated"], count=5).corrected(unseen["predicted"])
    assert error(kernel, unseen) < 0.4 * error(unseen["predicted"], unseen)
    assert error(kernel, unseen) < 0.7 * error(line, unseen)


def test_where_there_is_no_bias_next_to_nothing_is_learned():
    faces, unseen = make_faces(400), make_faces(100, seed=1)
    adaptation = fit_kernel_adaptation(faces["truth"], faces["annotated"])
    noise = np.linalg.norm(unseen["annotated"] - unseen["truth"], axis=2) / unseen["size"]
    assert error(adaptation.corrected(unseen["truth"]), unseen) < 0.25 * noise.mean()


def test_the_penalty_is_the_one_that_leaving_out_each_face_in_turn_chooses():
    faces, penalties = make_faces(40), (0.01, 0.1, 1.0, 10.0)
    predicted, annotated = to_complex(faces["predicted"]), to_complex(faces["annotated"])
    whole = fit_kernel_adaptation(faces["predicted"], faces["annotated"], (1.0,))
    frames = aligned_shapes(predicted)[1]
    offsets = (predicted - annotated) / frames
    centred = offsets - offsets.mean(axis=0)
    kernel = np.exp(-np.linalg.norm(whole.faces[:, None] - whole.faces[None], axis=2))

    def left_out(penalty: float) -> float:
        errors = []
        for row in range(len(offsets)):
            rest = np.arange(len(offsets)) != row
            weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + penalty * np.eye(rest.sum()), centred[rest])
            errors.append(np.abs(kernel[row, rest] @ weights - centred[row]).mean())
        return float(np.mean(errors))

    best = min(penalties, key=left_out)
    chosen = fit_kernel_adaptation(faces["predicted"], faces["annotated"], penalties)
    alone = {p: fit_kernel_adaptation(faces["predicted"], faces["annotated"], (p,)) for p in penalties}
    assert np.array_equal(chosen.coefficients, alone[best].coefficients)
    assert len({left_out(p) for p in penalties}) == len(penalties)
    weights = np.linalg.solve(kernel + best * np.eye(len(kernel)), centred)
    assert np.allclose(to_complex(chosen.coefficients)[1:], weights)


def test_labels_that_repeat_the_network_are_judged_by_the_annotations():
    faces = make_faces(300)
    found = faces["predicted"] + 1e-3 * np.random.default_rng(0).normal(size=faces["predicted"].shape)
    penalties = (0.03, 100.0)
    near = fit_kernel_adaptation(found, faces["truth"], penalties)
    judged = fit_kernel_adaptation(faces["truth"], faces["predicted"], penalties, judged_by=faces["annotated"])
    assert np.abs(judged.coefficients[1:]).sum() < np.abs(near.coefficients[1:]).sum()


@settings(max_examples=20, deadline=None)
@given(
    angle=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_offsets_turn_and_scale_with_the_faces(angle, scale, shift):
    faces = make_faces(60)
    adaptation = fit_kernel_adaptation(faces["predicted"], faces["annotated"])
    offsets = to_complex(adaptation.offsets(faces["predicted"]))
    turn = scale * np.exp(1j * angle)
    moved = plane(to_complex(faces["predicted"]) * turn) + shift
    assert np.allclose(to_complex(adaptation.offsets(moved)), offsets * turn, atol=1e-6 * scale)


def test_no_more_faces_are_kept_than_fit_in_memory(monkeypatch):
    monkeypatch.setattr(kernel_adaptation, "FACES", 50)
    faces = make_faces(80)
    first, again = (fit_kernel_adaptation(faces["predicted"], faces["annotated"]) for _ in range(2))
    assert len(first.faces) == 50 and np.array_equal(first.faces, again.faces)


def test_many_faces_are_corrected_as_each_on_its_own(monkeypatch):
    faces = make_faces(30)
    adaptation = fit_kernel_adaptation(faces["predicted"], faces["annotated"])
    monkeypatch.setattr(kernel_adaptation, "CHUNK", 7)
    apart = np.concatenate([adaptation.offsets(faces["predicted"][i : i + 1]) for i in range(30)])
    assert np.allclose(adaptation.offsets(faces["predicted"]), apart, atol=1e-9)
    assert adaptation.offsets(faces["predicted"][:0]).shape == (0, POINTS, 2)


def test_faces_that_are_all_alike_teach_their_common_offset():
    one = make_faces(1)
    predicted, annotated = (np.repeat(one[name], 5, axis=0) for name in ("predicted", "annotated"))
    assert np.allclose(fit_kernel_adaptation(predicted, annotated).corrected(predicted), annotated, atol=1e-6)


def test_bad_arguments_are_refused():
    faces = make_faces(3)
    with pytest.raises(ValueError, match="two faces"):
        fit_kernel_adaptation(faces["predicted"][:1], faces["annotated"][:1])
    for penalties in ((), (0.0, 1.0)):
        with pytest.raises(ValueError, match="positive"):
            fit_kernel_adaptation(faces["predicted"], faces["annotated"], penalties)


def test_absent_points_are_filled_with_what_is_fitted_to_the_rest():
    """Then a fit to the filled points gives the same offsets: nothing was learned from what is absent."""
    faces = make_faces(120, seed=5)
    predicted, annotated = faces["predicted"], faces["annotated"]
    points, absent = annotated.copy(), np.random.default_rng(6).random(annotated.shape[:2]) < 0.2
    points[absent] = np.nan
    found = fit_kernel_adaptation(predicted, points, penalties=(1.0,))
    filled = np.where(absent[..., None], found.corrected(predicted), annotated)
    again = fit_kernel_adaptation(predicted, filled, penalties=(1.0,))
    constant = again.coefficients[0] - found.coefficients[0]  # the means are taken over other points
    assert np.abs(constant).max() < 0.2 * np.abs(found.coefficients[0]).max()
    difference = np.abs(again.offsets(predicted) - found.offsets(predicted))
    assert difference.max() < 0.05 * np.abs(found.offsets(predicted)).max()


def test_a_point_that_no_face_has_is_left_as_it_is():
    faces = make_faces(60, seed=7)
    predicted, annotated = faces["predicted"], faces["annotated"]
    annotated[:, 2] = np.nan
    found = fit_kernel_adaptation(predicted, annotated)
    assert np.allclose(found.offsets(predicted)[:, 2], 0.0) and np.isfinite(found.coefficients).all()
