"""Whole runs with a very small network: what they leave, that they resume to the bit, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from semalign.core.kernel_adaptation import KernelAdaptation, fit_kernel_adaptation
from semalign.data.duplicates import independent_folds
from semalign.data.labels import LabelStore
from semalign.errors import SemalignError
from semalign.inference.heatmaps import predict
from semalign.models.checkpoint import load_model
from semalign.pipeline import Recipe, SilentProgress, load_recipe, run, train
from semalign.pipeline.held_out import train_detector
from semalign.pipeline.job import Job
from semalign.pipeline.prepare import cache_crops, split_faces
from semalign.training.settings import DistillationSettings

TINY = (
    "synthesis.count=14",
    "synthesis.test_count=4",
    "synthesis.face.size=96",
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=2, batch_size=5}",
    "alignment={epochs=3, batch_size=5, warmup=0.5}",
    "alternation.searches=2",
    "search={likelihood_weight=5.0, guard=false}",  # so that an untrained network moves labels
    "repeats=2",
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("demo", TINY)


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("run") / "whole"
    return out, run(recipe, None, out)


class Interrupting(SilentProgress):
    """Ctrl-C at a given step of a given stage."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.step = title, step

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Any]:
        count = 0

        def advance(done: int, note: str = "") -> None:
            nonlocal count
            count += done
            if title == self.title and count >= self.step:
                raise KeyboardInterrupt

        yield advance


def test_a_run_leaves_what_the_docs_say(finished, recipe):
    out, summary = finished
    there = {path.name for path in out.iterdir()}
    assert there >= {
        "recipe.toml", "origin.json", "start", "baseline", "baseline-2", "aligned", "aligned-2", "labels", "labels-2",
        "predictions", "figures.npz", "summary.json", "report.html", "data",
    }  # fmt: skip
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert load_recipe(out / "recipe.toml").start == recipe.start
    for key in ("label_error", "label_error_strong", "label_error_contour"):
        figures = summary[key]
        assert len(figures["by_iteration"]) == 3
        assert (figures["before"], figures["after"]) == (figures["by_iteration"][0], figures["by_iteration"][-1])
    assert set(summary["detector_nme"]) == {"start", "baseline", "aligned", "normalisation"}
    assert {"data", "start", "aligned", "baseline", "evaluation"} == set(summary["seconds"])
    assert summary["seed"] == 0 and summary["versions"]["torch"] == torch.__version__ and summary["hardware"]


def test_label_errors_are_those_of_the_label_files(finished):
    out, summary = finished
    from semalign.data import open_dataset

    dataset = open_dataset(out / "data").select(split="train")
    truth = np.stack([dataset.truth[name] for name in dataset.ids()])
    unit = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=1)
    store = LabelStore(out / "labels")
    for index, expected in zip(store.versions(), summary["label_error"]["by_iteration"], strict=True):
        distance = np.linalg.norm(store.read(index).points - truth, axis=2)
        assert 100 * (distance / unit[:, None]).mean() == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(store.read(0).points, dataset.points())
    assert not np.array_equal(store.read(1).points, store.read(0).points)


def test_repeats_have_a_mean_and_a_spread(finished):
    _, summary = finished
    figures = summary["repeats"]["aligned"]["nme_interocular"]
    assert len(figures["values"]) == 2 and figures["values"][0] != figures["values"][1]
    assert figures["mean"] == pytest.approx(np.mean(figures["values"]))
    assert figures["sd"] == pytest.approx(np.std(figures["values"], ddof=1))
    assert figures["values"][0] == pytest.approx(summary["detector_nme"]["aligned"])


@pytest.mark.parametrize(
    ("stage", "step"),
    [("synthetic faces", 5), ("crops of the training faces", 3), ("start", 3), ("aligned", 4), ("baseline", 5)],
)
def test_a_run_interrupted_anywhere_resumes_to_the_same_bits(finished, recipe, tmp_path, monkeypatch, stage, step):
    whole, _ = finished
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, None, tmp_path / "cut", progress=Interrupting(stage, step))
    assert not (tmp_path / "cut" / "summary.json").exists()
    run(recipe, None, tmp_path / "cut", resume=True)
    for name in ("start", "aligned", "baseline", "aligned-2", "baseline-2"):
        expected, seen = (load_file(folder / name / "model.safetensors") for folder in (whole, tmp_path / "cut"))
        assert all(torch.equal(expected[key], seen[key]) for key in expected), name
    for index in LabelStore(whole / "labels").versions():
        pair = [LabelStore(folder / "labels").read(index).points for folder in (whole, tmp_path / "cut")]
        assert np.array_equal(*pair)


def test_a_recipe_may_ask_for_a_kernel_label_adaptation(finished, tmp_path):
    model = load_model(
        train(load_recipe("demo", [*TINY, "label_adaptation.kind='kernel'"]), finished[0] / "data", tmp_path / "x")
    )
    start = load_model(finished[0] / "start" / "model.safetensors")
    assert isinstance(model.adaptation, KernelAdaptation) and len(model.adaptation.faces) == 10  # of the training faces
    assert all(torch.equal(v, start.network.state_dict()[k]) for k, v in model.network.state_dict().items())


FINISHED = (*TINY, "finish={epochs=2, learning_rate=1e-4, augmentation=0.1}")


def test_detectors_finish_and_a_run_does_not_start_from_finished_ones(finished, tmp_path):
    whole, data = finished[0], finished[0] / "data"
    start = load_model(whole / "start" / "model.safetensors").network.state_dict()
    model = load_model(train(load_recipe("demo", FINISHED), data, tmp_path / "x")).network.state_dict()
    assert any(not torch.equal(value, model[key]) for key, value in start.items())
    log = [json.loads(line) for line in (tmp_path / "x" / "finish" / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2] and log[-1]["learning_rate"] < 1e-4
    run(load_recipe("demo", [*FINISHED, "repeats=1"]), data, tmp_path / "run")
    same = {name: _same(whole / name, tmp_path / "run" / name) for name in ("start", "baseline", "aligned")}
    assert same == {"start": True, "baseline": False, "aligned": False}


def test_a_label_adaptation_may_be_learned_from_networks_that_have_not_seen_the_faces(finished, tmp_path):
    data, alone = finished[0] / "data", load_recipe("demo", [*FINISHED, "label_adaptation.components=[]"])
    asked = load_recipe("demo", [*FINISHED, "label_adaptation={kind='kernel', held_out=3}"])
    model = load_model(train(asked, data, tmp_path / "x"))
    train(alone, data, tmp_path / "own")
    assert _same(tmp_path / "x", tmp_path / "own")
    dataset, _, _ = split_faces(asked, data, False)
    size = asked.network.input_size
    faces = cache_crops(dataset, asked.crop, size, False, SilentProgress(), "crops")
    nobody, folds = faces.take(np.arange(0)), independent_folds(dataset, 3, asked.seed)
    predicted = np.empty((len(dataset), 68, 2))
    for index in range(3):  # each network is what the other faces alone make of it
        job = Job(alone, faces.take(np.flatnonzero(folds != index)), nobody, SilentProgress(), {})
        network = train_detector(job, tmp_path / f"alone-{index}").network
        assert _same(tmp_path / f"alone-{index}", tmp_path / "x" / f"held-out-{index + 1}")
        rows = np.flatnonzero(folds == index)
        predicted[rows] = predict(network, faces.crops.take(rows), model.sigma, model.scheme).points
    expected = fit_kernel_adaptation(predicted, dataset.points())
    assert np.allclose(model.adaptation.corrected(predicted), expected.corrected(predicted), atol=1e-9)
    many = load_recipe("demo", [*TINY, "label_adaptation.held_out=11"])
    with pytest.raises(SemalignError, match="held_out: 10 training faces do not make 11 independent folds; choose few"):
        train(many, data, tmp_path / "many")
    assert not (tmp_path / "many" / "log.jsonl").exists()  # said before anything is trained


@pytest.mark.parametrize("stage", ["start, finish", "without fold 2 of 2: start", "without fold 2 of 2: start, finish"])
def test_a_training_interrupted_after_its_start_resumes_to_the_same_bits(finished, tmp_path, stage):
    asked = load_recipe("demo", [*FINISHED, "label_adaptation.held_out=2"])
    whole = train(asked, finished[0] / "data", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(asked, finished[0] / "data", tmp_path / "cut", progress=Interrupting(stage, 2))
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    seen = load_file(train(asked, finished[0] / "data", tmp_path / "cut", resume=True))
    assert all(torch.equal(value, seen[key]) for key, value in load_file(whole).items())


def _same(one: Path, other: Path) -> bool:
    """Whether two stages' networks are the same to the bit."""
    a, b = (load_model(folder / "model.safetensors").network.state_dict() for folder in (one, other))
    return all(torch.equal(value, b[key]) for key, value in a.items())


def test_training_goes_on_from_a_model(finished, tmp_path):
    start = finished[0] / "start" / "model.safetensors"
    recipe = load_recipe("demo", [*TINY, "start.epochs=0", "network.width=16", "seed=5"])
    model = load_model(train(recipe, finished[0] / "data", tmp_path / "on", trained=start))
    before = load_model(start)
    assert model.network.settings == before.network.settings and model.sigma == before.sigma
    assert all(
        torch.equal(value, model.network.state_dict()[key]) for key, value in before.network.state_dict().items()
    )
    assert model.about["from"] == "model.safetensors" and "from" not in before.about
    smooth = load_recipe("demo", [*TINY, "start.epochs=0", "network.resampling='smooth'"])
    model = load_model(train(smooth, finished[0] / "data", tmp_path / "smooth", trained=start))
    assert model.network.settings == replace(before.network.settings, resampling="smooth")
    assert all(torch.equal(v, model.network.state_dict()[k]) for k, v in before.network.state_dict().items())
    again = load_model(
        train(recipe, finished[0] / "data", tmp_path / "again", trained=tmp_path / "smooth" / "model.safetensors")
    )
    assert again.network.settings.resampling == "smooth"  # a network that learnt to see smoothly stays so
    further = load_model(train(load_recipe("demo", TINY), finished[0] / "data", tmp_path / "more", trained=start))
    assert any(not torch.equal(v, further.network.state_dict()[k]) for k, v in before.network.state_dict().items())


def test_a_training_may_have_teachers(finished, tmp_path):
    data, teachers = finished[0] / "data", [finished[0] / name / "model.safetensors" for name in ("start", "baseline")]
    asked = load_recipe("demo", TINY)

    def weights(name, *teachers, **changes):
        file = train(replace(asked, **changes), data, tmp_path / name, teachers=teachers)
        return load_file(file), load_model(file).about

    alone, about = weights("alone")
    taught, taught_about = weights("taught", *teachers)
    unheard, _ = weights("unheard", *teachers, distillation=DistillationSettings(share=0.0))
    assert "teachers" not in about and taught_about["teachers"] == ["model.safetensors"] * 2
    assert all(torch.equal(alone[key], unheard[key]) for key in alone)
    assert any(not torch.equal(alone[key], taught[key]) for key in alone)
    with pytest.raises(KeyboardInterrupt):
        train(asked, data, tmp_path / "cut", teachers=teachers, progress=Interrupting("start", 3))
    with pytest.raises(SemalignError, match="different choice of teacher 1 and teacher 2"):
        train(asked, data, tmp_path / "cut", teachers=teachers[::-1], resume=True)
    resumed = load_file(train(asked, data, tmp_path / "cut", teachers=teachers, resume=True))
    assert all(torch.equal(taught[key], resumed[key]) for key in taught)


def test_teachers_that_do_not_fit_are_refused_before_anything_is_written(finished, tmp_path):
    teacher = finished[0] / "start" / "model.safetensors"
    changes = {
        "set it to 0": "label_adaptation.held_out=2",
        "heatmap.sigma=12, the recipe has 6": "heatmap.sigma=6.0",
        "crop.scale=1.25, the recipe has 1.5": "crop.scale=1.5",
        "for the landmark scheme 'aflw19', the model for 'ibug68'": "data.scheme=aflw19",
    }
    for sentence, change in changes.items():
        with pytest.raises(SemalignError, match=sentence):
            train(load_recipe("demo", [*TINY, change]), finished[0] / "data", tmp_path / "x", teachers=[teacher])
    with pytest.raises(SemalignError, match="no such model file"):
        train(load_recipe("demo", TINY), finished[0] / "data", tmp_path / "x", teachers=[tmp_path / "no.safetensors"])
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_two_processes_run_what_one_does(tmp_path):
    """The command itself, started twice over by PyTorch's launcher: one writes, and the result differs by rounding only."""
    changes = [*TINY, "start.batch_size=4", "alignment.batch_size=4", "repeats=1"]
    command = ["semalign", "run", "demo", *(part for change in changes for part in ("--set", change))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    for name, prefix in (("one", []), ("two", launch)):
        line = [sys.executable, "-m", *prefix, *command, "--out", str(tmp_path / name)]
        subprocess.run(line, check=True, env=environment, timeout=300, capture_output=True)
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two"))
    assert one["label_error"]["by_iteration"] == pytest.approx(two["label_error"]["by_iteration"], rel=1e-2)
    labels = [LabelStore(tmp_path / name / "labels").read() for name in ("one", "two")]
    assert labels[0].ids == labels[1].ids and labels[0].iteration == labels[1].iteration
    for name in ("start", "aligned", "baseline"):
        expected, seen = (load_file(tmp_path / folder / name / "model.safetensors") for folder in ("one", "two"))
        for key, value in expected.items():
            assert torch.allclose(value.float(), seen[key].float(), rtol=2e-2, atol=2e-3), (name, key)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


def test_a_finished_run_is_only_read(finished, recipe):
    out, summary = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run(recipe, None, out, resume=True) == json.loads(json.dumps(summary))
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_folders_that_hold_something_else_are_refused(finished, recipe, tmp_path):
    out, _ = finished
    with pytest.raises(SemalignError, match="--resume"):
        run(recipe, None, out)
    with pytest.raises(SemalignError, match="other settings"):
        run(load_recipe("demo", [*TINY, "start.epochs=9"]), None, out, resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SemalignError, match="is not empty"):
        run(recipe, None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_is_only_resumed_with_what_began_it(finished, tmp_path):
    data, start = finished[0] / "data", finished[0] / "start" / "model.safetensors"
    other = finished[0] / "baseline" / "model.safetensors"
    recipe, out = load_recipe("demo", [*TINY, "start.epochs=0"]), tmp_path / "out"
    train(recipe, data, out, trained=start)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    shutil.copytree(data, tmp_path / "moved")
    train(recipe, tmp_path / "moved", out, trained=shutil.copy(start, tmp_path / "same.safetensors"), resume=True)
    for given in (other, None):
        with pytest.raises(SemalignError, match="begun with a different choice of model to start from"):
            train(recipe, data, out, trained=given, resume=True)
    changed = next((tmp_path / "moved" / "helen").rglob("*.pts"))
    annotations = changed.read_text().splitlines()
    annotations[3] = "1.5 2.5"
    changed.write_text("\n".join(annotations))
    with pytest.raises(SemalignError, match="different choice of training faces"):
        train(recipe, tmp_path / "moved", out, trained=start, resume=True)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert after == before
    (out / "origin.json").write_text("{")
    with pytest.raises(SemalignError, match=r"origin\.json: cannot be read"):
        train(recipe, data, out, trained=start, resume=True)
    (out / "origin.json").unlink()
    train(recipe, data, out, trained=start, resume=True)
    assert (out / "origin.json").is_file()


def test_a_recipe_without_data_says_what_to_do(tmp_path):
    with pytest.raises(SemalignError, match="--data"):
        run(load_recipe("300w-compact"), None, tmp_path / "x")
