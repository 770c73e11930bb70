"""Results as tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from semalign.cli.output import print_json
from semalign.data.cache import in_bytes
from semalign.files import shown

if TYPE_CHECKING:
    from pathlib import Path

    from semalign.auditing import Audit
    from semalign.data import CheckReport, LabelVersion
    from semalign.data.cache import Cached
    from semalign.schemes import LandmarkScheme


def print_check(report: CheckReport, as_json: bool = False) -> None:
    """What `semalign data check` found."""
    if as_json:
        values = {"root": shown(report.root), "data": report.name, "scheme": report.scheme, "usable": report.usable}
        kinds = {"bad": report.problems, "suspicious": report.suspicious}
        listed = {
            kind: [{"file": shown(p.file), "message": shown(p.message)} for p in found] for kind, found in kinds.items()
        }
        print_json({**values, "subsets": dict(report.counts), "notes": list(report.notes), **listed})
        return
    faces = _table("subset", "faces")
    for subset, count in report.counts.items():
        faces.add_row(subset, str(count))
    faces.add_section()
    faces.add_row("all", str(report.usable))
    _show(faces)
    _lines(f"note: {note}" for note in report.notes)
    _lines(f"bad: {problem.message}" for problem in report.problems)
    _lines(f"suspicious: {problem.message}" for problem in report.suspicious)
    usable = f"{report.usable} usable face{'' if report.usable == 1 else 's'} with the points of {report.scheme}"
    faces_in_doubt = len({problem.file for problem in report.suspicious})
    doubtful = f", {faces_in_doubt} suspicious" if faces_in_doubt else ""
    _lines([f"{report.root}: {usable}, {len(report.problems) or 'none'} bad{doubtful}"])


def print_findings(
    audit: Audit, found: Sequence[Mapping[str, Any]], count: int, skipped: Sequence[Mapping[str, str]]
) -> None:
    """What `semalign audit` found: the first findings, of so many, and faces that could not be judged."""
    table = _table("rank", "image", "landmark", "kind", "probability", "dx", "dy", words=("image", "landmark", "kind"))
    for row in found:
        landmark = "" if row["landmark"] is None else f"{row['landmark']} {audit.scheme.landmarks[row['landmark']]}"
        moves = ("" if row[name] is None else f"{row[name]:.1f}" for name in ("dx", "dy"))
        table.add_row(
            str(row["rank"]), row["image"] or "all faces", landmark, row["kind"], f"{row['probability']:.3f}", *moves
        )
    if found:
        _show(table)
    _lines(f"not judged: {shown(one['image'])}: {shown(one['why'])}" for one in skipped)
    shift = audit.shift()
    _lines([] if shift is None else [f"origin: {shift.sentence()}"])
    faces = len({row["image"] for row in found if row["image"]}) if count == len(found) else None
    of = "" if not faces else f" in {faces} face{'' if faces == 1 else 's'}"
    more = f", of which these are the first {len(found)}" if count > len(found) else ""
    _lines([f"{count or 'no'} finding{'' if count == 1 else 's'}{of} of {len(audit)} faces{more}"])


def print_versions(versions: Sequence[LabelVersion], as_json: bool = False) -> None:
    """Label versions, with what moved."""
    if as_json:
        print_json([_version_values(version) for version in versions])
        return
    table = _table("version", "iteration", "images", "landmarks", "mean movement, px", "largest, px", "confidence")
    for version in versions:
        *counts, mean, largest, confidence = _version_values(version).values()
        numbers = ("" if number is None else f"{number:.3f}" for number in (mean, largest, confidence))
        table.add_row(*map(str, counts), *numbers)
    _show(table)


def _version_values(version: LabelVersion) -> dict[str, Any]:
    """A row of `print_versions`; None for what is not known."""
    from semalign.data.samples import ABSENT

    images, landmarks = version.shape
    movement, most, sure, count = 0.0, 0.0, 0.0, 0
    for part in version.parts():
        there = part.visibility != ABSENT
        moved = part.movement[there]
        movement += moved.sum()
        most = np.maximum(most, moved.max(initial=0.0))  # NaN stays NaN
        sure += part.confidence[there].sum()
        count += there.sum()
    numbers = (movement / count, most, sure / count) if count else (np.nan,) * 3
    mean, largest, confidence = (None if np.isnan(number) else float(number) for number in numbers)
    return {
        "version": version.index,
        "iteration": version.iteration,
        "images": images,
        "landmarks": landmarks,
        "mean_movement": mean,
        "largest_movement": largest,
        "confidence": confidence,
    }


def print_cache(folder: Path, contents: Sequence[Cached], limit: int, as_json: bool = False) -> None:
    """What the cache of crops holds, last used first."""
    size = sum(one.size for one in contents)
    if as_json:
        listed = [
            {
                "file": shown(one.path),
                "bytes": one.size,
                "last_used": datetime.fromtimestamp(one.used, UTC).isoformat(timespec="seconds"),
                "in_use": one.in_use,
                "faces": one.faces,
                "side": one.side,
                "pictures": None if one.data is None else shown(one.data),
            }
            for one in contents
        ]
        print_json({"folder": shown(folder), "bytes": size, "limit": limit, "crops": listed})
        return
    table = _table("last used", "faces", "pixels", "size", "", "pictures", words=("", "pictures"))
    for one in contents:
        used = f"{datetime.fromtimestamp(one.used):%Y-%m-%d %H:%M}"
        numbers = (str(one.faces), f"{one.side}×{one.side}", in_bytes(one.size))
        table.add_row(
            used, *numbers, "in use" if one.in_use else "", "damaged" if one.data is None else shown(one.data)
        )
    if contents:
        _show(table)
    sets = f"{len(contents) or 'no'} set{'' if len(contents) == 1 else 's'} of crops"
    _lines([f"{folder}: {sets}, {in_bytes(size)} of {in_bytes(limit)} at most"])


def print_schemes(schemes: Iterable[LandmarkScheme]) -> None:
    """Landmark schemes, with what they define."""
    table = _table("scheme", "landmarks", "pairs", "curves", "strong", "regions", words=("regions",))
    for scheme in schemes:
        numbers = (scheme.count, len(scheme.pairs), len(scheme.curves), len(scheme.strong))
        table.add_row(scheme.name, *map(str, numbers), ", ".join(scheme.regions))
    _show(table)


def print_models(models: Mapping[str, Path], short: Mapping[str, str]) -> None:
    """Shipped models, with what each may be used for; `short` has the words that stand for some of them."""
    from semalign.models.pretrained import facts

    table = _table("model", "landmarks", "input", "parameters", "MiB", "terms", words=("terms",))
    for name, path in models.items():
        known = facts(path)
        side, size = known.input_size, f"{path.stat().st_size / 2**20:.1f}"
        label = " ".join([name, *(f"({word})" for word, stands_for in short.items() if stands_for == name)])
        parameters = f"{known.parameters / 1e6:.1f} M"
        table.add_row(label, str(known.scheme.count), f"{side}×{side}", parameters, size, known.terms or "")
    _show(table)


def print_summary(summary: Mapping[str, Any]) -> None:
    """What a run achieved: labels against the truth where it is known, detectors on the test faces."""
    unit = "face box" if summary.get("label_error_by") == "box" else "outer-eye distance"
    labels = _table(f"labels against the truth, % of the {unit}", "annotations", "found", "change")
    for key, name in (("", "all points"), ("_strong", "strong points"), ("_contour", "contour")):
        error = summary.get(f"label_error{key}")
        if error is not None:
            change = f"{100 * (error['after'] / error['before'] - 1):+.0f} %" if error["before"] else ""
            labels.add_row(name, _number(error["before"]), _number(error["after"]), change)
    if labels.row_count:
        _show(labels)
        _lines([""])
    if "repeats" in summary:
        _show(_detectors(summary))
        _lines([""])
    _lines(f"note: {note}" for note in summary["data"]["notes"])
    print_skipped(summary["data"]["skipped"])


def _detectors(summary: Mapping[str, Any]) -> Table:
    """Errors of the detectors on all test faces; of several repeats, mean ± standard deviation."""
    repeats: Mapping[str, Mapping[str, Any]] = summary["repeats"]
    table = _table(f"detector on the test faces, against the {summary['data']['reference']}, %", "start", *repeats)
    start = summary["detector"]["start"]["subsets"]["all"]
    for measure in next(iter(repeats.values())):
        spreads = [values[measure] for values in repeats.values()]
        means = (_number(s["mean"]) + (f" ± {s['sd']:.3f}" if s["sd"] is not None else "") for s in spreads)
        table.add_row(measure, _number(start.get(measure)), *means)
    return table


def print_skipped(skipped: Sequence[Sequence[str]]) -> None:
    """The bad samples that were left out, and why."""
    _lines(f"left out: {why}" for _, why in skipped)
    if skipped:
        _lines([f"{len(skipped)} bad sample{' was' if len(skipped) == 1 else 's were'} left out"])


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Errors by subset: a row for each measure under its full name, then the regions; notes and what was left out."""
    subsets: Mapping[str, Mapping[str, Any]] = result["subsets"]
    table = _table("", *subsets)
    first = next(iter(subsets.values()))
    for name in [name for name, value in first.items() if isinstance(value, (int, float))]:
        table.add_row(name, *(_number(subset.get(name)) for subset in subsets.values()))
    table.add_section()
    unit = first.get("regions_by", "nme_interocular")
    for region in first.get("by_region", ()):
        values = (subset["by_region"].get(region) for subset in subsets.values())
        table.add_row(f"{unit} {region}", *map(_number, values))
    for kind in first.get("by_visibility", ()):
        errors = [subset["by_visibility"].get(kind) for subset in subsets.values()]
        if any(error is not None for error in errors):
            table.add_row(f"{unit} {kind} points", *map(_number, errors))
    _show(table)
    if "against" in result:
        _show_comparison(result["against"])
    data = result["data"]
    _lines(["", f"measured against the {data['reference']}", *(f"note: {note}" for note in data["notes"])])
    print_skipped(data["skipped"])


def _show_comparison(against: Mapping[str, Any]) -> None:
    """The differences on all faces; those on subsets are in the JSON file."""
    found = {name: item for name, item in against["subsets"]["all"].items() if item}
    level = f"{100 * next(iter(found.values()))['level']:.0f} % interval" if found else "interval"
    table = _table(
        "all faces", "this model", against["model"], "difference", level, "this one is", words=("this one is",)
    )
    for name, item in found.items():
        interval = f"{item['low']:+.3f} to {item['high']:+.3f}"
        values = (
            _number(item["mean"]),
            _number(item["other"]),
            f"{item['difference']:+.3f}",
            interval,
            item["verdict"],
        )
        table.add_row(name, *values)
    _lines([""])
    _show(table)


def print_label_bench(results: Mapping[str, Any]) -> None:
    """The bench of labels: a row for each method in each cell, what the labels drift to, notes."""
    from semalign.label_bench.output import REGIONS, flat_rows

    titles = {"error": "error, %", **{f"error_{name}": name for name in REGIONS}, "along": "along", "across": "across"}
    shares = {"removed": "removed", "of_bound": "of bound", "within_90": "within 90 %"}
    titles |= {**shares, "worth": "worth", "agreement": "halves apart, %"}
    rows = flat_rows(results["cells"])
    measured = [name for name in titles if any(row[name] is not None for row in rows)]
    table = _table("cell", "method", *(titles[name] for name in measured), words=("method",))
    before = None
    for row in rows:
        if before not in (None, row["cell"]):
            table.add_section()
        numbers = (_brief(row[name], percent=name in shares) for name in measured)
        table.add_row("" if row["cell"] == before else row["cell"], row["method"], *numbers)
        before = row["cell"]
    _show(table)
    drifts = [f"{cell['cell']}: {cell['drift']['says']}" for cell in results["cells"] if cell.get("drift")]
    notes = [note for cell in results["cells"] for note in cell["notes"]]
    _lines(
        ["", *drifts, *(f"note: {note}" for note in dict.fromkeys([*results["notes"], *notes])), results["hardware"]]
    )


def _brief(value: float | None, percent: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if percent else f"{value:.2f}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _table(*columns: str, words: Sequence[str] = ()) -> Table:
    """An empty table whose columns, but for the first and those of `words`, are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or column in words else "right")
    return table


def _show(table: Table) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file or a pipe has no width to keep within
        console.width = 200
    console.print(table)


def _lines(lines: Iterable[str]) -> None:
    console = Console(highlight=False, markup=False)
    for line in lines:
        console.print(line, soft_wrap=True)
