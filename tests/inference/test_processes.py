"""A detector in other people's programs: pickled, copied, forked, spawned; whatever they have set for all code."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import NETWORK

from semalign.data.crops import CropSettings
from semalign.detect import Detector
from semalign.export import export_onnx
from semalign.inference import OnnxBackend
from semalign.inference.processes import compute_alone, computes_alone
from semalign.models.checkpoint import Model, save_model
from semalign.models.hourglass import build_hourglass
from semalign.schemes import load_scheme

PICTURE = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
BOXES = [[20, 20, 60, 60]]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, Model(build_hourglass(NETWORK, 68, 0), load_scheme("ibug68"), CropSettings(), 2.0))
    return path


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_copy_gives_the_same(model_file: Path, again) -> None:
    detector = Detector.from_pretrained(model_file, "cpu")
    detector(PICTURE)  # the finder has made what it keeps
    other = again(detector)
    assert np.array_equal(other(PICTURE, BOXES)[0].points, detector(PICTURE, BOXES)[0].points)
    assert len(other(PICTURE)) == len(detector(PICTURE))


def test_an_exported_model_is_pickled_with_its_file(model_file: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from semalign.models.checkpoint import load_model

    path = tmp_path / "m"
    export_onnx(path, load_model(model_file))
    detector = Detector.from_pretrained(path)  # an exported model under any name
    assert isinstance(detector.model, OnnxBackend)
    expected = detector(PICTURE, BOXES)[0].points
    data = pickle.dumps(detector)
    path.unlink()
    assert np.array_equal(pickle.loads(data)(PICTURE, BOXES)[0].points, expected)
    assert np.array_equal(copy.deepcopy(detector)(PICTURE, BOXES)[0].points, expected)


def test_what_the_program_has_set_does_not_matter_and_stays(model_file: Path) -> None:
    detector = Detector.from_pretrained(model_file, "cpu")
    expected = detector(PICTURE, BOXES)[0].points
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with np.errstate(all="raise"), warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
            warnings.simplefilter("error")
            again = Detector.from_pretrained(model_file, "cpu")
            found = detector(PICTURE, BOXES)[0].points, again(PICTURE, BOXES)[0].points
            assert torch.is_autocast_enabled("cpu") and torch.is_grad_enabled() and np.geterr()["under"] == "raise"
        assert torch.get_default_dtype() == torch.float64 and torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.get_num_threads() == threads
    for points in found:
        assert np.allclose(points, expected, atol=1e-3)


SCRIPT = """
import multiprocessing, sys
import numpy as np, torch
from semalign.detect import Detector
torch.set_num_threads(4)
picture = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
def work(detector):
    detector(picture)
    return detector(picture, [[20, 20, 60, 60]])[0].points
def inherited(_):
    return work(DETECTOR)
if __name__ == "__main__":
    DETECTOR = Detector.from_pretrained(sys.argv[2], "cpu")
    expected = work(DETECTOR)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        found = [pool.map_async(work, [DETECTOR]).get(timeout=200)[0]]
        if sys.argv[1] == "fork":
            found.append(pool.map_async(inherited, [0]).get(timeout=200)[0])
    sys.exit(0 if all(np.allclose(points, expected, atol=1e-3) for points in found) else "other points")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_finds_the_same_and_does_not_hang(model_file: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), method, str(model_file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_threads_that_compute_alone_give_the_same_and_the_others_keep_theirs(model_file: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from semalign.models.checkpoint import load_model

    export_onnx(tmp_path / "m.onnx", load_model(model_file))
    before = torch.get_num_threads()
    for file in (model_file, tmp_path / "m.onnx"):
        detector = Detector.from_pretrained(file, "cpu")
        expected = detector(PICTURE, BOXES)[0].points
        with ThreadPoolExecutor(2, initializer=compute_alone) as pool:
            assert all(pool.map(lambda _: computes_alone() and torch.get_num_threads() == 1, range(4)))
            for faces in pool.map(lambda _, one=detector: one(PICTURE, BOXES), range(4)):
                assert np.allclose(faces[0].points, expected, atol=1e-3)
        torch.set_num_threads(before)
        assert not computes_alone()
