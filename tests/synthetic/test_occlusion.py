"""Things in front of faces of photographs: as large as wanted, nothing else touched, and what is hidden is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of
from semalign.synthetic.occlusion import PASTED, draw_something, paste_something

IBUG = load_scheme("ibug68")
FACE = face_of(0, 3, SynthesisSettings(count=4, seed=0, face=FaceSettings(size=160, occlusion=0.0)))
OTHER = face_of(1, 3, SynthesisSettings(count=4, seed=0, face=FaceSettings(size=96))).image


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.05, 0.5), st.sampled_from(PASTED))
def test_a_pasted_thing_hides_as_much_as_is_wanted(seed, share, kind):
    found = paste_something(np.random.default_rng(seed), FACE.image, FACE.points, share, OTHER, (kind,))
    assert found.share == pytest.approx(share, abs=0.02)
    changed = (found.picture != FACE.image).any(axis=2)
    pixel = np.rint(FACE.points).astype(int)
    seen = ~found.hidden
    assert not changed[pixel[seen, 1], pixel[seen, 0]].all() or not seen.any()
    assert changed.mean() < 0.9


def test_a_share_of_nothing_changes_nothing():
    found = paste_something(np.random.default_rng(0), FACE.image, FACE.points, 0.0, OTHER)
    assert np.array_equal(found.picture, FACE.image) and not found.hidden.any()


def test_hidden_landmarks_are_those_behind_the_thing():
    found = paste_something(np.random.default_rng(5), FACE.image, FACE.points, 0.4, np.zeros_like(OTHER), ("piece",))
    pixel = np.rint(FACE.points).astype(int)
    black = (found.picture[pixel[:, 1], pixel[:, 0]] == 0).all(axis=1)
    assert found.hidden.sum() > 5 and (black == found.hidden).mean() > 0.95


def test_the_same_draws_give_the_same_picture_and_the_input_stays():
    before = FACE.image.copy()
    first, second = (
        paste_something(np.random.default_rng(8), FACE.image, FACE.points, 0.3, OTHER).picture for _ in range(2)
    )
    assert np.array_equal(first, second) and np.array_equal(before, FACE.image)


def test_drawn_things_hide_some_landmarks_and_change_no_other_pixels_much():
    hidden, size = 0, FACE.image.shape
    for seed in range(12):
        found = draw_something(np.random.default_rng(seed), FACE.image, FACE.points, IBUG)
        assert found.picture.shape == size and 0 <= found.share < 1
        hidden += int(found.hidden.sum())
    assert hidden > 30


def test_points_beyond_the_picture_are_no_trouble():
    points = FACE.points - (90, 0)
    found = paste_something(np.random.default_rng(1), FACE.image, points, 0.2, OTHER)
    assert found.picture.shape == FACE.image.shape
    assert draw_something(np.random.default_rng(2), FACE.image, points, IBUG).hidden.shape == (68,)
