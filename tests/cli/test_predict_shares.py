"""`semalign predict` shared out: any number of processes, one killed, a part damaged, give the files that one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import commands
import numpy as np
import pytest
from PIL import Image

from semalign.data.images import open_picture
from semalign.detect import Detector, DetectorSettings, Face, detector
from semalign.schemes import LandmarkScheme
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

SQUARE = LandmarkScheme("square", ("a", "b", "c", "d"))
FORMATS = [word for name in ("pts", "overlay", "csv", "coco", "parquet") for word in ("--format", name)]


class Bright(Detector):
    """A detector without a network: each third of a picture that has something bright is a face."""

    scheme = SQUARE  # type: ignore[assignment]

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings
        self.landmarker: Any = SimpleNamespace(backend=None)

    def batch(self, images: Any, boxes: Any = None) -> list[list[Face]]:
        return [self(image) for image in images]

    def __call__(self, image: Any, boxes: Any = None) -> list[Face]:
        pixels, faces = open_picture(image).pixels, []
        for third in range(3):
            rows, columns = np.nonzero(pixels[16 * third : 16 * third + 16, :, 1] > 127)
            if len(rows):
                x0, x1, y0, y1 = columns.min(), columns.max(), rows.min() + 16 * third, rows.max() + 16 * third
                points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float) + np.pi / 1e4
                faces.append(Face(points, np.full(4, 0.9), SQUARE))
        return faces


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """37 pictures with 0 to 3 faces, some with names that the faces of others would have, and one that is none."""
    monkeypatch.setattr(detector.Detector, "from_pretrained", lambda name, device, finder, settings: Bright(settings))
    monkeypatch.chdir(tmp_path)
    Path("in/sub").mkdir(parents=True)
    names = [f"{number:03d}" for number in range(30)] + ["000_2", "000_face2", "001_2", "sub/001", "sub/001_2", "z"]
    for number, name in enumerate(names):
        pixels = np.zeros((48, 64, 3), np.uint8)
        for third in range(number % 4 if number < 30 else 3):
            pixels[16 * third + 3 : 16 * third + 13, 5 + number : 25 + number] = 255
        Image.fromarray(pixels).save(f"in/{name}.png")
    Path("in/010.png").write_bytes(b"none")
    return Path("in")


def predict(*arguments: str | Path) -> Any:
    return commands.invoke("predict", *arguments)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sentences(result: Any) -> list[str]:
    """What was printed, but for the progress."""
    lines = str(result.stdout).splitlines() + str(result.stderr).splitlines()
    return [line.replace("shared/", "one/") for line in lines if "landmarks.json" in line or "in/" in line]


@pytest.mark.parametrize(("shards", "trouble"), [(1, "none"), (2, "lost"), (3, "damaged"), (3, "lost")])
def test_shares_make_the_files_that_one_process_makes(pictures: Path, shards: int, trouble: str) -> None:
    one = predict(pictures, "--out", "one", *FORMATS, "--workers", "2")
    assert one.exit_code == 1 and "in/010.png" in one.stderr
    for shard in range(1 + (trouble == "lost"), shards + 1):
        result = predict(pictures, "--out", "shared", *FORMATS, "--shard", f"{shard}/{shards}")
        assert result.exit_code == 0 and f"shard {shard}/{shards} is done" in result.output
        assert not Path("shared/landmarks.json").exists()
    if trouble == "damaged":
        part = sorted(Path("shared/parts").rglob("*.npz"))[1]
        part.write_bytes(part.read_bytes()[:-3] + b"abc")
    result = predict(pictures, "--out", "shared", *FORMATS)
    assert result.exit_code == 1
    assert sentences(result) == sentences(one) and len(sentences(one)) > 5
    assert files(Path("shared")) == files(Path("one"))


def test_other_pictures_or_options_are_no_shares_of_a_work(pictures: Path) -> None:
    assert predict(pictures, "--out", "o", "--format", "csv", "--shard", "1/2").exit_code == 0
    for options in (["--shard", "2/2"], ["--shard", "2/2", "--format", "csv", "--tta", "2"], []):
        result = predict(pictures, "--out", "o", *options)
        assert result.exit_code == 2 and "holds shares of other data or with other options" in result.stderr
    result = predict(pictures, "--out", "o", "--overwrite")
    assert result.exit_code == 2 and "leave --overwrite" in result.stderr
    assert predict("in", "--out", "-", "--shard", "1/2").exit_code == 2
    assert predict(pictures, "--out", "o", "--format", "csv").exit_code == 1  # of the picture that is none
    late = predict(pictures, "--out", "o", "--format", "csv", "--shard", "2/2")
    assert late.exit_code == 2 and "holds results already" in late.stderr
    Path("in/clip.mp4").write_bytes(b"")
    assert "only these are shared out" in predict(pictures, "--out", "p", "--shard", "1/2").stderr


def test_what_was_broken_off_while_it_was_put_together_is_made_anew(pictures: Path) -> None:
    predict(pictures, "--out", "one", *FORMATS)
    for shard in ("1/2", "2/2"):
        predict(pictures, "--out", "o", *FORMATS, "--shard", shard)
    Path("o/landmarks.jsonl").write_bytes(b'{"format": "semalign landmarks 1"}\n{"image": "in/0')
    Path("o/landmarks.json").write_text("{")
    assert predict(pictures, "--out", "o", *FORMATS).exit_code == 1
    assert files(Path("o")) == files(Path("one"))


def test_unfinished_shares_are_not_read_as_pictures(pictures: Path) -> None:
    predict(pictures, "--out", "in/found", "--shard", "1/2")
    assert list(Path("in/found").glob("*.jpg"))
    listed = predict(pictures, "--out", "elsewhere", "--dry-run")
    assert "found" not in listed.stdout and "36 inputs" in listed.stderr


def test_two_processes_of_torchrun_make_what_one_makes(tmp_path: Path) -> None:
    settings = SynthesisSettings(count=24, test_count=0, seed=2, face=FaceSettings(size=144))
    faces = write_dataset(tmp_path / "data", settings)
    options = [str(faces), "--model", "fast", "--format", "pts", "--format", "overlay", "--workers", "1"]
    assert predict(*options, "--out", tmp_path / "one").exit_code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "semalign"]
    together = [*launch, "predict", *options, "--out", str(tmp_path / "two")]
    subprocess.run(together, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=400)
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_a_process_that_was_killed_is_made_up_for_by_another_number_of_them(tmp_path: Path) -> None:
    settings = SynthesisSettings(count=40, test_count=0, seed=1, face=FaceSettings(size=144))
    faces = write_dataset(tmp_path / "data", settings)
    options = [faces, "--model", "fast", "--format", "csv", "--format", "pts", "--workers", "1"]
    assert predict(*options, "--out", tmp_path / "one").exit_code == 0
    shared = [sys.executable, "-m", "semalign", "predict", *map(str, options), "--out", str(tmp_path / "shared")]
    process = subprocess.Popen([*shared, "--shard", "1/1"], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 240
    while not list(tmp_path.rglob("00000?.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(list(tmp_path.rglob("00000?.json"))) < 5
    assert predict(*options, "--out", tmp_path / "shared", "--shard", "2/3").exit_code == 0
    assert predict(*options, "--out", tmp_path / "shared").exit_code == 0
    assert files(tmp_path / "shared") == files(tmp_path / "one")
