"""Faces some of whose points nobody annotated, through a whole run: never invented, never trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoke

from semalign.data import open_dataset, write_pts
from semalign.data.labels import LabelStore
from semalign.data.samples import ABSENT, UNKNOWN
from semalign.pipeline import load_recipe, run
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

TINY = (
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=2, batch_size=5}",
    "alignment={epochs=2, batch_size=5, warmup=0.5}",
    "alternation.searches=2",
    "search={likelihood_weight=5.0, guard=false}",
    "data.holdout=0.3",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve faces in one folder; of three of them some points are absent, by `nan nan` or by `0 0`."""
    root = tmp_path_factory.mktemp("absent")
    settings = SynthesisSettings(count=12, test_count=0, seed=2, face=FaceSettings(size=96))
    made = open_dataset(write_dataset(root / "made", settings))
    own = root / "own"
    own.mkdir()
    for number, sample in enumerate(made.samples):
        points = sample.points.copy()
        if number in (1, 4):
            points[3 : 5 + number] = np.nan
        if number == 7:
            points[36:48] = -1.0  # the file says 0 0: no eyes, so no pupils and no corners
        shutil.copy(sample.image, own / f"{number}.png")
        write_pts(own / f"{number}.pts", points, absent=True)
    return own


@pytest.fixture(scope="module")
def finished(folder: Path) -> tuple[Path, dict[str, Any]]:
    out = folder.parent / "run"
    return out, run(load_recipe("demo", TINY), folder, out)


def test_the_check_counts_and_names_them(folder):
    result = invoke("data", "check", folder)
    assert result.exit_code == 0
    assert "note: 21 of 816 points are absent: they are neither searched nor trained on." in result.stdout
    for name, kind in (("1", "3 of 68 points are nan nan"), ("7", "12 of 68 points are 0 0")):
        assert f"suspicious: {folder / name}.pts: {kind}, as if not annotated, and taken as absent" in result.stdout


def test_every_label_version_has_the_points_that_people_marked_and_no_other(folder, finished):
    out, summary = finished
    store, annotated = LabelStore(out / "labels"), open_dataset(folder)
    known = dict(zip(annotated.ids(), annotated.points(), strict=True))
    assert len(store.versions()) == 3
    gone = 0
    for index in store.versions():
        version = store.read(index)
        for name, points, visibility in zip(version.ids, version.points, version.visibility, strict=True):
            absent = np.isnan(known[name]).any(axis=1)
            assert np.array_equal(np.isnan(points).all(axis=1), absent)
            assert np.array_equal(visibility, np.where(absent, ABSENT, UNKNOWN))
            gone += int(absent.sum())
    assert gone >= 3
    assert np.isfinite(summary["label_movement"][0]["mean"]) and (out / "report.html").is_file()
    figures = summary["detector"]["aligned"]["subsets"]["all"]
    assert figures["landmarks"] <= 68 * figures["count"] and np.isfinite(figures["nme_box"])


def test_a_model_is_measured_on_the_points_that_there_are(folder, finished, tmp_path):
    model = finished[0] / "aligned" / "model.safetensors"
    result = invoke("evaluate", model, "--data", folder, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())["subsets"]["all"]
    assert figures["landmarks"] == 12 * 68 - 21
    assert figures["undefined"] == {"interpupil": 1, "interocular": 1, "box": 0}  # one face has no eyes
    assert "landmarks" in result.stdout


def test_an_export_says_what_is_absent_and_is_read_back(folder, finished, tmp_path):
    out, _ = finished
    result = invoke("labels", "export", out / "labels", tmp_path / "set", "--data", folder)
    assert result.exit_code == 0, result.output
    before, after = open_dataset(folder), open_dataset(tmp_path / "set")
    assert after.ids() == before.ids()
    assert np.array_equal(np.isnan(after.points()), np.isnan(before.points()))
    assert "nan nan" in (tmp_path / "set" / "7.pts").read_text()
