"""What a run's summary says, under the names that the page uses; whatever is missing comes back empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from semalign.report.run import STAGES, Run
from semalign.report.text import is_number

METRICS: Mapping[str, str] = {
    "nme_interpupil": "mean error, % of the distance between the pupils (each the mean of its eye's points)",
    "nme_interocular": "mean error, % of the distance between the outer eye corners",
    "rmse_interocular": "root of the mean squared error, % of the distance between the outer eye corners",
    "nme_box": "mean error, % of the face box's size, √(width · height)",
    "auc_interocular_8": "area under the cumulative curve of nme_interocular up to 8 %; 1 is perfect",
    "failure_rate_interocular_8": "% of faces whose nme_interocular is above 8 %",
    "auc_interpupil_10": "area under the cumulative curve of nme_interpupil up to 10 %; 1 is perfect",
    "failure_rate_interpupil_10": "% of faces whose nme_interpupil is above 10 %",
}
STAGE_MEANING = {
    "start": "trained on the annotations until it roughly converged",
    "baseline": "the start, trained on as long as the aligned one, but on the annotations",
    "aligned": "the start, trained on with label search and training in turn",
}
LABEL_SETS = {"label_error": "all points", "label_error_strong": "strong points", "label_error_contour": "contour"}


@dataclass(frozen=True)
class Headline:
    """The one error by which the page compares detectors."""

    metric: str
    values: Mapping[str, float]  # by stage
    repeats: int  # that the values of baseline and aligned are the mean of


def subsets(run: Run, stage: str) -> Mapping[str, Any]:
    """The evaluation of a stage's detector by subset."""
    found: Mapping[str, Any] = run.summary.get("detector", {}).get(stage, {}).get("subsets", {})
    return found


def subset_names(run: Run) -> list[str]:
    """All evaluated subsets, the main one first: all faces where they were evaluated together."""
    names: list[str] = []
    for stage in STAGES:
        names += [name for name in subsets(run, stage) if name not in names]
    main = next((name for name in ("full", "all") if name in names), names[0] if names else None)
    return sorted(names, key=lambda name: name != main)


def headline(run: Run) -> Headline:
    """The detectors' error in one figure by stage, the mean where there were several repeats.

    On faces with known truth it is nme_interocular, on real ones nme_interpupil (else the first metric that there is).
    """
    named = run.summary.get("detector_nme", {})
    if run.reference == "truth" and any(is_number(named.get(stage)) for stage in STAGES):
        metric = str(named.get("normalisation", "nme_interocular"))
        return _with_means(run, metric, {stage: named[stage] for stage in STAGES if is_number(named.get(stage))})
    for metric in METRICS:
        for subset in subset_names(run)[:1]:
            values = {stage: subsets(run, stage).get(subset, {}).get(metric) for stage in STAGES}
            present = {stage: value for stage, value in values.items() if is_number(value)}
            if present:
                return _with_means(run, metric, present)
    return Headline("nme_interocular", {}, 1)


def _with_means(run: Run, metric: str, values: Mapping[str, float]) -> Headline:
    means = {stage: figures["mean"] for stage, figures in repeats(run).get(metric, {}).items()}
    count = max((len(figures["values"]) for figures in repeats(run).get(metric, {}).values()), default=1)
    return Headline(metric, {**values, **means}, count)


def repeats(run: Run) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Values, mean and standard deviation over the repeats, by metric and stage; empty unless there were several."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for stage in STAGES:
        for metric, figures in run.summary.get("repeats", {}).get(stage, {}).items():
            if len(figures.get("values", ())) > 1:
                found.setdefault(metric, {})[stage] = figures
    return found


def label_curves(run: Run) -> dict[str, list[float]]:
    """The labels' error by iteration for each set of points, the annotations first; empty without a known truth."""
    curves = {}
    for key, name in LABEL_SETS.items():
        error = run.summary.get(key)
        if error and is_number(error.get("before")) and is_number(error.get("after")):
            values = [float(value) if is_number(value) else np.nan for value in error.get("by_iteration", ())]
            curves[name] = values if len(values) > 1 else [float(error["before"]), float(error["after"])]
    return curves


def label_groups(run: Run) -> dict[str, dict[str, list[float]]]:
    """By region of the face the labels' error by iteration: mean, along and across the curve; NaN where there is none."""
    steps = run.summary.get("label_groups", {}).get("by_iteration") or []
    return {
        name: {
            part: [float(value) if is_number(value := step[name].get(part)) else np.nan for step in steps]
            for part in ("mean", "along", "across")
        }
        for name in (steps[0] if steps else ())
    }
