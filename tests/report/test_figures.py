"""What the figures compute before they draw: windows, spreads, curves; and that the drawing shows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.report.figures import detector, faces, heatmaps, labels, training
from semalign.report.figures.axes import spread
from semalign.report.render import to_png, to_svg
from semalign.report.theme import LIGHT, PAGE, VARIABLES, drawing
from semalign.schemes import load_scheme


@given(st.lists(st.floats(-50, 350), min_size=1, max_size=9).map(sorted), st.floats(1, 30))
def test_names_are_spread_within_bounds_and_no_further_than_needed(heights: list[float], gap: float) -> None:
    low, high = 0.0, 300.0
    placed = spread(np.array(heights), gap, low, high)
    assert (np.diff(placed) >= gap - 1e-9).all()
    assert placed[0] >= low - 1e-9
    assert placed[-1] <= high + 1e-9
    inside = np.clip(heights, low, high)
    if (np.diff(heights) >= gap).all() and np.array_equal(inside, heights):
        assert placed == pytest.approx(heights)


def test_two_names_at_one_height_part_evenly() -> None:
    assert spread(np.array([100.0, 100.0]), 16.0, 0.0, 300.0) == pytest.approx([92.0, 108.0])


def face(moved: dict[int, float], truth: bool = False) -> faces.FaceMarks:
    """68 points on a grid of 100 px, of which some were moved to the right by a distance."""
    y, x = np.mgrid[0:7, 0:10]
    points = np.stack([x.ravel()[:68] * 10.0 + 30, y.ravel()[:68] * 14.0 + 30], axis=1)
    found = points.copy()
    for index, distance in moved.items():
        found[index, 0] += distance
    image = np.zeros((160, 160, 3), np.uint8)
    return faces.FaceMarks("face", image, points, None if truth else found, found if truth else None)


@pytest.mark.parametrize("truth", [False, True])
def test_close_ups_are_where_the_labels_of_each_region_moved_furthest(truth: bool) -> None:
    regions = load_scheme("ibug68").regions
    moved = face({3: 6.0, 20: 4.0, 40: 3.0, 60: 5.0, 30: 0.5}, truth)
    windows = faces.close_ups(moved, regions)
    assert [window.name for window in windows] == ["contour", "brows", "eyes", "mouth"]
    whole = faces.face_window(moved)
    for window, index in zip(windows, (3, 20, 40, 60), strict=True):
        assert window.holds(moved.annotation[[index]]).all()
        assert abs(window.x - whole.x) + window.side / 2 <= whole.side / 2 + 1e-9
        assert abs(window.y - whole.y) + window.side / 2 <= whole.side / 2 + 1e-9


def test_without_regions_the_close_ups_lie_apart() -> None:
    moved = face({0: 3.0, 9: 5.0, 60: 4.0, 67: 2.0})
    windows = faces.close_ups(moved, {})
    assert len(windows) == 4
    for index, window in enumerate(windows):
        for other in windows[:index]:
            assert max(abs(window.x - other.x), abs(window.y - other.y)) > 0.8 * window.side


def test_a_face_with_nothing_to_compare_has_no_close_ups() -> None:
    alone = faces.FaceMarks("face", np.zeros((9, 9, 3), np.uint8), np.array([[1.0, 1.0], [6.0, 6.0]]), None, None)
    assert faces.close_ups(alone, {}) == ()
    assert faces.face_window(alone).holds(alone.annotation).all()


def test_marks_are_drawn_where_the_points_are() -> None:
    moved = face({33: 8.0})
    window = faces.Window("all", 75.0, 72.0, 60.0)
    with drawing():
        figure = faces.face_picture(moved, window)
        axes = figure.axes[0]
        pixels = {line.get_gid(): axes.transData.transform(line.get_xydata()) for line in axes.lines}
    seen = window.holds(moved.annotation, spare=6.0)
    expected = (moved.annotation[seen] - (45.0, 42.0)) / 60.0 * faces.SIDE
    expected[:, 1] = faces.SIDE - expected[:, 1]
    assert pixels["annotation1"] == pytest.approx(expected)
    assert np.abs(pixels["found1"] - pixels["annotation1"]).max() == pytest.approx(8.0 / 60.0 * faces.SIDE)


@pytest.mark.parametrize(("long", "short", "angle"), [(2.0, 2.0, 0.0), (4.0, 1.5, 30.0), (3.0, 1.0, 110.0)])
def test_spread_of_a_response_is_that_of_its_gaussian(long: float, short: float, angle: float) -> None:
    rows, columns = np.indices((61, 61)) - 30.0
    u = columns * np.cos(np.radians(angle)) + rows * np.sin(np.radians(angle))
    v = -columns * np.sin(np.radians(angle)) + rows * np.cos(np.radians(angle))
    response = 0.7 * np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))
    # Cut at a tenth of the peak, a two-dimensional Gaussian keeps 1 - 0.1 (1 + ln 10) / 0.9 of its variance.
    kept = np.sqrt(1 - 0.1 * np.log(10) / 0.9)
    assert heatmaps.spread(response) == pytest.approx((kept * long, kept * short), rel=0.04)
    assert heatmaps.spread(np.zeros((5, 5))) == (0.0, 0.0)


@pytest.mark.parametrize("peak", [(0, 0), (32, 20), (63, 63)])
def test_the_window_of_a_heatmap_holds_its_peak(peak: tuple[int, int]) -> None:
    heatmap = np.zeros((64, 64))
    heatmap[peak] = 1.0
    rows, columns = heatmaps.Response(np.zeros((128, 128, 3), np.uint8), heatmap, 1.0).window()
    assert heatmap[rows, columns].shape == (19, 19)
    assert heatmap[rows, columns].sum() == 1.0


def test_baseline_and_aligned_go_on_after_the_start() -> None:
    logs = {
        "start": [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}],
        "baseline": [{"loss": 0.9}, {"loss": 0.8}],
        "aligned": [{"loss": 0.7}, {"other": 1}],
    }
    curves = training.curves_of(logs, "loss")
    assert {stage: curve[0].tolist() for stage, curve in curves.items()} == {
        "start": [1, 2, 3],
        "baseline": [4, 5],
        "aligned": [4],
    }
    assert curves["baseline"][1].tolist() == [0.9, 0.8]
    assert training.training_curve(logs, "missing", LIGHT) is None
    assert training.last_stretch({"start": logs["start"]}, "loss", LIGHT) is None


def test_gain_is_the_difference_of_the_cumulative_curves() -> None:
    error = np.linspace(0, 8, 5)
    curves = {
        "start": (error, np.array([0, 0.2, 0.6, 0.9, 1.0])),
        "aligned": (error, np.array([0, 0.3, 0.8, 0.9, 1.0])),
    }
    with drawing():
        figure = detector.cumulative_gain(curves, LIGHT)
    assert figure is not None
    drawn = figure.axes[0].lines[-1].get_xydata()
    assert drawn == pytest.approx(np.stack([error, [0, 10, 20, 0, 0]], axis=1))
    assert detector.cumulative_gain({"aligned": curves["aligned"]}, LIGHT) is None


def test_lines_show_the_label_errors_from_iteration_0() -> None:
    with drawing():
        figure = labels.error_by_iteration({"all points": [2.0, 1.5, 1.6], "contour": [4.0, 3.0, 3.1]}, LIGHT)
    axes = figure.axes[0]
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[0, 2.0], [1, 1.5], [2, 1.6]] in lines
    assert [[0, 4.0]] in lines  # the annotation has a mark of its own
    assert axes.get_ylim()[0] == 0.0
    assert {text.get_text() for text in axes.texts} == {"all points", "contour"}


@pytest.mark.parametrize(("second", "scale"), [(0.8, "linear"), (0.0, "linear"), (0.1, "log")])
def test_movement_is_logarithmic_only_where_it_can_be(second: float, scale: str) -> None:
    records = [{"iteration": 1, "mean": 1.0, "by_region": {}}, {"iteration": 2, "mean": second}]
    with drawing():
        figure = labels.movement_by_iteration(records, LIGHT)
    assert figure.axes[0].get_yscale() == scale


def test_a_chart_takes_its_colours_from_the_page() -> None:
    with drawing():
        chart = to_svg(labels.group_error([2.0, 1.0], [1.0, float("nan")], PAGE), "key", 'a "label" & more')
    assert not [placeholder for placeholder in VARIABLES if placeholder in chart]
    assert "var(--found)" in chart and "var(--annotation)" in chart
    assert "<style" not in chart and "<metadata" not in chart and "DejaVu" not in chart
    assert 'aria-label="a &#34;label&#34; &amp; more"' in chart
    assert 'id="key-' in chart and 'id="figure_1"' not in chart


def test_a_surface_is_drawn_on_a_clear_ground() -> None:
    heatmap = np.zeros((64, 64), np.float32)
    heatmap[20:23, 30:33] = 0.8
    with drawing():
        png = to_png(heatmaps.solid_view(heatmaps.Response(np.zeros((64, 64, 3), np.uint8), heatmap, 0.8)), 1.0)
    import cv2

    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (300, 300, 4)
    assert (pixels[..., 3] == 0).mean() > 0.4  # clear around it
    assert (pixels[..., 3] == 255).mean() > 0.1  # and a surface
