"""Worker processes: the same answers in the same order, in a script without a guard, with errors and deaths of workers."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from semalign.synthetic.workers import spread

SCRIPT = """
import sys
from semalign import SynthesisSettings, write_dataset
from semalign.synthetic import FaceSettings
print("begun")
write_dataset(sys.argv[1], SynthesisSettings(count=6, test_count=1, face=FaceSettings(size=64)), workers=2)
"""


def test_a_script_without_a_guard_draws_faces_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "faces")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "begun\n", "")
    assert len(list((tmp_path / "faces").rglob("*.pts"))) == 6


def test_answers_come_in_order_and_errors_are_raised() -> None:
    assert list(spread(partial(pow, 2), 9, workers=2, chunk=2)) == [2**number for number in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(spread(partial(divmod, 1), 5, workers=2, chunk=2))


def test_what_a_dead_worker_leaves_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semalign.synthetic.workers._COMMAND", "import sys; sys.exit() # {path}")
    assert list(spread(partial(pow, 2), 5, workers=2, chunk=2)) == [1, 2, 4, 8, 16]
    monkeypatch.setattr(sys, "executable", "")
    assert list(spread(os.path.basename, 0, workers=2, chunk=2)) == []
    assert list(spread(partial(pow, 2), 3, workers=2, chunk=2)) == [1, 2, 4]
