"""The check of a whole data set: every bad file is named, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semalign.data import check_dataset, read_pts, write_pts
from semalign.errors import SemalignError

MakeDataset = Callable[..., Path]


def test_a_good_set(make_300w: MakeDataset) -> None:
    calls: list[tuple[int, int]] = []
    report = check_dataset(make_300w(), progress=lambda done, total: calls.append((done, total)))
    assert report.ok and report.problems == ()
    assert (report.name, report.scheme, report.usable) == ("300w", "ibug68", 10)
    assert report.counts == {"afw": 2, "helen/trainset": 3, "lfpw/trainset": 2, "lfpw/testset": 2, "ibug": 1}
    assert calls == [(done, 10) for done in range(1, 11)]
    assert "helen/testset is missing (330 faces in the official set)." in report.notes


def test_every_bad_file_is_named(make_300w: MakeDataset) -> None:
    root = make_300w()
    (root / "afw/image_0002.pts").unlink()
    jpeg = root / "helen/trainset/image_0003.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])  # its header is sound: only decoding finds this
    png = root / "lfpw/testset/image_0001.png"
    png.write_bytes(png.read_bytes()[:-400])
    report = check_dataset(root)
    assert not report.ok
    assert [problem.file for problem in report.problems] == [
        "afw/image_0002.jpg",
        "helen/trainset/image_0003.jpg",
        "lfpw/testset/image_0001.png",
    ]
    assert "has no .pts beside it" in report.problems[0].message
    assert all("is truncated or damaged" in problem.message for problem in report.problems[1:])
    assert report.counts == {"afw": 1, "helen/trainset": 2, "lfpw/trainset": 2, "lfpw/testset": 1, "ibug": 1}


def test_points_a_little_outside_are_noted(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 2})
    points = read_pts(root / "afw/image_0001.pts")
    write_pts(root / "afw/image_0001.pts", points - (0, points[:, 1].min() + 4.5))
    report = check_dataset(root)
    assert report.ok
    assert report.notes[-1] == "1 face has points outside its image, by 4.0 px at most; it is kept."
    write_pts(root / "afw/image_0002.pts", np.array(points) - (points[:, 0].min() + 3.5, 0))
    assert check_dataset(root).notes[-1] == "2 faces have points outside their image, by 4.0 px at most; they are kept."


def test_pictures_that_lack_their_last_bytes_are_suspicious(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 2, "lfpw/testset": 2})
    cut = [root / "afw/image_0001.jpg", root / "lfpw/testset/image_0002.png"]
    for path in cut:
        path.write_bytes(path.read_bytes()[:-2])
    report = check_dataset(root)
    assert report.ok and report.usable == 4
    assert [problem.message for problem in report.suspicious if "bytes" in problem.message] == [
        f"{path}: lacks its last bytes; copy it again." for path in cut
    ]


def test_only_bad_samples_are_a_report_and_none_is_an_error(make_300w: MakeDataset) -> None:
    root = make_300w({"afw": 1})
    (root / "afw/image_0001.jpg").unlink()
    report = check_dataset(root)
    assert [problem.file for problem in report.problems] == ["afw/image_0001.pts"]
    assert (report.usable, report.counts) == (0, {})
    (root / "afw/image_0001.pts").unlink()
    with pytest.raises(SemalignError, match="holds no annotated face"):
        check_dataset(root)
