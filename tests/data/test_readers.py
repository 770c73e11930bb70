"""What every format gets for its reader: shown on one of which nothing else knows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import check_dataset, formats, open_dataset
from semalign.data.formats import Bad, Entry, Note, Reader
from semalign.data.opening import scan_dataset
from semalign.data.samples import Sample
from semalign.errors import SemalignError
from semalign.schemes import load_scheme


class Toy(Reader):
    """All faces in one file, several an image; a line is an image's path and x, y and visibility of each point."""

    name, title, wanted, scheme = "toy", "Toy", "faces.toy", "aflw19"

    def holds(self, place: Path) -> bool:
        return place.suffix == ".toy" or (place / "faces.toy").is_file()

    def entries(self, place: Path) -> Iterator[Entry | Bad | Note]:
        path = place if place.is_file() else place / "faces.toy"
        for number, line in enumerate(path.read_text().splitlines()):
            where = f"{path}: line {number}"
            if line.startswith("?"):
                yield Bad(f"line {number}", SemalignError(f"{where}: is torn; mend it."))
            elif line.startswith("#"):
                yield Note(line)
            else:
                yield Entry(f"line {number}", where, partial(self._face, path.parent, number, line))

    def _face(self, folder: Path, number: int, line: str) -> Sample:
        image, *values = line.split()
        x, y, visible = np.array(values, float).reshape(-1, 3).T
        return Sample(f"{image}#{number}", folder / image, np.stack([x, y], 1), "train", "toy", visible=visible > 0)


POINTS = np.random.default_rng(0).uniform(10, 50, (19, 2)).round(2)
VISIBLE = np.arange(19) % 5 > 0


def line(image: str, points: np.ndarray = POINTS) -> str:
    return " ".join([image, *(f"{x} {y} {int(seen)}" for (x, y), seen in zip(points, VISIBLE, strict=False))])


def write(root: Path, *lines: str) -> Path:
    (root / "images").mkdir(parents=True)
    cv2.imwrite(str(root / "images/a.png"), np.zeros((60, 60, 3), np.uint8))
    (root / "faces.toy").write_text("\n".join(lines))
    return root


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "READERS", (*formats.READERS, Toy()))


def test_it_is_opened_and_checked(tmp_path: Path) -> None:
    root = write(tmp_path / "set", "# Two faces, one image.", line("images/a.png"), line("images/a.png", POINTS + 1))
    for given in (root, root.parent, root / "faces.toy"):
        dataset = open_dataset(given)
        assert (dataset.root, dataset.name, dataset.scheme.name) == (root, "toy", "aflw19")
        assert dataset.ids() == ("images/a.png#1", "images/a.png#2")
        np.testing.assert_array_equal(dataset.points(), [POINTS, POINTS + 1])
        np.testing.assert_array_equal(dataset.samples[1].visible, VISIBLE)
        assert dataset.notes == ("# Two faces, one image.",)
        report = check_dataset(given)
        assert report.ok and report.counts == {"toy": 2}
        assert report.notes == (*dataset.notes, f"{2 * (~VISIBLE).sum()} of 38 points are marked as hidden.")
    with pytest.raises(SemalignError, match="Toy has 19 points a face, the scheme wflw98 98; choose the scheme aflw19"):
        open_dataset(root, load_scheme("wflw98"))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("? images/a.png", "line 1: is torn; mend it."),
        (line("images/a.png", POINTS[:18]), "line 1: holds 18 points where the scheme aflw19 has 19"),
        (line("images/a.png", np.full((19, 2), np.inf)), "line 1: point 0 (from 0) is not finite"),
        (line("images/a.png", np.full((19, 2), np.nan)), "line 1: none of 19 points are annotated"),
        (line("images/a.png", np.full((19, 2), 9.0)), "line 1: all points lie on one spot"),
        (line("images/a.png", POINTS + 90), "px off the image of 60×60 px; check that image and annotation belong"),
        (line("images/none.png"), "none.png: there is no such image"),
    ],
)
def test_a_bad_face_stops_or_is_left_out(tmp_path: Path, bad: str, sentence: str) -> None:
    root = write(tmp_path / "set", line("images/a.png"), bad, line("images/a.png"))
    with pytest.raises(SemalignError) as caught:
        open_dataset(root)
    assert sentence in str(caught.value)
    dataset = open_dataset(root, keep_going=True)
    assert dataset.ids() == ("images/a.png#0", "images/a.png#2")
    assert dataset.skipped == (("line 1", str(caught.value)),)
    report = check_dataset(root)
    assert [(problem.file, problem.message) for problem in report.problems] == list(dataset.skipped)
    assert report.usable == 2


def test_folders_of_images_that_are_missing_are_said(tmp_path: Path) -> None:
    root = write(tmp_path / "set", line("images/a.png"), line("more/b.png"), line("more/b.png"))
    assert open_dataset(root).notes == ("more is missing (2 faces of the annotations).",)
    assert check_dataset(root).ok and len(open_dataset(root)) == 1


def test_sets_without_faces(tmp_path: Path) -> None:
    root = write(tmp_path / "empty")
    for read in (open_dataset, scan_dataset, check_dataset):
        with pytest.raises(SemalignError) as caught:
            read(root)
        assert str(caught.value) == f"{root}: holds no annotated face (faces.toy); choose another folder."
    root = write(tmp_path / "bad", "?")
    with pytest.raises(SemalignError, match=r"holds no usable face, for example: .*line 0: is torn; mend it\.$"):
        open_dataset(root, keep_going=True)
    assert len(scan_dataset(root, keep_going=True)) == check_dataset(root).usable == 0


def test_it_is_told_from_other_formats(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match=r"give the folder that holds afw, .*, faces\.toy \(Toy\)\."):
        open_dataset(tmp_path)
    root = write(tmp_path / "set", line("images/a.png"))
    (root / "ibug").mkdir()
    with pytest.raises(SemalignError, match=r"holds several data sets \(300W, Toy\)"):
        open_dataset(root)
    assert len(open_dataset(root, reader=Toy())) == 1


def test_every_reader_says_what_it_is() -> None:
    assert len({reader.title for reader in formats.READERS}) == len(formats.READERS) == len(formats.MODULES) + 1
    for reader in formats.READERS:
        assert reader.title and reader.wanted and load_scheme(reader.scheme).count
        assert not reader.holds(Path("nowhere"))
