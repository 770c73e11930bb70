"""Sources: which files count, where their results go, the times of frames, clear words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semalign.detect import find_sources, open_footage, sources
from semalign.detect.boxes import BoxFile
from semalign.errors import SemalignError


def write_clip(path: Path, count: int = 12, rate: float = 12.5, code: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 20 * number % 256, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "a.jpg", "notes.txt", "sub/c.mp4", "sub/a.png", ".hidden/x.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_a_folder_gives_its_images_and_videos_below_it(folder: Path):
    found = find_sources([str(folder)])
    assert [(str(source.stem), source.kind) for source in found] == [
        ("a", "image"), ("a_png", "image"), ("b", "image"), ("sub/a", "image"), ("sub/c", "video"),
    ]  # fmt: skip


def test_files_patterns_and_cameras(folder: Path):
    found = find_sources(
        [str(folder / "notes.txt"), str(folder / "*.[jp]*g"), str(folder / "a.png"), "camera", "camera:2"]
    )
    assert [source.kind for source in found] == ["image"] * 3 + ["camera"] * 2
    assert [source.stem.name for source in found] == ["notes", "a", "a_png", "camera0", "camera2"]
    assert [source.camera for source in found[3:]] == [0, 2]
    assert len({source.stem for source in find_sources([str(folder / "**"), str(folder)])}) == 5


def test_names_that_look_like_patterns_are_files_first(tmp_path: Path):
    (tmp_path / "face[1].png").touch()
    assert [source.stem.name for source in find_sources([str(tmp_path / "face[1].png")])] == ["face[1]"]


def test_same_names_of_different_folders_get_their_own_results(tmp_path: Path):
    for name in ("x/a.png", "y/a.png", "z/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = find_sources([str(tmp_path / name) for name in ("x/a.png", "y/a.png", "z/a.png")])
    assert [source.stem.name for source in found] == ["a", "a_png", "a_png_2"]


def test_results_are_no_input(folder: Path):
    assert len(find_sources([str(folder)], folder / "sub")) == 3
    with pytest.raises(SemalignError, match="--out"):
        find_sources([str(folder / "a.png")], folder)


@pytest.mark.parametrize("text", ["-", "@-"])
def test_names_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    (tmp_path / "a.png").touch()
    for content, words in ((f"{tmp_path / 'a.png'}\r\n\n".encode(), None), (b"\x89PNG\0\n", "is no list of files")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        if words is None:
            assert [source.path for source in find_sources([text])] == [tmp_path / "a.png"]
        else:
            with pytest.raises(SemalignError, match=words):
                find_sources([text])


def results_below(folder: Path) -> None:
    """Pictures among results of every kind in folders beside the pictures, and in one that only seems to hold results."""
    files = {
        "predictions": ("landmarks.jsonl", '{"format": "semalign landmarks 1", "semalign": "0.2"}'),
        "run/start": ("../recipe.toml", ""),
        "export": ("provenance.json", '{"label_version": 1}'),
        "own": ("landmarks.json", '{"points": []}'),
    }
    for name, (file, text) in files.items():
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_text(text)
        (folder / name / "picture.jpg").touch()
    (folder / "run" / "origin.json").touch()


def test_results_of_semalign_below_a_folder_are_passed_over(tmp_path: Path):
    results_below(tmp_path)
    for text in (tmp_path, tmp_path / "**" / "*.jpg"):
        found = find_sources([str(text)])
        assert [source.path.parent.name for source in found if source.path] == ["export", "own"]
    for text in ("predictions", "run/start/*.jpg"):
        assert len(find_sources([str(tmp_path / text)])) == 1  # a folder that is named is read


@pytest.mark.parametrize("text", ["missing.jpg", "nothing/*.jpg", "empty"])
def test_what_is_not_there_is_said(tmp_path: Path, text: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SemalignError, match=r"check"):
        find_sources([str(tmp_path / text)])


def test_a_folder_that_may_not_be_read_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    scan = sources.os.scandir
    monkeypatch.setattr(sources.os, "scandir", refuse)
    with pytest.raises(SemalignError, match="Permission denied"):
        find_sources([str(folder)])
    monkeypatch.setattr(sources.os, "scandir", lambda path: refuse(path) if str(path).endswith("sub") else scan(path))
    problems: list[str] = []
    assert len(find_sources([str(folder)], problems=problems)) == 3
    assert problems == [
        f"{folder / 'sub'}: cannot be read (Permission denied) and was passed over; check the permissions."
    ]


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("b.mp4", "mp4v")])
def test_frames_keep_numbers_and_times(tmp_path: Path, name: str, code: str):
    (source,) = find_sources([str(write_clip(tmp_path / name, code=code))])
    footage = open_footage(source)
    assert (footage.rate, footage.claimed_frames) == (12.5, 12)
    for _ in range(2):  # it can be read again
        frames = list(footage.frames())
        assert [frame.number for frame in frames] == list(range(12))
        assert np.allclose([frame.seconds for frame in frames], np.arange(12) / 12.5, atol=2e-3)
        assert [abs(float(frame.picture.mean()) - 20 * frame.number) < 5 for frame in frames] == [True] * 12


def test_a_truncated_video_gives_what_it_has(tmp_path: Path):
    data = write_clip(tmp_path / "whole.avi", 40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    (source,) = find_sources([str(tmp_path / "cut.avi")])
    frames = list(open_footage(source).frames())
    assert 10 < len(frames) < 38
    assert [frame.number for frame in frames] == list(range(len(frames)))


def test_no_video_and_no_camera_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "text.mp4").write_text("no video")
    (source,) = find_sources([str(tmp_path / "text.mp4")])
    with pytest.raises(SemalignError, match=r"text\.mp4"):
        open_footage(source)

    class Closed:
        def isOpened(self) -> bool:  # noqa: N802
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda number: Closed())
    with pytest.raises(SemalignError, match="camera:3: there is no such camera"):
        open_footage(find_sources(["camera:3"])[0])


def test_a_camera_gives_frames_with_rising_times(monkeypatch: pytest.MonkeyPatch):
    class Three:
        left = 3

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, key: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            return (True, np.full((4, 6, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

        def release(self) -> None:
            pass

    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda number: Three())
    footage = open_footage(find_sources(["camera"])[0])
    frames = list(footage.frames())
    assert footage.rate == 25.0 and [frame.number for frame in frames] == [0, 1, 2]
    assert frames[0].seconds <= frames[1].seconds <= frames[2].seconds
    assert frames[0].picture[0, 0].tolist() == [0, 0, 255]  # RGB


CSV = "image,x0,y0,x1,y1,frame\na.jpg,1,2,3,4,\nsub/b.mp4,5,6,7,8,3\nsub/b.mp4,6,6,9,9,3\n"


def test_boxes_by_name_and_by_frame(tmp_path: Path):
    (tmp_path / "boxes.csv").write_text(CSV)
    (tmp_path / "boxes.json").write_text('{"a.jpg": [[1, 2, 3, 4]], "sub/b.mp4": {"3": [[5, 6, 7, 8], [6, 6, 9, 9]]}}')
    for name in ("boxes.csv", "boxes.json"):
        boxes = BoxFile(tmp_path / name)
        assert boxes.of("elsewhere/a.jpg")[0].tolist() == [[1, 2, 3, 4]]
        frames = boxes.of(tmp_path / "sub" / "b.mp4")
        assert list(frames) == [3] and frames[3].tolist() == [[5, 6, 7, 8], [6, 6, 9, 9]]
        with pytest.raises(SemalignError, match=r"no box for c\.jpg"):
            boxes.of("c.jpg")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "image,x0,y0,x1\n", "no column 'y1'"),
        ("a.csv", "image,x0,y0,x1,y1\na.jpg,1,2,3,four\n", "line 2"),
        ("a.csv", "image,x0,y0,x1,y1\na.jpg,5,2,3,4\n", "no box"),
        ("a.csv", "", "no column 'image'"),
        ("a.json", "[1, 2]", "no JSON object"),
        ("a.json", "{", "no JSON object"),
        ("a.json", '{"a.jpg": [[1, 2, 3]]}', r"\(1, 3\)"),
    ],
)
def test_boxes_that_are_none_are_said(tmp_path: Path, name: str, text: str, words: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(SemalignError, match=words):
        BoxFile(tmp_path / name)
    with pytest.raises(SemalignError, match="no such file"):
        BoxFile(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("head", "row", "kind"),
    [
        ("image,x0,y0,x1,y1", "a.jpg,10,20,40,60", None),
        ("image,x,y,w,h", "a.jpg,10,20,30,40", None),
        ("Image; X; Y; Width; Height", "a.jpg; 10; 20; 30; 40", "xywh"),
        ("image,cx,cy,w,h", "a.jpg,25,40,30,40", None),
        ("image\txmin\tymin\txmax\tymax", "a.jpg\t10\t20\t40\t60", None),
    ],
)
def test_boxes_of_every_convention(tmp_path: Path, head: str, row: str, kind: str | None):
    (tmp_path / "b.csv").write_text(f"{head}\r\n{row}\r\n")
    assert BoxFile(tmp_path / "b.csv", kind).of("a.jpg")[0].tolist() == [[10, 20, 40, 60]]  # type: ignore[arg-type]


def test_json_boxes_of_another_convention(tmp_path: Path):
    (tmp_path / "b.json").write_text('{"a.jpg": [[10, 20, 30, 40]]}')
    assert BoxFile(tmp_path / "b.json", "xywh").of("a.jpg")[0].tolist() == [[10, 20, 40, 60]]
    assert BoxFile(tmp_path / "b.json", "cxcywh").of("a.jpg")[0].tolist() == [[-5, 0, 25, 40]]


COCO = {
    "images": [{"id": 7, "file_name": "sub/a.jpg"}, {"id": 9, "file_name": "b.mp4", "frame": 3}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [10.5, 20.5, 30, 40]},
        {"image_id": 9, "category_id": 1, "bbox": [5.5, 6.5, 2, 2]},
        {"image_id": 7, "category_id": 1, "bbox": [0.5, 0.5, 5, 6]},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 100, 200]},
    ],
    "categories": [{"id": 1, "name": "Face"}, {"id": 2, "name": "person"}],
}


def test_boxes_of_a_coco_file(tmp_path: Path):
    (tmp_path / "b.json").write_text(json.dumps(COCO))
    for kind in (None, "xywh"):
        boxes = BoxFile(tmp_path / "b.json", kind)
        assert boxes.of(tmp_path / "sub" / "a.jpg")[0].tolist() == [[10, 20, 40, 60], [0, 0, 5, 6]]
        assert {frame: box.tolist() for frame, box in boxes.of("elsewhere/b.mp4").items()} == {3: [[5, 6, 7, 8]]}
    (tmp_path / "b.json").write_text(json.dumps({**COCO, "categories": []}))
    assert len(BoxFile(tmp_path / "b.json").of(tmp_path / "sub/a.jpg")[0]) == 3


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({}, "xyxy", "is a COCO file, whose boxes are xywh"),
        ({"images": [{"id": 1}]}, None, "without id or name"),
        (
            {"annotations": [{"image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4]}]},
            None,
            r"annotations\[0\] has no image_id",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 1}]}, None, "no bbox of four numbers"),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, -4]}]},
            None,
            r"annotations\[0\] \(sub/a.jpg\)",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [10**400, 1, 2, 3]}]},
            None,
            "no bbox of four numbers",
        ),
    ],
)
def test_coco_files_that_make_no_sense_are_said(tmp_path: Path, change: dict[str, Any], kind: Any, words: str):
    (tmp_path / "b.json").write_text(json.dumps(COCO | change))
    with pytest.raises(SemalignError, match=words):
        BoxFile(tmp_path / "b.json", kind)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.jpg,40,60,10,20", "line 2.*no box"),
        ("a.jpg,100,100,40,60", "--box-format xywh"),
        ("a.jpg,0.1,0.2,0.4,0.6", "line 2.*shares of the picture"),
        ("a.jpg,nan,2,4,6", "line 2.*no box"),
        ("a.jpg,1,2,1e9,1e9", "line 2.*beyond any picture"),
        (",1,2,3,4", "line 2 names no image"),
        (f"{'a' * 200_000},1,2,3,4", "is no table of boxes"),
        ("a.jpg,1,2", "line 2"),
    ],
)
def test_insane_boxes_name_their_row(tmp_path: Path, row: str, words: str):
    (tmp_path / "b.csv").write_text(f"image,x0,y0,x1,y1\n{row}\n")
    with pytest.raises(SemalignError, match=words):
        BoxFile(tmp_path / "b.csv")


def test_columns_of_another_format_than_was_said(tmp_path: Path):
    (tmp_path / "b.csv").write_text("image,x0,y0,x1,y1\na.jpg,1,2,30,40\n")
    with pytest.raises(SemalignError, match="leave --box-format out"):
        BoxFile(tmp_path / "b.csv", "xywh")


def test_a_name_that_two_images_have_stands_for_none(tmp_path: Path):
    (tmp_path / "b.csv").write_text("image,x0,y0,x1,y1\na.jpg,1,2,30,40\nx/b.jpg,1,2,30,40\n")
    boxes = BoxFile(tmp_path / "b.csv")
    boxes.expect(["x/a.jpg", "y/a.jpg", str(tmp_path / "x/b.jpg"), "y/b.jpg"])
    with pytest.raises(SemalignError, match=r"a\.jpg may be x/a\.jpg or y/a\.jpg"):
        boxes.of("x/a.jpg")
    assert boxes.of(tmp_path / "x" / "b.jpg")[0].tolist() == [[1, 2, 30, 40]]
    with pytest.raises(SemalignError, match="no box for"):
        boxes.of("y/b.jpg")


def test_matching_names_takes_time_that_grows_with_their_number_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    count = 400
    rows = [f"faces/sub/{number}.jpg,1,1,9,9" for number in range(count)]
    (tmp_path / "b.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    boxes = BoxFile(tmp_path / "b.csv")
    calls = []
    resolve = sources.os.path.realpath
    monkeypatch.setattr(sources.os.path, "realpath", lambda path, **more: calls.append(path) or resolve(path, **more))
    for number in range(count):
        assert len(boxes.of(tmp_path / f"faces/sub/{number}.jpg")[0]) == 1
    assert len(calls) <= count
