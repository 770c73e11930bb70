"""Annotations compared with found faces, on drawn faces: good ones pass, displaced, turned and exchanged ones are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.data import Dataset, Sample, open_dataset, read_pts, write_pts
from semalign.detect.comparison import compare_with_found
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme
from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, write_dataset

FACES = 12


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SynthesisSettings(
        count=FACES, seed=3, test_count=0, face=FaceSettings(size=144), noise=NoiseSettings(scale=0.0)
    )
    return write_dataset(tmp_path_factory.mktemp("drawn") / "set", settings)


def changed(drawn: Path, out: Path, change: Callable[[list[np.ndarray]], None]) -> Dataset:
    """A copy of the drawn faces whose annotations were changed."""
    shutil.copytree(drawn, out)
    files = sorted(out.rglob("*.pts"))
    points = [read_pts(file) for file in files]
    change(points)
    for file, own in zip(files, points, strict=True):
        write_pts(file, own)
    return open_dataset(out)


def test_good_annotations_pass(drawn: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = compare_with_found(open_dataset(drawn), lambda done, total: calls.append((done, total)))
    assert found.suspicious == ()
    assert found.compared + found.unseen == FACES and found.compared >= FACES - 2
    assert calls == [(done, FACES) for done in range(1, FACES + 1)]


def test_each_kind_of_fault_is_named(drawn: Path, tmp_path: Path) -> None:
    def change(points: list[np.ndarray]) -> None:
        middle = [own.mean(axis=0) for own in points]
        points[0] = 2 * middle[0] - points[0]
        points[1] = middle[1] + (points[1] - middle[1]) * 0.5
        points[2] = points[2][list(scheme.flip_index)]
        points[3] = (points[3] - middle[3]) @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + middle[3]

    scheme = open_dataset(drawn).scheme
    dataset = changed(drawn, tmp_path / "set", change)
    found = {problem.file: problem.message for problem in compare_with_found(dataset).suspicious}
    said = [found[name] for name in sorted(found)]
    assert sorted(found) == list(dataset.ids()[:4])
    assert "is upside down against the face" in said[0]
    assert "times as large as the face" in said[1]
    assert "has left and right exchanged" in said[2]
    assert 80 < int(said[3].split("is turned by ")[1].split("°")[0]) < 100
    assert all(message.startswith(f"{dataset.root / name}: ") for name, message in found.items())


def test_exchanged_annotations_name_each_other(drawn: Path, tmp_path: Path) -> None:
    def change(points: list[np.ndarray]) -> None:
        points[1], points[7] = points[7], points[1]
        points[2], points[3], points[4] = points[3], points[4], points[2]

    dataset = changed(drawn, tmp_path / "set", change)
    ids = dataset.ids()
    found = {problem.file: problem.message for problem in compare_with_found(dataset).suspicious}
    for one, other in ((1, 7), (7, 1), (2, 4), (3, 2), (4, 3)):
        assert f"it looks exchanged with that of {ids[other]}; look at it." in found[ids[one]], (one, other)
    assert len(found) == 5


def test_an_annotation_where_no_face_is_though_one_is_elsewhere(drawn: Path, tmp_path: Path) -> None:
    import cv2

    dataset = open_dataset(drawn)
    sample = dataset.samples[0]
    wide = np.full((144, 400, 3), 90, np.uint8)
    wide[:, :144] = cv2.imread(str(sample.image))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    moved = replace(sample, id="wide.png", image=tmp_path / "wide.png", points=sample.points + (230.0, 0.0))
    (problem,) = compare_with_found(replace(dataset, samples=(moved,))).suspicious
    assert "lies where no face is found; the nearest one is found around (" in problem.message


def test_pictures_without_a_face_and_damaged_ones_say_nothing(drawn: Path, tmp_path: Path) -> None:
    import cv2

    dataset = open_dataset(drawn)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((144, 144, 3), 128, np.uint8))
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG")
    samples = tuple(
        Sample(name, tmp_path / name, dataset.samples[0].points, "train", "") for name in ("grey.png", "damaged.png")
    )
    found = compare_with_found(replace(dataset, samples=samples))
    assert (found.suspicious, found.compared, found.unseen) == ((), 0, 2)


def test_a_scheme_without_eyes_is_refused(drawn: Path) -> None:
    dataset = open_dataset(drawn)
    scheme = LandmarkScheme("own", tuple(f"p{index}" for index in range(68)))
    with pytest.raises(SemalignError, match="names no points of the eyes"):
        compare_with_found(replace(dataset, scheme=scheme))
