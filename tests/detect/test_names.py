"""Names of results: none is given twice, whatever the pictures are called."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.detect import find_sources
from semalign.detect.names import ENDINGS, Names, plain_stem


def taken(*wanted: str, video: bool = False) -> list[str]:
    names = Names()
    return [str(names.take(PurePosixPath(name), ".jpg", video)) for name in wanted]


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (["photo", "photo"], ["photo", "photo_jpg"]),
        (["photo", "Photo", "PHOTO"], ["photo", "Photo_jpg", "PHOTO_jpg_2"]),
        (["caf\u00e9", "cafe\u0301"], ["caf\u00e9", "cafe\u0301_jpg"]),
        (["a/x", "A/X"], ["a/x", "A/X_jpg"]),
        (["photo", "photo.pts/x"], ["photo", "photo.pts_/x"]),
        (["photo.jpg/x", "photo"], ["photo.jpg/x", "photo_jpg"]),
        (["landmarks.json/x", "landmarks"], ["landmarks.json_/x", "landmarks"]),
        (["x" * 300], ["x" * 220]),
    ],
)
def test_names_that_would_share_a_file_are_told_apart(wanted: list[str], given: list[str]) -> None:
    assert taken(*wanted) == given


def test_a_second_face_never_has_another_pictures_name() -> None:
    names = Names()
    for name in ("photo", "photo_2", "photo_face2"):
        assert str(names.take(PurePosixPath(name))) == name
    assert str(names.another(PurePosixPath("photo"), 2)) == "photo_face2_2"
    assert str(names.another(PurePosixPath("photo_2"), 2)) == "photo_2_2"
    assert str(names.another(PurePosixPath("photo"), 3)) == "photo_3"


def test_a_videos_frames_have_a_folder_of_their_own() -> None:
    names = Names()
    assert str(names.take(PurePosixPath("clip/000000_1"))) == "clip/000000_1"
    assert str(names.take(PurePosixPath("clip"), ".mp4", video=True)) == "clip_mp4"
    assert str(names.take(PurePosixPath("clip_mp4/x"))) == "clip_mp4_/x"


PART = st.text("ab_2.", min_size=1, max_size=4).filter(lambda part: part.strip("."))
PATH = st.lists(PART, min_size=1, max_size=2).map("/".join)


@given(st.lists(st.tuples(PATH, st.booleans(), st.integers(1, 3)), max_size=8))
def test_no_two_results_share_a_file(items: list[tuple[str, bool, int]]) -> None:
    names, files, folders = Names(), [], set()
    stems = [(names.take(plain_stem(f"{name}.jpg"), ".jpg", video), video, faces) for name, video, faces in items]
    for stem, video, faces in stems:
        own = [stem, *(names.another(stem, number) for number in range(2, faces + 1) if not video)]
        files += [f"{one}{ending}" for one in own for ending in ENDINGS]
        folders |= {str(parent) for one in own for parent in one.parents} | ({str(stem)} if video else set())
    assert len(files) == len(set(files))
    assert not folders & set(files)


def test_a_name_that_is_no_utf8_is_escaped_everywhere(tmp_path: Path) -> None:
    try:
        for name in (b"caf\xe9.jpg", b"caf\xe8.jpg", b'line\n"quoted", comma.jpg'):
            Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()
    except OSError:
        pytest.skip("this file system takes no such names")
    found = find_sources([str(tmp_path)])
    assert [source.stem.name for source in found] == ["caf%e8", "caf%e9", 'line\n"quoted", comma']
    assert [source.name.encode() for source in found][1].endswith(b"caf\\xe9.jpg")
    assert all(source.path is not None and source.path.exists() for source in found)


def test_lists_name_files_and_what_is_missing_does_not_end_them(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.jpg'}\n\n{tmp_path / 'gone.jpg'}\r\n{tmp_path / 'b.png'}\n")
    problems: list[str] = []
    found = find_sources([f"@{tmp_path / 'list.txt'}", "https://x.org/a.jpg"], problems=problems)
    assert [source.stem.name for source in found] == ["a", "b"]
    assert ["no such file" in problems[0], "is an address" in problems[1], len(problems)] == [True, True, 2]
