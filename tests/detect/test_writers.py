"""Results: every format read back, nothing of others overwritten, what is finished is kept."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semalign.data import read_pts
from semalign.data.video import open_video
from semalign.detect import Face
from semalign.detect.journal import Journal, read_lines
from semalign.detect.writers import FORMATS, Finding, ResultFolder
from semalign.errors import SemalignError

PICTURE = np.full((48, 65, 3), 90, np.uint8)


def finding(dots, name: str, faces: int = 1, frame: int | None = None) -> Finding:
    found = [
        Face(dots.points(20 + 10 * k, 20, 20.0), np.full(3, 0.5), dots.scheme, None if frame is None else k + 1)
        for k in range(faces)
    ]
    seconds = None if frame is None else frame / 25
    return Finding(f"in/{name}", PurePosixPath(name).with_suffix(""), (65, 48), found, frame, seconds)


@pytest.fixture
def folder(dots, tmp_path: Path) -> Path:
    """Results of two pictures and a video in every format."""
    with ResultFolder(tmp_path / "out", FORMATS, dots.scheme, {"model": "m"}) as results:
        for item in (finding(dots, "a.jpg", 2), finding(dots, "sub/b.png", 0)):
            results.add(item, PICTURE)
        for frame in range(3):
            results.add(finding(dots, "clip.avi", 1, frame), PICTURE)
        results.end_video("in/clip.avi")
    return tmp_path / "out"


def test_json_holds_everything(dots, folder: Path):
    content = json.loads((folder / "landmarks.json").read_text())
    assert content["complete"] is True and content["model"] == "m"
    assert content["landmarks"] == list(dots.scheme.landmarks)
    first, second, *frames = content["images"]
    assert (first["image"], first["width"], first["height"], len(first["faces"])) == ("in/a.jpg", 65, 48, 2)
    assert second["faces"] == []
    assert [(item["frame"], item["seconds"]) for item in frames] == [(0, 0.0), (1, 0.04), (2, 0.08)]
    assert first["faces"][1]["points"] == dots.points(30, 20, 20.0).round(3).tolist()
    assert frames[0]["faces"][0]["track"] == 1


def test_csv_has_a_row_for_each_landmark(dots, folder: Path):
    rows = list(csv.DictReader((folder / "landmarks.csv").read_text().splitlines()))
    assert len(rows) == (2 + 3) * 3
    assert [row["face"] for row in rows[:6]] == ["1"] * 3 + ["2"] * 3
    assert (rows[1]["name"], rows[1]["x"], rows[1]["confidence"], rows[1]["frame"]) == ("green", "30.000", "0.5000", "")
    assert (rows[-1]["image"], rows[-1]["frame"], rows[-1]["seconds"]) == ("in/clip.avi", "2", "0.0800")


def test_coco_keypoints(dots, folder: Path):
    content = json.loads((folder / "coco.json").read_text())
    (category,) = content["categories"]
    assert category["keypoints"] == list(dots.scheme.landmarks)
    assert category["skeleton"] == [[1, 2], [2, 3], [3, 1]]
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4, 5]
    assert content["images"][0]["file_name"] == "in/a.jpg"
    assert [item["image_id"] for item in content["annotations"]] == [1, 1, 3, 4, 5]
    assert [item["id"] for item in content["annotations"]] == [1, 2, 3, 4, 5]
    first = content["annotations"][0]
    assert first["keypoints"][:3] == [10.0, 11.0, 2] and first["num_keypoints"] == 3
    assert first["bbox"] == [10.5, 11.5, 20.0, 18.0]  # pixel centres to pixel edges


def test_pts_overlays_and_videos_lie_where_their_names_say(dots, folder: Path):
    assert np.allclose(read_pts(folder / "a.pts"), dots.points(20, 20, 20.0), atol=1e-6)
    assert np.allclose(read_pts(folder / "a_2.pts"), dots.points(30, 20, 20.0), atol=1e-6)
    assert sorted(path.name for path in (folder / "clip").iterdir()) == ["000000_1.pts", "000001_1.pts", "000002_1.pts"]
    with Image.open(folder / "a.jpg") as image:
        assert image.size == (65, 48) and np.ptp(np.asarray(image)) > 60
    with Image.open(folder / "sub" / "b.jpg") as image:
        assert np.ptp(np.asarray(image)) < 5
    video = open_video(folder / "clip.mp4")
    assert (video.claimed_frames, video.size, video.fps) == (3, (66, 48), 25.0)


def test_only_what_was_asked_for_is_written(dots, tmp_path: Path):
    with ResultFolder(tmp_path / "o", ["csv"], dots.scheme) as results:
        results.add(finding(dots, "a.jpg"), PICTURE)
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["landmarks.csv", "landmarks.json"]
    with pytest.raises(SemalignError, match="'xml' is unknown"):
        ResultFolder(tmp_path / "p", ["xml"], dots.scheme)
    assert not (tmp_path / "p").exists()


def test_earlier_results_are_replaced_only_when_asked_and_other_files_are_safe(dots, tmp_path: Path):
    with ResultFolder(tmp_path / "o", ["pts", "overlay", "csv"], dots.scheme) as results:
        results.add(finding(dots, "a.jpg", 2), PICTURE)
    (tmp_path / "o" / "mine.txt").write_text("kept")
    with pytest.raises(SemalignError, match="--overwrite"):
        ResultFolder(tmp_path / "o", [], dots.scheme)
    with ResultFolder(tmp_path / "o", [], dots.scheme, overwrite=True) as results:
        results.add(finding(dots, "b.jpg"), PICTURE)
    assert [item["image"] for item in json.loads((tmp_path / "o/landmarks.json").read_text())["images"]] == ["in/b.jpg"]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["landmarks.json", "mine.txt"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.pts").write_text("annotation")
    for overwrite in (False, True):
        with pytest.raises(SemalignError, match="not empty"):
            ResultFolder(tmp_path / "mine", ["pts"], dots.scheme, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.pts"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SemalignError])
def test_an_interruption_keeps_what_is_finished(dots, tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error), ResultFolder(tmp_path / "o", FORMATS, dots.scheme) as results:
        for frame in range(4):
            results.add(finding(dots, "clip.avi", 1, frame), PICTURE)
        raise error
    content = json.loads((tmp_path / "o" / "landmarks.json").read_text())
    assert content["complete"] is False and len(content["images"]) == 4
    assert len(json.loads((tmp_path / "o" / "coco.json").read_text())["annotations"]) == 4
    assert len((tmp_path / "o" / "landmarks.csv").read_text().splitlines()) == 1 + 4 * 3
    assert open_video(tmp_path / "o" / "clip.mp4").claimed_frames == 4
    assert not [path for path in (tmp_path / "o").iterdir() if path.name.startswith(".")]


class Full:
    """A file on a disk that fills up: writes what fits, then fails."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        fits = data[: max(self.room - self.file.tell(), 0)]
        if not fits and data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(fits))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_leaves_whole_entries(tmp_path: Path):
    journal = Journal(tmp_path / "a.jsonl", {"model": "m"})
    journal._file = Full(journal._file, journal._length + 30)
    one, other = ({"image": name, "faces": []} for name in "ab")
    journal.append(one)
    with pytest.raises(SemalignError, match="the disk is full"):
        journal.append({"faces": ["an entry that is too long"]})
    assert [line.values for line in read_lines(tmp_path / "a.jsonl")] == [one]
    journal._file = journal._file.file
    journal.append(other)
    journal.close()
    assert [line.values for line in read_lines(tmp_path / "a.jsonl")] == [one, other]


def test_a_disk_without_room_for_the_tables_leaves_the_record_and_the_file_as_it_was(
    dots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(source: object, destination: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(SemalignError, match="the disk is full"),
        ResultFolder(tmp_path / "o", [], dots.scheme) as results,
    ):
        results.add(finding(dots, "a.jpg"), PICTURE)
        (tmp_path / "o" / "landmarks.json").write_text("before")
        monkeypatch.setattr("semalign.files.os.replace", full)
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["landmarks.json", "landmarks.jsonl"]
    assert (tmp_path / "o" / "landmarks.json").read_text() == "before"
    assert len(list(read_lines(tmp_path / "o" / "landmarks.jsonl"))) == 1


def test_a_video_stops_before_the_disk_is_full(dots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with (
        pytest.raises(SemalignError, match="the disk is full"),
        ResultFolder(tmp_path / "o", ["overlay"], dots.scheme) as results,
    ):
        results.add(finding(dots, "clip.avi", 1, 0), PICTURE)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        results.add(finding(dots, "clip.avi", 1, 1), PICTURE)
    assert open_video(tmp_path / "o" / "clip.mp4").claimed_frames == 1


def test_a_folder_that_cannot_be_made_is_said(dots, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SemalignError, match="file"):
        ResultFolder(tmp_path / "file" / "out", ["csv"], dots.scheme)


def with_visibility(dots, name: str, visibility: list[float] | None) -> Finding:
    seen = None if visibility is None else np.array(visibility)
    face = Face(dots.points(20, 20, 20.0), np.full(3, 0.5), dots.scheme, visibility=seen)
    return Finding(name, PurePosixPath(name).with_suffix(""), (65, 48), [face])


def test_visibility_is_in_every_table(dots, tmp_path: Path):
    with ResultFolder(tmp_path / "out", FORMATS, dots.scheme) as results:
        results.add(finding(dots, "empty.jpg", 0), PICTURE)
        results.add(with_visibility(dots, "a.jpg", [0.1, 0.5, 0.98764]), PICTURE)
    out = tmp_path / "out"
    (face,) = json.loads((out / "landmarks.json").read_text())["images"][1]["faces"]
    assert (
        face["visibility"]
        == [0.1, 0.5, 0.9876]
        == list(read_lines(out / "landmarks.jsonl"))[1].values["faces"][0]["visibility"]
    )
    rows = list(csv.DictReader((out / "landmarks.csv").read_text().splitlines()))
    assert [row["visibility"] for row in rows] == ["0.1000", "0.5000", "0.9876"]
    table = pytest.importorskip("pyarrow.parquet").read_table(out / "landmarks.parquet")
    assert table["visibility"].to_pylist() == [0.1, 0.5, 0.9876]
    (annotation,) = json.loads((out / "coco.json").read_text())["annotations"]
    assert annotation["keypoints"][2::3] == [1, 2, 2] and annotation["num_keypoints"] == 3
    assert annotation["visibility"] == face["visibility"]


def test_without_visibility_no_table_has_it(dots, folder: Path):
    assert "visibility" not in (folder / "landmarks.json").read_text()
    assert "visibility" not in (folder / "landmarks.csv").read_text().splitlines()[0]
    assert (
        "visibility" not in pytest.importorskip("pyarrow.parquet").read_table(folder / "landmarks.parquet").column_names
    )
    annotations = json.loads((folder / "coco.json").read_text())["annotations"]
    assert all(v == 2 for item in annotations for v in item["keypoints"][2::3])
    assert all("visibility" not in item for item in annotations)


def test_a_face_without_visibility_among_others_is_left_empty(dots, tmp_path: Path):
    with ResultFolder(tmp_path / "out", FORMATS, dots.scheme) as results:
        results.add(with_visibility(dots, "a.jpg", [0.1, 0.5, 0.9]), PICTURE)
        results.add(with_visibility(dots, "b.jpg", None), PICTURE)
    rows = list(csv.DictReader((tmp_path / "out" / "landmarks.csv").read_text().splitlines()))
    assert [row["visibility"] for row in rows[3:]] == [""] * 3
    table = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "out" / "landmarks.parquet")
    assert table["visibility"].to_pylist()[3:] == [None] * 3
