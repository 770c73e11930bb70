"""The commands `export`, `bench` and `serve`: what they write and print, and what they refuse."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import invoke, succeed
from worlds import NETWORK

from semalign.data.crops import CropSettings
from semalign.models.checkpoint import Model, load_model, save_model
from semalign.models.hourglass import build_hourglass
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    network = build_hourglass(NETWORK, 68, seed=2).eval()
    save_model(path, Model(network, load_scheme("ibug68"), CropSettings(), 1.5, {"terms": "research only"}))
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SynthesisSettings(count=6, test_count=1, seed=2, face=FaceSettings(size=80))
    return write_dataset(tmp_path_factory.mktemp("faces") / "set", settings)


@pytest.fixture(scope="module")
def onnx_file(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return path, succeed("export", model, path)


def test_export_writes_a_file_that_gives_points(onnx_file: tuple[Path, str]) -> None:
    from semalign.inference import OnnxBackend

    path, printed = onnx_file
    assert printed == f"onnx model: {path}\n"
    found = OnnxBackend(path, threads=1)(np.zeros((2, 3, 64, 64), np.uint8))
    assert found.points.shape == (2, 68, 2)


def test_a_small_model_file_has_half_the_size_and_the_same_answers(model: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    printed = succeed("export", model, small, "--format", "safetensors", "--terms", "free")
    assert printed == f"model: {small}\n"
    whole, half = load_model(model), load_model(small)
    assert half.about == {"terms": "free"} and whole.about == {"terms": "research only"}
    assert small.stat().st_size < 0.7 * model.stat().st_size  # the description of so small a network is a tenth of it
    picture = torch.rand(1, 3, 64, 64)
    assert torch.allclose(whole.network(picture)[-1], half.network(picture)[-1], atol=1e-3)
    result = invoke("export", model, tmp_path / "x", "--format", "safetensors", "--int8")
    assert result.exit_code == 2 and not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_network_that_8_bits_break_is_not_quantised(faces: Path, tmp_path: Path) -> None:
    result = invoke("export", "free", tmp_path / "x.onnx", "--int8", "--data", faces)
    assert result.exit_code == 2 and "float32 alone" in result.stderr.replace("\n", " ")
    assert not (tmp_path / "x.onnx").exists()


def test_export_in_int8_compares_its_answers_with_the_models(model: Path, faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from semalign.inference import OnnxBackend

    out = succeed(
        "export", model, tmp_path / "m.onnx", "--int8", "--data", faces, "--count", "3", "--pixels", "float32"
    )
    assert re.search(r"on 3 faces, in pixels of the crop: median \d+\.\d{4}, 95 % within \d+\.\d{4}, largest", out)
    found = OnnxBackend(tmp_path / "m.onnx")
    assert (found.precision, found.pixels) == ("int8", "float32")


def test_export_refuses_what_it_cannot_do(model: Path, tmp_path: Path) -> None:
    result = invoke("export", model, tmp_path / "m.onnx", "--int8")
    assert (result.exit_code, "--data" in result.stderr) == (2, True)
    result = invoke("export", tmp_path / "none.safetensors", tmp_path / "m.onnx")
    assert (result.exit_code, "no such model file" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    result = invoke("export", model, tmp_path / "m.onnx")
    assert result.exit_code == 2
    assert "pip install 'semalign[train]'" in result.stderr


def test_bench_prints_and_writes_medians(model: Path, tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    words = ("--no-onnx", "--no-yardstick", "--rounds", "3", "--threads", "1", "--json", figures)
    out = succeed("bench", "speed", model, *words)
    written = json.loads(figures.read_text(encoding="utf-8"))
    (timing,) = written["timings"]
    assert (timing["model"], timing["runtime"], timing["input_size"]) == (str(model), "PyTorch", 64)
    assert 0 < timing["lower_quartile"] <= timing["milliseconds"] <= timing["upper_quartile"]
    assert (written["threads"], written["rounds"]) == (1, 3)
    assert written["hardware"]
    assert f"{timing['milliseconds']:.2f}" in next(line for line in out.splitlines() if "PyTorch" in line)


def test_serve_answers_until_it_is_interrupted(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command with a real detector, asked once; then Ctrl-C."""
    from semalign.serve.server import PageServer

    answers: list[dict[str, Any]] = []
    forever = PageServer.serve_forever

    def once(server: PageServer) -> None:
        thread = threading.Thread(target=forever, args=(server,))
        thread.start()
        with urllib.request.urlopen(f"{server.url}api/model", timeout=20) as answer:
            answers.append(json.load(answer))
        server.shutdown()
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", once)
    out = succeed("serve", model, "--port", "0")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ \(Ctrl-C ends\)\nstopped\n", out)
    assert (answers[0]["scheme"], answers[0]["terms"]) == ("ibug68", "research only")


def test_the_ending_is_added_and_another_formats_is_refused(
    onnx_file: tuple[Path, str], model: Path, tmp_path: Path
) -> None:
    from semalign.cli.export import named

    assert named(Path("model"), "onnx") == Path("model.onnx")
    assert named(Path("m.v2"), "onnx") == Path("m.v2.onnx")
    assert named(Path("m.ONNX"), "onnx") == Path("m.onnx")
    for name in ("m.pt", "m.safetensors"):
        result = invoke("export", model, tmp_path / name)
        assert result.exit_code == 2 and "ends in .onnx" in result.stderr
    printed = succeed("export", model, tmp_path / "small", "--format", "safetensors")
    assert printed == f"model: {tmp_path / 'small.safetensors'}\n"
