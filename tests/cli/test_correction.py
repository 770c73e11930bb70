"""The command `correction`: it makes what `predict --correct` then finds beside the model, and refuses what it cannot use."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
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
