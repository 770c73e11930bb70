from __future__ import annotations

import json

import numpy as np
import pytest

from semalign.core.metrics import landmark_boxes, nme_box
from semalign.evaluation import label_error
from semalign.schemes import Curve, LandmarkScheme, load_scheme

IBUG68 = load_scheme("ibug68")
SMALL = LandmarkScheme(
    "small",
    tuple("abcdef"),
    curves=(Curve("line", (2, 3, 4)),),
    regions={"line": (2, 3, 4), "eyes": (0, 1)},
    outer_eyes=(0, 1),
    strong=(0, 1, 2),
)
TRUTH = np.array([[[0.0, 0.0], [50.0, 0.0], [10.0, 20.0], [20.0, 20.0], [30.0, 20.0], [5.0, 5.0]]])


def test_a_known_error_by_group_and_direction() -> None:
    labels = TRUTH.copy()
    labels[0, 0] += [3.0, 4.0]  # 10 %; on no curve
    labels[0, 2] += [1.0, 0.0]  # 2 % along
    labels[0, 3] += [0.0, -2.0]  # 4 % across
    labels[0, 4] += [-1.5, 2.0]  # 5 %: 3 along, 4 across
    error = label_error(labels, TRUTH, SMALL)
    assert error["by_landmark"] == pytest.approx([10, 0, 2, 4, 5, 0])
    assert error["all"] == pytest.approx(21 / 6)
    assert error["strong"] == pytest.approx(12 / 3)
    assert error["weak"] == pytest.approx(9 / 3)
    assert error["along"] == pytest.approx(5 / 3)
    assert error["across"] == pytest.approx(8 / 3)
    assert error["regions"]["line"] == pytest.approx({"mean": 11 / 3, "along": 5 / 3, "across": 8 / 3})
    assert error["regions"]["eyes"] == {"mean": pytest.approx(5.0), "along": None, "across": None}


def test_landmarks_and_faces_without_truth_do_not_count() -> None:
    truth = np.concatenate([TRUTH, TRUTH])
    truth[0, 5] = np.nan
    truth[1, 1] = truth[1, 0]  # no outer-eye distance, so no unit
    error = label_error(np.concatenate([TRUTH, TRUTH]) + [0.0, 1.0], truth, SMALL)
    assert error["by_landmark"] == [*([pytest.approx(2.0)] * 5), None]
    assert error["all"] == pytest.approx(2.0)
    json.dumps(error, allow_nan=False)


def test_the_parts_add_up_to_the_whole_on_ibug68() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 200, (5, 68, 2))
    labels = truth + rng.normal(size=truth.shape)
    error = label_error(labels, truth, IBUG68)
    count = {name: len(members) for name, members in IBUG68.regions.items()}
    whole = sum(error["regions"][name]["mean"] * count[name] for name in count) / 68
    assert error["all"] == pytest.approx(whole)
    assert error["all"] == pytest.approx((22 * error["strong"] + 46 * error["weak"]) / 68)
    assert error["all"] == pytest.approx(np.mean(error["by_landmark"]))
    assert max(error["along"], error["across"]) < error["all"] < error["along"] + error["across"]


def test_sliding_along_a_circle_shows_along_only() -> None:
    truth = np.random.default_rng(0).uniform(0, 200, (1, 68, 2))
    angles = np.linspace(0.2, 2.9, 17)
    truth[0, :17] = 300 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = truth.copy()
    labels[0, :17] = 300 * np.stack([np.cos(angles + 0.01), np.sin(angles + 0.01)], axis=1)
    contour = label_error(labels, truth, IBUG68)["regions"]["contour"]
    assert contour["along"] == pytest.approx(contour["mean"], rel=1e-3)
    assert contour["across"] < 0.01 * contour["along"]


def test_without_eyes_errors_are_in_percent_of_the_face_box() -> None:
    scheme = LandmarkScheme("eyeless", tuple("abcdef"))
    found = label_error(TRUTH + (3.0, 4.0), TRUTH, scheme)["all"]
    assert found == pytest.approx(float(np.mean(nme_box(TRUTH + (3.0, 4.0), TRUTH, landmark_boxes(TRUTH)))))
