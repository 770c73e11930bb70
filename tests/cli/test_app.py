"""The command line as a whole: help, its examples, errors, interruption, pipes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import invoke

import semalign
from semalign.cli.app import app, help_text
from semalign.errors import SemalignError

COMMANDS = {
    "audit", "clean", "run", "train", "align", "crossfit", "search", "evaluate", "report", "recipes", "schemes", "models",
    "predict", "serve", "export", "adapt", "correction", "bench speed", "bench labels", "reproduce",
    "data check", "data synthesize", "data sheet", "labels list", "labels export", "scheme new", "review", "convert",
    "cache list", "cache prune", "cache clear",
}  # fmt: skip


def leaves(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by its words."""
    found = {}
    for name, command in group.commands.items():
        nested = hasattr(command, "commands")
        found |= leaves(command, f"{prefix}{name} ") if nested else {f"{prefix}{name}": command}
    return found


LEAVES = leaves(typer.main.get_command(app))


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)


def test_every_command_is_there() -> None:
    assert set(LEAVES) == COMMANDS


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_each_option_does_and_gives_an_example(name: str) -> None:
    result = invoke(*name.split(), "--help")
    assert result.exit_code == 0
    if name != "schemes":
        assert f"semalign {name}" in result.stdout.split("Example", 1)[1]
    for parameter in LEAVES[name].params:
        assert parameter.help, parameter.name
        assert " ".join(parameter.help.split())[:60] in " ".join(re.sub("[│╭╮╰╯─]", " ", result.stdout).split())


def test_every_example_parses() -> None:
    examples = [line.strip() for command in LEAVES.values() for line in (command.help or "").splitlines()]
    examples = [line for line in examples if line.startswith("semalign ")]
    assert len(examples) >= len(COMMANDS) - 1
    for line in examples:
        words = shlex.split(line.split(">")[0])[1:]
        depth = 2 if words[0] in ("bench", "cache", "data", "labels", "scheme") else 1
        command = LEAVES[" ".join(words[:depth])]
        command.make_context(" ".join(words[:depth]), words[depth:])  # raises on what it does not know


def test_help_text_reflows_paragraphs_and_keeps_indented_lines() -> None:
    text = """Sums [up].

    A paragraph
    of two lines.

    Examples:
        first
        second
    """
    assert help_text(text) == "Sums \\[up].\n\nA paragraph of two lines.\n\nExamples:\n    first\n    second"


def test_version() -> None:
    assert invoke("--version").stdout == f"semalign {semalign.__version__}\n"


def test_without_arguments_it_shows_its_help() -> None:
    for words in ([], ["data"], ["labels"]):
        assert "Usage:" in invoke(*words).output


def test_bad_input_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    result = invoke("data", "check", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {tmp_path / 'nowhere'}: ")
    assert result.stderr.count("\n") == 1


def test_unknown_options_are_refused_with_status_2() -> None:
    result = invoke("run", "demo", "--out", "x", "--resum")
    assert result.exit_code == 2
    assert "--resum" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "demo", "--out", "x"), "interrupted; run the same command with --resume to continue\n"),
        (("evaluate", "m", "--data", "d"), "interrupted\n"),
        (("data", "check", "d"), "interrupted\n"),
        (("audit", "d", "--quick"), "interrupted; run the same command to continue\n"),
    ],
)
def test_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    functions = ("semalign.pipeline.run", "semalign.pipeline.evaluate_model", "semalign.data.check_dataset")
    for function in (*functions, "semalign.auditing.judging.open_dataset"):
        monkeypatch.setattr(function, interrupted)
    result = invoke(*words)
    assert (result.exit_code, result.stderr) == (130, sentence)


def test_a_defect_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("semalign.data.check_dataset", broken)
    assert isinstance(invoke("data", "check", "d").exception, ZeroDivisionError)


def test_long_paths_are_not_broken_over_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = f"/{'long/' * 60}file.pts: holds [3] points; replace it."

    def refuse(*_: object, **__: object) -> None:
        raise SemalignError(sentence)

    monkeypatch.setattr("semalign.data.check_dataset", refuse)
    assert invoke("data", "check", "d").stderr == f"error: {sentence}\n"


HELP_WITHOUT_WEIGHT = """
import sys
sys.argv = ["semalign", "run", "--help"]
from semalign.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "numpy", "cv2", "matplotlib", "pyarrow", "accelerate"} & set(sys.modules)
sys.exit(f"help loads {sorted(heavy)}" if heavy else 0)
"""


def test_help_loads_nothing_heavy() -> None:
    result = subprocess.run([sys.executable, "-c", HELP_WITHOUT_WEIGHT], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: semalign run" in result.stdout


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{shlex.quote(sys.executable)} -m semalign schemes | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("", "")
