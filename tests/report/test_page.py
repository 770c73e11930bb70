"""The page as a document: self-contained, well-formed, complete, and with the numbers of summary.json."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from semalign.errors import SemalignError
from semalign.report import write_report

VOID = {"meta", "link", "br", "img", "input", "wbr", "hr"}
REFERENCES = {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "formaction", "background", "cite"}
SECTIONS = ("run", "faces", "labels", "heatmaps", "detector", "training", "time", "settings")


class Page(HTMLParser):
    """The elements of a page in order, its text, and the tables' cells."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.numbers: list[tuple[str, str]] = []  # exact value, what is shown
        self.rows: list[list[str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.numbers.append((dict(attrs)["value"] or "", ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "data" in self.open:
            self.numbers[-1] = (self.numbers[-1][0], self.numbers[-1][1] + data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def all_text(self) -> str:
        return "".join(self.text)

    def sections(self) -> list[str]:
        return [attributes["id"] for tag, attributes in self.elements if tag == "section" and "id" in attributes]

    def row(self, name: str) -> list[str]:
        return next(row[1:] for row in self.rows if row and row[0] == name)


def read(run: Path) -> tuple[str, Page]:
    source = write_report(run).read_text(encoding="utf-8")
    return source, Page(source)


def summary_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo(demo_run: Path) -> tuple[str, Page]:
    return read(demo_run)


@pytest.fixture(scope="module")
def real(real_run: Path) -> tuple[str, Page]:
    return read(real_run)


@pytest.mark.parametrize("which", ["demo", "real"])
def test_nothing_is_loaded_from_outside(which: str, request: pytest.FixtureRequest) -> None:
    source, page = request.getfixturevalue(which)
    pictures = 0
    for tag, attributes in page.elements:
        for name in REFERENCES & attributes.keys():
            assert re.match(r"#|data:", attributes[name]), f"<{tag} {name}={attributes[name][:60]!r}>"
            pictures += attributes[name].startswith("data:image/png;base64,")
    assert pictures > 10  # faces, close-ups, heatmaps
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)]*)\)", source))
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}


@pytest.mark.parametrize("which", ["demo", "real"])
def test_the_page_is_well_formed(which: str, request: pytest.FixtureRequest) -> None:
    source, page = request.getfixturevalue(which)
    assert source.lstrip().startswith("<!doctype html>")
    assert page.open == []
    assert len(page.ids()) == len(set(page.ids())), "an id occurs twice"
    targets = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    references = re.findall(r"(?:url\(|xlink:href=\")#([\w.-]+)", source)
    assert targets | set(references) <= set(page.ids())
    for name, value in ((n, v) for _, a in page.elements for n, v in a.items()):
        if name in ("aria-labelledby", "for"):
            assert value in page.ids()


@pytest.mark.parametrize("which", ["demo", "real"])
def test_headings_descend_one_level_at_a_time_and_pictures_are_described(
    which: str, request: pytest.FixtureRequest
) -> None:
    _, page = request.getfixturevalue(which)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    described = 0
    for tag, attributes in page.elements:
        if tag == "img":
            assert len(attributes["alt"]) > 20
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"]) > 20
            described += 1
    assert described > 15
    assert dict(page.elements)["html"]["lang"] == "en"
    assert any(a.get("content") == "width=device-width, initial-scale=1" for _, a in page.elements)


def test_every_section_is_there_for_a_complete_run(demo: tuple[str, Page]) -> None:
    assert demo[1].sections() == list(SECTIONS)


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ({"stages": ("start",), "figures": False}, {"faces", "heatmaps", "labels"}),
        (
            {"stages": ("start",), "figures": False, "seconds": None, "detector": None},
            {"faces", "heatmaps", "labels", "detector", "time"},
        ),
        ({"stages": (), "figures": False}, {"faces", "heatmaps", "labels", "detector", "training"}),
    ],
)
def test_sections_without_data_are_left_out(build_run: Any, missing: dict[str, Any], gone: set[str]) -> None:
    _, page = read(build_run(**missing))
    assert page.sections() == [name for name in SECTIONS if name not in gone]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a" and attributes["href"] != "#main"]
    assert links == [f"#{name}" for name in SECTIONS if name not in gone | {"run"}]


def test_a_summary_of_nothing_still_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    _, page = read(tmp_path)
    assert page.sections() == ["run", "settings"]
    assert tmp_path.name in page.all_text()


def test_without_truth_the_page_shows_movement_instead_of_error(demo: tuple[str, Page], real: tuple[str, Page]) -> None:
    titles = ["Error against the truth", "Along the curve and across it", "From annotations to found labels"]
    for title in titles:
        assert title in demo[1].all_text()
        assert title not in real[1].all_text()
    assert "Movement in each search" in demo[1].all_text()
    assert "Movement in each search" in real[1].all_text()
    boxes = [a["id"] for tag, a in real[1].elements if tag == "input"]
    assert boxes == ["show-annotation", "show-found", "show-movement"]
    assert "show-truth" in demo[1].ids()


def test_numbers_are_those_of_the_summary(demo: tuple[str, Page], demo_run: Path) -> None:
    _, page = demo
    summary = summary_of(demo_run)
    exact = [float(value) for value, _ in page.numbers]
    for value, shown in page.numbers:
        digits = len(shown.partition(".")[2])
        assert float(shown.replace("\N{MINUS SIGN}", "-")) == pytest.approx(float(value), abs=0.5000001 * 10.0**-digits)
    expected = [
        summary[key][when]
        for key in ("label_error", "label_error_strong", "label_error_contour")
        for when in ("before", "after")
    ]
    scalars = ("nme_", "rmse_", "auc_", "failure_rate_")
    for stage in summary["detector"].values():
        for figures in stage["subsets"].values():
            expected += [value for key, value in figures.items() if key.startswith(scalars)]
        expected += stage["subsets"]["all"]["by_region"].values()
    for step in (0, -1):
        for parts in summary["label_groups"]["by_iteration"][step].values():
            expected += parts.values()
    expected += [*summary["seconds"].values(), summary["seed"]]
    assert set(expected) <= set(exact)


def test_tables_hold_each_number_in_its_place(demo: tuple[str, Page], demo_run: Path) -> None:
    _, page = demo
    detector = summary_of(demo_run)["detector"]
    for metric in ("nme_interpupil", "nme_interocular", "rmse_interocular", "nme_box", "failure_rate_interocular_8"):
        figures = [detector[stage]["subsets"]["all"][metric] for stage in ("start", "baseline", "aligned")]
        assert page.row(metric)[:3] == [f"{value:.2f}" for value in figures]
    start, baseline, aligned = (detector[s]["subsets"]["all"] for s in ("start", "baseline", "aligned"))
    assert page.row("auc_interocular_8")[0] == f"{start['auc_interocular_8']:.4f}"
    relative = 100 * (aligned["nme_box"] / baseline["nme_box"] - 1)
    assert page.row("nme_box")[3] == f"\N{MINUS SIGN}{-relative:.1f}\N{NARROW NO-BREAK SPACE}%"
    error = summary_of(demo_run)["label_error"]
    assert page.row("all points")[0] == f"{error['before']:.2f} → {error['after']:.2f}"
    assert [row[2] for row in page.rows if row and row[0] == "aligned" and len(row) == 3] == ["98.7 s"]


def test_notes_skipped_samples_recipe_and_versions_are_shown(real: tuple[str, Page], demo: tuple[str, Page]) -> None:
    text = real[1].all_text()
    for piece in (
        "ibug: all 135 images are missing.",
        "afw/broken.jpg",
        "The image is truncated.",
        "1 sample skipped",
        "1207 faces",
        "helen/trainset 870",
        "epochs = 24  # a < b & c",
        "2.13.0",
        "x86_64, 2 cores",
    ):
        assert piece in text
    assert "complete" in demo[1].all_text() and "300W, complete" not in text


def test_every_name_is_escaped(build_run: Any) -> None:
    evil = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>"
    run = build_run(
        recipe=evil,
        description=evil,
        hardware={evil: evil},
        data={
            "name": evil,
            "root": evil,
            "train": {evil: 3},
            "test": 2,
            "notes": [evil],
            "skipped": [[evil, evil], evil],
        },
        versions={evil: evil},
        seconds={evil: 1.0},
        label_movement=[{"iteration": 1, "mean": 1.0, "by_region": {evil: 1.0}}],
        label_groups={"by_iteration": [{evil: {"mean": 1.0, "along": 1.0, "across": None}}] * 2},
        detector={"start": {"subsets": {evil: {"count": 2, "nme_interocular": 3.0, "by_region": {evil: 1.0}}}}},
        repeats={"aligned": {evil: {"values": [1.0, 2.0], "mean": 1.5, "sd": 0.7}}},
        figures=False,
    )
    arrays = dict(np.load(build_run() / "figures.npz"))
    np.savez(
        run / "figures.npz",
        **{
            **{name: arrays[name][:1] for name in arrays},
            "face_ids": np.array([evil]),
            "face_notes": np.array([evil]),
        },
    )
    (run / "recipe.toml").write_text(evil, encoding="utf-8")
    source, page = read(run)
    assert page.open == []
    assert "<script" not in source and "<img src=x" not in source
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.all_text().count(evil) >= 14
    assert html.escape("<script>") in source


def test_the_same_folder_gives_the_same_page(build_run: Any) -> None:
    run = build_run(figures=False)
    assert write_report(run) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == first


def test_drawing_leaves_the_users_settings_alone(build_run: Any) -> None:
    run = build_run(figures=False)
    plain = write_report(run).read_bytes()
    with mpl.rc_context({"axes.facecolor": "#123456", "font.size": 33, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert write_report(run).read_bytes() == plain
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("summary.json", None, "summary.json: there is no such file; finish the run"),
        ("summary.json", b"{", "summary.json: is no valid JSON"),
        ("summary.json", b"[]", "summary.json: holds no JSON object"),
        ("figures.npz", b"PK\3\4 half an archive", "figures.npz: cannot be read as the figures of a run"),
        ("start/log.jsonl", b'{"loss": 1}\n{"lo', "log.jsonl: is no valid JSON"),
        ("start/model.safetensors", b"\0" * 40, "model.safetensors: is not a Semalign model file"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(
    build_run: Any, name: str, content: bytes | None, sentence: str
) -> None:
    run = build_run(figures=False)
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    with pytest.raises(SemalignError) as caught:
        write_report(run)
    assert sentence in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert not (run / "report.html").exists()
