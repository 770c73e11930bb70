"""What `pip install semalign` gives without any extra: a wheel in an empty environment, on disk and at work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semalign.synthetic import SynthesisSettings, face_of, write_dataset

REPOSITORY = Path(__file__).resolve().parents[1]
CONSTRAINTS = REPOSITORY / "constraints.txt"
# Of site-packages without pip, on Linux, with compiled Python files: PyArrow 170, OpenCV 162, ONNX Runtime 78, NumPy 73,
# Semalign 57 (its models are 44), Pillow 23; what is lacking is PyTorch with a gigabyte and what it brings along.
MOST_MEGABYTES = 620
FACES = 40
EXTRA = "needs PyTorch; install it with: pip install 'semalign[train]'"

pytestmark = pytest.mark.slow


class Installed:
    """An environment with Semalign in it, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        plain = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
        self.environment = {key: value for key, value in os.environ.items() if key not in plain}

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *map(str, words)]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )

    def pip(self, *words: str | Path) -> None:
        done = self.run("-m", "pip", "--disable-pip-version-check", *words)
        assert done.returncode == 0, done.stderr

    def semalign(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "semalign", *words)

    def succeed(self, *words: str | Path) -> str:
        done = self.semalign(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str | Path) -> str:
        """The one sentence with which a command ends."""
        done = self.semalign(*words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    made = Installed(folder)
    made.pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPOSITORY)
    (wheel,) = folder.glob("semalign-*.whl")
    made.pip("install", "--quiet", "--constraint", CONSTRAINTS, wheel)
    return made


@pytest.fixture(scope="module")
def face(installed: Installed) -> np.ndarray:
    """A drawn face's points; its picture is face.png."""
    drawn = face_of(0, 0, SynthesisSettings(seed=0))
    Image.fromarray(drawn.image).save(installed.folder / "face.png")
    return drawn.points


@pytest.fixture(scope="module")
def faces(installed: Installed) -> Path:
    return write_dataset(installed.folder / "faces", SynthesisSettings(count=FACES, test_count=8, seed=3))


def test_it_takes_no_more_than_so_much_of_the_disk(installed: Installed) -> None:
    site = Path(installed.run("-c", "import semalign; print(semalign.__path__[0])").stdout.strip()).parent
    ours = [path for path in site.iterdir() if not re.match("pip|setuptools|pkg_resources|_distutils", path.name)]
    size = sum(
        file.stat().st_size
        for path in ours
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    )
    print(f"{size / 1e6:.0f} MB in {site.name}")
    assert size <= MOST_MEGABYTES * 1e6


@pytest.mark.parametrize("name", ["torch", "accelerate", "matplotlib", "onnx", "jinja2"])
def test_what_only_training_needs_is_not_there(installed: Installed, name: str) -> None:
    assert "ModuleNotFoundError" in installed.run("-c", f"import {name}").stderr


def test_a_drawn_face_is_found(installed: Installed, face: np.ndarray) -> None:
    installed.succeed("predict", "face.png", "--out", "found", "--format", "pts", "--format", "overlay")
    (picture,) = json.loads((installed.folder / "found" / "landmarks.json").read_text())["images"]
    points = np.array(picture["faces"][0]["points"])
    assert np.linalg.norm(points - face, axis=1).mean() < 0.05 * np.linalg.norm(face[36] - face[45])
    assert len(picture["faces"][0]["visibility"]) == 68
    assert (installed.folder / "found" / "face.pts").is_file()


def test_a_detector_tells_what_needs_more(installed: Installed, face: np.ndarray) -> None:
    script = """
import numpy as np
from semalign import Detector
from semalign.data import read_image
from semalign.inference import Landmarker
(face,) = Detector.from_pretrained()("face.png")
assert face.points.shape == face.spread.shape == (68, 2)
landmarker, picture = Landmarker.from_pretrained(), read_image("face.png")
for ask in (
    lambda: landmarker.heatmaps(picture, np.array(face.box)),
    lambda: Landmarker.from_pretrained("default", "cuda"),
    lambda: Landmarker.from_pretrained("default", tta=4),
):
    try:
        ask()
    except Exception as error:
        print(type(error).__name__, error)
"""
    lines = installed.run("-c", script).stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("MissingError") and line.endswith(EXTRA) for line in lines)


def test_data_are_checked_converted_and_audited(installed: Installed, faces: Path) -> None:
    assert f"{FACES} usable faces" in installed.succeed("data", "check", faces)
    installed.succeed("convert", faces, "faces.xml", "--to", "cvat")
    assert f"of {FACES} faces" in installed.succeed("audit", faces, "--quick", "--out", "audit")
    assert (installed.folder / "audit" / "labels" / "0001.parquet").is_file()


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        (("train", "300w-compact", "--data", "faces", "--out", "trained"), "error: 'semalign train'"),
        (("run", "demo", "--out", "run"), "error: 'semalign run'"),
        (("search", "default", "--data", "faces", "--out", "labels"), "error: 'semalign search'"),
        (("export", "default", "default.onnx"), "error: 'semalign export'"),
        (("bench", "speed"), "error: 'semalign bench speed'"),
        (("audit", "faces", "--out", "trained-audit"), "error: an audit by networks"),
        (("predict", "face.png", "--out", "more", "--tta", "4"), "error: default: "),
    ],
)
def test_a_command_that_needs_more_names_the_extra(
    installed: Installed, faces: Path, face: np.ndarray, words: tuple[str, ...], beginning: str
) -> None:
    sentence = installed.refused(*words)
    assert sentence.startswith(beginning) and sentence.endswith(EXTRA)


@pytest.fixture(scope="module")
def page(installed: Installed) -> Iterator[str]:
    """The address of the page, with the extra `serve` installed."""
    assert "semalign[serve]" in installed.refused("serve", "--port", "0")
    requirements = ("starlette", "uvicorn", "h11")
    installed.pip("install", "--quiet", "--constraint", CONSTRAINTS, *requirements)
    command = [installed.python, "-u", "-m", "semalign", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=installed.folder, env=installed.environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
        server.terminate()


def test_the_page_finds_the_face(page: str, installed: Installed, face: np.ndarray) -> None:
    picture = (installed.folder / "face.png").read_bytes()
    request = urllib.request.Request(page.rstrip("/") + "/api/faces", picture, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert len(json.load(answer)["faces"][0]["points"]) == 68
