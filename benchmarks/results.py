"""Where measurements go: dated CSV files that say on which hardware and with which versions they were made."""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semalign.files import write_text

FOLDER = Path(
    os.environ.get("BENCHMARK_RESULTS") or Path(__file__).resolve().parent / "results"
)  # `make bench` sets it
PACKAGES = {"torch": "torch", "numpy": "numpy", "opencv": "opencv-python-headless"}  # column: distribution


def write_results(name: str, rows: Sequence[Mapping[str, Any]], hardware: str | None = None) -> Path:
    """Write `rows` to <name>_<today>.csv in FOLDER and return its path; a file of the same day is replaced.

    The columns date, hardware, python and versions of libraries come first, then the rows' own in order; what a row
    does not have stays empty. `hardware` defaults to this machine's processor and the cores that may be used.
    """
    if not rows:
        raise ValueError("there are no rows to write")
    today = date.today().isoformat()
    common = {"date": today, "hardware": hardware or processor(), "python": platform.python_version(), **versions()}
    own = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in common]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*common, *own], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**common, **row} for row in rows)
    path = FOLDER / f"{name}_{today}.csv"
    write_text(path, text.getvalue())
    return path


def finish(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    digits: int = 2,
    hardware: str | None = None,
) -> None:
    """Print the rows as a table and write them as `write_results` does."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=name)
    for row in rows:
        values = (row.get(column, "") for column in columns)
        table.add_row(*(f"{value:.{digits}f}" if isinstance(value, float) else str(value) for value in values))
    console = Console(width=200)
    console.print(table)
    console.print(f"written: {write_results(name, rows, hardware)}")


def processor() -> str:
    """The processor's model and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_model()}, {cores} core{'s' if cores > 1 else ''}"


def versions() -> dict[str, str]:
    """Versions of the libraries that speed depends on; empty for one that is not installed."""
    found = {}
    for column, distribution in PACKAGES.items():
        try:
            found[column] = version(distribution)
        except PackageNotFoundError:
            found[column] = ""
    return found


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
