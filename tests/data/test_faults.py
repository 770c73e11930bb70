"""What makes a sample a bad one."""

from __future__ import annotations

import numpy as np

from semalign.data.faults import outside


def test_an_image_spans_half_a_pixel_more_than_its_pixel_centres() -> None:
    points = np.array([[-0.5, 0.0], [-1.5, 2.0], [9.5, 4.5], [9.0, 6.0], [12.5, 5.5]])
    np.testing.assert_allclose(outside(points, (10, 5)), [0.0, 1.0, 0.0, 1.5, 3.0])
