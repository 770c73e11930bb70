"""The page's tables: rows of cells that are already text or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from semalign.report.outcome import METRICS, label_groups, repeats, subset_names, subsets
from semalign.report.run import STAGES, Run
from semalign.report.text import change, is_number, number, signed, spaced

Cell = Markup | str


@dataclass(frozen=True)
class Row:
    """A heading and a cell for each column."""

    name: Cell
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A title, the columns after the headings' column, and rows."""

    title: Cell
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class StageTime:
    """A stage's seconds; its share of the longest stage's is the length of its bar."""

    name: str
    seconds: Markup
    share: float


def detector_tables(run: Run) -> list[Table]:
    """One table of every figure for each test subset, the main one first."""
    return [_subset_table(run, name) for name in subset_names(run)]


def _subset_table(run: Run, subset: str) -> Table:
    stages = _stages(run, subset)
    values = {stage: subsets(run, stage)[subset] for stage in stages}
    first = values[stages[0]]
    metrics = [key for key in METRICS if any(is_number(found.get(key)) for found in values.values())]
    others = ("nme_", "rmse_", "auc_", "failure_rate_")
    metrics += [
        key for key, value in first.items() if key not in METRICS and key.startswith(others) and is_number(value)
    ]
    rows = tuple(_compared(spaced(key), [values[stage].get(key) for stage in stages], stages, key) for key in metrics)
    faces = Markup(" ({} faces)").format(number(first["count"], 0)) if is_number(first.get("count")) else ""
    return Table(Markup("Errors on {}{}").format(spoken(subset), faces), _columns(stages), rows)


def spoken(subset: str) -> str:
    """A subset's name in a sentence."""
    return "the whole test set" if subset == "all" else subset


def region_table(run: Run) -> Table | None:
    """The detectors' error (inter-ocular, or by the box) by region of the face on the main subset; None if not evaluated."""
    for subset in subset_names(run)[:1]:
        stages = [stage for stage in _stages(run, subset) if subsets(run, stage)[subset].get("by_region")]
        regions = [subsets(run, stage)[subset]["by_region"] for stage in stages]
        if regions:
            error = str(subsets(run, stages[0])[subset].get("regions_by", "nme_interocular"))
            rows = tuple(
                _compared(name, [values.get(name) for values in regions], stages, error) for name in regions[0]
            )
            return Table(f"By region of the face: {error}, {spoken(subset)}", _columns(stages), rows)
    return None


def repeats_table(run: Run) -> Table | None:
    """Mean and standard deviation over the repeats of a run; None if there was one."""
    found = repeats(run)
    if not found:
        return None
    stages = [stage for stage in STAGES if any(stage in figures for figures in found.values())]
    count = max(len(figures["values"]) for by_stage in found.values() for figures in by_stage.values())
    rows = []
    for metric, figures in found.items():
        cells: tuple[Cell, ...] = tuple(
            Markup("{} ± {}").format(number(figures[stage]["mean"]), number(figures[stage].get("sd")))
            if stage in figures
            else ""
            for stage in stages
        )
        other = versus(stages)
        if other:
            cells += (signed(change(*(figures.get(stage, {}).get("mean") for stage in (other, "aligned")))),)
        rows.append(Row(spaced(metric), cells))
    title = Markup("Mean and standard deviation of {} repeats, the whole test set").format(number(count, 0))
    return Table(title, _columns(stages), tuple(rows))


def label_table(run: Run) -> Table | None:
    """The labels' error before and after, by region and direction; None without a known truth."""
    rows = []
    for key, name in (("label_error", "all points"), ("label_error_strong", "strong points")):
        error = run.summary.get(key)
        if error:
            rows.append(Row(name, (*_before_after(error["before"], error["after"]), "", "")))
    for name, parts in label_groups(run).items():
        cells = _before_after(parts["mean"][0], parts["mean"][-1])
        cells += tuple(_arrow(parts[part][0], parts[part][-1]) for part in ("along", "across"))
        rows.append(Row(name, cells))
    return (
        Table("From annotations to found labels", ("error", "change", "along", "across"), tuple(rows)) if rows else None
    )


def seconds_by_stage(run: Run) -> list[StageTime]:
    """Stages with the time they took, in the order in which they ran."""
    seconds: Mapping[str, Any] = {k: v for k, v in run.summary.get("seconds", {}).items() if is_number(v)}
    longest = max(seconds.values(), default=0.0) or 1.0
    return [StageTime(name, number(value, 1), value / longest) for name, value in seconds.items()]


def versus(stages: Sequence[str]) -> str | None:
    """The stage that the aligned detector is compared with: the baseline if there is one."""
    others = [stage for stage in stages if stage != "aligned"]
    return others[-1] if "aligned" in stages and others else None


def _stages(run: Run, subset: str) -> list[str]:
    return [stage for stage in STAGES if subset in subsets(run, stage)]


def _columns(stages: Sequence[str]) -> tuple[str, ...]:
    return (*stages, "change") if versus(stages) else tuple(stages)


def _compared(name: Cell, values: Iterable[Any], stages: Sequence[str], metric: str) -> Row:
    """A row with the aligned detector's relative change; failure rates, which may be 0, change by percentage points."""
    by_stage = dict(zip(stages, values, strict=True))
    digits = 4 if metric.startswith("auc_") else 2
    cells: tuple[Cell, ...] = tuple(number(value, digits) for value in by_stage.values())
    other = versus(stages)
    if other:
        before, after = by_stage[other], by_stage["aligned"]
        if metric.startswith("failure_rate_") and is_number(before) and is_number(after):
            cells += (signed(after - before, 2, " pt"),)
        else:
            cells += (signed(change(before, after)),)
    return Row(name, cells)


def _before_after(before: Any, after: Any) -> tuple[Cell, ...]:
    return _arrow(before, after), signed(change(before, after))


def _arrow(before: Any, after: Any) -> Markup:
    return Markup("{} → {}").format(number(before), number(after))
