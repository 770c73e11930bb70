"""A very small training set, and one tiny reproduction of everything, made through the real command, with its experiments."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from worlds import Small, small_world

from semalign.cli.app import Commands
from semalign.cli.reproduce import COMMANDS
from semalign.paper.lab import Lab
from semalign.paper.sizes import load_size
from semalign.pipeline import SilentProgress


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Ten synthetic faces and their crops."""
    return small_world(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `semalign reproduce all --size tiny`."""
    out = tmp_path_factory.mktemp("reproduce") / "all"
    application = typer.Typer(cls=Commands)
    application.callback()(lambda: None)
    application.command("reproduce")(COMMANDS["reproduce"])
    result = CliRunner().invoke(application, ["reproduce", "all", "--out", str(out), "--size", "tiny"])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"report: {out / 'report.html'}\n")
    return out


@pytest.fixture(scope="session")
def lab(everything: Path) -> Lab:
    """Its cache of experiments, opened again: what it is asked for is read."""
    return Lab(everything, load_size("tiny"), 0, {}, SilentProgress())
