"""The sentences and figures at the head of the page, whichever way a run went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semalign.report.outcome import headline, label_curves, label_groups
from semalign.report.overview import key_figures, verdict
from semalign.report.run import Run, read_run
from semalign.report.tables import repeats_table


def run_of(**summary: Any) -> Run:
    return Run("run", summary, "", {}, {}, None)


def test_errors_against_a_truth_are_interocular(demo_run: Path) -> None:
    run = read_run(demo_run)
    found = headline(run)
    assert (found.metric, found.repeats) == ("nme_interocular", 1)
    named = {stage: value for stage, value in run.summary["detector_nme"].items() if stage != "normalisation"}
    assert dict(found.values) == named


def test_errors_against_annotations_are_interpupil_on_the_full_set(real_run: Path) -> None:
    found = headline(read_run(real_run))
    detector = json.loads((real_run / "summary.json").read_text())["detector"]
    assert found.metric == "nme_interpupil"
    assert dict(found.values) == {stage: detector[stage]["subsets"]["full"]["nme_interpupil"] for stage in detector}


def test_several_repeats_are_averaged_and_listed_with_their_spread() -> None:
    spread = {"values": [4.0, 4.2], "mean": 4.1, "sd": 0.141}
    run = run_of(
        detector={s: {"subsets": {"all": {"nme_interpupil": 4.5}}} for s in ("start", "baseline", "aligned")},
        repeats={"baseline": {"nme_interpupil": spread | {"mean": 4.3}}, "aligned": {"nme_interpupil": spread}},
    )
    found = headline(run)
    assert dict(found.values) == {"start": 4.5, "baseline": 4.3, "aligned": 4.1}
    assert found.repeats == 2
    assert "mean of 2 repeats" in str(verdict(run)[0])
    table = repeats_table(run)
    assert table is not None and table.columns == ("baseline", "aligned", "change")
    assert [cell.striptags() for cell in table.rows[0].cells[:2]] == ["4.30 ± 0.14", "4.10 ± 0.14"]
    single = {
        stage: {"nme_interpupil": {"values": [4.0], "mean": 4.0, "sd": None}} for stage in ("baseline", "aligned")
    }
    assert repeats_table(run_of(repeats=single)) is None


@pytest.mark.parametrize(
    ("after", "words", "shown"),
    [
        (1.5, "are nearer to the truth than", "\N{MINUS SIGN}25.0"),
        (2.2, "are further from the truth than", "+10.0"),
        (1.995, "are as far from the truth as", "\N{MINUS SIGN}0.2"),
    ],
)
def test_labels_are_said_to_be_what_they_are(after: float, words: str, shown: str) -> None:
    run = run_of(label_error={"before": 2.0, "after": after, "by_iteration": [2.0, after]})
    assert words in verdict(run)[0]
    assert shown in str(key_figures(run)[0].value)


def test_curves_start_at_the_annotations_and_gaps_are_nan() -> None:
    run = run_of(
        label_error={"before": 2.0, "after": 1.5, "by_iteration": [2.0, 1.7, 1.5]},
        label_error_strong={"before": 1.0, "after": 0.9},
        label_error_contour={"before": None, "after": None, "by_iteration": [None]},
        label_groups={"by_iteration": [{"nose": {"mean": 1.0, "along": None, "across": 0.5}}] * 2},
    )
    assert label_curves(run) == {"all points": [2.0, 1.7, 1.5], "strong points": [1.0, 0.9]}
    nose = label_groups(run)["nose"]
    assert nose["mean"] == [1.0, 1.0] and nose["across"] == [0.5, 0.5]
    assert all(value != value for value in nose["along"])
