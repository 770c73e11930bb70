"""Annotations that are wrong in kind: each is named with its file and reason, as bad or as suspicious."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import invoke

from semalign.data import check_dataset, open_dataset, write_pts
from semalign.errors import SemalignError
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

Change = Callable[[np.ndarray], np.ndarray]
FACE = face_of(3, 0, SynthesisSettings(face=FaceSettings(size=144)))
SIZE = (150, 144)


def some(value: float) -> Change:
    def change(points: np.ndarray) -> np.ndarray:
        changed = points.copy()
        changed[:5] = value - 1.0  # .pts files count from 1
        return changed

    return change


def folder(root: Path, change: Change, name: str = "a") -> Path:
    root.mkdir(exist_ok=True)
    cv2.imwrite(str(root / f"{name}.png"), np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    write_pts(root / f"{name}.pts", change(FACE.points.copy()))
    return root


def stray(points: np.ndarray) -> np.ndarray:
    points = 70 + (points - points.mean(axis=0)) / 5
    points[7] = (3.0, 140.0)
    return points


def from_zero(points: np.ndarray) -> np.ndarray:
    points = np.clip(points, 0, None) - 1.0  # written as if from 0
    points[0, 0] = -1.0
    return points


def mirrored(points: np.ndarray) -> np.ndarray:
    return np.stack([SIZE[0] - 1 - points[:, 0], points[:, 1]], axis=1)


def upwards(points: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 0], SIZE[1] - 1 - points[:, 1]], axis=1)


BAD: dict[str, tuple[Change, str]] = {
    "all 0 0": (lambda points: np.full_like(points, -1.0), "none of 68 points are annotated"),
    "one left": (lambda points: np.where(np.arange(68)[:, None] == 9, points, -1.0), "1 of 68 points is annotated"),
    "one spot": (lambda points: np.full_like(points, 50.0), "all points lie on one spot"),
    "shares": (lambda points: points / SIZE, "write coordinates in pixels, not as shares of the image"),
    "from -1 to 1": (lambda points: 2 * points / SIZE - 1, "write coordinates in pixels, not as shares of the image"),
    "another picture": (lambda points: points + 400, "check that image and annotation belong together, or remove"),
}
ABSENT = "as if not annotated, and taken as absent (the first is point 0, from 0)"
SUSPICIOUS: dict[str, tuple[Change, str]] = {
    "0 0": (some(0), f"5 of 68 points are 0 0, {ABSENT}"),
    "-1 -1": (some(-1), f"5 of 68 points are -1 -1, {ABSENT}"),
    "-999": (some(-999), f"5 of 68 points are -999 -999, {ABSENT}"),
    "exchanged": (lambda points: points[:, ::-1], "the face is a mirror image, as if x and y were exchanged"),
    "upwards": (upwards, "the face is a mirror image upside down, as if y counted from the bottom of the picture"),
    "mirrored": (mirrored, "left and right are exchanged, as if the picture had been mirrored without the points"),
    "stray": (stray, "point 7 (from 0) lies far from all others"),
    "from 0": (from_zero, "a coordinate is 0 where the format counts from 1: if yours count from 0, add 1 to all"),
    "on others": (lambda points: np.repeat(points[::2], 2, axis=0), "34 points lie exactly on others"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_faces_are_named_and_training_refuses_them_or_leaves_them_out(tmp_path: Path, kind: str) -> None:
    change, reason = BAD[kind]
    root = folder(folder(tmp_path / "own", change), lambda points: points, "good")
    (problem,) = check_dataset(root).problems
    assert problem.file == "a.png" or problem.file == "a.pts"
    assert problem.message.startswith(f"{root / 'a.pts'}: ") and reason in problem.message
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert str(caught.value) == problem.message
    left = open_dataset(root, keep_going=True)
    assert left.ids() == ("good.png",) and left.skipped[0][1] == problem.message and left.suspicious == ()


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_suspicious_faces_are_named_and_kept(tmp_path: Path, kind: str) -> None:
    change, reason = SUSPICIOUS[kind]
    root = folder(folder(tmp_path / "own", change), lambda points: points, "good")
    report = check_dataset(root)
    assert report.ok and report.usable == 2
    assert {problem.file for problem in report.suspicious} == {"a.png"}
    assert f"{root / 'a.pts'}: {reason}; look at it." in {problem.message for problem in report.suspicious}
    result = invoke("data", "check", root)
    assert result.exit_code == 0 and f"suspicious: {root / 'a.pts'}: " in result.stdout
    assert "2 usable faces with the points of ibug68, none bad, 1 suspicious" in result.stdout


def test_points_off_the_picture_that_fit_with_x_and_y_exchanged_say_so(tmp_path: Path) -> None:
    root = folder(tmp_path, lambda points: points[:, ::-1])
    cv2.imwrite(str(root / "a.png"), np.full((300, 60, 3), 90, np.uint8))
    write_pts(root / "a.pts", (FACE.points / 2 + (0, 200))[:, ::-1])
    assert "belong together and that x and y are not exchanged" in check_dataset(root).problems[0].message


def test_a_face_at_any_angle_is_not_suspicious(tmp_path: Path) -> None:
    for index, angle in enumerate(np.radians([0, 45, 90, 135, 180, 270])):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        folder(tmp_path, lambda points, turn=turn: (points - points.mean(axis=0)) @ turn * 0.6 + 72, f"{index}")
    report = check_dataset(tmp_path)
    assert report.ok and report.suspicious == () and report.usable == 6


def test_a_scheme_without_eyes_is_not_judged_by_them(tmp_path: Path) -> None:
    from dataclasses import replace

    blind = replace(load_scheme("ibug68"), pupils=((), ()), outer_eyes=None)
    assert check_dataset(folder(tmp_path, lambda points: points[:, ::-1]), blind).suspicious == ()
