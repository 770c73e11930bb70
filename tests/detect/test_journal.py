"""The record: valid after any stop, continued exactly once, and the tables that are made of it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq
import pytest

from semalign.detect import Face
from semalign.detect.journal import Journal, read_lines
from semalign.detect.writers import Finding, ResultFolder
from semalign.errors import SemalignError

PICTURE = np.full((48, 65, 3), 90, np.uint8)


def finding(dots, name: str, frame: int | None = None) -> Finding:
    face = Face(dots.points(20, 20, 20.0), np.full(3, 0.5), dots.scheme, None if frame is None else 1)
    return Finding(
        name, PurePosixPath(name).with_suffix(""), (65, 48), [face], frame, None if frame is None else frame / 25
    )


def images(folder: Path) -> list[str]:
    return [entry["image"] for entry in json.loads((folder / "landmarks.json").read_text())["images"]]


def kill_after(dots, folder: Path, names: list[str], *, half: bytes = b"", **options: bool) -> None:
    """What is on disk after `kill -9` behind the last name, perhaps within a line."""
    results = ResultFolder(folder, ["pts", "csv"], dots.scheme, {"model": "m"}, **options)
    for name in names:
        results.add(finding(dots, name), PICTURE)
    results._journal.close()
    with (folder / "landmarks.jsonl").open("ab") as file:
        file.write(half)


@pytest.mark.parametrize("half", [b"", b'{"image": "c.j', b'{"image": "c.jpg", "faces": []}', b"\0\0\0\0\n"])
def test_killed_work_is_continued_and_every_picture_is_there_once(dots, tmp_path: Path, half: bytes) -> None:
    kill_after(dots, tmp_path / "o", ["a.jpg", "b.jpg"], half=half)
    (tmp_path / "o" / ".c.part-abcd1234.pts").write_text("half")
    with pytest.raises(SemalignError, match="unfinished results already; give --resume"):
        ResultFolder(tmp_path / "o", ["pts", "csv"], dots.scheme, {"model": "m"})
    with ResultFolder(tmp_path / "o", ["pts", "csv"], dots.scheme, {"model": "m"}, resume=True) as results:
        assert {Path(name).name for name in results.done} == {"a.jpg", "b.jpg"}
        results.add(finding(dots, "c.jpg"), PICTURE)
    assert images(tmp_path / "o") == ["a.jpg", "b.jpg", "c.jpg"]
    assert json.loads((tmp_path / "o" / "landmarks.json").read_text())["complete"] is True
    names = ["a.pts", "b.pts", "c.pts", "landmarks.csv", "landmarks.json"]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == names
    assert len((tmp_path / "o" / "landmarks.csv").read_text().splitlines()) == 1 + 3 * 3


def test_finished_work_takes_new_pictures_and_keeps_the_names_of_the_old(dots, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        with ResultFolder(tmp_path / "o", [], dots.scheme, resume=True) as results:
            assert str(results.names.take(PurePosixPath("a"))) == ("a" if name == "a.jpg" else "a_2")
            results.add(finding(dots, name), PICTURE)
    assert images(tmp_path / "o") == ["a.jpg", "b.jpg"]


def test_a_video_that_was_not_finished_is_done_anew(dots, tmp_path: Path) -> None:
    results = ResultFolder(tmp_path / "o", [], dots.scheme)
    results.add(finding(dots, "a.jpg"), PICTURE)
    for name in ("one.avi", "two.avi"):
        for frame in range(3):
            results.add(finding(dots, name, frame), PICTURE)
        if name == "one.avi":
            results.end_video(name)
    results._journal.close()
    again = ResultFolder(tmp_path / "o", [], dots.scheme, resume=True)
    again._journal.close()
    assert {Path(name).name for name in again.done} == {"a.jpg", "one.avi"}
    assert [line.values["image"] for line in read_lines(tmp_path / "o" / "landmarks.jsonl")] == ["a.jpg"] + [
        "one.avi"
    ] * 3


@pytest.mark.parametrize(("key", "options"), [("model", {"about": {"model": "n"}}), ("formats", {"formats": ["pts"]})])
def test_other_settings_are_not_mixed(dots, tmp_path: Path, key: str, options: dict) -> None:
    kill_after(dots, tmp_path / "o", ["a.jpg"])
    settings = {"formats": ["pts", "csv"], "about": {"model": "m"}} | options
    with pytest.raises(SemalignError, match=f"was begun with {key}"):
        ResultFolder(tmp_path / "o", scheme=dots.scheme, resume=True, **settings)


def test_jsonl_and_parquet_hold_everything(dots, tmp_path: Path) -> None:
    with ResultFolder(tmp_path / "o", ["jsonl", "parquet"], dots.scheme, {"model": "m"}) as results:
        results.add(finding(dots, "a.jpg"), PICTURE)
        results.add(finding(dots, "clip.avi", 4), PICTURE)
        results.end_video("clip.avi")
    lines = [json.loads(line) for line in (tmp_path / "o" / "landmarks.jsonl").read_text().splitlines()]
    assert lines[0]["model"] == "m" and lines[0]["landmarks"] == list(dots.scheme.landmarks)
    assert [line.get("image") for line in lines[1:]] == ["a.jpg", "clip.avi", None, None]
    assert lines[3:] == [{"video": "clip.avi"}, {"complete": True}]
    table = pq.read_table(tmp_path / "o" / "landmarks.parquet").to_pylist()
    assert [row["frame"] for row in table] == [None] * 3 + [4] * 3
    assert (table[0]["image"], table[1]["name"], table[1]["x"], table[1]["confidence"]) == ("a.jpg", "green", 30.0, 0.5)


def test_no_folder_is_left_in_which_nothing_was_read(dots, tmp_path: Path) -> None:
    with ResultFolder(tmp_path / "o", [], dots.scheme):
        pass
    assert not (tmp_path / "o").exists()


def test_a_line_that_cannot_be_json_leaves_the_record_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl", {})
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"faces": [float("nan")]})
    journal.append({"image": "a.jpg", "faces": []})
    journal.close()
    assert [line.values for line in read_lines(tmp_path / "a.jsonl")] == [{"image": "a.jpg", "faces": []}]
