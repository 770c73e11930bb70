"""The head in its pose: the visible edge, what each pixel sees, and that both agree with the projected points."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from semalign.synthetic.anatomy import EAR, STEP
from semalign.synthetic.render import Geometry
from semalign.synthetic.surface import Projection, front_view, place, project_with, rotation, see, visible_edge
from semalign.synthetic.traits import Pose

Turned = Callable[[int, float], Geometry]
WHOLE = (0, 0, 128, 128)


def test_a_rotation_turns_as_its_signs_say() -> None:
    nose = np.array([0.0, 0.0, 1.0])
    assert (rotation(Pose(30.0, 0.0, 0.0)) @ nose)[0] > 0  # to the image's right
    assert (rotation(Pose(0.0, 20.0, 0.0)) @ nose)[1] < 0  # up
    right = rotation(Pose(0.0, 0.0, 10.0)) @ (1.0, 0.0, 0.0)
    assert right[1] > 0  # clockwise, y being down
    matrix = rotation(Pose(40.0, -10.0, 5.0))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


def test_scaling_a_projection_scales_its_pixels() -> None:
    projection = project_with(Pose(25.0, 5.0, -8.0))
    points = np.random.default_rng(0).normal(size=(7, 3))
    scaled = projection.scaled(31.0, np.array([4.0, 5.0]))
    np.testing.assert_allclose(scaled(points), projection(points) * 31.0 + (4.0, 5.0))
    assert scaled.unit == pytest.approx(31.0)


@pytest.mark.parametrize("yaw", [0.0, 25.0, -60.0])
def test_the_visible_edge_is_the_outline_on_the_near_side_and_beyond_it_on_the_far_one(
    turned: Turned, yaw: float
) -> None:
    geometry = turned(2, yaw)
    front = geometry.anatomy.outline[:, :2]
    rim = geometry.projection(np.column_stack([front, geometry.height.at(front)]))
    moved = visible_edge(geometry.anatomy, geometry.height.smooth, geometry.projection) - rim
    np.testing.assert_allclose(moved[:, 1], 0.0, atol=1e-9)  # a turn about the upright axis moves points sideways
    if yaw == 0.0:
        np.testing.assert_allclose(moved, 0.0, atol=0.05)
        return
    near, far = (EAR, -EAR) if yaw > 0 else (-EAR, EAR)  # the image's left ear is the near one of a head turned right
    assert abs(moved[near, 0]) < 0.05 and np.sign(yaw) * moved[far, 0] > 1.0


def test_a_hidden_point_lies_on_the_visible_edge_and_a_visible_one_stays(turned: Turned) -> None:
    geometry = turned(4, 55.0)
    cheeks = np.array([(-0.5, 0.5), (0.74, 0.5)])
    projected = geometry.projection(np.column_stack([cheeks, geometry.height.at(cheeks)]))
    placed = place(cheeks, geometry.height, geometry.projection)
    np.testing.assert_allclose(placed[0], projected[0], atol=1e-6)
    assert placed[1, 0] > projected[1, 0] + 1.0
    edge = visible_edge(geometry.anatomy, geometry.height.smooth, geometry.projection).astype(np.float32)
    assert abs(cv2.pointPolygonTest(edge, tuple(placed[1].astype(float)), True)) < 0.5


@pytest.mark.parametrize(("yaw", "tolerance"), [(0.0, 0.05), (-20.0, 0.15), (40.0, 0.25), (-60.0, 0.35)])
def test_pixels_see_the_landmarks_where_the_truth_has_them(turned: Turned, yaw: float, tolerance: float) -> None:
    errors = []
    for seed in range(6):
        geometry = turned(seed, yaw)
        x, y = front_view(geometry.projection, WHOLE, see(geometry.height, geometry.projection, WHOLE))
        near = "left" if yaw > 0 else "right"
        for name in (f"{near} eye", f"{near} brow", "outer lips"):
            front, placed = geometry.anatomy.curves[name][::STEP], geometry.placed[name][::STEP]
            pixel = placed.astype(np.float32)[:, None]
            found = np.column_stack([cv2.remap(axis, pixel, None, cv2.INTER_LINEAR)[:, 0] for axis in (x, y)])
            on_surface = np.column_stack([front, geometry.height.at(front)])
            shown = np.linalg.norm(geometry.projection(on_surface) - placed, axis=1) < 0.01
            errors.extend(np.linalg.norm(found - front, axis=1)[shown] * geometry.projection.unit)
    assert len(errors) > 100
    assert np.median(errors) < 0.1 and np.quantile(errors, 0.9) < tolerance


def test_a_line_of_sight_meets_the_surface_that_is_in_front(turned: Turned) -> None:
    geometry = turned(1, 50.0)
    seen = see(geometry.height, geometry.projection, WHOLE)
    tip = geometry.anatomy.ridge[-1:] - (0.02, 0.0)
    column, row = np.rint(geometry.projection(np.column_stack([tip, geometry.height.at(tip)])))[0].astype(int)
    assert seen[row, column] == pytest.approx(geometry.height.at(tip)[0], abs=0.05)  # the nose, not the cheek behind it


def test_depth_moves_no_point_when_the_head_faces_the_camera() -> None:
    projection: Projection = project_with(Pose(0.0, 0.0, 12.0))
    np.testing.assert_allclose(projection.depth, 0.0, atol=1e-12)
