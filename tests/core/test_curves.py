from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.core.curves import split, tangents
from semalign.schemes import Curve, LandmarkScheme, load_scheme

OPEN = LandmarkScheme("open", tuple("abcde"), curves=(Curve("arc", (0, 1, 2, 3)),))
CLOSED = LandmarkScheme("closed", tuple("abcde"), curves=(Curve("ring", (0, 1, 2, 3, 4), closed=True),))


def on_circle(angles: np.ndarray, radius: float = 7.0, centre: tuple[float, float] = (3.0, -2.0)) -> np.ndarray:
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1) + centre


def tangents_of_circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([-np.sin(angles), np.cos(angles)], axis=-1)


gaps = st.lists(st.floats(0.1, 0.7), min_size=5, max_size=5).map(np.array)


@given(gaps, st.floats(-4, 4))
def test_tangents_of_unevenly_spaced_points_on_an_arc_are_exact(gaps: np.ndarray, start: float) -> None:
    angles = start + np.cumsum(gaps)
    found = tangents(on_circle(angles)[None], OPEN)[0]
    np.testing.assert_allclose(found[:4], tangents_of_circle(angles)[:4], atol=1e-9)
    assert np.isnan(found[4]).all()  # on no curve


@given(gaps, st.floats(-4, 4))
def test_tangents_of_a_closed_circle_are_exact(gaps: np.ndarray, start: float) -> None:
    angles = start + 2 * np.pi * np.cumsum(gaps) / gaps.sum()
    found = tangents(on_circle(angles)[None], CLOSED)[0]
    np.testing.assert_allclose(found, tangents_of_circle(angles), atol=1e-9)


def test_each_face_of_a_batch_has_its_own() -> None:
    rng = np.random.default_rng(0)
    faces = rng.uniform(0, 100, (3, 68, 2))
    scheme = load_scheme("ibug68")
    together = tangents(faces, scheme)
    for row in range(3):
        np.testing.assert_array_equal(together[row], tangents(faces[row : row + 1], scheme)[0])
    np.testing.assert_allclose(np.linalg.norm(together, axis=2), 1.0)  # every landmark of iBUG's lies on a curve


def test_a_corner_gets_the_tangent_across_the_eye() -> None:
    faces = np.zeros((1, 68, 2))
    faces[0, 36:42] = [[0, 0], [2, -1], [4, -1], [6, 0], [4, 1], [2, 1]]
    found = tangents(faces, load_scheme("ibug68"))[0]
    np.testing.assert_allclose(found[36], [0, -1], atol=1e-12)
    np.testing.assert_allclose(found[39], [0, 1], atol=1e-12)


def test_a_curve_of_two_is_a_line_and_the_first_curve_of_a_landmark_counts() -> None:
    scheme = LandmarkScheme("lines", tuple("abc"), curves=(Curve("first", (0, 1)), Curve("second", (1, 2))))
    found = tangents(np.array([[[0.0, 0.0], [3.0, 4.0], [3.0, 9.0]]]), scheme)[0]
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.6, 0.8], [0.0, 1.0]])


def test_absent_and_coinciding_landmarks() -> None:
    straight = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    twice = straight.copy()
    twice[1] = twice[0]  # the second landmark still has one neighbour to look at
    found = tangents(twice[None], OPEN)[0]
    np.testing.assert_allclose(found[1:4], [[1.0, 0.0]] * 3)
    assert np.isnan(found[0]).all()
    absent = straight.copy()
    absent[3] = np.nan
    found = tangents(absent[None], OPEN)[0]
    np.testing.assert_allclose(found[:2], [[1.0, 0.0]] * 2)
    assert np.isnan(found[2:]).all()
    assert np.isnan(tangents(np.zeros((1, 5, 2)), CLOSED)).all()


@given(st.floats(-4, 4), st.floats(-50, 50), st.floats(-50, 50))
def test_split_takes_a_vector_apart(angle: float, along: float, across: float) -> None:
    tangent = np.array([[[np.cos(angle), np.sin(angle)]]])
    normal = np.array([[[-np.sin(angle), np.cos(angle)]]])
    parts = split(along * tangent + across * normal, tangent)
    assert parts[0].item() == pytest.approx(abs(along), abs=1e-9)
    assert parts[1].item() == pytest.approx(abs(across), abs=1e-9)


def test_split_is_nan_without_a_tangent() -> None:
    along, across = split(np.ones((1, 1, 2)), np.full((1, 1, 2), np.nan))
    assert np.isnan(along).all()
    assert np.isnan(across).all()
