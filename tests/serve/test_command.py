"""The command as a process of its own, and what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from semalign.errors import SemalignError
from semalign.serve import Service, open_server

HELP = """
import sys
from typer.testing import CliRunner
from semalign.cli.app import app
assert "serve" in CliRunner().invoke(app, ["--help"]).output
sys.exit(str(sorted({"semalign.serve", "starlette", "uvicorn"} & set(sys.modules))))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise there")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "semalign", "serve", "synthetic-demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" ")[0]
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_the_help_loads_no_server() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_sentence_says_what_to_install(service: Service, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.startswith(("semalign.serve.", "semalign.web.", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SemalignError, match=r"pip install 'semalign\[serve\]'\.$"):
        open_server(service, port=0)
