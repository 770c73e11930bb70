"""The bench of labels from end to end on few faces, resuming, another source of evidence, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import invoke

from semalign.data import open_dataset
from semalign.data.pts import write_pts
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.evaluation.annotators import SHARED, read_annotators
from semalign.inference.landmarks import Landmarks
from semalign.label_bench import SIZES, EvidenceBuilder, bench_labels
from semalign.label_bench.cells import RealFaces
from semalign.label_bench.settings import NOISES, noise_of
from semalign.pipeline.witnesses import Remembered, unseen
from semalign.schemes import load_scheme
from semalign.searches import Evidence
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of, write_dataset
from semalign.synthetic.annotators import marked_again, noise_size

TINY = SIZES["tiny"]
FACES = SynthesisSettings(count=24, test_count=8, seed=5, face=FaceSettings(size=64))
METHODS = [
    "annotation", "prediction", "average", "calibrated", "paper, 1 pass", "paper, best of 3", "drift, 20 passes",
    "bound, witnesses' mean", "bound",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("bench") / "whole"
    result = invoke("bench", "labels", "--out", out, "--size", "tiny")
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_each_method_is_a_row_in_each_cell(finished: tuple[Path, str]) -> None:
    out, shown = finished
    results = json.loads((out / "labels.json").read_text())
    assert {"date", "hardware", "versions", "settings", "cells"} <= set(results)
    assert [cell["cell"] for cell in results["cells"]] == [
        "truth-annotators-4-54", "truth-annotators-8-54", "halves-synthetic",
    ]  # fmt: skip
    first, second, halves = results["cells"]
    for cell in (first, second):
        rows = {row["method"]: row for row in cell["rows"]}
        assert list(rows) == METHODS
        assert rows["annotation"]["removed"] == 0 and rows["bound"]["of_bound"] == 1
        assert all(row["removed"] <= rows["bound"]["removed"] for row in (rows["annotation"], rows["average"]))
        assert rows["paper, best of 3"]["error"] <= rows["paper, 1 pass"]["error"]
        assert len(cell["drift"]["by_pass"]) == 20
        assert 0 <= rows["average"]["uncertainty"]["within_90"] <= 1
        assert rows["prediction"]["uncertainty"] is None
    assert first["rows"][0]["error"] < second["rows"][0]["error"] < 8
    assert {row["method"]: row["agreement"] for row in halves["rows"]}["annotation"] == 0
    with (out / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(cell["rows"]) for cell in results["cells"])
    assert float(rows[0]["error_contour"]) > float(rows[0]["error_eyes"])
    assert (out / "labels.png").read_bytes().startswith(b"\x89PNG")
    assert "paper, best of 3" in shown and "its best is" in shown
    assert {path.name for path in out.iterdir()} == {
        "bench.json", "cells", "labels.csv", "labels.json", "labels.png",
    }  # fmt: skip


def test_a_finished_cell_is_not_measured_again(finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = finished
    again = [out / "cells" / "truth-annotators-8-54.json", out / "cells" / "truth-annotators-4-54.json"]
    kept = json.loads(again[1].read_text())
    stamp = again[1].stat().st_mtime_ns
    rows = json.loads(again[0].read_text())["rows"]
    again[0].unlink()

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semalign.label_bench.synthetic_cells.train_without_folds", stopped)
        result = invoke("bench", "labels", "--out", out, "--size", "tiny", "--resume")
    assert result.exit_code == 130 and "--resume to continue" in result.stderr
    result = invoke("bench", "labels", "--out", out, "--size", "tiny", "--resume", "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["cells"][0] == kept and again[1].stat().st_mtime_ns == stamp
    assert json.loads(again[0].read_text())["rows"] == rows  # to the bit


def test_what_cannot_work_is_refused_in_a_sentence(finished: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = finished
    for words, message in (
        (("--out", out, "--size", "tiny"), "holds a bench already; add --resume"),
        (("--out", out, "--size", "tiny", "--seed", "3", "--resume"), "other settings or faces (seed in bench.json)"),
        (("--out", out / "cells", "--size", "tiny"), "is not empty and holds no bench of labels"),
        (("--out", tmp_path / "x", "--annotators", out / "labels.csv"), "give these with --data"),
        (("--out", tmp_path / "x", "--data", tmp_path / "none"), "there is no such folder"),
        (
            ("--out", tmp_path / "x", "--part", "planted"),
            "no cell of 'planted': without more data the parts are truth, halves",
        ),
    ):
        result = invoke("bench", "labels", *words)
        assert (result.exit_code, message in result.stderr.replace("\n", " ")) == (2, True), result.output
    assert not (tmp_path / "x").exists()
    assert invoke("bench", "labels", "--out", tmp_path / "x", "--size", "huge").exit_code == 2
    with pytest.raises(ValueError, match="folds"):
        replace(TINY, folds=2)
    with pytest.raises(ValueError, match="passes"):
        replace(TINY, passes=0)


def test_a_part_of_the_table_is_measured_alone_and_the_rest_later(finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "part"
    shutil.copytree(finished[0] / "cells", out / "cells")
    shutil.copy(finished[0] / "bench.json", out)
    result = invoke("bench", "labels", "--out", out, "--size", "tiny", "--part", "halves", "--resume")
    assert result.exit_code == 0, result.output
    measured = {cell["part"] for cell in json.loads((out / "labels.json").read_text())["cells"]}
    assert measured == {"halves"}
    assert invoke("bench", "labels", "--out", out, "--size", "tiny", "--resume").exit_code == 0
    assert {cell["part"] for cell in json.loads((out / "labels.json").read_text())["cells"]} == {"truth", "halves"}


class Guess:
    """Evidence without a network: the mean shape of the faces that are learned from, in each face's box."""

    name, learns = "guess", True

    def notes(self, judge: Dataset) -> list[str]:
        return ["A guess."]

    def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
        boxes = np.array([sample.box for sample in judge.samples])
        known = np.array([sample.box for sample in learn.samples])
        size, own = ((b[:, 2:] - b[:, :2])[:, None] for b in (known, boxes))
        mean = ((learn.points() - known[:, None, :2]) / size).mean(axis=0)
        return Guessed(Landmarks(boxes[:, None, :2] + mean * own, np.ones((len(boxes), 68)), judge.scheme))


class Guessed:
    sigma, heatmap_size = 1.5, 32

    def __init__(self, predictions: Landmarks) -> None:
        self.predictions, self.members = predictions, (predictions,)
        self.reference_pixels, self.correlation = np.ones(len(predictions)), (0.3, 0.8)

    def __len__(self) -> int:
        return len(self.predictions)

    def heatmaps(self, rows: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        draws = torch.Generator().manual_seed(0)
        for rows in np.array_split(np.arange(len(self)), 2):
            to_image = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], dtype=torch.float64).expand(len(rows), 2, 3)
            yield rows, torch.rand((len(rows), 68, 32, 32), generator=draws), to_image


def test_other_evidence_can_be_put_in_for_real_faces(tmp_path: Path) -> None:
    assert isinstance(Guess(), EvidenceBuilder)
    faces = open_dataset(write_dataset(tmp_path / "faces", FACES))
    marks = tmp_path / "marks.csv"
    rng = np.random.default_rng(0)
    with marks.open("w") as stream:
        stream.write("file,annotator," + ",".join(f"x{p},y{p}" for p in range(29)) + "\n")
        for sample in faces.samples[:16]:
            for worker in range(3):
                points = np.zeros((29, 2))
                points[list(SHARED)] = sample.points[list(SHARED.values())] + rng.normal(0, 1, (19, 2))
                stream.write(f"{sample.id},{worker}," + ",".join(f"{v:.3f}" for v in points.ravel()) + "\n")
    few = replace(TINY, levels=(4.0,), faces=(54,), passes=1, drift_passes=2, real_faces=None)
    real = RealFaces(faces, Guess(), few)
    cells = {cell.name: cell for cell in real.cells(read_annotators(marks))}
    assert set(cells) == {"planted-isotropic-4", "planted-sliding-4", "annotators", "halves-real"}
    figures = {name: cell.measure(tmp_path / "work") for name, cell in cells.items()}
    json.dumps(figures, allow_nan=False)
    planted = {row["method"]: row for row in figures["planted-sliding-4"]["rows"]}
    assert figures["planted-sliding-4"]["faces"] == 8  # the test faces
    assert planted["annotation"]["along"] > 3 * planted["annotation"]["across"]
    assert planted["calibrated"]["error"] == planted["average"]["error"]  # few faces: the mean
    workers = {row["method"]: row for row in figures["annotators"]["rows"]}
    assert figures["annotators"]["faces"] == 16 and workers["one worker"]["worth"] == 1
    assert workers["annotation"]["worth"] > workers["prediction"]["worth"]
    halves = {row["method"]: row["agreement"] for row in figures["halves-real"]["rows"]}
    assert halves["annotation"] == 0 < halves["average"] < halves["prediction"]
    assert (
        halves["average"] < 0.1 * halves["prediction"]
    )  # label adaptation takes off what one half's mean shape does to all


def test_no_face_is_judged_by_what_was_learned_from_it(tmp_path: Path) -> None:
    faces = open_dataset(write_dataset(tmp_path / "faces", FACES)).select(split="test")
    assert len(faces) == 8

    class Watched(Guess):
        def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
            assert not set(learn.ids()) & set(judge.ids()) and len(learn) + len(judge) == 8
            predictions = np.stack([np.full((68, 2), float(faces.ids().index(name))) for name in judge.ids()])
            return Guessed(Landmarks(predictions, np.ones((len(judge), 68)), judge.scheme))

    found = unseen(Watched(), faces, 3, 0)
    assert found.predictions.points[:, 0, 0].tolist() == list(range(8))  # in the order of the faces
    with pytest.raises(SemalignError, match="8 faces do not make 9"):
        unseen(Watched(), faces, 9, 0)


def test_heatmaps_are_remembered_as_far_as_they_fit() -> None:
    source = Guessed(Landmarks(np.zeros((3, 68, 2)), np.ones((3, 68)), load_scheme("ibug68")))
    one = 68 * 32 * 32 * 4
    for memory, same in ((3 * one, True), (2 * one, False)):
        kept = Remembered(source, memory)
        first, second = list(kept.heatmaps()), list(kept.heatmaps())
        assert all(torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
        assert (first[0][1] is second[0][1]) is same


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_the_size_that_was_asked_for(kind: str) -> None:
    points = np.tile(face_of(0, 0, SynthesisSettings(face=FaceSettings(max_yaw=0.0))).points, (150, 1, 1))
    settings = noise_of(kind, 4.0)
    assert noise_size(settings) == pytest.approx(4.0)
    unit = np.linalg.norm(points[:, 45] - points[:, 36], axis=1)[:, None]
    far = np.linalg.norm(marked_again(points, 6, 1, settings) - points, axis=2) / unit * 100
    assert np.sqrt((far**2).mean()) == pytest.approx(4.0, rel=0.12)


def test_the_bench_needs_the_points_that_noise_is_planted_in(tmp_path: Path) -> None:
    for number in range(2):
        write_pts(tmp_path / "own" / f"{number}.pts", np.random.default_rng(number).uniform(10, 80, (29, 2)))
        cv2.imwrite(str(tmp_path / "own" / f"{number}.png"), np.zeros((90, 90, 3), np.uint8))
    with pytest.raises(SemalignError, match="the bench plants noise in those of 'ibug68'"):
        bench_labels(TINY, tmp_path / "x", data=tmp_path / "own")
