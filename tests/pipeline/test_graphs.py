"""Shipped networks heard by ONNX Runtime: what PyTorch finds, to rounding, and PyTorch wherever there is no such graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.core.search import SearchSettings
from semalign.data import open_dataset
from semalign.data.crops import CropCache, build_crops
from semalign.data.samples import Dataset
from semalign.inference.heatmaps import predict
from semalign.inference.landmarks import Landmarks
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.pipeline import commands, load_recipe, search
from semalign.pipeline.graphs import PointGraph, graph_of
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Drawn faces."""
    settings = SynthesisSettings(count=11, test_count=1, seed=5, face=FaceSettings(size=160))
    return open_dataset(write_dataset(tmp_path_factory.mktemp("graphs") / "data", settings))


def crops_for(model: Model, faces: Dataset) -> CropCache:
    return build_crops(faces.samples[:11], model.crop, model.input_size)


def by_pytorch(model: Model, crops: CropCache, tta: int) -> Landmarks:
    return predict(model.network, crops, model.sigma, model.scheme, tta=tta)


@pytest.mark.parametrize(("name", "tta"), [("fast", 1), ("fast", 2), ("default", 2), ("synthetic-demo", 1)])
def test_points_and_how_sure_they_are_are_pytorchs(name: str, tta: int, faces: Dataset) -> None:
    model = pretrained.load(name)
    graph, crops = graph_of(name, model, tta), crops_for(model, faces)
    assert graph is not None
    found, wanted = graph(crops), by_pytorch(model, crops, tta)
    assert found.spread is not None and wanted.spread is not None
    np.testing.assert_allclose(found.points, wanted.points, atol=0.03)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=0.005)
    np.testing.assert_allclose(found.spread, wanted.spread, rtol=0.02)


def test_some_rows_are_those_of_all(faces: Dataset) -> None:
    model = pretrained.load("fast")
    graph, crops, done = graph_of("fast", model, 2), crops_for(model, faces), []
    assert graph is not None
    whole, some = graph(crops, advance=done.append), graph(crops, np.array([9, 2]))
    assert sum(done) == len(crops)
    np.testing.assert_allclose(some.points, whole.points[[9, 2]], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "tta", "why"),
    [("300w-detector", 2, "int8 gives other points"), ("synthetic-demo", 2, "heatmaps' mean is no mean of points")],
)
def test_there_is_none_where_points_would_be_others(name: str, tta: int, why: str) -> None:
    assert graph_of(name, pretrained.load(name), tta) is None, why


def test_a_model_of_ones_own_is_pytorchs() -> None:
    path = pretrained.resolve("fast")
    model = pretrained.load(path)
    assert graph_of(path, model, 1) is None
    assert graph_of(model, model, 1) is None


def test_a_search_hears_the_graph_but_where_it_needs_heatmaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: Dataset
) -> None:
    called = []

    def counted(self: PointGraph, *arguments: object, **named: object) -> Landmarks:
        called.append(1)
        return look(self, *arguments, **named)  # type: ignore[arg-type]

    look = PointGraph.__call__
    monkeypatch.setattr(PointGraph, "__call__", counted)
    recipe = load_recipe("demo", ("search={method='average'}", "alternation.tta=1"))
    found = search("synthetic-demo", faces.root, tmp_path / "graph", recipe=recipe).points
    assert called
    paper = replace(recipe, search=SearchSettings())
    called.clear()
    search("synthetic-demo", faces.root, tmp_path / "paper", recipe=paper)
    assert not called
    monkeypatch.setattr(commands, "graph_of", lambda *_: None)
    np.testing.assert_allclose(
        found, search("synthetic-demo", faces.root, tmp_path / "pytorch", recipe=recipe).points, atol=0.02
    )
