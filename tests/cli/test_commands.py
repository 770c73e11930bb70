"""Each command: what it hands on, what it prints and writes; the whole chain once with a very small network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import invoke, succeed

from semalign.data import LabelStore, open_dataset, read_pts
from semalign.models import pretrained
from semalign.models.checkpoint import load_model, save_model
from semalign.pipeline import load_recipe, shipped_recipes
from semalign.schemes import load_scheme

TINY = ["network.width=16", "network.input_size=64", "network.heatmap_size=32", "start.epochs=1", "alignment.epochs=1"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faces") / "set"
    options = ("--count", "15", "--test-count", "5", "--size", "80", "--workers", "1", "--seed", "4")
    assert succeed("data", "synthesize", out, *options).startswith("15 faces")
    return out


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the pipeline by functions that note what they were called with."""
    noted: dict[str, Any] = {}
    summary = {"data": {"notes": ["helen is missing."], "skipped": [["a.jpg", "a.jpg: is empty; remove it."]]}}

    def note(name: str, result: Any) -> None:
        def function(*arguments: Any, **named: Any) -> Any:
            noted[name] = (arguments, named)
            return result

        monkeypatch.setattr(f"semalign.pipeline.{name}", function)

    note("run", summary)
    note("train", Path("start/model.safetensors"))
    note("align", Path("aligned/model.safetensors"))
    return noted


def test_run_hands_on_every_option(calls: dict[str, Any]) -> None:
    out = succeed(
        "run", "demo", "--data", "faces", "--out", "runs/x", "--resume", "--keep-going", "--seed", "7",
        "--set", "start.epochs=3", "--set", "alternation.update=false",
    )  # fmt: skip
    (recipe, data, folder), named = calls["run"]
    assert recipe == load_recipe("demo", ["start.epochs=3", "alternation.update=false", "seed=7"])
    assert (recipe.seed, recipe.start.epochs, recipe.alternation.update) == (7, 3, False)
    assert (data, folder) == (Path("faces"), Path("runs/x"))
    assert (named["resume"], named["keep_going"]) == (True, True)
    assert "note: helen is missing." in out
    assert "left out: a.jpg: is empty; remove it.\n1 bad sample was left out" in out
    assert out.endswith("report: runs/x/report.html\n")


def test_run_without_options(calls: dict[str, Any]) -> None:
    succeed("run", "demo", "--out", "x")
    (recipe, data, _), named = calls["run"]
    assert (recipe, data) == (load_recipe("demo"), None)
    assert (named["resume"], named["keep_going"]) == (False, False)


def test_align_uses_the_models_recipe_or_another(calls: dict[str, Any]) -> None:
    assert succeed("align", "m", "--data", "d", "--out", "o") == "model: aligned/model.safetensors\n"
    assert (calls["align"][1]["recipe"], calls["align"][1]["update"]) == (None, True)
    succeed("align", "m", "--data", "d", "--out", "o", "--no-update", "--recipe", "demo", "--set", "search.region=9")
    assert calls["align"][1]["update"] is False
    assert calls["align"][1]["recipe"].search.region == 9


def test_settings_without_a_recipe_change_the_models_own(calls: dict[str, Any]) -> None:
    succeed("align", "fast", "--data", "d", "--out", "o", "--set", "alternation.searches=3")
    own = calls["align"][1]["recipe"]
    assert (own.name, own.alternation.searches, own.search.method) == ("300w-fast", 3, "calibrated")
    result = invoke("align", "fast", "--data", "d", "--out", "o", "--set", "alternation.search=3")
    assert result.exit_code == 2 and "searches" in result.stderr and "model's own recipe" in result.stderr


def test_unknown_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = invoke("run", "demo", "--out", tmp_path / "x", "--set", "start.epoch=3")
    assert result.exit_code == 2
    assert "epochs" in result.stderr
    assert not (tmp_path / "x").exists()


def test_recipes_are_listed_and_printed() -> None:
    assert [line.split()[0] for line in succeed("recipes").splitlines()] == list(shipped_recipes())
    assert "[start]" in succeed("recipes", "demo")
    assert invoke("recipes", "dmeo").exit_code == 2


def test_a_printed_recipe_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(succeed("recipes", "demo"), encoding="utf-8")
    assert load_recipe(tmp_path / "demo.toml") == load_recipe("demo")


def test_schemes_are_listed() -> None:
    lines = {line.split()[0]: line.split() for line in succeed("schemes").splitlines() if line.strip()}
    assert {name: int(lines[name][1]) for name in ("aflw19", "cofw29", "ibug68", "wflw98")} == {
        "aflw19": 19,
        "cofw29": 29,
        "ibug68": 68,
        "wflw98": 98,
    }


def test_check_counts_faces(faces: Path) -> None:
    out = succeed("data", "check", faces)
    counts = {line.split()[0]: line.split()[-1] for line in out.splitlines() if line.strip()}
    assert (counts["helen/trainset"], counts["lfpw/testset"], counts["all"]) == ("10", "5", "15")


def test_check_lists_what_is_bad_with_status_1(faces: Path, tmp_path: Path) -> None:
    broken = tmp_path / "helen" / "trainset"
    broken.mkdir(parents=True)
    for path in sorted((faces / "helen/trainset").iterdir())[:6]:
        (broken / path.name).write_bytes(path.read_bytes())
    images = sorted(broken.glob("*.jpg"))
    images[0].write_bytes(b"")
    images[1].with_suffix(".pts").unlink()
    result = invoke("data", "check", tmp_path)
    assert result.exit_code == 1
    bad = [line for line in result.stdout.splitlines() if line.startswith("bad: ")]
    assert [images[0].name in bad[0], images[1].name in bad[1], len(bad)] == [True, True, 2]
    assert "1 usable face" in result.stdout


def test_synthesize_takes_a_fifth_for_testing_and_is_reproducible(faces: Path, tmp_path: Path) -> None:
    succeed("data", "synthesize", tmp_path / "a", "--count", "5", "--size", "64", "--workers", "1", "--noise", "0")
    dataset = open_dataset(tmp_path / "a")
    assert (len(dataset.select(split="test")), len(dataset.select(split="train"))) == (1, 4)
    assert dataset.truth is not None
    for sample in dataset.samples:
        np.testing.assert_allclose(sample.points, dataset.truth[sample.id], atol=0.02)
    succeed(
        "data",
        "synthesize",
        tmp_path / "b",
        "--count",
        "15",
        "--test-count",
        "5",
        "--size",
        "80",
        "--seed",
        "4",
        "--workers",
        "1",
    )
    assert {p.relative_to(faces): p.read_bytes() for p in faces.rglob("*.*")} == {
        p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*.*")
    }


def test_sheet_is_a_picture_of_faces(tmp_path: Path) -> None:
    succeed("data", "sheet", tmp_path / "plain.png", "--count", "2")
    succeed("data", "sheet", tmp_path / "marked.png", "--count", "2", "--points")
    plain, marked = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("plain", "marked"))
    assert plain.shape == marked.shape
    assert plain.std() > 10
    changed = (plain != marked).any(axis=2).mean()
    assert 0.001 < changed < 0.2


def test_the_whole_chain(faces: Path, tmp_path: Path) -> None:
    """Train, evaluate, search, align, list and export, each on what the one before wrote."""
    start, labels, aligned, exported = (tmp_path / name for name in ("start", "labels", "aligned", "exported"))
    settings = [word for setting in TINY for word in ("--set", setting)]
    model = start / "model.safetensors"
    assert succeed("train", "demo", "--data", faces, "--out", start, *settings) == f"model: {model}\n"

    shown = succeed("evaluate", model, "--data", faces, "--json", tmp_path / "errors.json")
    written = json.loads((tmp_path / "errors.json").read_text(encoding="utf-8"))
    error = written["subsets"]["all"]["nme_interocular"]
    assert f"{error:.3f}" in next(line for line in shown.splitlines() if line.startswith("nme_interocular "))
    assert "measured against the truth" in shown

    assert succeed("search", model, "--data", faces, "--out", labels).splitlines()[-1].split()[:4] == [
        "1",
        "1",
        "10",
        "68",
    ]
    assert [line.split()[0] for line in succeed("labels", "list", labels).splitlines()[2:]] == ["0", "1"]
    assert "labels, version 1" in succeed("evaluate", model, "--data", faces, "--labels", labels, "--split", "train")

    result = succeed("align", model, "--data", faces, "--out", aligned)
    assert result == f"model: {aligned / 'model.safetensors'}\n"

    compared = ("evaluate", aligned / "model.safetensors", "--data", faces, "--against", model)
    shown = succeed(*compared, "--json", tmp_path / "compared.json")
    against = json.loads((tmp_path / "compared.json").read_text(encoding="utf-8"))["against"]
    item = against["subsets"]["all"]["nme_interocular"]
    assert item["other"] == pytest.approx(error) and against["model"] == "model.safetensors"
    assert "95 % interval" in shown and f"{item['low']:+.3f} to {item['high']:+.3f}" in shown

    succeed("labels", "export", labels, exported, "--data", faces, "--version", "1")
    version = LabelStore(labels).read(1)
    np.testing.assert_allclose(read_pts((exported / version.ids[0]).with_suffix(".pts")), version.points[0], atol=1e-3)
    assert succeed("data", "check", exported)


def test_a_recipe_for_synthetic_faces_trains_without_data(tmp_path: Path) -> None:
    few = (*TINY, "synthesis.count=8", "synthesis.test_count=2", "synthesis.face.size=64")
    settings = [word for setting in few for word in ("--set", setting)]
    model = tmp_path / "out" / "model.safetensors"
    assert succeed("train", "demo", "--out", tmp_path / "out", *settings) == f"model: {model}\n"
    assert load_model(model).scheme.count == 68
    result = invoke("train", "300w-detector", "--out", tmp_path / "none")
    assert result.exit_code == 2 and "--data" in result.stderr


def test_a_shipped_model_goes_by_its_name_in_every_command(faces: Path, tmp_path: Path) -> None:
    succeed("evaluate", "default", "--data", faces, "--json", tmp_path / "errors.json")
    written = json.loads((tmp_path / "errors.json").read_text(encoding="utf-8"))
    assert written["model"] == f"{pretrained.DEFAULT}.safetensors"
    assert 0 < written["subsets"]["all"]["nme_interpupil"] < 100
    assert "1" in succeed("search", "default", "--data", faces, "--out", tmp_path / "labels")
    changed = tmp_path / "changed"
    succeed("search", "default", "--data", faces, "--out", changed, "--set", "search.method=average")
    said = LabelStore(changed).read().provenance
    assert (said["method"], said["beside"]) == ("average", "300w-detector.safetensors")  # which goes with `default`
    succeed("search", "default", "--data", faces, "--out", changed, "--beside", "none")
    assert "beside" not in LabelStore(changed).read(2).provenance
    assert f"{pretrained.DEFAULT} (default)" in succeed("models")
    assert succeed("models", "default").startswith(f"# {pretrained.DEFAULT}\n")
    result = invoke("evaluate", "defualt", "--data", faces)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    other = replace(pretrained.load("default"), scheme=replace(load_scheme("ibug68"), name="mine"))
    save_model(tmp_path / "other.safetensors", other)
    result = invoke("evaluate", "default", "--data", faces, "--against", tmp_path / "other.safetensors")
    assert result.exit_code == 2 and "only models of one scheme can be compared" in result.stderr


def test_listing_no_labels_says_what_to_give(tmp_path: Path) -> None:
    result = invoke("labels", "list", tmp_path)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr


def test_report_of_an_unfinished_run_says_what_to_do(tmp_path: Path) -> None:
    result = invoke("report", tmp_path)
    assert result.exit_code == 2
    assert "summary.json" in result.stderr
