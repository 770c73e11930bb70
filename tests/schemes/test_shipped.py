"""The four schemes that come with the package: their orders, pairs and groups, and real annotations that fit them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

COUNTS = {"ibug68": 68, "aflw19": 19, "wflw98": 98, "cofw29": 29}


@pytest.fixture(params=sorted(COUNTS))
def scheme(request: pytest.FixtureRequest) -> LandmarkScheme:
    return load_scheme(request.param)


def test_all_are_there() -> None:
    assert shipped_schemes() == tuple(sorted(COUNTS))
    assert {name: load_scheme(name).count for name in COUNTS} == COUNTS


def test_left_and_right_names_mirror_each_other(scheme: LandmarkScheme) -> None:
    for left, right in scheme.pairs:
        assert "left" in scheme.landmarks[left]
        assert scheme.landmarks[left].replace("left", "right") == scheme.landmarks[right]
    paired = {index for pair in scheme.pairs for index in pair}
    for index, name in enumerate(scheme.landmarks):
        assert (index in paired) == ("left" in name.split() or "right" in name.split())


def test_flipping_twice_changes_nothing(scheme: LandmarkScheme) -> None:
    flip = np.array(scheme.flip_index)
    assert (flip[flip] == np.arange(scheme.count)).all()
    assert (flip != np.arange(scheme.count)).sum() == 2 * len(scheme.pairs)


def test_groups_are_symmetric(scheme: LandmarkScheme) -> None:
    """Mirrored, each region, the strong points and the eyes are themselves; each curve is a curve again."""
    flip = scheme.flip_index
    mirrored = lambda members: {flip[index] for index in members}  # noqa: E731
    for members in (*scheme.regions.values(), scheme.strong, scheme.weak):
        assert mirrored(members) == set(members)
    assert mirrored(scheme.pupils[0]) == set(scheme.pupils[1])
    assert scheme.outer_eyes is not None and flip[scheme.outer_eyes[0]] == scheme.outer_eyes[1]
    curves = {(frozenset(curve.landmarks), curve.closed) for curve in scheme.curves}
    assert {(frozenset(mirrored(curve.landmarks)), curve.closed) for curve in scheme.curves} == curves


def test_regions_divide_the_landmarks(scheme: LandmarkScheme) -> None:
    assert tuple(scheme.regions) == ("contour", "brows", "nose", "eyes", "mouth")
    assert sorted(index for members in scheme.regions.values() for index in members) == list(range(scheme.count))
    assert sorted((*scheme.strong, *scheme.weak)) == list(range(scheme.count))


def test_dictionary_round_trip(scheme: LandmarkScheme) -> None:
    again = LandmarkScheme.from_dict(json.loads(json.dumps(scheme.to_dict())))
    assert again == scheme
    assert json.dumps(again.to_dict()) == json.dumps(scheme.to_dict())
    assert pickle.loads(pickle.dumps(scheme)) == scheme
    assert hash(again) == hash(scheme)


def test_ibug68_is_the_common_reading_of_the_68_points() -> None:
    scheme = load_scheme("ibug68")
    bounds = {name: (members[0], members[-1] + 1) for name, members in scheme.regions.items()}
    assert bounds == {"contour": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}
    assert scheme.pupils == (tuple(range(36, 42)), tuple(range(42, 48)))
    assert scheme.outer_eyes == (36, 45)
    assert [(curve.landmarks[0], curve.landmarks[-1] + 1, curve.closed) for curve in scheme.curves] == [
        *((0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False), (31, 36, False)),
        *((36, 42, True), (42, 48, True), (48, 60, True), (60, 68, True)),
    ]
    assert scheme.landmarks[30] == "nose tip" and scheme.landmarks[8] == "chin"
    corners = {17, 21, 22, 26, 31, 35, 36, 39, 42, 45, 48, 54, 60, 64}
    assert corners < set(scheme.strong) and not set(scheme.strong) & set(scheme.regions["contour"])


@pytest.mark.parametrize(("name", "folder"), [("aflw19", "aflw"), ("wflw98", "wflw"), ("cofw29", "cofw")])
def test_real_annotations_fit_the_order(name: str, folder: str, shared_data: Path) -> None:
    """Eyes lie above the mouth, left is left, and a mirrored face looks like before only if all pairs are swapped."""
    scheme = load_scheme(name)
    path = shared_data / "format_samples" / folder / f"test_{folder}.json"
    faces = [np.reshape(item["keypoints"], (-1, 3))[:, :2] for item in json.loads(path.read_text())["annotations"]]
    assert faces
    for points in faces:
        assert points.shape == (scheme.count, 2)
        left, right = (points[list(eye)].mean(axis=0) for eye in scheme.pupils)
        outer = points[list(scheme.outer_eyes or ())]
        assert outer[0, 0] < left[0] < right[0] < outer[1, 0]
        mouth = points[list(scheme.regions["mouth"])]
        assert left[1] < mouth[:, 1].min() and right[1] < mouth[:, 1].min()
        mirrored = points * (-1, 1)
        best = similarity_residual(points, mirrored[list(scheme.flip_index)])
        assert best < 0.1 * np.ptp(points, axis=0).max()
        for pair in scheme.pairs:
            order = np.array(scheme.flip_index)
            order[list(pair)] = pair
            assert similarity_residual(points, mirrored[order]) > best


def similarity_residual(points: np.ndarray, other: np.ndarray) -> float:
    """Root mean square distance after the best similarity, in the unit of `points`."""
    one, two = points[:, 0] + 1j * points[:, 1], other[:, 0] + 1j * other[:, 1]
    one, two = one - one.mean(), two - two.mean()
    turn = (two.conj() @ one) / (two.conj() @ two)
    return float(np.sqrt(np.mean(np.abs(turn * two - one) ** 2)))
