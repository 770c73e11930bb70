"""The command `correction`: it makes what `predict --correct` then finds beside the model, and refuses what it cannot use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image
from worlds import NETWORK

from semalign.data.crops import CropSettings
from semalign.models.checkpoint import Model, save_model
from semalign.models.correction import load_correction
from semalign.models.hourglass import build_hourglass
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, faces, and the correction."""
    folder = tmp_path_factory.mktemp("made")
    model = Model(build_hourglass(NETWORK, 68, 0), load_scheme("ibug68"), CropSettings(), 2.0, {"terms": "none"})
    save_model(folder / "m.safetensors", model)
    write_dataset(folder / "faces", SynthesisSettings(count=24, test_count=2, seed=1, face=FaceSettings(size=96)))
    words = ("--data", folder / "faces", "--passes", "2", "--epochs", "1", "--seed", "5")
    result = commands.invoke("correction", folder / "m.safetensors", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"correction: {folder / 'm.correction.safetensors'}\n"
    return folder


def test_the_file_says_where_it_comes_from(made: Path) -> None:
    correction = load_correction(made / "m.correction.safetensors", load_scheme("ibug68"))
    assert correction.base == {"terms": "none"}
    assert (correction.about["data"], correction.about["seed"], correction.about["terms"]) == ("faces", 5, "none")
    assert sum(correction.about["train"].values()) == 22  # no test faces


def test_predict_finds_it(made: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "b.csv").write_text("image,x0,y0,x1,y1\np.png,20,20,70,75\n")
    words = ("--model", made / "m.safetensors", "--boxes", tmp_path / "b.csv", "--correct", "--out", tmp_path / "o")
    assert commands.invoke("predict", tmp_path / "p.png", *words).exit_code == 0
    (face,) = json.loads((tmp_path / "o" / "landmarks.json").read_text())["images"][0]["faces"]
    assert len(face["visibility"]) == 68 and len(set(face["visibility"])) > 1


def test_errors_are_measured_on_unseen_faces(made: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "new", SynthesisSettings(count=6, test_count=3, seed=2, face=FaceSettings(size=96)))
    words = ("--data", made / "faces", "--passes", "2", "--epochs", "1", "--seed", "5", "--unseen", tmp_path / "new")
    out = tmp_path / "told.correction.safetensors"
    result = commands.invoke("correction", made / "m.safetensors", *words, "--out", out)
    assert result.exit_code == 0, result.output
    plain, told = load_correction(made / "m.correction.safetensors"), load_correction(out)
    assert plain.errors is None and told.errors is not None
    assert np.array_equal(plain.reader.bias, told.reader.bias)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", out.name]


def test_errors_may_be_those_of_another_model_of_the_recipe(made: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "new", SynthesisSettings(count=6, test_count=3, seed=2, face=FaceSettings(size=96)))
    other = Model(build_hourglass(NETWORK, 68, 1), load_scheme("ibug68"), CropSettings(), 2.0, {"terms": "none"})
    save_model(tmp_path / "other.safetensors", other)
    words = ("--data", made / "faces", "--passes", "2", "--epochs", "1", "--seed", "5", "--unseen", tmp_path / "new")
    scales = []
    for name, more in (("own", ()), ("other", ("--unseen-by", tmp_path / "other.safetensors"))):
        out = tmp_path / f"{name}.correction.safetensors"
        result = commands.invoke("correction", made / "m.safetensors", *words, *more, "--out", out)
        assert result.exit_code == 0, result.output
        told = load_correction(out)
        assert told.errors is not None and told.base == {"terms": "none"}
        scales.append(told.errors.found.covariance)
    assert not np.allclose(*scales)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("{made}/m.safetensors", "--data", "{made}/faces", "--overwrite", "--unseen", "x", "--crossfit", "y"),
            "one of",
        ),
        (("{made}/m.safetensors", "--data", "{made}/faces", "--overwrite", "--unseen-by", "x"), "give these, too"),
        (("{made}/m.safetensors", "--data", "{made}/faces"), "--overwrite"),
        (("default", "--data", "{made}/faces"), "say with --out where its correction is to be written"),
        (("{made}/none.safetensors", "--data", "{made}/faces"), "there is no such model file"),
        (("default", "--data", "{made}/nothing", "--out", "{made}/x.safetensors"), "nothing"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(made: Path, words: tuple[str, ...], sentence: str) -> None:
    result = commands.invoke("correction", *(word.format(made=made) for word in words))
    assert result.exit_code == 2 and sentence in result.stderr.replace("\n", " ")
    assert not (made / "x.safetensors").exists()


def test_too_few_faces_are_refused(made: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", SynthesisSettings(count=5, test_count=0, seed=1, face=FaceSettings(size=96)))
    result = commands.invoke("correction", made / "m.safetensors", "--data", tmp_path / "few", "--out", tmp_path / "c")
    assert result.exit_code == 2 and "has 5 training faces" in result.stderr and "needs 20 or more" in result.stderr


KILLED = """
import os, signal, sys
left, ending, real = int(sys.argv[1]), sys.argv[2], os.replace
def replace(source, target):
    global left
    real(source, target)
    left -= str(target).endswith(ending)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
sys.argv[:3] = ["semalign"]
from semalign.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are killed otherwise there")
def test_one_that_was_killed_goes_on_to_the_same_bits(made: Path, tmp_path: Path) -> None:
    """Killed after the second pass over the faces, then after the second epoch of the weights."""

    def call(out: Path, files: int = 1, ending: str = "no file") -> int:
        words = ("correction", made / "m.safetensors", "--data", made / "faces", "--passes", 3, "--epochs", 3)
        line = [sys.executable, "-c", KILLED, str(files), ending, *map(str, words), "--out", str(out)]
        return subprocess.run(line, capture_output=True, check=False).returncode

    out, parts = tmp_path / "c.safetensors", tmp_path / "c.safetensors.parts"
    assert call(tmp_path / "whole.safetensors") == 0
    assert call(out, 2, ".npz") == -signal.SIGKILL
    seen = {path: path.stat().st_mtime_ns for path in parts.glob("*/seen-*.npz")}
    assert len(seen) == 2 and not out.exists()
    assert call(out, 2, "weights.safetensors") == -signal.SIGKILL
    assert len(list(parts.glob("*/seen-*.npz"))) == 3 and not out.exists()
    assert {path: path.stat().st_mtime_ns for path in seen} == seen
    assert call(out) == 0
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.safetensors", "whole.safetensors"]


def test_a_folder_of_other_things_is_left_alone(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.safetensors"
    words = ("correction", made / "m.safetensors", "--data", made / "faces", "--passes", "2", "--epochs", "1")
    (tmp_path / "c.safetensors.parts").mkdir()
    (tmp_path / "c.safetensors.parts" / "notes.txt").write_text("mine")
    result = commands.invoke(*words, "--out", out)
    assert result.exit_code == 2 and "is not empty and holds no begun correction" in result.stderr
    (tmp_path / "c.safetensors.parts" / "notes.txt").unlink()
    commands.succeed(*words, "--out", out, "--seed", "5")
    assert load_correction(out).about == load_correction(made / "m.correction.safetensors").about
    assert out.read_bytes() == (made / "m.correction.safetensors").read_bytes()
