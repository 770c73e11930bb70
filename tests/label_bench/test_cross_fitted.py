"""Real faces judged by the networks of a cross-fitting: each by those that have not seen it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from semalign.data import open_dataset
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_model
from semalign.pipeline import crossfit, load_recipe
from semalign.pipeline.witnesses import CrossFitted
from semalign.searches import NetworkEvidence
from semalign.searches.evidence import APART

TINY = (
    "synthesis={count=24, test_count=4}",
    "synthesis.face.size=96",
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=1, batch_size=10}",
    "search={method='average'}",
    "alternation={adaptation_components=0, tta=1}",
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crossfit") / "networks of mine"
    crossfit(load_recipe("demo", TINY), None, out, folds=3)
    return out


def test_each_face_is_judged_by_the_networks_that_have_not_seen_it(fitted, tmp_path):
    builder, faces = CrossFitted(fitted), open_dataset(fitted / "data")
    found = builder(faces, faces)
    assert len(found) == 24 and len(found.members) == 2 and "networks of mine" in builder.name
    folds = json.loads((fitted / "folds.json").read_text())
    assert len(folds) == 20 and set(folds.values()) == {0, 1, 2}
    first = next(row for row, name in enumerate(faces.ids()) if folds.get(name, 0) == 0)
    crops = found.parts[0].parts[0].crops.take(np.array([first]))
    unseen = [load_model(fitted / "networks" / str(number) / "model.safetensors") for number in (1, 3)]
    assert [model.about["without"] for model in unseen] == ["folds 1 and 2 of 3", "folds 3 and 1 of 3"]
    said = np.mean([NetworkEvidence(m.network, crops, m.sigma, m.scheme).predictions.points[0] for m in unseen], axis=0)
    assert np.allclose(said, found.predictions.points[first], atol=1e-3)
    (note,) = builder.notes(faces)
    assert "20 of these 24 faces" in note and "4 are in no fold" in note


def test_networks_of_another_kind_are_heard_in_place_of_the_mesh(fitted, tmp_path):
    copy = tmp_path / "both"
    shutil.copytree(fitted, copy)
    shutil.copytree(fitted / "networks", copy / "beside" / "networks")
    for name, new in (("1", "2"), ("2", "3"), ("3", "1")):  # not the same networks again
        shutil.copy(fitted / "networks" / name / "model.safetensors", copy / "beside" / "networks" / new)
    shutil.copy(fitted / "recipe.toml", copy / "beside")
    faces = open_dataset(fitted / "data")
    found = CrossFitted(copy)(faces, faces)
    own = found.members[0].points
    other = found.members[1].points
    assert np.allclose(found.predictions.points, (own + other) / 2) and np.abs(own - other).max() > 0.1
    assert found.correlation == APART


def test_a_folder_without_a_cross_fitting_is_refused(tmp_path):
    with pytest.raises(SemalignError, match="crossfit"):
        CrossFitted(tmp_path)
