"""Labels from networks that have not seen the faces: which network judges which face, resuming, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import invoke

from semalign.data import open_dataset
from semalign.data.labels import LabelStore, LabelVersion
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_model
from semalign.pipeline import Recipe, SilentProgress, crossfit, load_recipe, search
from semalign.searches import make_search
from semalign.searches.calibrated import LEAST_FACES, CalibratedSettings

TINY = (
    "synthesis={count=60, test_count=0}",
    "synthesis.face.size=96",
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=2, batch_size=10}",
    "search={method='calibrated'}",
    "alternation={adaptation_components=0, tta=1}",
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("demo", TINY)


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabelVersion]:
    out = tmp_path_factory.mktemp("crossfit") / "whole"
    return out, crossfit(recipe, None, out, folds=3)


def test_no_annotation_is_judged_by_a_network_that_has_seen_it(finished):
    out, _ = finished
    seen = []
    for index in range(3):
        about = load_model(out / "networks" / f"{index + 1}" / "model.safetensors").about
        seen.append(about["without"])
    assert seen == ["folds 1 and 2 of 3", "folds 2 and 3 of 3", "folds 3 and 1 of 3"]


def test_labels_are_finite_say_how_sure_they_are_and_where_they_come_from(finished):
    out, version = finished
    assert version.index == 1 and LabelStore(out / "labels").versions() == (0, 1)
    assert np.isfinite(version.points).all() and (version.spread > 0).all()
    assert version.provenance["source"] == "crossfit" and version.provenance["folds"] == 3
    assert version.provenance["method"] == "calibrated"
    annotations = open_dataset(out / "data").select(split="train").points()
    assert np.array_equal(LabelStore(out / "labels").read(0).points, annotations)


def test_a_crossfit_continues_where_it_was_stopped(finished, recipe, tmp_path, monkeypatch):
    whole, version = finished

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("semalign.pipeline.cross_fitting.search_out_of_fold", stopped)
        crossfit(recipe, None, tmp_path / "cut", folds=3)
    (tmp_path / "cut" / "networks" / "3" / "model.safetensors").unlink()
    again = crossfit(recipe, None, tmp_path / "cut", folds=3, resume=True)
    assert np.array_equal(again.points, version.points)
    assert (whole / "networks" / "3" / "model.safetensors").is_file()


def test_the_command_weighs_with_the_face_mesh_unless_told_otherwise(finished, tmp_path):
    out, version = finished
    settings = [part for name in TINY[2:5] for part in ("--set", name)]
    command = ("crossfit", "demo", "--data", out / "data", *settings, "--json")
    result = invoke(*command, "--out", tmp_path / "x", "--folds", 8)
    assert result.exit_code == 0, result.output
    found = LabelStore(tmp_path / "x" / "labels").read()
    assert found.provenance["method"] == "calibrated" and np.isfinite(found.points).all()
    assert found.provenance["mesh"] == 1 and json.loads(result.stdout)[0]["version"] == 1
    result = invoke(*command, "--out", tmp_path / "y", "--folds", 3, "--no-mesh", "--method", "average")
    assert result.exit_code == 0, result.output
    plain = LabelStore(tmp_path / "y" / "labels").read()
    assert plain.provenance["method"] == "average" and plain.provenance["mesh"] == 0
    assert not np.allclose(plain.points, version.points)


def test_what_cannot_work_is_refused_in_a_sentence(recipe, finished, tmp_path):
    out, _ = finished
    result = invoke(
        "search", out / "networks" / "1" / "model.safetensors", "--data", out / "data", "--out", tmp_path / "y"
    )
    assert result.exit_code == 2 or result.exit_code == 1
    assert "weighs two witnesses that have not seen the faces" in result.output
    assert LEAST_FACES > 10 and make_search(recipe.search) is not None


class Said(SilentProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


MESH = (*TINY, "synthesis.count=80", "alternation.mesh=true", "search={method='average'}")


def test_with_the_face_mesh_as_second_witness_each_network_leaves_out_one_fold(tmp_path):
    version = crossfit(load_recipe("demo", MESH), None, tmp_path, folds=3)
    seen = [
        load_model(tmp_path / "networks" / f"{index + 1}" / "model.safetensors").about["without"] for index in range(3)
    ]
    assert seen == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert version.provenance["mesh"] == 1 and np.isfinite(version.points).all()


def test_a_network_of_another_kind_judges_beside_the_first(tmp_path):
    other = ("network={kind='mobile', input_size=64, width=8, growth=1.5, scales=2, blocks=1, decoder=16}", "seed=7")
    settings = (*TINY, "search={method='average'}", "alternation.adaptation_components=-1")
    beside = load_recipe("demo", (*TINY[3:5], TINY[6], *other, "crop.scale=1.5"))
    out = tmp_path / "x"
    version = crossfit(load_recipe("demo", settings), None, out, folds=2, beside=beside)
    for folder in (out, out / "beside"):
        models = [load_model(folder / "networks" / f"{index + 1}" / "model.safetensors") for index in range(2)]
        assert [model.about["without"] for model in models] == ["fold 1 of 2", "fold 2 of 2"]
        assert [model.about["seed"] for model in models] == [0, 0] and models[0].mesh is None
    assert models[0].crop.scale == 1.5 and models[0].network.settings == beside.network
    assert version.provenance["mesh"] == 0 and version.provenance["beside"] == "demo"
    again = crossfit(load_recipe("demo", settings), None, out, folds=2, beside=beside, resume=True)
    assert np.array_equal(again.points, version.points)
    with pytest.raises(SemalignError, match="holds a run of other settings"):
        crossfit(load_recipe("demo", settings), None, out, folds=2, beside=load_recipe("demo"), resume=True)

    # the two networks of a fold, asked again, say of its faces what the crossfit heard
    fold = json.loads((out / "folds.json").read_text())
    rows = [row for row, name in enumerate(version.ids) if fold[name] == 0]
    first, second = (folder / "networks" / "1" / "model.safetensors" for folder in (out, out / "beside"))
    recipe = load_recipe("demo", settings)
    both = search(first, out / "data", tmp_path / "both", recipe=recipe, beside=second)
    assert both.provenance["beside"] == "model.safetensors"
    assert np.median(np.abs(both.points - version.points)[rows]) < 0.05  # a search may compute in bf16
    alone = search(first, out / "data", tmp_path / "alone", recipe=recipe)
    assert np.median(np.abs(alone.points - version.points)[rows]) > 0.5


def test_too_few_faces_for_the_mesh_are_said_and_the_networks_alone_are_heard(tmp_path):
    said = Said()
    recipe = load_recipe("demo", (*MESH, "synthesis.count=60"))
    recipe = replace(recipe, search=CalibratedSettings())
    version = crossfit(recipe, None, tmp_path, folds=3, progress=said)
    assert load_model(tmp_path / "networks" / "1" / "model.safetensors").about["without"] == "folds 1 and 2 of 3"
    assert any("The face mesh is left out" in line and "50" in line for line in said.lines)
    assert np.isfinite(version.points).all()


def test_a_model_that_does_not_know_the_mesh_learns_it_from_the_faces_that_are_searched(finished, tmp_path):
    out, _ = finished
    model, recipe = out / "networks" / "1" / "model.safetensors", load_recipe("demo", (*TINY, "alternation.mesh=true"))
    assert load_model(model).mesh is None
    said = Said()
    version = search(model, out / "data", tmp_path / "all", recipe=recipe, progress=said)
    assert said.lines == [] and version.provenance["mesh"] == 1 and (version.spread > 0).all()
    again = search(model, out / "data", tmp_path / "all", recipe=recipe)
    assert np.array_equal(again.points, version.points)  # it looks at annotations alone
    (tmp_path / "few").mkdir()
    for image in sorted((out / "data").rglob("*.jpg"))[:12]:
        for file in (image, image.with_suffix(".pts")):
            (tmp_path / "few" / file.name).write_bytes(file.read_bytes())
    few = search(model, tmp_path / "few", tmp_path / "labels", recipe=recipe, progress=said)
    assert "The face mesh is left out" in said.lines[0] and np.isfinite(few.points).all()


@pytest.mark.parametrize(
    ("changes", "folds", "left_out"), [((), 2, "two"), (("synthesis.count=120", MESH[-2]), 1, "one")]
)
def test_fewer_folds_than_networks_leave_out_are_refused(tmp_path, changes, folds, left_out):
    words = "leaves out one at least; choose 2 or more" if left_out == "one" else "leaves 2 out; choose 3 or more"
    with pytest.raises(SemalignError, match=f"{folds} folds are too few, as each network {words}"):
        crossfit(load_recipe("demo", (*TINY, *changes)), None, tmp_path, folds=folds)
