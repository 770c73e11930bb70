"""The command as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from commands import invoke


@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise there")
def test_it_serves_until_a_signal_ends_it_in_order(folder: Path) -> None:
    command = [sys.executable, "-m", "semalign", "review", str(folder), "--port", "0", "--name", "Ann", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" ")[0]
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_a_folder_without_an_audit_is_one_sentence(tmp_path: Path) -> None:
    result = invoke("review", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no finished audit" in result.stderr and result.stderr.count("\n") == 1


def test_a_name_must_be_one(folder: Path) -> None:
    result = invoke("review", folder, "--name", "x" * 100, "--port", "0")
    assert result.exit_code == 2 and "is no name" in result.stderr
