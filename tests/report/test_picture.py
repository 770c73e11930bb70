"""The picture of a run for a README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semalign.errors import SemalignError
from semalign.report import picture


def decoded(png: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


def test_it_shows_four_faces_and_a_curve(demo_run: Path) -> None:
    pixels = decoded(picture(demo_run))
    assert pixels.shape == (660, 1600, 3)
    for column in range(4):
        tile = pixels[90:350, 288 * column + 10 : 288 * column + 266]
        assert tile.std() > 15  # a face, not a blank
    chart = pixels[80:, 1180:]
    blue = (np.abs(chart.astype(int) - (176, 103, 10)) < 12).all(axis=2)  # the found label's colour, BGR
    assert blue.sum() > 500
    assert (pixels[:, -2:] == 255).all()  # nothing is cut off at the right


def test_without_truth_it_shows_movement(real_run: Path, demo_run: Path) -> None:
    with_truth, without = picture(demo_run), picture(real_run)
    assert decoded(without).shape == decoded(with_truth).shape
    assert with_truth != without


def test_a_run_without_faces_has_no_picture(build_run: Any) -> None:
    with pytest.raises(SemalignError, match=r"figures\.npz: holds no faces"):
        picture(build_run(figures=False))
