"""The page with all tables and figures, and a CSV file for each table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from semalign.files import write_text
from semalign.paper.figures import Figure
from semalign.paper.outcome import Cell
from semalign.paper.tables import Row, Table
from semalign.pipeline.summary import hardware, versions
from semalign.report.text import duration, plain

REPORT = "report.html"
FIELDS = (
    "table", "method", "column", "paper", "ours", "data", "split", "coverage", "reference", "metric", "seed", "detail",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it: for each column the paper's figure and ours."""

    table: Table
    rows: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]  # method; paper, ours, provenance of ours


def write_page(
    out: Path, size: str, seed: int, tables: Sequence[Table], figures: Sequence[Figure], seconds: float
) -> Path:
    """Write OUT/report.html, which needs no other file, and return its path."""
    content: dict[str, Any] = {
        "size": size,
        "seed": seed,
        "tables": [_shown(table) for table in tables],
        "figures": figures,
        "seconds": duration(seconds),
        "hardware": hardware(),
        "versions": versions(),
    }
    path = out / REPORT
    write_text(path, _environment().get_template("reproduction.html").render(content))
    return path


def write_csv(path: Path, table: Table) -> None:
    """A table as CSV, a line for each method and column that the paper or we have a figure for."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table.rows:
        for column, paper, cell in zip(table.columns, _padded(row.paper, len(table.columns)), row.ours, strict=True):
            if paper is not None or cell is not None:
                writer.writerow([table.name, row.method, column, "" if paper is None else paper, *_ours(cell)])
    write_text(path, text.getvalue())


def _ours(cell: Cell | None) -> list[object]:
    if cell is None:
        return [""] * 8
    source = cell.provenance
    return [
        f"{cell.value:.4f}", source.data, source.split, source.coverage, source.reference, source.metric, source.seed,
        source.detail,
    ]  # fmt: skip


def _padded(values: Sequence[float | None], count: int) -> list[float | None]:
    return [*values, *[None] * (count - len(values))]


def _shown(table: Table) -> Shown:
    return Shown(table, tuple((row.method, _cells(row, len(table.columns))) for row in table.rows))


def _cells(row: Row, count: int) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (plain(paper), "" if cell is None else plain(cell.value), "" if cell is None else cell.provenance.sentence())
        for paper, cell in zip(_padded(row.paper, count), row.ours, strict=True)
    )


def _environment() -> Environment:
    """Our page with the style and the pieces of a run's report."""
    loaders = [PackageLoader("semalign.paper", "templates"), PackageLoader("semalign.report", "templates")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
