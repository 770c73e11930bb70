"""Tables 2 to 9: the paper's figures and, beside them, ours, each from the cached experiments alone.

What is said below a table is computed from the figures: the paper's change from one method to another, ours on the same test
faces with the interval of a paired bootstrap, and whether the two point the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from semalign.core.search import scaled_radius
from semalign.evaluation.bootstrap import Difference
from semalign.paper import published
from semalign.paper.lab import Detector, Lab
from semalign.paper.outcome import Cell, Outcome
from semalign.paper.protocols import FULL
from semalign.paper.published import HGS, NEITHER, NORM, SA, SA_GHCU, SA_NORM, SA_NORM_GHCU, PublishedTable
from semalign.report.text import plain, signed
from semalign.training.correction import Use

Value = float | None


@dataclass(frozen=True)
class Row:
    """A method with the paper's figures and ours by column."""

    method: str
    paper: tuple[Value, ...]
    ours: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Table:
    """A table of the paper and ours; `columns` may go on beyond the paper's."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


Outcomes = Mapping[str, Outcome]
Pair = tuple[str, str]  # a method and what it is compared with


def table2(lab: Lab) -> Table:
    """300W, with the rows of rotation normalisation."""
    hgs, sa = Detector("300w"), Detector("300w", lab.alignment)
    norm, sa_norm = replace(hgs, righted=True), replace(sa, righted=True)
    outcomes = {
        HGS: lab.detected(hgs),
        SA: lab.detected(sa),
        SA_GHCU: lab.corrected(sa),
        NORM: lab.detected(norm),
        SA_NORM: lab.detected(sa_norm),
        SA_NORM_GHCU: lab.corrected(sa_norm),
        **_other_uses(SA_GHCU, lab, sa),
        **_other_uses(SA_NORM_GHCU, lab, sa_norm),
    }
    pairs = [(SA, HGS), (SA_GHCU, SA), (f"{SA_GHCU} (fused)", SA), (NORM, HGS), (SA_NORM, SA)]
    return _methods(2, lab, "300w", outcomes, pairs)


def table3(lab: Lab) -> Table:
    """AFLW-Full."""
    return _with_correction(3, lab, "aflw")


def table4(lab: Lab) -> Table:
    """300-VW."""
    return _with_correction(4, lab, "300vw")


def table5(lab: Lab) -> Table:
    """The weight of the likelihood; the size's own weight is a column beyond the paper's."""
    paper = published.TABLES[5]
    columns = _beyond(paper.columns, f"{lab.alignment.weight:g}")
    outcomes = {
        column: lab.detected(Detector("300w", replace(lab.alignment, weight=float(column)))) for column in columns
    }
    (method,) = paper.rows
    row = _varied(method, paper, columns, outcomes, FULL["300w"])
    notes = [*_source(lab, "300w"), *_best(row, columns, outcomes, FULL["300w"], "0")]
    return Table("table5", paper.title, columns, (row,), tuple(notes))


def table6(lab: Lab) -> Table:
    """The template's size; the size's own template is a column beyond the paper's."""
    paper = published.TABLES[6]
    columns = _beyond(paper.columns, str(lab.alignment.template))
    rows, notes = [], []
    for method, name in zip(paper.rows, ("300w", "aflw"), strict=True):
        varied = {column: Detector(name, replace(lab.alignment, template=int(column))) for column in columns}
        outcomes = {column: lab.detected(detector) for column, detector in varied.items() if lab.has(name)}
        rows.append(_varied(method, paper, columns, outcomes, FULL[name]))
        if outcomes:
            notes += [*_source(lab, name), *_best(rows[-1], columns, outcomes, FULL[name], columns[0])]
    return Table("table6", paper.title, columns, tuple(rows), (*notes, *_same_templates(lab, columns)))


def table7(lab: Lab) -> Table:
    """Hourglass and regressor, each on annotations and on searched labels."""
    paper = published.TABLES[7]
    hgs, sa = Detector("300w"), Detector("300w", lab.alignment)
    found = (lab.detected(hgs), lab.detected(sa), lab.regressed(hgs), lab.regressed(sa))
    outcomes = dict(zip(paper.columns, found, strict=True))
    (method,) = paper.rows
    row = _varied(method, paper, paper.columns, outcomes, FULL["300w"])
    notes = list(_source(lab, "300w"))
    for human, searched in (paper.columns[:2], paper.columns[2:]):
        values = dict(zip(paper.columns, row.paper, strict=True))
        notes += _compared(searched, human, values, outcomes, FULL["300w"])
    return Table("table7", paper.title, paper.columns, (row,), tuple(notes))


def table8(lab: Lab) -> Table:
    """Correction by the shape model and by GHCU: errors and CPU time."""
    sa = Detector("300vw", lab.alignment)
    outcomes = {
        "Baseline": lab.detected(sa),
        "PCA": lab.shape_fitted(sa, iterative=True),
        "GHCU": lab.corrected(sa),
        "PCA (projection)": lab.shape_fitted(sa, iterative=False),
        **_other_uses("GHCU", lab, sa),
    }
    pairs = [("PCA", "Baseline"), ("GHCU", "Baseline"), ("GHCU (gated)", "Baseline"), ("GHCU (fused)", "Baseline")]
    pairs += [("GHCU", "PCA"), ("GHCU (fused)", "PCA")]
    table = _methods(8, lab, "300vw", outcomes, pairs)
    measured = lab.milliseconds(sa)
    names = {
        "PCA": "iterative fit",
        "PCA (projection)": "projection",
        "GHCU": "GHCU",
        "GHCU (gated)": "gated GHCU",
        "GHCU (fused)": "fused GHCU",
    }
    rows = []
    for row in table.rows:
        if row.method in names:
            cell = outcomes[row.method].milliseconds(measured[names[row.method]], lab.timed(sa))
            row = replace(row, ours=(*row.ours[:-1], cell))
        rows.append(row)
    faster, fused = (measured["iterative fit"] / measured[name] for name in ("GHCU", "fused GHCU"))
    published_faster = _ratio(published.TABLES[8], "PCA", "GHCU", -1)
    note = (
        f"GHCU against the iterative PCA fit: {faster:.1f} times as fast here, {published_faster:.1f} times in the paper; "
        f"fused with the peaks, {fused:.1f} times."
    )
    return replace(table, rows=tuple(rows), notes=(*table.notes, note))


def table9(lab: Lab) -> Table:
    """SA and GHCU together and alone."""
    hgs, sa = Detector("300vw"), Detector("300vw", lab.alignment)
    outcomes = {
        "SA and GHCU": lab.corrected(sa),
        "GHCU alone": lab.corrected(hgs),
        "SA alone": lab.detected(sa),
        NEITHER: lab.detected(hgs),
        **_other_uses("SA and GHCU", lab, sa),
        **_other_uses("GHCU alone", lab, hgs),
    }
    pairs = [("SA alone", NEITHER), ("GHCU alone", NEITHER), ("SA and GHCU", NEITHER), ("SA and GHCU (fused)", NEITHER)]
    return _methods(9, lab, "300vw", outcomes, pairs)


TABLES: Mapping[str, Callable[[Lab], Table]] = {
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "table6": table6,
    "table7": table7,
    "table8": table8,
    "table9": table9,
}


def _with_correction(number: int, lab: Lab, name: str) -> Table:
    """A table of HGs, SA, and GHCU in all of its uses."""
    hgs, sa = Detector(name), Detector(name, lab.alignment)
    outcomes = {
        HGS: lab.detected(hgs),
        SA: lab.detected(sa),
        SA_GHCU: lab.corrected(sa),
        **_other_uses(SA_GHCU, lab, sa),
    }
    return _methods(number, lab, name, outcomes, [(SA, HGS), (SA_GHCU, SA), (f"{SA_GHCU} (fused)", SA)])


def _other_uses(method: str, lab: Lab, detector: Detector) -> dict[str, Outcome]:
    """GHCU in the uses that the paper does not have, under the method's name."""
    uses: tuple[Use, ...] = ("gated", "fused")
    return {f"{method} ({use})": lab.corrected(detector, use) for use in uses}


def _methods(number: int, lab: Lab, protocol: str, outcomes: Outcomes, pairs: Sequence[Pair]) -> Table:
    """A table of methods by test set; methods of ours that the paper lacks come last."""
    paper = published.TABLES[number]
    rows = []
    for method in (*paper.rows, *(name for name in outcomes if name not in paper.rows)):
        values = paper.rows.get(method, (None,) * len(paper.columns))
        cells = outcomes[method].cells(paper.columns) if method in outcomes else {}
        rows.append(Row(method, values, tuple(cells.get(column) for column in paper.columns)))
    column, notes = FULL[protocol], list(_source(lab, protocol))
    place = paper.columns.index(column)
    values_by_method = {method: values[place] for method, values in paper.rows.items()}
    for method, other in pairs:
        notes += _compared(method, other, values_by_method, outcomes, column)
    return Table(f"table{number}", paper.title, paper.columns, tuple(rows), tuple(notes))


def _varied(method: str, paper: PublishedTable, columns: tuple[str, ...], outcomes: Outcomes, test: str) -> Row:
    """A row whose columns are different detectors on the same test faces; without ours where there is no outcome."""
    values = dict(zip(paper.columns, paper.rows[method], strict=True))
    return Row(
        method,
        tuple(values.get(column) for column in columns),
        tuple(outcomes[column].cell(test) if column in outcomes else None for column in columns),
    )


def _beyond(columns: tuple[str, ...], own: str) -> tuple[str, ...]:
    return columns if own in columns else (*columns, own)


def _source(lab: Lab, name: str) -> tuple[str, ...]:
    """What the figures of a protocol were made from."""
    protocol = lab.protocol(name)
    tests = ", ".join(
        f"{column} {len(rows)} ({protocol.coverage[column]})" for column, rows in protocol.columns.items()
    )
    return (
        f"Ours: {protocol.data}; {protocol.metric.name} against {protocol.reference}; test {protocol.unit}: {tests}; "
        f"seed {lab.seed}; size {lab.size.name}. {' '.join(protocol.notes)}",
    )


def _compared(method: str, other: str, paper: Mapping[str, Value], outcomes: Outcomes, column: str) -> tuple[str, ...]:
    """The change from one method to another, the paper's and ours, and whether they point the same way."""
    difference = outcomes[method].against(outcomes[other], column)
    mine, base = outcomes[method].cell(column), outcomes[other].cell(column)
    if difference is None or mine is None or base is None:
        return ()
    here = f"here {signed(_change(base.value, mine.value))} ({_interval(difference)})"
    before, after = paper.get(other), paper.get(method)
    if before is None or after is None:  # not in the paper
        return (f"{method} against {other} on {column}: {here}.",)
    said = f"{method} against {other} on {column}: the paper {signed(_change(before, after))}, {here}"
    return (f"{said}; {_agreement(after - before, difference)}.",)


def _change(before: float, after: float) -> float:
    return 100 * (after / before - 1) if before else float("nan")


def _interval(difference: Difference) -> str:
    low, high = plain(difference.low), plain(difference.high)
    return f"difference {plain(difference.mean)}, {100 * difference.level:.0f} % interval {low} to {high}"


def _agreement(paper: float, difference: Difference) -> str:
    if difference.verdict == "undecided":
        return "undecided here"
    same = (difference.verdict == "lower") == (paper < 0)
    return "the same direction as in the paper" if same else "the opposite of the paper's direction"


def _best(row: Row, columns: tuple[str, ...], outcomes: Outcomes, test: str, against: str) -> tuple[str, ...]:
    """Which column is best in the paper and here, and whether ours differs from a given column."""
    paper = {column: value for column, value in zip(columns, row.paper, strict=True) if value is not None}
    ours = {column: cell.value for column, cell in zip(columns, row.ours, strict=True) if cell is not None}
    if not ours:
        return ()
    lowest = min(ours, key=lambda column: ours[column])
    said = f"{row.method}: lowest at {min(paper, key=lambda column: paper[column])} in the paper, at {lowest} here"
    difference = outcomes[lowest].against(outcomes[against], test)
    if difference is None or lowest == against:
        return (f"{said}.",)
    return (f"{said}; against {against}: {_interval(difference)}.",)


def _same_templates(lab: Lab, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Says which sizes come to the same template in this heatmap, if some do."""
    heatmap = lab.size.network.heatmap_size
    groups: dict[int, list[str]] = {}
    for column in columns:
        groups.setdefault(scaled_radius(int(column), heatmap), []).append(column)
    same = [f"{', '.join(members)} ({2 * radius + 1} px)" for radius, members in groups.items() if len(members) > 1]
    if not same:
        return ()
    return (
        f"In a heatmap of {heatmap}×{heatmap} these sizes are the same template, and one experiment: {'; '.join(same)}.",
    )


def _ratio(paper: PublishedTable, slow: str, fast: str, place: int) -> float:
    one, other = paper.rows[slow][place], paper.rows[fast][place]
    return one / other if one and other else float("nan")
