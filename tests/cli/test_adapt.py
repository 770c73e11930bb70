"""The command `adapt`: drawn faces in another convention and in a scheme of their own make models that other commands take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import NETWORK

from semalign.core.heatmaps import decode_heatmaps
from semalign.data.crops import CropSettings
from semalign.data.pts import read_pts, write_pts
from semalign.detect.detector import around_landmarks, as_found
from semalign.inference import Landmarker
from semalign.models.adapted import AdaptedNetwork
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.hourglass import build_hourglass
from semalign.schemes import LandmarkScheme
from semalign.schemes.load import SCHEME_FILE, scheme_toml
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of
from semalign.synthetic.dataset import write_picture

FACES, TESTS = 30, 10
SETTINGS = SynthesisSettings(count=FACES + TESTS, seed=11, face=FaceSettings(size=112, occlusion=0.0))
OWN = LandmarkScheme(
    "my-six",
    ("left temple", "right temple", "left cheek", "right cheek", "lip", "chin"),
    pairs=((0, 1), (2, 3)),
    outer_eyes=(0, 1),
)


def mine(points: np.ndarray) -> np.ndarray:
    """The six points of a face with 68."""
    return np.stack(
        [points[17], points[26], points[[3, 31]].mean(axis=0), points[[13, 35]].mean(axis=0), points[62], points[8]]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces to learn from and others, in both schemes; `shifted` has the brows marked higher."""
    root = tmp_path_factory.mktemp("adapt")
    for kind in ("shifted", "six"):
        for part in ("train", "test"):
            (root / kind / part).mkdir(parents=True)
            if kind == "six":
                (root / kind / part / SCHEME_FILE).write_text(scheme_toml(OWN))
    for index in range(FACES + TESTS):
        face = face_of(SETTINGS.seed, index, SETTINGS)
        part = "train" if index < FACES else "test"
        higher = face.points.copy()
        higher[17:27, 1] -= 4.0
        six = mine(face.points)
        six[4] = np.nan if index % 5 == 4 else six[4]
        for kind, points in (("shifted", higher), ("six", six)):
            file = root / kind / part / f"{index:03d}.png"
            write_picture(file, face.image, 0)
            write_pts(file.with_suffix(".pts"), np.where(np.isnan(points), -1.0, points))
    return root


@pytest.fixture(scope="module")
def six(folder: Path) -> dict[str, Any]:
    """What the command says of the scheme of one's own."""
    text = commands.succeed(
        "adapt",
        "synthetic-demo",
        "--data",
        folder / "six" / "train",
        "--out",
        folder / "mine",
        "--json",
        "--terms",
        "mine",
    )
    said: dict[str, Any] = json.loads(text)
    return said


def error(file: Path, data: Path) -> float:
    found = json.loads(commands.succeed("evaluate", file, "--data", data, "--json"))
    value: float = found["subsets"]["all"]["nme_interocular"]
    return value


def test_another_scheme_is_learned_and_the_file_says_of_what_it_was_made(six: dict[str, Any], folder: Path) -> None:
    assert six["scheme"] == "my-six" and six["faces"] == FACES and six["metric"] == "nme_interocular"
    assert six["errors"][six["method"]] <= min(six["errors"].values()) / 0.98
    model = load_model(Path(six["file"]), OWN)
    about = model.about
    assert (about["adapted"]["model"], about["adapted"]["faces"], about["data"]) == ("synthetic-demo", FACES, "train")
    assert "MIT" in about["terms"] and about["terms"].endswith("mine")
    assert error(Path(six["file"]), folder / "six" / "test") < 8


def test_its_heatmaps_are_where_its_points_are_and_as_wide_as_it_was_off(six: dict[str, Any], folder: Path) -> None:
    model = load_model(Path(six["file"]))
    network = model.network
    assert isinstance(network, AdaptedNetwork)
    size = network.input_size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        look, (heatmaps,) = network.look(images), network(images)
        wanted = network.found(look)
    a = look.to_input
    wanted = torch.einsum("bij,bnj->bni", a[..., :2], wanted) + a[:, None, :, 2]
    inside = ((wanted > 4) & (wanted < size - 5)).all(-1)
    found = (decode_heatmaps(heatmaps, model.sigma).points + 0.5) * (size / heatmaps.shape[-1]) - 0.5
    assert inside.any() and float((found - wanted)[inside].abs().max()) < 0.05
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # of the adapted network alone
        (rounded,) = network(images)
    assert rounded.dtype == torch.float32 and float((rounded - heatmaps).abs().max()) < 0.2
    assert float(heatmaps.amax()) < 1 and (network.doubt > 0).all()
    assert (network.doubts(torch.full((1, 68), 0.2)) >= network.doubts(torch.full((1, 68), 0.9))).all()


def test_a_file_of_half_the_size_finds_the_same(six: dict[str, Any], folder: Path) -> None:
    test = folder / "six" / "test"
    half = folder / "half.safetensors"
    commands.succeed("export", six["file"], half, "--format", "safetensors")
    assert abs(error(half, test) - error(Path(six["file"]), test)) < 0.05
    assert half.stat().st_size < 0.6 * Path(six["file"]).stat().st_size


@pytest.mark.slow
def test_it_is_exported_in_float32(six: dict[str, Any], folder: Path) -> None:
    pytest.importorskip("onnxscript")
    said = commands.succeed("export", six["file"], folder / "six.onnx", "--data", folder / "six" / "train")
    assert float(said.split("largest ")[1].split()[0].rstrip(";,")) < 0.05


def test_it_has_no_form_in_8_bits(six: dict[str, Any], folder: Path) -> None:
    refused = commands.invoke("export", six["file"], folder / "i.onnx", "--int8", "--data", folder / "six" / "train")
    assert refused.exit_code == 2 and "adapted model" in refused.stderr


def test_predict_finds_faces_by_it(six: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    commands.succeed("predict", folder / "six" / "test" / "030.png", "--model", six["file"], "--out", tmp_path)
    faces = json.loads((tmp_path / "landmarks.json").read_text())["images"][0]["faces"]
    truth = read_pts(folder / "six" / "test" / "030.pts")
    assert len(faces) == 1 and np.linalg.norm(np.array(faces[0]["points"]) - truth, axis=1).max() < 10


def test_a_quick_audit_takes_it(six: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    result = commands.invoke(
        "audit", folder / "six" / "train", "--quick", "--model", six["file"], "--out", tmp_path / "audit"
    )
    assert result.exit_code == 0, result.output


def test_another_convention_is_learned_and_nothing_is_written_where_nothing_is_gained(folder: Path) -> None:
    data, out = folder / "shifted", folder / "shifted.safetensors"
    text = commands.succeed("adapt", "synthetic-demo", "--data", data / "train", "--out", out)
    assert "<- taken" in text and "the model as it is" in text
    assert error(out, data / "test") < 0.8 * error(Path("synthetic-demo"), data / "test")
    again = commands.invoke("adapt", "synthetic-demo", "--data", data / "train", "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_of_faces_as_the_model_finds_them_nothing_is_learned(folder: Path, tmp_path: Path) -> None:
    """Annotations that are the model's own points."""
    from semalign.data import open_dataset
    from semalign.data.crops import build_crops
    from semalign.models import pretrained

    model = pretrained.load("synthetic-demo")
    samples = open_dataset(folder / "shifted" / "train").samples
    found = Landmarker(model).on_crops(build_crops(samples, model.crop, model.input_size))
    (tmp_path / "own").mkdir()
    for sample, points in zip(samples, found.points, strict=True):
        (tmp_path / "own" / sample.image.name).symlink_to(sample.image)
        write_pts(tmp_path / "own" / sample.image.with_suffix(".pts").name, points)
    text = commands.succeed("adapt", "synthetic-demo", "--data", tmp_path / "own", "--out", tmp_path / "same")
    assert "nothing is gained" in text and not (tmp_path / "same.safetensors").exists()


def test_what_cannot_be_learned_from_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted((folder / "six" / "train").glob("00*")):
        (few / file.name).symlink_to(file)
    (few / SCHEME_FILE).write_text(scheme_toml(OWN))
    rare = tmp_path / "rare"
    rare.mkdir()
    for file in sorted((folder / "six" / "train").glob("*.png")):
        (rare / file.name).symlink_to(file)
        points = read_pts(file.with_suffix(".pts"))
        points[5] = -1.0
        write_pts(rare / file.with_suffix(".pts").name, points)
    (rare / SCHEME_FILE).write_text(scheme_toml(OWN))
    (tmp_path / "empty").mkdir()
    noise = tmp_path / "noise"
    noise.mkdir()
    rng = np.random.default_rng(0)
    for number in range(22):
        write_picture(noise / f"{number}.png", rng.integers(0, 255, (96, 96, 3), np.uint8), 0)
        write_pts(noise / f"{number}.pts", rng.uniform(10, 86, (6, 2)))
    (noise / SCHEME_FILE).write_text(scheme_toml(OWN))
    objects = Model(
        build_hourglass(NETWORK, 3, 0), LandmarkScheme("toy", ("a", "b", "c")), CropSettings(), 2.0, {"terms": "none"}
    )
    save_model(tmp_path / "toy.safetensors", objects)
    cases = [
        (("synthetic-demo", "--data", few), "has 10 faces to learn from; annotate 20 at least, 50 to 200 are better"),
        (("synthetic-demo", "--data", rare), "the landmark 'chin' is annotated in 0 faces"),
        (("synthetic-demo", "--data", tmp_path / "empty"), "is no data set of a known layout"),
        (("synthetic-demo", "--data", noise), "finds nothing on these faces"),
        (("synthetic-demo", "--data", folder / "six" / "train", "--scheme", "no-such"), "landmark scheme 'no-such'"),
        (("synthetic-demo", "--data", folder / "six" / "train", "--out", "m.onnx"), "ends in .onnx"),
        (("no-such", "--data", few), "the model 'no-such'"),
        ((tmp_path / "toy.safetensors", "--data", folder / "six" / "train"), "only models of faces"),
    ]
    for words, sentence in cases:
        result = commands.invoke("adapt", *words, *(() if "--out" in words else ("--out", tmp_path / "never")))
        assert result.exit_code == 2 and sentence in result.stderr, (words, result.stderr)
    assert not (tmp_path / "never.safetensors").exists()


def test_a_picture_that_cannot_be_read_is_named_or_left_out(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "faces"
    data.mkdir()
    for file in (folder / "six" / "train").iterdir():
        (data / file.name).symlink_to(file)
    bad = data / "000.png"
    content = bad.read_bytes()
    bad.unlink()
    bad.write_bytes(content[: len(content) // 2])
    stopped = commands.invoke("adapt", "synthetic-demo", "--data", data, "--out", tmp_path / "m")
    assert stopped.exit_code == 2 and "000.png" in stopped.stderr
    said = json.loads(
        commands.succeed("adapt", "synthetic-demo", "--data", data, "--out", tmp_path / "m", "--keep-going", "--json")
    )
    assert said["faces"] == FACES - 1


def test_an_adapted_model_is_not_adapted_again(six: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    result = commands.invoke("adapt", six["file"], "--data", folder / "six" / "train", "--out", tmp_path / "m")
    assert result.exit_code == 2 and "was adapted already; adapt synthetic-demo instead" in result.stderr


def test_no_training_changes_an_adapted_model(six: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    result = commands.invoke(
        "train", "demo", "--from", six["file"], "--data", folder / "six" / "train", "--out", tmp_path / "run"
    )
    assert result.exit_code == 2 and "adapted model" in result.stderr


@settings(max_examples=30, deadline=None)
@given(
    side=st.floats(0.7, 4.0),
    x=st.floats(-0.5, 0.5),
    y=st.floats(-1.0, 0.5),
    angle=st.floats(-3.0, 3.0),
    size=st.floats(20, 500),
)
def test_of_a_found_face_the_box_of_the_landmarks_is_looked_at(
    side: float, x: float, y: float, angle: float, size: float
) -> None:
    """The way back from the landmarks' box, turned with the face, to the face's is what the model says."""
    face = np.array([[100.0, 80.0, 100.0 + size, 80.0 + 0.8 * size]])
    about = {"adapted": {"face": {"side": side, "shift": [x, y]}}}
    (box,) = around_landmarks(as_found(face, np.array([angle])), about).boxes
    own = box[2] - box[0]
    assert own * side == pytest.approx(size) and box[3] - box[1] == pytest.approx(own)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (box[:2] + box[2:]) / 2 + own * turn @ np.array([x, y])
    np.testing.assert_allclose(middle, (face[0, :2] + face[0, 2:]) / 2, atol=1e-6)
    for usual in ({}, {"adapted": {}}):
        np.testing.assert_array_equal(around_landmarks(as_found(face), usual).boxes, face)
