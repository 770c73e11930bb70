"""`.pts` files: what is written is read back, and what is damaged is named."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from semalign.data import read_pts, write_pts
from semalign.errors import SemalignError

PTS = "version: 1\nn_points: 2\n{\n1.0 2.5\n30.125 4\n}\n"
COORDINATES = st.floats(-1e5, 1e5, allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 100), st.just(2)), elements=COORDINATES))
def test_round_trip(points: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "face.pts"
        write_pts(path, points)
        again = read_pts(path)
        assert again.dtype == np.float64
        np.testing.assert_allclose(again, points, rtol=0, atol=1e-6)
        write_pts(path, again)
        np.testing.assert_array_equal(read_pts(path), again)  # nothing drifts when a file is written again and again


def test_files_count_from_one_and_arrays_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "face.pts"
    path.write_text(PTS)
    np.testing.assert_array_equal(read_pts(path), [[0.0, 1.5], [29.125, 3.0]])
    write_pts(path, np.array([[0.0, -0.25]]))
    assert path.read_text() == "version: 1\nn_points: 1\n{\n1.000000 0.750000\n}\n"


@pytest.mark.parametrize(
    "text",
    [
        PTS.replace("\n", "\r\n"),
        PTS.replace("n_points: 2", "n_points:  2 ").replace("{\n", "{ \n"),
        "\ufeff" + PTS,
        PTS.replace("version: 1", "version: 1.0").rstrip(),
        PTS.replace("1.0 2.5", "  1e0\t2.5  "),
    ],
    ids=["windows", "spaces", "byte order mark", "no line end", "tabs"],
)
def test_variants_seen_in_the_wild(tmp_path: Path, text: str) -> None:
    path = tmp_path / "face.pts"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_pts(path), [[0.0, 1.5], [29.125, 3.0]])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not a .pts file"),
        (b"hello", "is not a .pts file"),
        (b"\xff\xd8\xff\xe0", "is not a text file"),
        (PTS.replace("}", "").encode(), "is not a .pts file"),
        (PTS.replace("30.125 4\n", "").encode(), "says 2 points but holds 1;"),
        (PTS.replace("30.125 4", "30.125").encode(), "says 2 points but holds 1.5;"),
        (PTS.replace("2.5", "2,5").encode(), "holds a coordinate that is no number"),
        (PTS.replace("30.125", "nan").encode(), "point 1 (from 0) is not finite"),
        (PTS.replace("2.5", "-inf").encode(), "point 0 (from 0) is not finite"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "face.pts"
    path.write_bytes(data)
    with pytest.raises(SemalignError) as caught:
        read_pts(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"nothing\.pts: there is no such file"):
        read_pts(tmp_path / "nothing.pts")
    with pytest.raises(SemalignError, match="cannot be read"):
        read_pts(tmp_path)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (np.zeros((3, 3)), "the points have shape (3, 3)"),
        (np.zeros(4), "the points have shape (4,)"),
        (np.array([[1.0, np.nan]]), "a coordinate is not finite"),
    ],
)
def test_nothing_senseless_is_written(tmp_path: Path, points: np.ndarray, sentence: str) -> None:
    path = tmp_path / "face.pts"
    with pytest.raises(SemalignError, match=re.escape(sentence)):
        write_pts(path, points)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "face.pts"
    path.write_text(PTS)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SemalignError, match=r"cannot write .*face\.pts: the disk is full"):
        write_pts(path, np.zeros((2, 2)))
    assert path.read_bytes() == PTS.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_an_absent_point_is_two_nan(tmp_path: Path) -> None:
    points = np.array([[1.0, 2.0], [np.nan, np.nan], [3.5, 4.25]])
    write_pts(tmp_path / "a.pts", points, absent=True)
    assert "\nnan nan\n" in (tmp_path / "a.pts").read_text()
    assert np.array_equal(read_pts(tmp_path / "a.pts"), points, equal_nan=True)
    with pytest.raises(SemalignError, match="a coordinate is not finite"):
        write_pts(tmp_path / "b.pts", points)  # a prediction has no absent points
    for half in ([[1.0, np.nan]], [[np.inf, np.inf]]):
        with pytest.raises(SemalignError, match="a coordinate is not finite"):
            write_pts(tmp_path / "b.pts", np.array(half), absent=True)
    assert not (tmp_path / "b.pts").exists()
    (tmp_path / "c.pts").write_text((tmp_path / "a.pts").read_text().replace("nan nan", "nan 7"))
    with pytest.raises(SemalignError, match=r"c\.pts: point 1 \(from 0\) is not finite"):
        read_pts(tmp_path / "c.pts")
