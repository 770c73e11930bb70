"""Damaged and hostile documents of every format: one sentence, in bounded time and memory, and never anything else."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotated import SCHEMES, face_points, made, make_pts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semalign.data import open_dataset
from semalign.data.formats import FORMATS
from semalign.data.formats.document import DocumentFormat
from semalign.data.opening import scan_dataset
from semalign.errors import SemalignError

DOCUMENTS = {short: known for short, known in FORMATS.items() if isinstance(known, DocumentFormat)}
PLAN = (
    ((100, 80), [(1, True, True, True, True), (2, False, False, True, False)]),
    ((100, 80), [(3, False, True, False, False)]),
)
SECONDS = 20.0  # of any document here, with all checks of types


class Quiet(dict[str, bytes]):
    """Documents that are not printed."""

    def __repr__(self) -> str:
        return "documents"


@pytest.fixture(scope="module")
def sound() -> Quiet:
    """A sound document of each format."""
    documents = Quiet()
    with tempfile.TemporaryDirectory() as folder:
        for short, known in DOCUMENTS.items():
            scheme = "wflw98" if short == "wflw" else "ibug68"
            dataset = made((scheme, tuple(zip(("a.png", "b/c d.png"), PLAN, strict=True))))
            documents[short] = known.write(dataset, Path(folder, f"{short}{known.ending}")).files[0].read_bytes()
    return documents


def read(known: DocumentFormat, data: bytes) -> None:
    """Whatever a document is, reading and rewriting it ends soon, and with nothing but a SemalignError."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in", f"set{known.endings[0]}")
        path.parent.mkdir()
        path.write_bytes(data)
        for keep_going in (False, True):
            try:
                dataset = scan_dataset(path, reader=known, keep_going=keep_going, pictures=False)
            except SemalignError as error:
                assert str(error).count("\n") == 0 and len(str(error)) < 1500
                continue
            for sample in dataset.samples:
                assert np.isfinite(sample.points).any() and "\0" not in sample.id and ".." not in sample.id.split("/")
                assert not Path(sample.id).is_absolute()
            try:
                known.rewrite(
                    path,
                    {sample.id: sample.points + 0.25 for sample in dataset.samples},
                    Path(folder, f"out-{keep_going}"),
                )
            except SemalignError:
                continue
    with contextlib.suppress(OSError):
        known.recognises(path)
    assert time.monotonic() - begin < SECONDS


@pytest.mark.parametrize("short", DOCUMENTS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.binary(max_size=300))
def test_random_bytes(short: str, data: bytes) -> None:
    read(DOCUMENTS[short], data)


@pytest.mark.parametrize("short", DOCUMENTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_truncated_and_mutated_documents(short: str, seed: int, sound: Quiet) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(sound[short])
    kind = rng.integers(0, 4)
    if kind == 0:
        del data[int(rng.integers(len(data))) :]
    elif kind == 1:
        for place in rng.integers(0, len(data), int(rng.integers(1, 9))).tolist():
            data[place] = int(rng.integers(256))
    elif kind == 2:
        first, second = sorted(rng.integers(0, len(data), 2).tolist())
        data[first:second] = data[first:second] * int(rng.integers(0, 3))
    else:
        words = [
            b"NaN",
            b"1e999",
            b"-1e308",
            b"9" * 400,
            b'"',
            b"null",
            b"[]",
            b"{}",
            b"true",
            b"&x;",
            b"<",
            b"\0",
            b"\xff",
            b"0x1",
        ]
        numbers = [place for place, letter in enumerate(data) if letter in b"0123456789"]
        for place in sorted(rng.choice(numbers, 2).tolist(), reverse=True):
            data[place : place + 1] = words[int(rng.integers(len(words)))]
    read(DOCUMENTS[short], bytes(data))


def hostile() -> Iterator[tuple[str, bytes]]:
    """Documents that are made to take a reader's time or memory, or to lead it astray."""
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    bomb = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + laughs + b"]>"
    for root, short in ((b"annotations", "cvat"), (b"dataset", "dlib")):
        yield short, bomb + b"<%s>&a11;</%s>" % (root, root)
        yield short, b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><%s>&e;</%s>' % (root, root)
        yield short, b"<%s>" % root + b"<a>" * 200_000
        yield short, b"<%s " % root + b" ".join(b'a%d="1"' % n for n in range(100_000)) + b"/>"
        yield short, b"<%s>" % root + b"<!--" * 100_000
    yield (
        "cvat",
        b'<annotations><image name="a" width="9" height="9"><points label="x" points="'
        + b"1,1;" * 200_000
        + b'"/></image></annotations>',
    )
    yield "cvat", b'<annotations><image name="a"><points label="x" points="1e999999999,1;2,3"/></image></annotations>'
    deep = b"[" * 200_000
    for short in ("coco", "label-studio", "labelme"):
        yield short, deep
        yield short, b'{"a":' * 100_000
        yield short, b'{"images": ' + deep
        yield short, b'{"a": ' + b"9" * 100_000 + b"}"
        yield short, b"[" + b"1," * 500_000 + b"1]"
        yield short, b'{"shapes": [], "imagePath": "\\ud800"}'
        yield short, b"NaN"
    head = b"image,landmark,x,y\n"
    yield "csv", head + b"a,999999999999,1,1\n"
    yield "csv", head + b"a,99999,1,1\n" * 3
    yield "csv", head + b'a,0,"' + b'""' * 500_000
    yield "csv", head + b"," * 500_000
    yield "csv", b"image," + b",".join(b"x%d,y%d" % (n, n) for n in range(2000)) + b"\na" + b",1" * 4000
    yield "csv", head + b"".join(b"p%d,99998,1,1\n" % n for n in range(3))
    yield "hrnet", b"image_name,scale,center_w,center_h" + b",a" * 300_000 + b"\n" + b"1," * 300_000
    yield "wflw", b"1 " * 1_000_000
    yield "parquet", b"PAR1" + b"\xff" * 1000 + b"PAR1"


@pytest.mark.parametrize(
    ("short", "data"), list(hostile()), ids=lambda value: value if isinstance(value, str) else str(len(value))
)
def test_hostile_documents(short: str, data: bytes) -> None:
    read(DOCUMENTS[short], data)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../secret.png", "..\\..\\secret.png", "C:\\secret.png", "a/../../secret.png", "..", ""]
)
@pytest.mark.parametrize("short", ["coco", "csv"])
def test_names_that_lead_out_are_not_followed(tmp_path: Path, short: str, name: str, sound: Quiet) -> None:
    make_pts(tmp_path, ("secret.png",))
    points = face_points(0, 68, (100, 80)).tolist()
    inside = tmp_path / "set/inner"
    inside.mkdir(parents=True)
    if short == "csv":
        quoted = '"' + name + '"'
        rows = [f"{quoted},{index},{x!r},{y!r}" for index, (x, y) in enumerate(points)]
        path = inside / "set.csv"
        path.write_text("\n".join(["image,landmark,x,y", *rows]))
    else:
        path = inside / "set.json"
        keypoints = [value for x, y in points for value in (x, y, 2)]
        path.write_text(
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": name, "width": 100, "height": 80}],
                    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": keypoints}],
                    "categories": [{"id": 1, "name": "face", "keypoints": list(SCHEMES["ibug68"].landmarks)}],
                }
            )
        )
    with pytest.raises(SemalignError):
        open_dataset(path)
    if name in ("", ".."):
        return
    (sample,) = scan_dataset(path, pictures=False).samples
    assert os.path.realpath(sample.image).startswith(os.path.realpath(inside)) and sample.id in ("secret.png", "passwd")


def test_an_absolute_name_inside_the_folder_of_images_is_followed(tmp_path: Path) -> None:
    root = make_pts(tmp_path / "pictures", ("deep/a.png",))
    points = face_points(0, 68, (100, 80)).tolist()
    rows = [f"{root}/deep/a.png,{index},{x!r},{y!r}" for index, (x, y) in enumerate(points)]
    document = tmp_path / "elsewhere/set.csv"
    document.parent.mkdir()
    document.write_text("\n".join(["image,landmark,x,y", *rows]))
    (sample,) = open_dataset(document, images=root).samples
    assert sample.image == root / "deep/a.png" and sample.id == "a.png"
    with pytest.raises(SemalignError, match=r"there is no such image|name their folder \(--images\)"):
        open_dataset(document)


def test_archives_and_other_files_are_one_sentence(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations.xml", "<annotations/>")
    with pytest.raises(SemalignError, match="is a ZIP archive; unpack it and give the folder"):
        open_dataset(tmp_path / "task.zip")
    (tmp_path / "notes.json").write_text('{"images": 3}')
    with pytest.raises(SemalignError, match="no document of a known format"):
        open_dataset(tmp_path / "notes.json")


def test_a_document_of_another_encoding(tmp_path: Path, sound: Quiet) -> None:
    path = tmp_path / "in.xml"
    path.write_bytes(sound["cvat"].decode().replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16"))
    with pytest.raises(SemalignError, match="save it as UTF-8"):
        scan_dataset(path, pictures=False)
