"""The face from the front: curves that carry the scheme's landmarks and do not cross."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.schemes import load_scheme
from semalign.synthetic.anatomy import CURVES, STEP, build_anatomy
from semalign.synthetic.traits import Expression, Identity, draw_expression, draw_identity

SCHEME = load_scheme("ibug68")
seeds = st.integers(0, 2**31)


def person(seed: int) -> tuple[Identity, Expression]:
    rng = np.random.default_rng(seed)
    return draw_identity(rng), draw_expression(rng, 1.0)


@given(seeds)
def test_the_curves_are_those_of_the_scheme(seed: int) -> None:
    anatomy = build_anatomy(*person(seed))
    assert tuple(curve.name for curve in SCHEME.curves) == ("contour", *CURVES)
    for curve in SCHEME.curves[1:]:
        line = anatomy.curves[curve.name]
        spans = len(curve.landmarks) if curve.closed else len(curve.landmarks) - 1
        assert line.shape == (spans * STEP + 1, 2) and np.isfinite(line).all()
        assert np.array_equal(line[0], line[-1]) == curve.closed


@given(seeds)
def test_features_are_where_they_belong(seed: int) -> None:
    anatomy = build_anatomy(*person(seed))
    for eye, upper, lower in zip(("left", "right"), *anatomy.lids(), strict=True):
        assert (upper[1:-1, 1] < lower[1:-1, 1]).all() and (np.diff(upper[:, 0]) > 0).all()
        assert anatomy.curves[f"{eye} brow"][:, 1].max() < upper[:, 1].max()
    (upper, lower), (inner_upper, inner_lower) = anatomy.lips(), anatomy.mouth()
    middle, inner = len(upper) // 2, len(inner_upper) // 2
    assert upper[middle, 1] < inner_upper[inner, 1] <= inner_lower[inner, 1] < lower[middle, 1] < anatomy.chin
    assert anatomy.ridge[-1, 1] < anatomy.nose_base[2 * STEP, 1] < upper[middle, 1]


@given(seeds)
def test_a_face_without_asymmetry_is_its_own_mirror_image(seed: int) -> None:
    identity, expression = person(seed)
    even = replace(identity, asymmetry=0.0), replace(expression, skew=0.0, gaze=(0.0, 0.0))
    anatomy = build_anatomy(*even)
    points = np.full((SCHEME.count, 2), np.nan)
    for curve in SCHEME.curves[1:]:
        points[list(curve.landmarks)] = anatomy.curves[curve.name][: STEP * len(curve.landmarks) : STEP]
    mirrored = points[list(SCHEME.flip_index)] * (-1.0, 1.0)
    np.testing.assert_allclose(mirrored[17:], points[17:], atol=2e-3)
    outline = anatomy.outline
    np.testing.assert_allclose(outline[1:][::-1] * (-1, 1, 1), outline[1:], atol=1e-9)


@pytest.mark.parametrize("curve", ["left brow", "nose bridge", "nose base"])
def test_landmarks_on_a_smooth_curve_are_evenly_spaced(curve: str) -> None:
    points = build_anatomy(*person(3)).curves[curve]
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).reshape(-1, STEP).sum(1)
    np.testing.assert_allclose(length, length.mean(), rtol=1e-2)


def test_shut_eyes_are_nearly_closed_and_an_open_mouth_is_open() -> None:
    identity, expression = person(1)
    anatomy = build_anatomy(identity, replace(expression, lids=0.06, jaw_drop=0.9))
    upper, lower = anatomy.lids()
    assert (lower - upper)[..., 1].max() < 0.03
    inner_upper, inner_lower = anatomy.mouth()
    assert (inner_lower - inner_upper)[:, 1].max() > 0.25
