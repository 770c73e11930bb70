"""`semalign cache`: what crops there are, and fewer of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from commands import invoke, succeed

from semalign.data.cache import Cache
from semalign.data.crop_file import CropFile


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Two sets of crops of 12 kB each, `a` the older."""
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEMALIGN_CACHE_LIMIT", "1MB")
    made = Cache()
    for key, ago in (("a", 3600), ("b", 60)):
        file = obtain(made, key)
        os.utime(file.path, (time.time() - ago, time.time() - ago))
    return made


def obtain(cache: Cache, key: str) -> CropFile:
    def fill(file: CropFile) -> tuple[list[int], dict[str, str]]:
        for row in range(4):
            file.write(row, np.zeros((32, 32, 3), np.uint8))
        return [], {"data": f"/faces/{key}"}

    return cache.obtain(key, 4, 32, fill)


def test_list(cache: Cache) -> None:
    held = cache.open("a")
    (cache.folder / "b.crops").write_bytes(b"nothing")
    lines = succeed("cache", "list").splitlines()
    assert lines[0].split() == ["last", "used", "faces", "pixels", "size", "pictures"]
    rows = sorted(line.split()[2:] for line in lines[2:-1])
    assert rows == [["0", "0×0", "7", "bytes", "damaged"], ["4", "32×32", "12.4", "kB", "in", "use", "/faces/a"]]
    assert lines[-1] == f"{cache.folder}: 2 sets of crops, 12.4 kB of 1.0 MB at most"
    said = json.loads(succeed("cache", "list", "--json"))
    assert said["folder"] == str(cache.folder) and said["limit"] == 10**6 and said["bytes"] == cache.size()
    (first,) = [one for one in said["crops"] if one["in_use"]]
    assert (first["faces"], first["side"], first["pictures"]) == (4, 32, "/faces/a")
    assert {one["pictures"] for one in said["crops"]} == {"/faces/a", None} and held is not None


def test_list_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "none"))
    assert succeed("cache", "list").startswith(f"{tmp_path / 'none' / 'crops'}: no sets of crops, 0 bytes of ")
    assert succeed("cache", "clear").endswith("no sets of crops removed, 0 bytes\n")
    assert not (tmp_path / "none").exists()


def test_prune(cache: Cache) -> None:
    assert "no sets of crops removed" in succeed("cache", "prune")
    assert succeed("cache", "prune", "--limit", "20kB") == f"{cache.folder}: 1 set of crops removed, 12.4 kB\n"
    assert [one.path.stem for one in cache.contents()] == ["b"]
    result = invoke("cache", "prune", "--limit", "much")
    assert result.exit_code == 2 and result.stderr == "error: 'much' is no size; write it as 500MB or 20GB.\n"


def test_clear_leaves_what_is_in_use_and_says_so(cache: Cache) -> None:
    held = cache.open("b")
    result = invoke("cache", "clear")
    assert result.exit_code == 1 and "1 set of crops removed" in result.stdout and held is not None
    assert result.stderr == f"not removed: {cache.folder / 'b.crops'}: is in use, or not yours to remove\n"
    del held
    assert "1 set of crops removed" in succeed("cache", "clear") and cache.contents() == []
