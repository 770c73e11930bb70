"""Threads that wait asleep: the command line asks for it before PyTorch is there, the package never."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from semalign.cores import PASSIVE, usable_cores, wait_asleep

COMMAND = """
import os, sys
sys.argv = ["semalign", "schemes", "--quiet"]
from semalign.cli import main
assert "torch" not in sys.modules
try:
    main()
except SystemExit as end:
    assert not end.code
from subprocess import run
run([sys.executable, "-c", "import os; print([os.environ.get(name) for name in %r], file=__import__('sys').stderr)"])
"""
PACKAGE = """
import os
before = dict(os.environ)
import semalign
assert dict(os.environ) == before
semalign.audit, semalign.Detector, semalign.train
assert not {names} & set(os.environ)
"""


def ran(script: str, **given: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE} | given
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


def test_a_command_and_what_it_starts_wait_asleep() -> None:
    assert ran(COMMAND % [*PASSIVE]) == str([*PASSIVE.values()])


@pytest.mark.parametrize("given", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}])
def test_what_the_user_has_set_stays(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PASSIVE:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    wait_asleep()
    assert {name: os.environ[name] for name in PASSIVE if name in os.environ} == given


def test_the_package_changes_no_environment() -> None:
    ran(PACKAGE.format(names={*PASSIVE}))


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1
