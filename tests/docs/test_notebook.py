"""The notebooks of the tutorials run, cell by cell in one namespace, and what they show is what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import semalign

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "tutorials").glob("*.ipynb"))
LARGEST = 300_000  # bytes


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    return [cell for cell in found["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_of_audits_finds_and_mends_what_it_plants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (notebook,) = [path for path in NOTEBOOKS if path.name == "audit.ipynb"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    drawn: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.get_fignums()[-1]))
    names: dict[str, Any] = {"__name__": "notebook"}
    with matplotlib.rc_context(), plt.rc_context({"backend": "agg"}):
        for number, cell in enumerate(cells_of(notebook), start=1):
            exec(compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec"), names)
        plt.close("all")
    assert len(drawn) == 1
    audit, planted, truth = names["audit"], names["planted"], names["dataset"].truth
    assert set(names["faces"].index[: len(planted)]) == set(planted)
    assert {audit.ids[row] for row in planted} <= set(names["corrected"])
    again = semalign.open_dataset(names["folder"] / "corrected")
    for row in planted:
        exact = truth[audit.ids[row]]
        before, after = (np.linalg.norm(points[row] - exact, axis=-1) for points in (audit.annotations, again.points()))
        assert after.max() < before.max() and after.mean() < before.mean()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_small_and_were_run_from_top_to_bottom(notebook: Path) -> None:
    assert notebook.stat().st_size <= LARGEST
    cells = cells_of(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds and "display_data" in kinds and "execute_result" in kinds
