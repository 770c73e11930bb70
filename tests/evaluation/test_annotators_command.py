"""benchmarks/annotators.py from a made-up run to its table and file."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import LabelStore, open_dataset, write_pts
from semalign.evaluation.annotators import SHARED

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks/annotators.py"
FACES = 12


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 180, (FACES, 68, 2))


@pytest.fixture
def data(tmp_path: Path, truth: np.ndarray) -> Path:
    """Annotations 3 px (in x and y) from the truth."""
    folder = tmp_path / "300w/lfpw/trainset"
    folder.mkdir(parents=True)
    noise = 3.0 * np.random.default_rng(1).normal(size=truth.shape)
    for face, points in enumerate(truth + noise):
        cv2.imwrite(str(folder / f"image_{face}.png"), np.zeros((200, 200, 3), np.uint8))
        write_pts(folder / f"image_{face}.pts", points)
    return tmp_path / "300w"


@pytest.fixture
def annotators(tmp_path: Path, truth: np.ndarray) -> Path:
    """Two workers who mark the truth."""
    path = tmp_path / "annotators.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "annotator", *(f"{axis}{point}" for point in range(29) for axis in "xy")])
        for face, points in enumerate(truth):
            marks = np.zeros((29, 2))
            marks[list(SHARED)] = points[list(SHARED.values())]
            for worker in range(2):
                writer.writerow([f"lfpw/trainset/image_{face}.png", worker, *marks.ravel()])
    return path


@pytest.fixture
def run(tmp_path: Path, data: Path, truth: np.ndarray) -> Path:
    """Labels half-way from the annotations to the truth, predictions that mirror the annotations' errors."""
    dataset = open_dataset(data)
    exact = truth[[int(name.rpartition("_")[2].removesuffix(".png")) for name in dataset.ids()]]
    labels = LabelStore(tmp_path / "run/labels")
    labels.start(dataset)
    labels.append(dataset.ids(), (dataset.points() + exact) / 2, iteration=1)
    predictions = LabelStore(tmp_path / "run/predictions")
    predictions.append(dataset.ids(), 2 * exact - dataset.points(), iteration=0, provenance={"source": "baseline"})
    return tmp_path / "run"


def call(results: Path, **options: Path) -> subprocess.CompletedProcess[str]:
    line = [
        sys.executable,
        str(COMMAND),
        *(text for key, value in options.items() for text in (f"--{key}", str(value))),
    ]
    environment = os.environ | {"BENCHMARK_RESULTS": str(results)}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)


def test_every_label_set_of_a_run_is_measured(data: Path, annotators: Path, run: Path, tmp_path: Path) -> None:
    result = call(tmp_path / "results", data=data, annotators=annotators, run=run)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "results").glob("annotators_*.csv")
    with path.open() as stream:
        rows = {row["labels"]: row for row in csv.DictReader(stream)}
    residual = {name: float(row["all"]) for name, row in rows.items()}
    assert list(rows) == [
        "300W annotations",
        "one worker against the others",
        "labels, version 0 (annotations)",
        "labels, version 1",
        "network (baseline)",
        "network (baseline) and annotations, averaged",
    ]
    annotated = residual["300W annotations"]
    assert annotated > 1.0
    assert residual["one worker against the others"] == 0.0
    assert residual["labels, version 0 (annotations)"] == annotated
    assert residual["labels, version 1"] == pytest.approx(annotated / 2, abs=1e-3)
    assert residual["network (baseline)"] == pytest.approx(annotated, abs=1e-3)
    assert residual["network (baseline) and annotations, averaged"] == pytest.approx(0.0, abs=1e-3)
    assert rows["labels, version 1"]["verdict"] == "lower"
    assert "nearer" in result.stdout


def test_a_run_without_labels_is_refused_in_one_sentence(data: Path, annotators: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = call(tmp_path / "results", data=data, annotators=annotators, run=tmp_path / "empty")
    assert result.returncode == 2
    assert "empty: holds neither label versions nor predictions" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()
