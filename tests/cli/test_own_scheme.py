"""Schemes of one's own, from a sample to cleaned labels: everything that works for 68 points."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import invoke, succeed

from semalign.data import LabelStore, open_dataset, read_pts, write_pts
from semalign.schemes import load_scheme

FACE = np.array(  # 12 points of a symmetric face: eye corners, nose, mouth, chin, brows, nostrils
    [[-30, -20], [-12, -20], [12, -20], [30, -20], [0, 5], [-18, 28], [18, 28], [0, 48], [-34, -34], [34, -34],
     [-8, 10], [8, 10]]
)  # fmt: skip
TINY = (
    "network.input_size=64", "network.heatmap_size=32", "network.stacks=1", "network.width=8", "network.depth=2",
    "start.epochs=1", "alignment.epochs=1", "finish.epochs=0", "alternation.searches=1", "label_adaptation.held_out=0",
)  # fmt: skip
SETTINGS = [word for setting in TINY for word in ("--set", setting)]


def shape(count: int, seed: int) -> np.ndarray:
    """Points of a face: the 12, some of them, or more around them."""
    more = np.random.default_rng(5).uniform(-38, 38, (max(count - 12, 0), 2))
    noise = np.random.default_rng(seed).normal(0, 0.8, (count, 2))
    return np.concatenate([FACE, more])[:count] * (1.0, 0.95) + (64, 60) + noise


def folder(root: Path, count: int, faces: int = 6) -> Path:
    root.mkdir()
    for index in range(faces):
        coarse = np.random.default_rng(index).integers(0, 200, (12, 12, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC)
        for x, y in shape(count, index):
            cv2.circle(picture, (round(x), round(y)), 3, (240, 240, 240), -1)
        cv2.imwrite(str(root / f"{index}.png"), picture)
        write_pts(root / f"{index}.pts", shape(count, index))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 12, 98])
def test_the_whole_path(tmp_path: Path, count: int) -> None:
    data, own, out = folder(tmp_path / "own", count), tmp_path / "mine.toml", tmp_path / "run"
    assert f"{count} points" in succeed("scheme", "new", data / "0.pts", "--out", own)
    scheme = load_scheme(own)
    assert scheme.landmarks == tuple(f"point_{index}" for index in range(count))
    assert "6 usable faces with the points of mine, none bad" in succeed("data", "check", data, "--scheme", own)
    said = succeed("run", "300w-compact", "--data", data, "--out", out, "--set", f"data.scheme={own}", *SETTINGS)
    assert "nme_box" in said and "errors are in % of the face box (nme_box)" in " ".join(said.split())
    assert ("pictures are not mirrored" in said) == (not scheme.pairs)
    assert "1 of 6 were held out" in said and "nme_box" in (out / "report.html").read_text()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["detector_nme"]["normalisation"] == "nme_box" and summary["detector_nme"]["aligned"] > 0
    model = out / "aligned/model.safetensors"
    assert "nme_box" in succeed("evaluate", model, "--data", data)
    succeed("search", model, "--data", data, "--out", tmp_path / "labels")
    assert "6 of them with the labels" in succeed(
        "labels", "export", tmp_path / "labels", tmp_path / "a", "--data", data
    )
    own.rename(tmp_path / "moved.toml")  # the labels know their scheme
    assert "5 of them" in succeed("labels", "export", out / "labels", tmp_path / "b", "--data", data)
    assert "5 of them" in succeed(
        "labels", "export", out / "labels", tmp_path / "c", "--data", data, "--scheme", tmp_path / "moved.toml"
    )
    version = LabelStore(tmp_path / "labels").read()
    np.testing.assert_allclose(read_pts(tmp_path / "a/0.pts"), version.points[0], atol=1e-5)
    boxes = {f"{index}.png": [[25, 20, 103, 110]] for index in range(2)}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    predicted = tmp_path / "found"
    pictures = [data / name for name in boxes]
    succeed(
        "predict",
        *pictures,
        "--model",
        model,
        "--boxes",
        tmp_path / "boxes.json",
        "--format",
        "pts",
        "--out",
        predicted,
    )
    assert read_pts(predicted / "0.pts").shape == (count, 2)


def test_labels_of_the_first_version_hold_no_scheme(tmp_path: Path) -> None:
    data, own = folder(tmp_path / "own", 12, 2), tmp_path / "mine.toml"
    succeed("scheme", "new", data, "--out", own)
    dataset = open_dataset(data, load_scheme(own))
    LabelStore(tmp_path / "run/labels").start(dataset, {"source": "annotations"})
    labels = tmp_path / "run/labels"
    assert "2 of them" in succeed("labels", "export", labels, tmp_path / "a", "--data", data)
    (tmp_path / "run/recipe.toml").write_text(f'[data]\nscheme = "{own}"\n')
    succeed("labels", "export", labels, tmp_path / "b", "--data", data)
    names = [json.loads((tmp_path / out / "provenance.json").read_text())["scheme"] for out in "ab"]
    assert names == ["12 points", "mine"]


def test_pairs_are_guessed_only_where_they_are_clear(tmp_path: Path) -> None:
    write_pts(tmp_path / "clear.pts", FACE + 60.0)
    assert "5 left-right pairs guessed, check them" in succeed(
        "scheme", "new", tmp_path / "clear.pts", "--out", tmp_path / "c.toml"
    )
    assert load_scheme(tmp_path / "c.toml").pairs == ((0, 3), (1, 2), (5, 6), (8, 9), (10, 11))
    turned = FACE @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    write_pts(tmp_path / "turned.pts", turned + 60.0)
    assert "no left-right pairs guessed" in succeed(
        "scheme", "new", tmp_path / "turned.pts", "--out", tmp_path / "t.toml"
    )
    assert load_scheme(tmp_path / "t.toml").pairs == ()


def test_what_cannot_be_a_sample_or_a_scheme(tmp_path: Path) -> None:
    write_pts(tmp_path / "a.pts", FACE + 60.0)
    (tmp_path / "there.toml").write_text("")
    (tmp_path / "none").mkdir()
    for sample, out, sentence in (
        ("a.pts", "own.txt", "give a name that ends in .toml"),
        ("a.pts", "there.toml", "exists already"),
        ("b.pts", "own.toml", "there is no such file"),
        ("none", "own.toml", "holds no .pts file that can be read"),
    ):
        result = invoke("scheme", "new", tmp_path / sample, "--out", tmp_path / out)
        assert result.exit_code == 2 and sentence in result.stderr
    succeed("scheme", "new", tmp_path / "a.jpg", "--out", tmp_path / 'Größe "x".toml')  # the image stands for its .pts
    assert load_scheme(tmp_path / 'Größe "x".toml').name == 'Größe "x"'
