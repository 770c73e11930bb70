"""benchmarks/harness.py: timing in turn, the table and the dated file, and the command line of every benchmark."""

from __future__ import annotations

import ast
import csv
import runpy
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import pytest
import typer

from semalign.errors import SemalignError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SHARED = {"harness", "scale_faces", "shots", "other_finders", "peer_models", "planted"}  # what others take from
sys.path.append(str(FOLDER))

import harness  # noqa: E402

ELSEWHERE = FOLDER / "others_points.py"  # runs in an environment of its own, without Semalign
SCRIPTS = sorted(
    path for path in FOLDER.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8") and path != ELSEWHERE
)


class Clock:
    """Time that passes only where a test says so; half of it is the processor's."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 2

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(harness, "time", clock)
    return clock


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(harness, "FOLDER", tmp_path / "results")
    return tmp_path / "results"


def test_forms_take_turns_and_the_first_turn_does_not_count(clock: Clock) -> None:
    calls: list[str] = []
    times = {"slow": iter([100.0, 4.0, 9.0, 6.0]), "quick": iter([100.0, 3.0, 2.0, 1.0])}

    def form(name: str) -> None:
        calls.append(name)
        clock.now += next(times[name])

    found = harness.in_turn({name: lambda name=name: form(name) for name in times}, 3, rest=0.5)
    assert calls == ["slow", "quick"] * 4
    assert found["slow"].clock == pytest.approx([4.0, 9.0, 6.0])
    assert found["slow"].processor == pytest.approx([2.0, 4.5, 3.0])
    assert found["slow"].milliseconds == pytest.approx(6000.0)
    assert found["quick"].milliseconds == pytest.approx(2000.0)
    assert found["slow"].ratio(found["quick"]) == pytest.approx(3.0)


def test_what_a_turn_is_given_is_made_outside_the_time(clock: Clock) -> None:
    seen: list[tuple[str, int]] = []

    def prepare(turn: int) -> tuple[int]:
        clock.now += 50.0
        return (10 * turn,)

    def form(name: str, given: int) -> None:
        seen.append((name, given))
        clock.now += 1.0

    found = harness.in_turn({name: lambda given, name=name: form(name, given) for name in "ab"}, 2, prepare)
    assert seen == [("a", 0), ("b", 0), ("a", 10), ("b", 10), ("a", 20), ("b", 20)]
    assert found["b"].clock == pytest.approx([1.0, 1.0])


def test_a_form_may_be_called_once_before_its_time_begins(clock: Clock) -> None:
    times = iter([100.0, 4.0, 100.0, 6.0, 100.0, 9.0])

    def form() -> None:
        clock.now += next(times)

    found = harness.in_turn({"loop": form}, 2, warm=True)["loop"]
    assert found.clock == pytest.approx([6.0, 9.0])
    assert found.processor_milliseconds == pytest.approx(3750.0)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_file_says_when_where_and_with_what_it_was_made(results: Path) -> None:
    path = harness.write_results("speed", [{"form": "loop", "ms": 1.25}, {"form": "fast", "ratio": 2}])
    assert path == results / f"speed_{date.today().isoformat()}.csv"
    rows = read(path)
    assert list(rows[0]) == ["date", "hardware", "python", "torch", "numpy", "opencv", "form", "ms", "ratio"]
    assert [(row["form"], row["ms"], row["ratio"]) for row in rows] == [("loop", "1.25", ""), ("fast", "", "2")]
    assert all(row["python"] and row["torch"] and row["numpy"] and row["opencv"] for row in rows)
    name, _, cores = rows[0]["hardware"].rpartition(", ")
    assert name and cores.rstrip(")").split()[1] in ("core", "cores") and int(cores.split()[0]) > 0


def test_a_row_may_name_other_versions_and_hardware_may_be_given(results: Path) -> None:
    (row,) = read(harness.write_results("gpu", [{"torch": "9.9", "ms": 1}], "a card"))
    assert (row["torch"], row["hardware"]) == ("9.9", "a card")


def test_no_rows_are_refused(results: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        harness.write_results("speed", [])
    assert not results.exists()


def test_rows_are_shown_and_written(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness.finish("speed", [{"form": "loop", "ms": 1.23456, "seed": 7}], digits=3, shown=("form", "ms"))
    printed = capsys.readouterr().out
    assert "loop" in printed and "1.235" in printed and "seed" not in printed and "written: " in printed
    (row,) = read(next(results.iterdir()))
    assert (row["ms"], row["seed"]) == ("1.23456", "7")


def called(monkeypatch: pytest.MonkeyPatch, main: object, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        harness.run(main)
    return int(ended.value.code or 0)


def test_several_numbers_follow_one_option(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def main(name: str, parts: Annotated[list[int], typer.Option()], faces: int = 3) -> None:
        seen.append((name, parts, faces))

    assert called(monkeypatch, main, "recipe", "--parts", "1", "2", "--faces", "5") == 0
    assert called(monkeypatch, main, "--parts", "1", "2", "4", "recipe") == 0
    assert called(monkeypatch, main, "--parts", "1", "--parts", "2", "recipe") == 0
    assert seen == [("recipe", [1, 2], 5), ("recipe", [1, 2, 4], 3), ("recipe", [1, 2], 3)]
    assert called(monkeypatch, main, "--faces", "1", "2", "--parts", "1") == 0  # the second is the name
    assert seen[-1] == ("2", [1], 1)


def test_bad_input_ends_with_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise SemalignError("this folder holds nothing; give another.")

    assert called(monkeypatch, main) == 2
    assert capsys.readouterr().err == "error: this folder holds nothing; give another.\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_benchmark_says_what_it_compares_and_how_it_is_called(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    printed = capsys.readouterr().out
    assert text in printed
    assert f"    python benchmarks/{script.relative_to(FOLDER).as_posix()}" in text


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_takes_nothing_from_another(script: Path) -> None:
    names = {path.stem for path in FOLDER.glob("*.py")} - SHARED
    imports = [node for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))]
    taken = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    taken |= {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    assert not names & taken
