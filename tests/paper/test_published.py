"""The published figures against the lines of the paper's own text, where that is at hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from semalign.paper.published import HGS, SA, SA_GHCU, SA_NORM_GHCU, TABLES

PAPER = Path(__file__).resolve().parents[2] / "../shared/paper/semantic_alignment.txt"
ROWS = {3: (HGS, SA, SA_GHCU, "Wing", "CCL"), 4: (HGS, SA, SA_GHCU, "CFSS"), 8: ("PCA", "GHCU")}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    if not PAPER.is_file():
        pytest.skip("the paper's text is not here")
    return [line.strip() for line in PAPER.read_text(encoding="utf-8").splitlines()]


def printed(lines: list[str], table: int) -> list[str]:
    """The lines after a table's caption, up to the next caption."""
    first = next(index for index, line in enumerate(lines) if line.startswith(f"Table {table}."))
    following = [i for i, line in enumerate(lines) if i > first and re.match(r"(Table|Figure) \d+\.", line)]
    return lines[first : following[0] if following else None]


def numbers(line: str) -> list[float]:
    return [float(text) for text in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\])", line)]


@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_rows_are_the_lines_of_the_paper(lines, number):
    text = printed(lines, number)
    methods = ROWS.get(number, tuple(TABLES[2].rows))
    for method in methods:
        values = [value for value in TABLES[number].rows[method] if value is not None]
        starts = [line for line in text if re.match(rf"{re.escape(method)}(?: [\[(]| \d)", line)]
        assert any(numbers(line)[-len(values) :] == values for line in starts), (method, starts)


@pytest.mark.parametrize(
    ("number", "method", "start"),
    [
        (5, "NME (%)", "NME (%)"),
        (6, "300W Full (%)", "300W Full(%)"),
        (6, "AFLW Full (%)", "AFLW Full (%)"),
        (7, "NME (%)", "NME (%)"),
    ],
)
def test_single_rows_are_the_lines_of_the_paper(lines, number, method, start):
    line = next(line for line in printed(lines, number) if line.startswith(start))
    assert tuple(numbers(line.removeprefix(start))) == TABLES[number].rows[method]


def test_table_9_is_the_paper_s_turned(lines):
    text = printed(lines, 9)
    rows = list(TABLES[9].rows.values())
    for place, column in enumerate(TABLES[9].columns):
        line = next(line for line in text if line.startswith(f"{column} ") and len(numbers(line)) >= 5)
        assert numbers(line.removeprefix(column)) == [row[place] for row in rows]


def test_tables_that_share_a_figure_agree():
    """Tables 8 and 9 repeat Table 4, Table 7 repeats Table 2."""
    four, eight, nine = (TABLES[number].rows for number in (4, 8, 9))
    assert eight["Baseline"][:3] == four[SA] == nine["SA alone"]
    assert eight["GHCU"][:3] == four[SA_GHCU] == nine["SA and GHCU"]
    assert nine["neither"] == four[HGS]
    assert TABLES[7].rows["NME (%)"][:2] == (TABLES[2].rows[HGS][2], TABLES[2].rows[SA][2])
    assert TABLES[2].rows[SA_NORM_GHCU] == (3.45, 6.38, 4.02)


def test_every_row_has_a_figure_for_every_column():
    for table in TABLES.values():
        assert all(len(row) == len(table.columns) for row in table.rows.values()), table.number
