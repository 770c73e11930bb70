"""What stands at the head of the page: the run's outcome in sentences, its key figures, and what was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from semalign.report.outcome import LABEL_SETS, Headline, headline, subset_names
from semalign.report.run import Run
from semalign.report.text import change, duration, is_number, number, signed

SAME = 0.5  # %, a smaller change of the labels' error is called none


@dataclass(frozen=True)
class KeyFigure:
    """One large number: what it is, the number, and what it is to be compared with."""

    label: str
    value: Markup | str
    detail: Markup


def key_figures(run: Run) -> list[KeyFigure]:
    """The numbers to remember, labels first."""
    return [*_label_figures(run), *_movement_figures(run), *_detector_figures(headline(run))]


def _label_figures(run: Run) -> Iterator[KeyFigure]:
    for key, points in LABEL_SETS.items():
        error = run.summary.get(key)
        if error:
            detail = Markup("{} → {} {}").format(number(error["before"]), number(error["after"]), f"% of {run.unit}")
            yield KeyFigure(f"Label error, {points}", signed(change(error["before"], error["after"])), detail)


def _movement_figures(run: Run) -> Iterator[KeyFigure]:
    records = run.summary.get("label_movement") or []
    if records and "label_error" not in run.summary:
        detail = Markup("of {} on average; {} % in search {}, the last").format(
            run.unit, number(records[-1]["mean"]), number(len(records), 0)
        )
        yield KeyFigure("Movement of labels, first search", Markup("{} %").format(number(records[0]["mean"])), detail)


def _detector_figures(found: Headline) -> Iterator[KeyFigure]:
    if not found.values:
        return
    stage = "aligned" if "aligned" in found.values else list(found.values)[-1]
    others = [Markup("{} {}").format(name, number(value)) for name, value in found.values.items() if name != stage]
    name = Markup("{}{}").format(found.metric, _mean_of(found))
    detail = Markup("{}; {}").format(name, Markup(", ").join(others)) if others else name
    yield KeyFigure(f"Detector error, {stage}", Markup("{} %").format(number(found.values[stage])), detail)


def _mean_of(found: Headline) -> str:
    return f", mean of {found.repeats} repeats" if found.repeats > 1 else ""


def verdict(run: Run) -> list[Markup]:
    """The outcome in one sentence each for labels and detector, whichever way it went."""
    return [*_label_verdict(run), *_detector_verdict(run)]


def _label_verdict(run: Run) -> Iterator[Markup]:
    error = run.summary.get("label_error")
    if error:
        relative = change(error["before"], error["after"]) or 0.0
        way = "nearer to the truth than" if relative < 0 else "further from the truth than"
        way = "as far from the truth as" if abs(relative) < SAME else way
        text = Markup("The found labels are {} the annotations: their error went from {} to {} {}.")
        yield text.format(way, number(error["before"]), number(error["after"]), f"% of {run.unit}")
    elif run.summary.get("label_movement"):
        yield Markup("There is no truth to compare the found labels with.")


def _detector_verdict(run: Run) -> Iterator[Markup]:
    found = headline(run)
    values = found.values
    terms = f"{found.metric}{_mean_of(found)}, {against(run)}"
    other = next((stage for stage in ("baseline", "start") if stage in values), None)
    if "aligned" in values and other:
        compared = {"baseline": "trained as long on the annotations", "start": "before alignment"}[other]
        yield Markup("The detector trained on found labels errs by {} %, the one {} by {} % ({}).").format(
            number(values["aligned"]), compared, number(values[other]), terms
        )
    elif values:
        stage, value = list(values.items())[-1]
        yield Markup("The detector “{}” errs by {} % ({}).").format(stage, number(value), terms)


def against(run: Run) -> str:
    """On which faces the detectors are measured, and what with."""
    subset = next(iter(subset_names(run)), "all")
    return f"test faces{'' if subset in ('all', 'full') else f' of {subset}'}, against the {run.reference}"


def facts(run: Run) -> list[tuple[str, Markup]]:
    """What was run: pairs of a term and its value."""
    data, rows = run.summary.get("data", {}), []
    if run.summary.get("recipe"):
        rows.append(("Recipe", Markup("{}").format(run.summary["recipe"])))
    if data.get("name"):
        folder = Markup(" <code>{}</code>").format(data["root"]) if data.get("root") else ""
        state = "" if data.get("notes") else ", complete"
        rows.append(("Data", Markup("{}{}{}").format(data["name"], state, folder)))
    for key, term in (("train", "Trained on"), ("test", "Tested on")):
        if data.get(key) is not None:
            rows.append((term, _counts(data[key])))
    if run.scheme is not None:
        rows.append(("Landmarks", Markup("{} ({} points)").format(run.scheme.name, number(run.scheme.count, 0))))
    if is_number(run.summary.get("seed")):
        rows.append(("Seed", number(run.summary["seed"], 0)))
    if run.summary.get("hardware"):
        rows.append(("Hardware", Markup("{}").format(_described(run.summary["hardware"]))))
    seconds = [value for value in run.summary.get("seconds", {}).values() if is_number(value)]
    if seconds:
        rows.append(("Time", Markup("{}").format(duration(sum(seconds)))))
    return rows


def _counts(value: Any) -> Markup:
    """Numbers of faces: their sum, and each subset's where there are several."""
    if not isinstance(value, Mapping):
        return Markup("{} faces").format(number(value, 0))
    total = Markup("{} faces").format(number(sum(value.values()), 0))
    parts = Markup(", ").join(Markup("{} {}").format(name, number(count, 0)) for name, count in value.items())
    return Markup("{} <small>{}</small>").format(total, parts)


def _described(value: Any) -> str:
    """Hardware as one line: text as it is, a mapping as 'key value, key value'."""
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {item}" for key, item in value.items() if item is not None)
    return str(value)
