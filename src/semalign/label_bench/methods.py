"""The methods that are compared: what each makes of the same annotations and the same evidence.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.core.search import SearchSettings
from semalign.errors import SemalignError
from semalign.label_bench.settings import BenchSettings
from semalign.searches import Evidence, LabelSearch, Observations, make_search
from semalign.searches.average import AverageSettings
from semalign.searches.methods import DEFAULT, METHODS

BOUND, BOUND_OF_MEAN = "bound", "bound, witnesses' mean"
Error = Callable[[np.ndarray], float]  # of labels (b, n, 2)


@dataclass(frozen=True, eq=False)
class Found:
    """The labels of a method."""

    method: str
    points: Float[np.ndarray, "b n 2"]
    spread: Float[np.ndarray, "b n 2"] | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The labels of all methods on the same faces.

    Attributes:
        drift: the errors of the default method after each pass, in a word where it ends and where it was best; empty where no
            errors are known.
        notes: on methods that are left out.
    """

    found: list[Found]
    drift: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def compare(
    annotations: Float[np.ndarray, "b n 2"], evidence: Evidence, settings: BenchSettings, error: Error | None = None
) -> Comparison:
    """The labels of every method, in the order of the table.

    Args:
        annotations: what people marked.
        evidence: of the same faces.
        settings: of the methods.
        error: by which the best pass of several is chosen, as nobody without the truth can; None = the last pass counts.
    """
    observations = Observations(annotations, annotations)
    average = make_search(AverageSettings(), settings.adaptation_components)(observations, evidence)
    found = [
        Found("annotation", annotations),
        Found("prediction", np.where(np.isnan(annotations), np.nan, evidence.predictions.points)),
        Found("average", average.points, average.spread),
    ]
    notes = []
    try:
        calibrated = make_search(settings.calibrated, settings.adaptation_components)(observations, evidence)
        found.append(Found("calibrated", calibrated.points, calibrated.spread))
    except SemalignError as refusal:
        notes.append(f"calibrated is left out: {refusal}")
    default = settings.paper if METHODS[DEFAULT] is SearchSettings else METHODS[DEFAULT]()
    drifting = passes(make_search(default), annotations, evidence, settings.drift_passes)
    own = drifting
    if default is not settings.paper or settings.passes > settings.drift_passes:
        own = passes(make_search(settings.paper), annotations, evidence, settings.passes)
    best, note = _best(own[: settings.passes], error)
    title = f"paper, best of {settings.passes}" if error is not None else f"paper, {settings.passes} passes"
    found += [Found("paper, 1 pass", own[0]), Found(title, best, note=note)]
    drift = _drift(drifting, error)
    found.append(Found(f"drift, {settings.drift_passes} passes", drifting[-1], note=drift.get("says", "")))
    return Comparison(found, drift, notes)


def passes(
    search: LabelSearch, annotations: Float[np.ndarray, "b n 2"], evidence: Evidence, count: int
) -> list[Float[np.ndarray, "b n 2"]]:
    """The labels after each of `count` passes, each of which begins at the labels of the one before."""
    labels = [annotations]
    for _ in range(count):
        labels.append(search(Observations(labels[-1], annotations), evidence).points)
    return labels[1:]


def _best(labels: list[np.ndarray], error: Error | None) -> tuple[np.ndarray, str]:
    if error is None:
        return labels[-1], ""
    errors = [error(points) for points in labels]
    place = int(np.argmin(errors))
    return labels[place], f"pass {place + 1} of {len(labels)}"


def _drift(labels: list[np.ndarray], error: Error | None) -> dict[str, Any]:
    if error is None:
        return {}
    errors = [error(points) for points in labels]
    place = int(np.argmin(errors))
    says = f"{DEFAULT} ends at {errors[-1]:.3f}; its best is {errors[place]:.3f}, after pass {place + 1}"
    return {"method": DEFAULT, "by_pass": errors, "best_pass": place + 1, "says": says}
