from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semalign.data.pts import read_pts
from semalign.errors import SemalignError
from semalign.evaluation.annotators import (
    LANDMARKS,
    REGIONS,
    AnnotatorMarks,
    LabelSet,
    annotator_residual,
    by_region,
    compare_label_sets,
    read_annotators,
    residual_distances,
    worker_distances,
)

FACES = 40
IDS = tuple(f"lfpw/trainset/image_{number:04d}.jpg" for number in range(1, FACES + 1))
HEADER = "file,annotator," + ",".join(f"x{point},y{point}" for point in range(29))


def upright(rng: np.random.Generator) -> np.ndarray:
    """Faces whose outer eye corners are 100 px apart on a level line."""
    points = rng.uniform(0, 200, (FACES, 68, 2))
    points[:, 36], points[:, 45] = [50.0, 80.0], [150.0, 80.0]
    return points


def marked(points: np.ndarray, rng: np.random.Generator, spread: float = 0.0) -> AnnotatorMarks:
    shared = points[:, None, LANDMARKS]
    return AnnotatorMarks(IDS, shared + spread * rng.normal(size=(FACES, 3, len(LANDMARKS), 2)))


def test_known_deviations_come_out_in_percent() -> None:
    rng = np.random.default_rng(0)
    points = upright(rng)
    labels = points.copy()
    labels[:3, 8] += [3.0, 4.0]  # the chin of three faces: too few to move the median
    names, distances = residual_distances(labels, IDS, marked(points, rng), points)
    assert names == IDS
    expected = np.zeros((FACES, 19))
    expected[:3, LANDMARKS.index(8)] = 5.0
    np.testing.assert_allclose(distances, expected, atol=1e-9)
    figures = by_region(distances)
    assert figures["contour"] == pytest.approx(15 / FACES)
    assert figures["all"] == pytest.approx(15 / FACES / 19)
    assert [figures[name] for name in REGIONS[:4]] == pytest.approx([0.0] * 4, abs=1e-9)


def test_what_differs_by_definition_is_removed_in_the_faces_own_frame() -> None:
    """Offsets that turn and grow with the face vanish; the same offsets in the image's frame do not."""
    rng = np.random.default_rng(0)
    points = upright(rng)
    marks = marked(points, rng).points
    offset = rng.normal(size=(68, 2))
    labels = points + offset
    angles, scales = rng.uniform(-3, 3, FACES), rng.uniform(0.5, 2.0, FACES)
    turns = scales[:, None, None] * np.stack(
        [np.stack([np.cos(angles), np.sin(angles)], 1), np.stack([-np.sin(angles), np.cos(angles)], 1)], axis=1
    )
    posed, frame = labels @ turns, points @ turns
    posed_marks = AnnotatorMarks(IDS, marks @ turns[:, None])
    assert residual_distances(posed, IDS, posed_marks, frame)[1].max() < 1e-9
    assert residual_distances(frame + offset, IDS, posed_marks, frame)[1].mean() > 0.3


def test_figures_do_not_change_with_scale_rotation_and_place() -> None:
    rng = np.random.default_rng(0)
    points = upright(rng)
    marks = marked(points, rng, spread=3.0)
    labels = points + rng.normal(size=points.shape)
    turn = 1.7 * np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    moved = AnnotatorMarks(IDS, marks.points @ turn + 9.0)
    before = residual_distances(labels, IDS, marks, points)[1]
    after = residual_distances(labels @ turn + 9.0, IDS, moved, points @ turn + 9.0)[1]
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_workers_are_held_against_the_mean_of_the_others() -> None:
    """The difference of one mark and the mean of two, each of spread σ, has the spread σ·√1.5 in x and in y."""
    rng = np.random.default_rng(0)
    points = upright(rng)
    found = worker_distances(IDS, marked(points, rng, spread=2.0), points)
    assert found.shape == (FACES, 19)
    assert found.mean() == pytest.approx(2.0 * np.sqrt(1.5) * np.sqrt(np.pi / 2), rel=0.03)


def test_only_faces_that_both_name_are_measured() -> None:
    rng = np.random.default_rng(0)
    points = upright(rng)
    marks = marked(points, rng)
    ids = ("helen/trainset/1.jpg", IDS[7], IDS[2])
    names, distances = residual_distances(points[[0, 7, 2]], ids, marks)
    assert names == (IDS[7], IDS[2])
    np.testing.assert_allclose(distances, 0.0, atol=1e-9)
    with pytest.raises(SemalignError, match="none of these faces"):
        residual_distances(points[:1], ("helen/trainset/1.jpg",), marks)


def test_label_sets_are_compared_on_the_same_faces() -> None:
    rng = np.random.default_rng(0)
    truth = upright(rng)
    marks = marked(truth, rng, spread=1.0)
    annotations = LabelSet("annotations", IDS, truth + 3.0 * rng.normal(size=truth.shape))
    better = LabelSet("better", IDS[::-1][:30], (truth + rng.normal(size=truth.shape))[::-1][:30])
    worse = LabelSet("worse", IDS, truth + 6.0 * rng.normal(size=truth.shape))
    rows = compare_label_sets(annotations, [annotations, better, worse], marks, rng)
    assert [row["labels"] for row in rows[2:]] == ["annotations", "better", "worse"]
    assert [row["faces"] for row in rows] == [FACES, FACES, FACES, 30, FACES]
    assert [row["verdict"] for row in rows] == [None, None, "undecided", "lower", "higher"]
    assert rows[2]["difference"] == 0.0
    assert rows[4]["difference"] == pytest.approx(rows[4]["all"] - rows[0]["all"])
    assert rows[3]["low"] < rows[3]["difference"] < rows[3]["high"] < 0


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def line(name: str, worker: int, value: str = "1.5") -> str:
    return f"{name},{worker}," + ",".join([value] * 58)


def test_reading_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "marks.csv", [line("a", 0), line("b", 0, "2"), line("a", 1, "3"), line("b", 1)])
    marks = read_annotators(path)
    assert marks.ids == ("a", "b")
    assert marks.points.shape == (2, 2, 19, 2)
    assert marks.points[:, :, 0, 0].tolist() == [[1.5, 3.0], [2.0, 1.5]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no face marked by two"),
        ([line("a", 0)], "no face marked by two"),
        ([line("a", 0), line("a", 1), line("b", 0)], "b has 1 annotators and others 2"),
        ([line("a", 0), line("a", 1, "x")], "line 3 holds no number"),
        ([line("a", 0), line("a", 1, "nan")], "line 3 holds no number"),
        ([line("a", 0), "a,1,2.0"], "line 3 holds no number"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, lines: list[str], message: str) -> None:
    path = write(tmp_path / "marks.csv", lines)
    with pytest.raises(SemalignError, match=rf"marks\.csv.*{message}"):
        read_annotators(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"none\.csv.*cannot be read"):
        read_annotators(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("file,x0\n")
    with pytest.raises(SemalignError, match=r"other\.csv.*no column 'y0'"):
        read_annotators(tmp_path / "other.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(SemalignError, match=r"image\.csv"):
        read_annotators(tmp_path / "image.csv")


def test_the_published_figures_of_300w_come_out(shared_data: Path) -> None:
    path = shared_data / "lfpw_annotators.csv"
    marks = read_annotators(path)
    points = np.stack([read_pts((shared_data / "300w" / name).with_suffix(".pts")) for name in marks.ids])
    figures = annotator_residual(points, marks.ids, path)
    assert figures["faces"] == 501
    assert round(figures["all"], 2) == 2.94
    assert round(float(worker_distances(marks.ids, marks, points).mean()), 2) == 3.36
