"""`semalign predict` on tar archives and addresses finds what it finds in the files."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import commands
import fsspec
import numpy as np
import pytest
from PIL import Image

from semalign.data import remote
from semalign.data.images import open_picture
from semalign.detect import Detector, DetectorSettings, Face, detector
from semalign.schemes import LandmarkScheme

SQUARE = LandmarkScheme("square", ("a", "b", "c", "d"))


class Bright(Detector):
    """A detector without a network: what is bright is a face."""

    scheme = SQUARE  # type: ignore[assignment]

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings, self.landmarker = settings, SimpleNamespace(backend=None)  # type: ignore[assignment]

    def batch(self, images: Any, boxes: Any = None) -> list[list[Face]]:
        found = []
        for image in images:
            rows, columns = np.nonzero(open_picture(image).pixels[..., 1] > 127)
            x0, x1, y0, y1 = columns.min(), columns.max(), rows.min(), rows.max()
            points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
            found.append([Face(points, np.full(4, 0.9), SQUARE)])
        return found


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Pictures in a folder, in two archives, and at addresses, in files and in archives."""
    monkeypatch.setattr(detector.Detector, "from_pretrained", lambda name, device, finder, settings: Bright(settings))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir(), Path("shards").mkdir()
    memory = fsspec.filesystem("memory")
    for number in range(20):
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[5:30, number : number + 20] = 255
        Image.fromarray(pixels).save(f"in/{number:03d}.png")
        memory.pipe_file(f"/bucket/faces/{number:03d}.png", Path(f"in/{number:03d}.png").read_bytes())
        with tarfile.open(f"shards/{number // 10}.tar", "a") as tar:
            tar.add(f"in/{number:03d}.png", f"{number:03d}.png")
    for path in Path("shards").iterdir():
        memory.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    remote._place.cache_clear()
    yield Path("shards")
    memory.rm("/bucket", recursive=True)


def predict(*arguments: str | Path) -> Any:
    return commands.invoke("predict", *arguments, "--format", "pts", "--format", "overlay")


def faces(folder: str) -> list[Any]:
    return [item["faces"] for item in json.loads(Path(folder, "landmarks.json").read_text())["images"]]


def images(folder: str) -> list[str]:
    return [item["image"] for item in json.loads(Path(folder, "landmarks.json").read_text())["images"]]


def test_archives_and_addresses_hold_what_the_files_do(shards: Path) -> None:
    assert predict("in", "--out", "plain").exit_code == 0
    ways = {
        "pattern": ["shards/*.tar"],
        "files": ["shards/0.tar", "shards/1.tar"],
        "address": ["memory://bucket/faces"],
        "addresses": ["memory://bucket/faces/*.png"],
        "archives": ["memory://bucket/*.tar"],
        "local": [f"file://{shards.resolve()}/*.tar"],
    }
    for out, inputs in ways.items():
        result = predict(*inputs, "--out", out)
        assert result.exit_code == 0, result.output
        assert faces(out) == faces("plain"), out
        assert len(list(Path(out).rglob("*.pts"))) == len(list(Path(out).rglob("*.jpg"))) == 20
    assert images("pattern")[0] == "shards/0.tar/000.png" and Path("pattern/0/000.pts").is_file()
    assert images("address")[0] == "memory:///bucket/faces/000.png" and Path("address/000.pts").is_file()
    assert images("archives")[0] == "memory:///bucket/0.tar/000.png" and Path("archives/0/000.pts").is_file()
    one = predict("shards/0.tar/004.png", "--out", "one")
    assert one.exit_code == 0 and faces("one") == [faces("plain")[4]]


def test_what_is_done_is_not_done_again_and_shards_share_it(shards: Path) -> None:
    for way in ("shards/0.tar", "memory://bucket/0.tar"):
        out = f"out-{way[:3]}"
        assert predict(way, "--out", out).exit_code == 0
        again = predict(way, "--out", out, "--resume")
        assert "0 faces in 0 pictures, 10 done before" in again.stdout
        for shard in ("1/2", "2/2"):
            assert predict(way, "--out", f"{out}-shared", "--shard", shard).exit_code == 0
        assert predict(way, "--out", f"{out}-shared").exit_code == 0
        assert faces(f"{out}-shared") == faces(out)


def test_what_cannot_be_read_is_a_sentence(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path("shards/0.tar").read_bytes()
    Path("shards/0.tar").write_bytes(data[:3000])
    fsspec.filesystem("memory").pipe_file("/bucket/0.tar", data[:3000])
    for address, words in (
        ("shards/0.tar", "shards/0.tar: is truncated or no tar archive"),
        ("memory://bucket/0.tar", "0.tar: is truncated or no tar archive"),
        ("memory://bucket/gone.png", "gone.png: cannot be read"),
        ("memory://bucket/empty/", "holds no image"),
        ("memory://bucket/*.gif", "holds no image"),
        ("nothing://bucket/a.png", "nothing that is installed reads such an address"),
        ("https://x.org/a.png", "is an address, and nothing is fetched"),
    ):
        result = predict(address, "--out", "o")
        assert result.exit_code == 2 and words in result.stderr, (address, result.output)
    some = predict("shards/0.tar", "shards/1.tar", "--out", "o")
    assert some.exit_code == 1 and "0.tar: is truncated" in some.stderr and len(faces("o")) == 10
    remote._place.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    lacking = predict("s3://bucket/a.png", "--out", "p")
    assert lacking.exit_code == 2 and "pip install 'semalign[remote]'" in lacking.stderr
