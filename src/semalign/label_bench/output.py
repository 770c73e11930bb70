"""The results of a bench of labels as files: labels.json, labels.csv, labels.png."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semalign.files import atomic_path, write_json, write_text
from semalign.label_bench.chart import DRAWN, draw
from semalign.schemes import load_scheme

REGIONS = tuple(load_scheme("ibug68").regions)
COLUMNS = (
    *("cell", "part", "data", "evidence", "noise", "level", "faces", "method", "error"),
    *(f"error_{name}" for name in REGIONS),
    *("along", "across", "removed", "of_bound", "worth"),
    *(f"worth_{name}" for name in REGIONS),
    *("agreement", "within_90", "note"),
)


def write_results(out: Path, results: Mapping[str, Any]) -> None:
    """Write the three files into a folder; no picture where nothing of the table can be drawn."""
    write_json(out / "labels.json", results)
    stream = io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _text(value) for name, value in row.items()} for row in flat_rows(results["cells"]))
    write_text(out / "labels.csv", stream.getvalue())
    if any(cell["part"] in DRAWN for cell in results["cells"]):
        with atomic_path(out / "labels.png") as temporary:
            draw(results["cells"], temporary)


def flat_rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each method in each cell, with the `COLUMNS`; None for what a cell does not measure."""
    rows = []
    for cell in cells:
        for row in cell["rows"]:
            flat = {name: row.get(name, cell.get(name)) for name in COLUMNS}
            flat |= {f"error_{name}": row.get("regions", {}).get(name, {}).get("mean") for name in REGIONS}
            flat |= {f"worth_{name}": row.get("worth_by_region", {}).get(name) for name in REGIONS}
            flat["within_90"] = (row.get("uncertainty") or {}).get("within_90")
            rows.append(flat)
    return rows


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else value
