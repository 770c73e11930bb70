"""All tables and figures at the tiny size: what is there, where it comes from, that nothing of it is the paper's."""

from __future__ import annotations

import ast
import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from semalign import paper as package
from semalign.core import metrics
from semalign.data.labels import LabelStore
from semalign.inference.heatmaps import predict
from semalign.models.checkpoint import load_model
from semalign.paper import published
from semalign.paper.figures import FIGURES
from semalign.paper.lab import Detector
from semalign.paper.tables import TABLES

pytestmark = pytest.mark.slow
SOURCE = Path(package.__file__).parent


def lines(everything: Path, table: str) -> list[dict[str, str]]:
    with (everything / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("table", TABLES)
def test_every_figure_of_ours_says_where_it_comes_from(everything, table):
    ours = [line for line in lines(everything, table) if line["ours"]]
    assert ours
    for line in ours:
        assert float(line["ours"]) > 0
        assert line["data"].startswith("synthetic") and line["coverage"] == "synthetic"
        assert line["seed"] == "0" and line["metric"] and line["detail"]
        assert line["reference"] == ("the clock" if "(ms)" in line["column"] else "exact points")
        assert re.search(r"\d+ (faces|frames|test images)", line["split"])


@pytest.mark.parametrize("number", published.TABLES)
def test_the_paper_s_figures_are_all_beside_ours(everything, number):
    paper = published.TABLES[number]
    printed = {
        (line["method"], line["column"]): float(line["paper"])
        for line in lines(everything, f"table{number}")
        if line["paper"]
    }
    expected = {
        (method, column): value
        for method, values in paper.rows.items()
        for column, value in zip(paper.columns, values, strict=True)
        if value is not None
    }
    assert printed == expected


def test_a_table_has_ours_for_every_method_that_is_here(everything):
    def ours(table: str) -> set[str]:
        return {line["method"] for line in lines(everything, table) if line["ours"]}

    own = {"HGs", "HGs + SA", "HGs + SA + GHCU", "HGs + SA + GHCU (gated)", "HGs + SA + GHCU (fused)"}
    assert ours("table3") == ours("table4") == own
    assert ours("table2") == own | {
        "HGs + Norm", "HGs + SA + Norm", "HGs + SA + Norm + GHCU", "HGs + SA + Norm + GHCU (gated)",
        "HGs + SA + Norm + GHCU (fused)",
    }  # fmt: skip
    corrections = {"PCA", "GHCU", "PCA (projection)", "GHCU (gated)", "GHCU (fused)"}
    assert ours("table8") == {"Baseline"} | corrections
    for table in ("table5", "table6", "table7"):
        assert all(line["ours"] for line in lines(everything, table))
    times = {
        line["method"] for line in lines(everything, "table8") if line["column"] == "CPU Time (ms)" and line["ours"]
    }
    assert times == corrections


def test_other_published_figures_change_nothing_of_ours(lab, monkeypatch):
    """No cell of ours is made from the paper's: with all of those exchanged, ours stay."""
    before = TABLES["table4"](lab), TABLES["table5"](lab)
    changed = {
        number: replace(table, rows={name: tuple(1.25 for _ in row) for name, row in table.rows.items()})
        for number, table in published.TABLES.items()
    }
    monkeypatch.setattr(published, "TABLES", changed)
    after = TABLES["table4"](lab), TABLES["table5"](lab)
    for old, new in zip(before, after, strict=True):
        assert [row.ours for row in old.rows] == [row.ours for row in new.rows]
        assert [row.paper for row in old.rows] != [row.paper for row in new.rows]


def test_cells_are_made_of_outcomes_alone():
    """`Cell` is called in outcome.py only, and what makes outcomes knows nothing of the published figures."""
    for path in SOURCE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert ("Cell" in calls) == (path.name == "outcome.py"), path.name
        if path.name in ("outcome.py", "lab.py", "protocols.py", "figures.py", "sizes.py"):
            assert "published" not in {
                name.split(".")[-1]
                for node in ast.walk(tree)
                for name in (
                    [node.module or "", *(alias.name for alias in node.names)]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
            }, path.name


def test_an_error_is_that_of_the_model_in_its_folder(everything, lab):
    """Independently of the cached experiments: the file's network on the test crops, the definition of the metric."""
    folder = everything / "work" / "300w" / "baseline"
    model, test = load_model(folder / "model.safetensors"), lab.protocol("300w").test
    found = predict(model.network, test.crops, model.sigma, model.scheme).points
    truth = test.truth
    pupils = [truth[:, list(eye)].mean(axis=1) for eye in test.dataset.scheme.pupils]
    unit = np.linalg.norm(pupils[1] - pupils[0], axis=1)
    expected = 100 * (np.linalg.norm(found - truth, axis=2).mean(axis=1) / unit).mean()
    (line,) = [line for line in lines(everything, "table2") if (line["method"], line["column"]) == ("HGs", "Full")]
    assert float(line["ours"]) == pytest.approx(expected, abs=1e-3)
    (weightless,) = [line for line in lines(everything, "table5") if line["column"] == "0"]
    assert weightless["ours"] == line["ours"], "a likelihood without weight leaves the annotations"


def test_errors_of_aflw_are_by_the_face_box(everything, lab):
    outcome = lab.detected(Detector("aflw"))
    test = lab.protocol("aflw").test
    boxes = np.array([sample.box for sample in test.dataset.samples])
    unit = metrics.box_size(boxes)
    expected = 100 * np.linalg.norm(outcome.points - test.truth, axis=2).mean(axis=1) / unit
    np.testing.assert_allclose(outcome.errors, expected)
    (line,) = [line for line in lines(everything, "table3") if line["method"] == "HGs"]
    assert float(line["ours"]) == pytest.approx(expected.mean(), abs=1e-3)


def test_columns_share_out_the_test_faces(lab):
    columns = lab.protocol("300w").columns
    assert (len(columns["Com."]), len(columns["Challenge"]), len(columns["Full"])) == (4, 3, 7)
    assert set(columns["Com."]) | set(columns["Challenge"]) == set(columns["Full"])
    videos = lab.protocol("300vw")
    assert {name: len(rows) for name, rows in videos.columns.items()} == {f"Category {n}": 3 for n in (1, 2, 3)}
    assert not set(videos.train.dataset.ids()) & set(videos.test.dataset.ids())
    assert len(videos.train.dataset) == 9 + 12, "the training clips' frames and the training faces of 300W"


def test_weights_and_templates_are_really_varied(everything):
    base = everything / "work" / "300w"
    weights = [LabelStore(base / f"aligned-weight{w}-radius1-searches1" / "labels").read() for w in ("0.01", "1", "5")]
    assert weights[0].provenance["likelihood_weight"] == 0.01 and weights[2].provenance["likelihood_weight"] == 5.0
    moved = [float(version.movement.mean()) for version in weights]
    assert moved[0] < moved[1] < moved[2]
    wider = LabelStore(base / "aligned-weight5-radius2-searches1" / "labels").read()
    assert wider.provenance["template"] == 25 and not np.array_equal(wider.points, weights[2].points)
    searched = {path.name: LabelStore(path / "labels").versions() for path in base.glob("aligned-weight5-radius1-*")}
    assert searched["aligned-weight5-radius1-searches2"] == (0, 1, 2)
    assert searched["aligned-weight5-radius1-searches1"] == (0, 1)


def test_templates_that_are_the_same_here_are_said_to_be(lab):
    note = TABLES["table6"](lab).notes[-1]
    assert "11, 15, 19 (3 px)" in note and "1, 7 (1 px)" in note


class Page(HTMLParser):
    """Ids of sections, and everything that the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "section":
            self.sections.append(values["id"] or "")
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag in ("img", "script", "link", "image"):
            self.loads.append(values.get("src") or values.get("href") or values.get("xlink:href") or "")


def test_the_page_shows_everything_and_needs_nothing(everything):
    page = Page()
    page.feed((everything / "report.html").read_text(encoding="utf-8"))
    assert page.sections == [*TABLES, *FIGURES, "made"]
    assert len(set(page.ids)) == len(page.ids)
    assert page.loads and all(load.startswith("data:") for load in page.loads)


def test_notes_are_computed(lab):
    """Directions are those of the figures: with the outcomes exchanged, the sentence turns round."""
    notes = TABLES["table9"](lab).notes
    (said,) = [note for note in notes if note.startswith("GHCU alone against neither on Category 3")]
    before, after = (lab.detected(Detector("300vw")), lab.corrected(Detector("300vw")))
    difference = after.against(before, "Category 3")
    assert difference is not None
    assert (difference.mean < 0) == ("here −" in said) and "the paper −17.8" in said
    turned = before.against(after, "Category 3")
    assert turned is not None and turned.mean == pytest.approx(-difference.mean)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_says_its_source_and_has_pictures(lab, figure):
    from semalign.report.theme import drawing

    with drawing():
        made = FIGURES[figure](lab)
    assert made.plots and made.notes
    assert "synthetic" in made.provenance and "seed 0" in made.provenance
    assert all("<svg" in plot.image or "<img" in plot.image for plot in made.plots)
