"""Tar archives as folders: members are read as files are; what is damaged or leads out is named; data sets are the same."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from annotated import make_pts
from PIL import Image

from semalign.data import convert_dataset, open_dataset
from semalign.data.archives import is_file, members, open_file, stat_of
from semalign.data.endings import lacks_its_end
from semalign.data.identity import NONE, digests_of, stamps_of
from semalign.data.images import image_size, read_picture
from semalign.data.pts import read_pts
from semalign.errors import SemalignError

NAMES = ("a.png", "b.jpg", "in/c.png", "test/d.png")


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Path]:
    """Pictures with .pts files in a folder, and the same in an archive."""
    root = make_pts(tmp_path / "faces", NAMES, absent=False)
    archive = tmp_path / "tars" / "faces.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, f"./{path.relative_to(root)}")
    return root, archive


def test_members_are_read_as_files_are(packed: tuple[Path, Path]) -> None:
    root, archive = packed
    for name in NAMES:
        inside, outside = archive / name, root / name
        assert np.array_equal(read_picture(inside).pixels, read_picture(outside).pixels)
        assert image_size(inside) == image_size(outside) and not lacks_its_end(inside)
        assert digests_of([inside])[inside] == digests_of([outside])[outside]
        assert np.array_equal(read_pts(inside.with_suffix(".pts")), read_pts(outside.with_suffix(".pts")))
        assert stat_of(inside)[0] == outside.stat().st_size and stamps_of([inside])[inside] != NONE and is_file(inside)
        with open_file(inside) as file:
            file.seek(-5, io.SEEK_END)
            assert file.read() == outside.read_bytes()[-5:]
    assert not is_file(archive / "no.png") and stamps_of([archive / "no.png"])[archive / "no.png"] == NONE
    with pytest.raises(SemalignError, match="there is no such image"):
        read_picture(archive / "no.png")


@pytest.mark.parametrize("whole", [True, False])
def test_an_archive_is_the_data_set_that_was_packed(packed: tuple[Path, Path], whole: bool) -> None:
    root, archive = packed
    plain, found = open_dataset(root), open_dataset(archive if whole else archive.parent)
    assert {name.removeprefix("faces.tar/") for name in found.ids()} == set(plain.ids())
    points = {sample.id: sample for sample in plain.samples}
    for sample in found.samples:
        other = points[sample.id.removeprefix("faces.tar/")]
        assert np.array_equal(sample.points, other.points) and sample.split == other.split
    assert found.scheme == plain.scheme


@pytest.mark.parametrize("to", ["pts", "coco"])
def test_an_archive_becomes_another_format(packed: tuple[Path, Path], tmp_path: Path, to: str) -> None:
    out = tmp_path / ("out.json" if to == "coco" else "out")
    before = open_dataset(packed[1])
    convert_dataset(packed[1], out, to)
    after = open_dataset(out, pictures=to == "pts")
    assert np.allclose(after.points(), before.points(), atol=1e-5)


def test_an_archive_that_is_cut_off_anywhere_is_named(packed: tuple[Path, Path]) -> None:
    _, archive = packed
    data = archive.read_bytes()
    end = max(member.start + member.size for member in members(archive).values())
    for length in (0, 100, 512, 700, 1024, len(data) // 2, end - 1, end, -(-end // 512) * 512):
        archive.write_bytes(data[:length])
        with pytest.raises(SemalignError, match=r"faces\.tar: is truncated or no tar archive"):
            members(archive)
    archive.write_bytes(data[: -(-end // 512) * 512 + 512])  # a whole mark of its end
    assert len(members(archive)) == 8
    archive.write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(SemalignError, match="is compressed; uncompress it"):
        members(archive)


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "in/../../a.png", "..\\a.png", "C:\\a.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "png")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data.getvalue())
        tar.addfile(info, io.BytesIO(data.getvalue()))
    with pytest.raises(SemalignError, match=r"x\.tar: has a file .* leads out of it; nothing of it is read"):
        members(tmp_path / "x.tar")


def test_links_and_hidden_files_are_no_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "a.png"), (tarfile.LNKTYPE, "b.png"), (tarfile.REGTYPE, "in/._c.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert members(tmp_path / "x.tar") == {}
