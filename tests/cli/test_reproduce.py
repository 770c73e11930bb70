"""The command `reproduce`: what it hands on, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import commands
import pytest


@pytest.fixture
def invoke() -> Any:
    return lambda *arguments: commands.invoke("reproduce", *arguments)


def test_every_option_is_handed_on(invoke, monkeypatch):
    noted: dict[str, Any] = {}

    def note(names: Any, out: Path, **named: Any) -> Path:
        noted.update(named, names=list(names), out=out)
        return out / "report.html"

    monkeypatch.setattr("semalign.paper.reproduce", note)
    result = invoke(
        "table5", "figure8", "--out", "x", "--data", "300w=/faces", "--data", "300vw=b=c", "--size", "compact", "--seed", 3,
        "--real-only", "--resume",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: x/report.html\n"
    assert noted.pop("progress") is not None
    assert noted == {
        "names": ["table5", "figure8"],
        "out": Path("x"),
        "data": {"300w": Path("/faces"), "300vw": Path("b=c")},
        "size": "compact",
        "seed": 3,
        "real_only": True,
        "resume": True,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table1"], "no table or figure 'table1'; choose from table2"),
        (["table2", "--data", "faces"], "is not of the form NAME=PATH"),
        (["table2", "--data", "300w=a", "--data", "300w=b"], "300w is given twice"),
        (["table2", "--data", "wflw=a"], "is no data set of the paper"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(invoke, tmp_path, arguments, sentence):
    result = invoke(*arguments, "--out", tmp_path / "x", "--size", "tiny")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and sentence in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_the_help_names_sizes_and_shows_examples(invoke):
    result = invoke("--help")
    assert result.exit_code == 0
    assert "semalign reproduce all" in result.stdout and "compact" in result.stdout
