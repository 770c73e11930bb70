"""What is refused, what only is made, and that a reproduction that was cut off goes on."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semalign.errors import SemalignError
from semalign.paper import KNOWN, reproduce
from semalign.paper.run import resolve
from semalign.pipeline import SilentProgress


def test_names_are_put_in_the_paper_s_order():
    assert resolve(["figure8", "Table5", "table5"]) == ("table5", "figure8")
    assert resolve([]) == resolve(["table2", "all"]) == KNOWN
    assert len(KNOWN) == 16


def test_an_unknown_table_is_told_what_there_is(tmp_path):
    with pytest.raises(SemalignError, match=r"no table or figure 'table1'; choose from table2, .*figure8 or all\."):
        reproduce(["table1"], tmp_path / "x", size="tiny")
    with pytest.raises(SemalignError, match="no size 'huge'; choose from tiny, small, compact, paper"):
        reproduce(["table2"], tmp_path / "x", size="huge")
    with pytest.raises(SemalignError, match="--data wflw: is no data set of the paper; name one of 300w, aflw, 300vw"):
        reproduce(["table2"], tmp_path / "x", size="tiny", data={"wflw": tmp_path})
    assert not (tmp_path / "x").exists()


def test_without_any_real_data_there_is_nothing_to_make_of_real_data_only(tmp_path):
    with pytest.raises(SemalignError, match=r"add --data 300vw=PATH\."):
        reproduce(["table8"], tmp_path / "x", size="tiny", data={"300w": tmp_path}, real_only=True)
    assert not (tmp_path / "x").exists()


def test_folders_that_hold_something_else_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SemalignError, match="is not empty and holds no reproduction"):
        reproduce(["table2"], tmp_path, size="tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


class Interrupting(SilentProgress):
    """Ctrl-C at the start of the stage after a given number of stages of one title."""

    def __init__(self, title: str) -> None:
        self.title = title

    @contextmanager
    def stage(self, title: str, total: int) -> Any:
        if title == self.title:
            raise KeyboardInterrupt
        yield lambda done, note="": None


@pytest.mark.slow
def test_only_what_is_needed_is_made_and_a_cut_off_one_goes_on(tmp_path):
    out = tmp_path / "one"
    with pytest.raises(KeyboardInterrupt):
        reproduce(["table7"], out, size="tiny", progress=Interrupting("300W: regression"))
    work = out / "work"
    assert {path.name for path in work.iterdir()} == {"300w"}
    kept = work / "300w" / "start" / "model.safetensors"
    stamp = kept.stat().st_mtime_ns
    with pytest.raises(SemalignError, match="--resume"):
        reproduce(["table7"], out, size="tiny")
    with pytest.raises(SemalignError, match="of another size, seed or data"):
        reproduce(["table7"], out, size="tiny", seed=1, resume=True)
    reproduce(["table7"], out, size="tiny", resume=True)
    assert kept.stat().st_mtime_ns == stamp
    assert {path.name for path in (work / "300w").iterdir()} == {
        "start",
        "baseline",
        "aligned-weight5-radius1-searches1",
    }
    assert [path.name for path in (out / "tables").iterdir()] == ["table7.csv"]
    before = (out / "tables" / "table7.csv").read_text()
    reproduce(["figure6"], out, size="tiny", resume=True)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert 'id="table7"' in page and 'id="figure6"' in page, "what was asked for before stays on the page"
    assert json.loads((out / "asked.json").read_text()) == ["table7", "figure6"]
    calls = json.loads((out / "calls.json").read_text())
    assert [call["asked"] for call in calls] == [["table7"], ["table7", "figure6"]], "the one cut off is not counted"
    assert all(call["seconds"] > 0 for call in calls)
    assert (out / "tables" / "table7.csv").read_text() == before


def taken_as_real(synthetic: Path, copy: Path) -> Path:
    """Synthetic faces without what says that they are, so that their annotations are all there is to measure against."""
    shutil.copytree(synthetic, copy)
    for name in ("synthetic.json", "truth.parquet"):
        (copy / name).unlink()
    return copy


@pytest.mark.slow
def test_faces_in_the_layout_of_300w_are_taken_as_real(everything, tmp_path):
    """A real set: no synthetic.json, measured against annotations, and said to be partial."""
    data = taken_as_real(everything / "data" / "300w", tmp_path / "faces")
    reproduce(["figure7", "table5"], tmp_path / "out", size="tiny", data={"300w": data})
    table = (tmp_path / "out" / "tables" / "table5.csv").read_text(encoding="utf-8")
    assert "HGs" in table and '300W,"Full, 4 faces",partial (4 of 689),annotations' in table
    assert "synthetic" not in table
    points = np.load(tmp_path / "out" / "work" / "300w" / "baseline" / "detected.npz")["points"]
    assert points.shape == (4, 68, 2)


@pytest.mark.slow
def test_with_real_data_only_no_synthetic_ones_are_made(everything, tmp_path):
    data = taken_as_real(everything / "data" / "300w", tmp_path / "faces")
    out = tmp_path / "out"
    reproduce(["table6", "table8", "figure5"], out, size="tiny", data={"300w": data}, real_only=True)
    assert json.loads((out / "asked.json").read_text()) == ["table6"]
    assert not (out / "data").exists() and {path.name for path in (out / "work").iterdir()} == {"300w"}
    with (out / "tables" / "table6.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["method"] for line in lines if line["ours"]} == {"300W Full (%)"}
    assert {line["method"] for line in lines if line["paper"]} == {"300W Full (%)", "AFLW Full (%)"}
