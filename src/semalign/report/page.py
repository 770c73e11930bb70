"""The report of a run: one self-contained HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from semalign.errors import SemalignError
from semalign.files import write_text
from semalign.report import charts, overview, pictures, tables
from semalign.report.run import SUMMARY, Run, read_run
from semalign.report.theme import MARKS, drawing
from semalign.schemes.scheme import in_short

REPORT = "report.html"


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder, from what the folder holds and nothing else, and return its path.

    The page needs no other file, no network and no scripts. What a run lacks (truth, alignment, figures) is left out.
    The same folder gives the same bytes.

    Raises:
        SemalignError: the folder has no summary.json, a file in it is damaged, or the page cannot be written.
    """
    page = Path(run) / REPORT
    content = read_run(Path(run))
    try:
        text = render_page(content)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, UndefinedError) as error:
        where = Path(run) / SUMMARY
        raise SemalignError(
            f"{where}: it, or a file beside it, is not as a run writes it ({in_short(str(error))}); evaluate the run again."
        ) from error
    write_text(page, text)
    return page


def render_page(run: Run) -> str:
    """The page as HTML."""
    with drawing():
        content: dict[str, Any] = {
            "faces": pictures.faces_section(run),
            "labels": charts.labels_section(run),
            "heatmaps": pictures.heatmaps_section(run),
            "detector": charts.detector_section(run),
            "training": charts.training_section(run),
        }
    data = run.summary.get("data", {})
    content |= {
        "run": run,
        "marks": MARKS,
        "verdict": overview.verdict(run),
        "key_figures": overview.key_figures(run),
        "facts": overview.facts(run),
        "against": overview.against(run),
        "notes": list(data.get("notes") or ()),
        "skipped": [_skipped(item) for item in data.get("skipped") or ()],
        "seconds": tables.seconds_by_stage(run),
        "versions": run.summary.get("versions") or {},
        "settings": run.recipe or _settings(run),
    }
    return _environment().get_template("page.html").render(content)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("semalign.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _skipped(item: Any) -> tuple[str, str]:
    """A sample that was left out and why: from a pair, a mapping or plain text."""
    if isinstance(item, dict):
        return str(item.get("id", "")), str(item.get("why", item.get("reason", "")))
    if isinstance(item, (list, tuple)) and len(item) == 2:
        return str(item[0]), str(item[1])
    return str(item), ""


def _settings(run: Run) -> str:
    settings = run.summary.get("settings")
    return json.dumps(settings, indent=2, ensure_ascii=False) if settings else ""
