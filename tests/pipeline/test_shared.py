"""Searches and evaluations shared out: what is lost and done again, and that N processes find what one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import invoke

from semalign.data.labels import LabelStore, LabelVersion
from semalign.parts import SIZE
from semalign.pipeline import evaluate_model, load_recipe, search, train

TINY = (
    "synthesis={count=140, test_count=40}",
    "synthesis.face.size=96",
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=1, batch_size=10}",
    "alignment={epochs=1, batch_size=10}",
    "search={likelihood_weight=5.0, guard=false}",
    "alternation={searches=1, adaptation_components=0, tta=2}",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, LabelVersion]:
    """A hardly trained model, its synthetic faces, and the labels that one process finds."""
    out = tmp_path_factory.mktemp("parts")
    model = train(load_recipe("demo", TINY), None, out / "start")
    return model, out / "start" / "data", search(model, out / "start" / "data", out / "one")


def alike(one: LabelVersion, other: LabelVersion) -> None:
    assert one.ids == other.ids and one.index == other.index
    for name in ("points", "prior_cost", "likelihood_cost", "confidence"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-3), name


def command(*arguments: object, processes: int = 1) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launch, "-m", "semalign", *map(str, arguments)]


def alone() -> dict[str, str]:
    """The environment of now, in which the tests' cache of crops stands, with a thread for each process."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def test_shards_of_a_search_are_put_together(world, tmp_path):
    model, data, one = world
    options = ["search", model, "--data", data, "--out", tmp_path]
    for shard, missing in (("1/3", "2 parts of other shards are missing"), ("3/3", "1 parts")):
        assert missing in invoke(*options, "--shard", shard).output
    assert not LabelStore(tmp_path).versions()  # the shards leave nothing but parts
    assert len(list((tmp_path / "search").rglob("*.npz"))) == 3
    invoke(*options)  # what shard 2 should have done is done now
    alike(one, LabelStore(tmp_path).read())
    assert not (tmp_path / "search").exists()


def test_a_shard_that_was_killed_is_done_by_others(world, tmp_path):
    model, data, one = world
    options = ("search", model, "--data", data, "--out", tmp_path)
    process = subprocess.Popen(command(*options, "--shard", "1/1"), env=alone())
    deadline = time.monotonic() + 240
    while not list((tmp_path / "search").rglob("000000.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list((tmp_path / "search").rglob("*.json")))
    assert 1 <= there < 4
    subprocess.run(command(*options, processes=2), check=True, env=alone(), timeout=400)
    alike(one, LabelStore(tmp_path).read())


def test_two_processes_search_before_they_train_as_one_does(world, tmp_path):
    model, data, _ = world
    for processes in (1, 2):
        options = ("align", model, "--data", data, "--out", tmp_path / str(processes))
        subprocess.run(command(*options, processes=processes), check=True, env=alone(), timeout=400)
    one, two = (LabelStore(tmp_path / name / "labels").read(1) for name in "12")
    alike(one, two)
    assert not (tmp_path / "2" / "search").exists()


def same_figures(one: dict, other: dict) -> None:
    assert one["data"] == other["data"]
    numbers = {name: value for name, value in one["subsets"]["all"].items() if isinstance(value, float)}
    assert numbers
    for name, value in numbers.items():
        assert other["subsets"]["all"][name] == pytest.approx(value, rel=1e-4, abs=1e-4, nan_ok=True)


def test_two_processes_and_shards_measure_what_one_does(world, tmp_path):
    model, data, _ = world
    one = evaluate_model(model, data, against="fast")
    options = ("evaluate", model, "--data", data, "--against", "fast")
    two = tmp_path / "two.json"
    subprocess.run(command(*options, "--json", two, processes=2), check=True, env=alone(), timeout=400)
    same_figures(one, json.loads(two.read_text()))
    parts = ("--parts", tmp_path / "parts")
    assert "2 parts of other shards are missing" in invoke(*options, *parts, "--shard", "2/2").output
    assert "all shards are done" in invoke(*options, *parts, "--shard", "1/2").output
    same_figures(one, evaluate_model(model, data, against="fast", parts=tmp_path / "parts"))
    assert "name the folder in which the shards meet" in invoke(*options, "--shard", "1/2").output


def test_pictures_that_cannot_be_read_are_left_out_by_shards_too(world, tmp_path):
    model, data, _ = world
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    for broken in sorted(copy.rglob("*.jpg"))[: SIZE + 3]:
        broken.write_bytes(broken.read_bytes()[:700])  # the head is whole
    one = evaluate_model(model, copy, split="all", keep_going=True)
    parts = evaluate_model(model, copy, split="all", keep_going=True, parts=tmp_path / "parts")
    same_figures(one, parts)
    assert len(parts["data"]["skipped"]) == SIZE + 3
