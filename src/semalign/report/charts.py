"""The page's sections with charts: labels by iteration, detectors, training; None where a run has nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from semalign.report import tables
from semalign.report.figures import detector, labels, training
from semalign.report.outcome import METRICS, STAGE_MEANING, label_curves, label_groups, subset_names, subsets
from semalign.report.render import Plot, to_svg
from semalign.report.run import STAGES, Run
from semalign.report.text import number, plain
from semalign.report.theme import PAGE

DRIFT = 1.01  # how much more than the least error the last one must be to be spoken of


@dataclass(frozen=True)
class LabelsSection:
    """The labels over the iterations."""

    has_truth: bool
    charts: tuple[Plot, ...]
    groups: tuple[Plot, ...]
    table: tables.Table | None
    drift: Markup
    unit: str  # what errors are in % of


@dataclass(frozen=True)
class DetectorSection:
    """The detectors on the test faces."""

    stages: tuple[tuple[str, str], ...]  # name, meaning
    charts: tuple[Plot, ...]
    subsets: tuple[tables.Table, ...]
    regions: tables.Table | None
    repeats: tables.Table | None
    versus: str | None  # what the tables' changes are against
    metrics: tuple[tuple[str, str], ...]  # name, meaning


@dataclass(frozen=True)
class TrainingSection:
    """The trainings over their epochs."""

    stages: tuple[tuple[str, str], ...]  # name, meaning
    charts: tuple[Plot, ...]


def labels_section(run: Run) -> LabelsSection | None:
    """Error of the labels by iteration and region where the truth is known, and their movement."""
    charts = []
    curves = label_curves(run)
    if curves:
        spoken = "; ".join(f"{name} {plain(values[0])} to {plain(values[-1])}" for name, values in curves.items())
        label = f"Label error by iteration in % of {run.unit}: {spoken}"
        chart = to_svg(labels.error_by_iteration(curves, PAGE), "error", label)
        charts.append(Plot("Error against the truth", chart, f"% of {run.unit}"))
    records = run.summary.get("label_movement") or ()
    if records:
        spoken = f"first {plain(records[0]['mean'])}, last {plain(records[-1]['mean'])}"
        label = f"Mean movement of labels by search in % of {run.unit}: {spoken}"
        chart = to_svg(labels.movement_by_iteration(records, PAGE), "movement", label)
        charts.append(Plot("Movement in each search", chart, f"% of {run.unit}, from the labels before"))
    groups = _group_plots(run)
    table = tables.label_table(run)
    if not charts and not groups and table is None:
        return None
    return LabelsSection(bool(curves), tuple(charts), groups, table, _drift(run), run.unit)


def _group_plots(run: Run) -> tuple[Plot, ...]:
    plots: list[Plot] = []
    for name, parts in label_groups(run).items():
        along, across = parts["along"], parts["across"]
        if np.isnan([along, across]).all():
            continue
        ends = (along[0], along[-1], across[0], across[-1])
        spoken = "along the curve {} to {}, across it {} to {}".format(*map(plain, ends))
        chart = to_svg(
            labels.group_error(along, across, PAGE), f"group-{len(plots)}", f"{name}: {spoken}, % of {run.unit}"
        )
        plots.append(Plot(name, chart))
    return tuple(plots)


def _drift(run: Run) -> Markup:
    """A sentence if the labels were noticeably better before the end."""
    curve = label_curves(run).get("all points")
    if not curve or curve[-1] <= DRIFT * np.nanmin(curve):
        return Markup()
    best = int(np.nanargmin(curve))
    return Markup("The error was lowest, {}, after iteration {}: since then the labels have drifted.").format(
        number(curve[best]), number(best, 0)
    )


def detector_section(run: Run) -> DetectorSection | None:
    """Cumulative error curves and every figure of the detectors."""
    results = tables.detector_tables(run)
    if not results:
        return None
    evaluated = [stage for stage in STAGES if subsets(run, stage)]
    known = {key for stage in evaluated for values in subsets(run, stage).values() for key in values}
    return DetectorSection(
        stages=_legend(evaluated),
        charts=_cumulative_plots(run, subset_names(run)[0]),
        subsets=tuple(results),
        regions=tables.region_table(run),
        repeats=tables.repeats_table(run),
        versus=tables.versus(evaluated),
        metrics=tuple((name, meaning) for name, meaning in METRICS.items() if name in known),
    )


def _cumulative_plots(run: Run, subset: str) -> tuple[Plot, ...]:
    curves = {}
    for stage in STAGES:
        curve = subsets(run, stage).get(subset, {}).get("cumulative_interocular")
        if curve:
            curves[stage] = (np.asarray(curve["error"], float), np.asarray(curve["share"], float))
    if not curves:
        return ()
    shares = {stage: 100 * float(np.interp(4.0, *curve)) for stage, curve in curves.items()}
    label = f"Cumulative error curve on {tables.spoken(subset)}; % of faces up to an error of 4 %: {_spoken(shares)}"
    chart = to_svg(detector.cumulative_error(curves, PAGE), "cumulative", label)
    title = f"Cumulative error, {tables.spoken(subset)}"
    plots = [Plot(title, chart, "share of faces whose nme_interocular is at most x")]
    gain = detector.cumulative_gain(curves, PAGE)
    if gain is not None:
        chart = to_svg(gain, "gain", f"The cumulative error curves on {tables.spoken(subset)} less the start's")
        plots.append(Plot("Gain over the start", chart, "the same curves less the start's, percentage points"))
    return tuple(plots)


def training_section(run: Run) -> TrainingSection | None:
    """Loss and held-out error of every stage over its epochs, whole and after the start."""
    logged = {key for records in run.logs.values() for record in records for key in record}
    error = next((name for name in ("nme_interocular", "nme_interpupil") if name in logged), "nme_box")
    loss = _training_plots(run, "loss", "Training loss", "each stage against the labels that it trains on")
    charts = (*loss, *_training_plots(run, error, "Test error", f"{error}, %"))
    return TrainingSection(_legend(run.logs), charts) if charts else None


def _training_plots(run: Run, key: str, title: str, caption: str) -> tuple[Plot, ...]:
    """A logged figure over all epochs, and after the start alone; empty if it was not logged."""
    figure = training.training_curve(run.logs, key, PAGE)
    if figure is None:
        return ()
    ends = _spoken({stage: float(values[-1]) for stage, (_, values) in training.curves_of(run.logs, key).items()})
    plots = [Plot(title, to_svg(figure, f"training-{key}", f"{title} by epoch; at the end: {ends}"), caption)]
    stretch = training.last_stretch(run.logs, key, PAGE)
    if stretch is not None:
        chart = to_svg(stretch, f"stretch-{key}", f"{title} after the start; at the end: {ends}")
        plots.append(Plot(f"{title} after the start", chart, f"{caption}; dashed: the start's end"))
    return tuple(plots)


def _legend(stages: Iterable[str]) -> tuple[tuple[str, str], ...]:
    there = set(stages)
    return tuple((stage, STAGE_MEANING[stage]) for stage in STAGES if stage in there)


def _spoken(values: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {value:.3g}" for stage, value in values.items())
