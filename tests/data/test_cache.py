"""The crop cache: room, locks, several processes, and folders that cannot be written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.data import cache as module
from semalign.data.cache import Cache, cache_folder, read_size
from semalign.data.crop_file import CropFile
from semalign.data.crops import CropSettings, build_crops
from semalign.data.samples import Sample
from semalign.errors import SemalignError

SIDE = 8
SIZE = 3 * SIDE * SIDE * 3  # bytes of the crops of `filled`


def filled(value: int = 7) -> Callable[[CropFile], tuple[list[int], dict[str, str]]]:
    def fill(file: CropFile) -> tuple[list[int], dict[str, str]]:
        for row in range(3):
            file.write(row, np.full((SIDE, SIDE, 3), value + row, np.uint8))
        return [], {"data": f"/faces/{value}"}

    return fill


def obtain(key: str, value: int = 7) -> CropFile:
    return Cache().obtain(key, 3, SIDE, filled(value))


def names(cache: Path) -> set[str]:
    """Of all files in the folder of crops, hidden ones, too."""
    return {path.name for path in (cache / "crops").iterdir() if path.is_file()}


def age(cache: Path, **days: int) -> None:
    """Say how many days ago crops were last used."""
    for key, ago in days.items():
        when = time.time() - 86400 * ago
        os.utime(cache / "crops" / f"{key}.crops", (when, when))


def test_what_was_not_used_for_longest_makes_room(cache, monkeypatch):
    monkeypatch.setenv("SEMALIGN_CACHE_LIMIT", str(3 * SIZE + 500))
    for number, key in enumerate("abc"):
        obtain(key, number)
    age(cache, a=2, b=3, c=1)
    assert Cache().open("b") is not None  # which is a use
    obtain("d")
    assert names(cache) == {"b.crops", "c.crops", "d.crops"}
    assert [found.path.stem for found in Cache().contents()][-1] == "c"


def test_what_is_in_use_stays(cache, monkeypatch):
    held = obtain("a", 1)
    obtain("b", 2)
    age(cache, a=9, b=5)
    assert {found.path.stem: found.in_use for found in Cache().contents()} == {"a": True, "b": False}
    monkeypatch.setenv("SEMALIGN_CACHE_LIMIT", "1")
    obtain("c", 3)
    assert names(cache) == {"a.crops", "c.crops"}
    assert [found.path.stem for found in Cache().prune(0)] == ["c"] and Cache().prune(0) == []
    assert (held.read(np.arange(3)) == np.arange(1, 4)[:, None, None, None]).all()
    del held
    assert [found.path.stem for found in Cache().prune(0)] == ["a"] and names(cache) == set()


def test_what_another_process_uses_stays(cache):
    obtain("a")
    script = "from semalign.data.cache import Cache\nfile = Cache().open('a')\nprint('open', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        assert Cache().prune(0) == [] and Cache().contents()[0].in_use
        other.communicate("\n")
    assert len(Cache().prune(0)) == 1


def test_descriptions(cache):
    obtain("a", 4)
    (found,) = Cache().contents()
    assert (found.faces, found.side, found.data, found.in_use) == (3, SIDE, "/faces/4", False)
    assert found.size == os.path.getsize(found.path) and abs(found.used - time.time()) < 60
    found.path.write_bytes(b"damaged")
    (found,) = Cache().contents()
    assert (found.faces, found.data, found.size) == (0, None, 7)
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("where", ["posix_fallocate", "pwrite"])
def test_without_room_there_is_one_sentence_and_nothing_is_left(cache, monkeypatch, number, where):
    obtain("a")
    held = Cache().open("a")

    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, full)
        with pytest.raises(SemalignError) as caught:
            obtain("b")
    words = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "quota", errno.EFBIG: "so large a file"}
    assert str(caught.value).startswith(f"{cache / 'crops'}: the crops of 3 faces cannot be written (")
    assert words[number] in str(caught.value) and "set SEMALIGN_CACHE" in str(caught.value)
    assert names(cache) == {"a.crops"} and held is not None
    assert obtain("b").rows == 3


def test_a_full_disk_is_cleared_of_what_nobody_uses(cache, monkeypatch):
    held = obtain("a")
    obtain("b")
    obtain("c")
    age(cache, a=3, b=2, c=1)
    reserve = os.posix_fallocate

    def full(*given: int) -> None:
        if (cache / "crops" / "b.crops").exists():
            raise OSError(errno.ENOSPC, "")
        reserve(*given)

    monkeypatch.setattr(os, "posix_fallocate", full)
    obtain("d")
    assert names(cache) == {"a.crops", "c.crops", "d.crops"} and held.rows == 3


def test_a_file_system_that_reserves_nothing_is_written_all_the_same(cache, monkeypatch):
    def unknown(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    assert obtain("a").read(np.arange(3)).mean() == 8


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from semalign.data.crops import CropSettings, build_crops
from semalign.data.samples import Sample
from semalign.errors import SemalignError
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
samples = [Sample(p.name, p, np.array([[20.0, 20], [60, 60]]), "train", "") for p in sorted(Path(sys.argv[1]).glob("*.png"))]
try:
    build_crops(samples, CropSettings(), 64)
except SemalignError as error:
    sys.exit(f"error: {error}")
"""


def pictures(folder: Path, count: int = 5) -> list[Sample]:
    rng = np.random.default_rng(3)
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (80, 90, 3)).astype(np.uint8))
    box = np.array([[20.0, 20], [60, 60]])
    return [Sample(path.name, path, box, "train", "") for path in sorted(folder.glob("*.png"))]


def test_a_limit_of_the_system_is_a_sentence_not_a_signal(cache, tmp_path):
    pictures(tmp_path / "faces")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "faces")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
    assert f"{cache / 'crops'}: the crops of 5 faces cannot be written (so large a file" in result.stderr
    assert names(cache) == set()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20000


def test_a_folder_that_cannot_be_written_is_said_once_and_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(module, "_COMPLAINED", set())
    samples = pictures(tmp_path / "faces")
    before = set(Path(module.tempfile.gettempdir()).iterdir())
    crops = build_crops(samples, CropSettings(), 32)
    again = build_crops(samples, CropSettings(), 32)
    assert [set(Path(module.tempfile.gettempdir()).iterdir()) - before, caplog.text.count("cannot be written")] == [
        set(),
        1,
    ]
    assert "set SEMALIGN_CACHE to a folder that can" in caplog.text
    np.testing.assert_array_equal(crops.images, again.images)
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "good"))
    np.testing.assert_array_equal(crops.images, build_crops(samples, CropSettings(), 32).images)
    assert Cache(tmp_path / "file").contents() == [] and Cache(tmp_path / "file").prune(0) == []


def test_a_cache_that_may_only_be_read_is_read(cache, tmp_path, monkeypatch, caplog):
    samples = pictures(tmp_path / "faces")
    build_crops(samples, CropSettings(), 32)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "utime", "unlink", "replace"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(module.tempfile, "mkstemp", refuse)
    calls: list[int] = []
    assert len(build_crops(samples, CropSettings(), 32, lambda done, total: calls.append(done))) == 5
    assert calls == [] and caplog.text == ""
    assert len(build_crops(samples, CropSettings(), 16)) == 5 and "Read-only file system" in caplog.text


def test_what_a_killed_maker_left_is_removed(cache):
    script = (
        "import os\nfrom semalign.data.cache import Cache\n"
        "Cache().obtain('a', 3, 8, lambda file: (print('begun', flush=True), input()))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "begun\n"
        left = {name for name in names(cache) if name.startswith(".a-")}
        assert len(left) == 1
        when = time.time() - 3600
        os.utime(cache / "crops" / left.copy().pop(), (when, when))
        obtain("b")
        assert left < names(cache)  # its maker lives
        other.kill()
        other.communicate()
    obtain("c")
    assert names(cache) == {"a.lock", "b.crops", "c.crops"}
    assert obtain("a").rows == 3 and names(cache) == {"a.crops", "b.crops", "c.crops"}


RACE = """
import sys, time, zlib
from pathlib import Path
import numpy as np
from semalign.data.crops import CropSettings, build_crops
from semalign.data.samples import Sample
samples = [Sample(p.name, p, np.array([[20.0, 20], [60, 60]]), "train", "") for p in sorted(Path(sys.argv[1]).glob("*.png"))]
print("ready", flush=True)
input()
cut = []
crops = build_crops(samples, CropSettings(), 64, lambda done, total: (cut.append(done), time.sleep(0.05)))
print(len(cut), zlib.crc32(np.asarray(crops.images)), flush=True)
"""


@pytest.mark.parametrize("locks", [True, False])
def test_processes_that_want_the_same_crops(cache, tmp_path, locks):
    """One cuts and the others wait; without locks each cuts, and all have the same."""
    samples = pictures(tmp_path / "faces", 20)
    script = RACE if locks else RACE.replace("print", "import semalign.data.cache as c; c.LOCKS = False; print", 1)
    command = [sys.executable, "-c", script, str(tmp_path / "faces")]
    others = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for other in others:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    answers = [other.communicate() for other in others]
    counts, sums = zip(*(said.split() for said, _ in answers), strict=True)
    assert len(set(sums)) == 1 and all(other.returncode == 0 for other in others)
    waiting = sum("another process is making these crops; waiting for it" in told for _, told in answers)
    if locks:
        assert sorted(counts) == ["0", "0", "20"] and waiting == 2
    else:
        assert waiting == 0
    (kept,) = Cache().contents()
    assert names(cache) == {kept.path.name} and kept.faces == 20
    assert len(build_crops(samples, CropSettings(), 64, lambda done, total: pytest.fail("it is there"))) == 20


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMALIGN_CACHE", "~/crops")
    assert cache_folder() == Path.home() / "crops"
    monkeypatch.delenv("SEMALIGN_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "semalign"
        obtain("a")
        assert (tmp_path / "semalign").stat().st_mode & 0o777 == 0o700
        for other in ("", "relative"):
            monkeypatch.setenv("XDG_CACHE_HOME", other)
            assert cache_folder() == Path.home() / ".cache" / "semalign"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "semalign"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "semalign" / "Cache"


def test_sizes_as_people_write_them():
    written = {
        "0": 0,
        "1000": 1000,
        "500MB": 5 * 10**8,
        "20 gb": 2 * 10**10,
        "1.5TiB": 3 * 2**39,
        "2k": 2000,
        "3 Ki": 3072,
    }
    assert {text: read_size(text) for text in written} == written
    for wrong in ("", "GB", "-1", "1 XB", "1,5GB"):
        with pytest.raises(SemalignError, match="is no size; write it as 500MB or 20GB"):
            read_size(wrong)


def test_the_limit(cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    assert Cache().limit() == 5 * 10**8
    obtain("a")
    assert Cache().limit() == (10**9 + Cache().size()) // 2
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**12}))
    assert Cache().limit() == 20 * 10**9
    monkeypatch.setenv("SEMALIGN_CACHE_LIMIT", "3GB")
    assert Cache().limit() == 3 * 10**9
    monkeypatch.setenv("SEMALIGN_CACHE_LIMIT", "much")
    with pytest.raises(SemalignError, match="SEMALIGN_CACHE_LIMIT: 'much' is no size"):
        obtain("b")
    assert names(cache) == {"a.crops"}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["open", "drop", "prune", "obtain"])), max_size=20))
def test_in_any_order_what_is_held_can_be_read(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("cache")
    cache, held = Cache(folder), {}
    for key, step in steps:
        value = ord(key)
        if step == "obtain":
            held[key] = cache.obtain(key, 3, SIDE, filled(value))
        elif step == "open":
            found = cache.open(key)
            assert found is not None or key not in held
            if found is not None:
                held[key] = found
        elif step == "drop":
            held.pop(key, None)
        else:
            cache.prune(value % 5 * SIZE)
        for name, file in held.items():
            assert (file.read(np.arange(3)).mean(axis=(1, 2, 3)) == ord(name) + np.arange(3)).all()
            assert (cache.folder / f"{name}.crops").is_file()


def test_crops_of_older_versions_are_named(tmp_path):
    said: list[str] = []
    progress = type("Telling", (module.Progress,), {"say": lambda self, text: said.append(text)})()
    module.say_of_old_crops(tmp_path / "crops", progress)
    (tmp_path / "crops" / "0123").mkdir(parents=True)
    (tmp_path / "crops" / "0123" / "crops.json").write_text("{}")
    module.say_of_old_crops(tmp_path / "crops", progress)
    (sentence,) = said
    assert sentence.startswith(f"{tmp_path / 'crops'}: the crops in it are of an older version and not read any more")
