"""Synthetic data sets: readable as ordinary ones, the same bytes however they were made, refused where they must be."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from semalign.data import open_dataset, read_image
from semalign.errors import SemalignError
from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, face_of, write_dataset
from semalign.synthetic.dataset import CHUNK, image_id

SETTINGS = SynthesisSettings(count=CHUNK + 4, seed=3, test_count=4, face=FaceSettings(size=40))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("synthetic") / "faces", SETTINGS)


def test_the_reader_of_300w_reads_it_with_its_truth(made: Path) -> None:
    dataset = open_dataset(made)
    assert dataset.name == "synthetic" and dataset.scheme.name == "ibug68" and not dataset.skipped
    assert len(dataset.select(split="train")) == SETTINGS.count - 4 and len(dataset.select(split="test")) == 4
    assert dataset.truth is not None
    for sample in dataset.samples:
        index = int(sample.image.stem.split("_")[1]) - 1
        face = face_of(SETTINGS.seed, index, SETTINGS)
        assert sample.id == image_id(index, SETTINGS)
        np.testing.assert_array_equal(dataset.truth[sample.id], face.points)
        difference = read_image(sample.image).astype(int) - face.image
        assert np.abs(difference).mean() < 6  # JPEG
        percent = 100 * np.linalg.norm(sample.points - face.points, axis=1) / np.ptp(face.points[[36, 45], 0])
        assert 0.2 < percent.mean() < 8


def test_the_truth_file_says_what_is_visible_and_who_annotated(made: Path) -> None:
    table = pq.read_table(made / "truth.parquet").to_pydict()
    assert list(table) == ["image", "landmark", "x", "y", "visible", "annotator"]
    assert table["landmark"] == list(range(68)) * SETTINGS.count
    for index in (0, SETTINGS.count - 1):
        rows = slice(68 * index, 68 * index + 68)
        face = face_of(SETTINGS.seed, index, SETTINGS)
        assert table["image"][rows] == [image_id(index, SETTINGS)] * 68
        assert table["visible"][rows] == face.visible.tolist()
        assert len(set(table["annotator"][rows])) == 1
    assert 1 < len(set(table["annotator"])) <= SETTINGS.annotators


def test_png_keeps_the_pixels(tmp_path: Path) -> None:
    settings = replace(SETTINGS, count=1, test_count=0, image_format="png", noise=NoiseSettings(scale=0.0))
    dataset = open_dataset(write_dataset(tmp_path / "faces", settings))
    face = face_of(settings.seed, 0, settings)
    np.testing.assert_array_equal(read_image(dataset.samples[0].image), face.image)
    np.testing.assert_allclose(dataset.points()[0], face.points, atol=1e-6)


def test_a_face_does_not_depend_on_how_many_are_made(made: Path, tmp_path: Path) -> None:
    fewer = contents(write_dataset(tmp_path / "faces", replace(SETTINGS, count=5, test_count=0)))
    whole = contents(made)
    images = [name for name in fewer if "synthetic_" in name]
    assert len(images) == 10 and all(fewer[name] == whole[name] for name in images)


def test_two_processes_write_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    parallel = write_dataset(tmp_path / "faces", SETTINGS, lambda *call: calls.append(call), workers=2)
    assert contents(parallel) == contents(made)
    assert calls == [(done, SETTINGS.count) for done in range(1, SETTINGS.count + 1)]


def test_an_interrupted_data_set_is_completed_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise StoppedError

    folder = tmp_path / "faces"
    with pytest.raises(StoppedError):
        write_dataset(folder, SETTINGS, interrupt)
    assert not (folder / "synthetic.json").exists() and not (folder / "truth.parquet").exists()
    with pytest.raises(SemalignError, match="unfinished"):
        open_dataset(folder)
    (folder / "helen/trainset/.synthetic_000008.part-abcd1234.jpg").write_bytes(b"half a file")
    assert contents(write_dataset(folder, SETTINGS)) == contents(made)


def test_a_finished_data_set_is_kept(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    calls: list[int] = []
    assert write_dataset(made, SETTINGS, lambda done, total: calls.append(done)) == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before and not calls


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"count": 99}, {"noise": NoiseSettings(scale=0.5)}, {"face": FaceSettings(size=48)}]
)
def test_a_data_set_of_other_settings_is_refused_and_left_alone(made: Path, other: dict[str, object]) -> None:
    before = contents(made)
    with pytest.raises(SemalignError, match=f"{made}: holds a synthetic data set of other settings"):
        write_dataset(made, replace(SETTINGS, **other))
    assert contents(made) == before


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SemalignError, match="is not empty and holds no synthetic data set"):
        write_dataset(tmp_path, SETTINGS)
    assert list(contents(tmp_path)) == ["notes.txt"]
    with pytest.raises(SemalignError, match="is not empty and holds no synthetic data set"):
        write_dataset(tmp_path / "notes.txt", SETTINGS)


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(SemalignError, match="cannot be read as JSON"):
        write_dataset(tmp_path, SETTINGS)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(SemalignError, match=r"cannot write .*synthetic_000001\.jpg: the disk is full; [^.]*\.$"):
        write_dataset(tmp_path / "faces", SETTINGS)


def test_only_the_folders_of_faces_are_made(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "faces", replace(SETTINGS, count=1, test_count=0))
    assert {path.name for path in folder.iterdir()} == {"helen", "truth.parquet", "synthetic.json"}


def test_the_description_holds_all_settings(made: Path) -> None:
    description = json.loads((made / "synthetic.json").read_text())
    assert description["settings"]["noise"]["contour"]["shared"] == NoiseSettings().contour.shared
    assert description["settings"]["face"]["size"] == 40 and description["scheme"] == "ibug68"
