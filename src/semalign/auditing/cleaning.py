"""A data set written once more without what is wrong with it, in its own format, and what was moved, by whom, and how surely.

    audit/            the audit, unless it is elsewhere
    cleaned/          the data set's own documents, or pictures with .pts files
    changes.csv       a row a point that was moved
    provenance.json   who judged and decided, how many points moved; written last, so that what has none is unfinished

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float

from semalign import __version__
from semalign.auditing.decisions import Decisions
from semalign.auditing.kinds import NAMES
from semalign.auditing.result import LISTED, Audit, face_sizes, read_about, read_audit
from semalign.auditing.source import Source, refuse_other
from semalign.core.curves import tangents
from semalign.data import refuse_read_only, rewrite_dataset
from semalign.errors import SemalignError
from semalign.files import read_json, refuse_occupied, shown, write_json, write_text

Accept = Literal["auto", "all", "none", "reviewed"]
ACCEPTED: Final[tuple[Accept, ...]] = ("auto", "all", "none", "reviewed")
AUDIT, CLEANED, CHANGES, PROVENANCE = "audit", "cleaned", "changes.csv", "provenance.json"
COLUMNS = (
    "image",
    "landmark",
    "kind",
    "probability",
    "x",
    "y",
    "new_x",
    "new_y",
    "distance",
    "percent",
    "along",
    "across",
    "spread",
    "decided_by",
)
AUTO = "auto"  # in place of a person


@dataclass(frozen=True)
class Cleaned:
    """A data set that was written without what was wrong.

    Attributes:
        out: folder.
        files: annotation files that were written.
        faces: that changed.
        points: that were moved.
        notes: what the format does not keep of the new coordinates, in sentences.
    """

    out: Path
    files: tuple[Path, ...]
    faces: int
    points: int
    notes: tuple[str, ...]


def clean(
    audit: Audit,
    source: Source,
    out: str | Path,
    accept: Accept = "auto",
    *,
    decisions: Path | None = None,
    least: float = LISTED,
) -> Cleaned:
    """Write a data set once more with what an audit proposes, or people decided, into a folder.

    Args:
        audit: of the data set.
        source: where it is; only read.
        out: folder; what an earlier call wrote there is replaced.
        accept: `auto` takes the proposals of what is listed, faces as a whole and single points; `all` those of all points;
            `none` takes none; `reviewed` takes what people decided.
        decisions: folder with the decisions, for `reviewed`.
        least: probability from which something is listed.

    Raises:
        SemalignError: nothing was decided, a format that is only read, or a file that cannot be read or written.
    """
    out = Path(out)
    points, who = _labels(audit, accept, decisions, least)
    moved = np.isfinite(points).all(axis=-1) & (points != audit.annotations).any(axis=-1)
    rows = np.flatnonzero(moved.any(axis=1))
    new = np.where(moved[..., None], points, np.nan)
    (out / PROVENANCE).unlink(missing_ok=True)
    changes = {audit.ids[row]: new[row] for row in rows}
    written = rewrite_dataset(source.path, changes, out / CLEANED, source.scheme, images=source.images, overwrite=True)
    write_text(out / CHANGES, _table(audit, points, moved, who))
    listed = audit.listed(least)
    about = {
        "semalign": __version__,
        "data": audit.about.get("name"),
        "source": source.said(),
        "judges": audit.about.get("judges"),
        "judged_by_version": audit.about.get("semalign"),
        "accept": accept,
        "least": least if accept == "auto" else None,
        "listed": {"faces": int(listed.faces.sum()), "points": int(listed.points.sum())},
        "faces": len(audit),
        "faces_changed": len(rows),
        "points": int(np.isfinite(audit.annotations).all(axis=-1).sum()),
        "points_moved": int(moved.sum()),
        "decided_by": sorted({who(face, point) for face, point in np.argwhere(moved)}),
        "files": [str(path.relative_to(out)) for path in written.files],
    }
    write_json(out / PROVENANCE, about)
    return Cleaned(out, tuple(written.files), len(rows), int(moved.sum()), tuple(written.notes))


class _Who:
    """Who decided about each point."""

    def __init__(self, entries: Mapping[tuple[int, int | None], str] | None) -> None:
        self._entries = entries

    def __call__(self, face: int, point: int) -> str:
        if self._entries is None:
            return AUTO
        return self._entries.get((int(face), int(point))) or self._entries.get((int(face), None), "")


def _labels(
    audit: Audit, accept: Accept, decisions: Path | None, least: float
) -> tuple[Float[np.ndarray, "b n 2"], _Who]:
    """The labels that result, and who decided."""
    if accept == "reviewed":
        if decisions is None:
            raise ValueError("decisions are wanted")
        made = Decisions(decisions, audit.ids, audit.scheme.count)
        try:
            points, decided = made.labels(audit)
            if not decided.any():
                raise SemalignError(
                    f"{decisions}: nobody has decided anything yet; go through it with 'semalign review {decisions}'."
                )
            row = {name: index for index, name in enumerate(audit.ids)}
            last = {
                (row[entry.image], entry.landmark): entry.who
                for entry in made.history()
                if not entry.undone and entry.image in row
            }
        finally:
            made.close()
        return points, _Who(last)
    return np.where(_taken(audit, accept, least)[..., None], audit.proposals, audit.annotations), _Who(None)


def _taken(audit: Audit, accept: Accept, least: float) -> Bool[np.ndarray, "b n"]:
    """Which points take their proposals."""
    if accept == "auto":
        listed = audit.listed(least)
        return listed.faces[:, None] | listed.points
    return np.full(audit.point_probability.shape, accept == "all")


def _table(audit: Audit, points: Float[np.ndarray, "b n 2"], moved: Bool[np.ndarray, "b n"], who: _Who) -> str:
    """The changes as CSV text: lengths in pixels of the image, `percent` of the face's size."""
    step = np.where(moved[..., None], points - audit.annotations, 0.0)
    tangent = tangents(audit.proposals, audit.scheme)
    along = (step * tangent).sum(axis=-1)
    across = step[..., 1] * tangent[..., 0] - step[..., 0] * tangent[..., 1]
    length, sizes = np.linalg.norm(step, axis=-1), face_sizes(audit.annotations)
    spread = np.linalg.norm(audit.spread, axis=-1) / np.sqrt(2)
    whole = audit.listed().faces
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for face, point in np.argwhere(moved).tolist():
        kind = audit.face_kind[face] if whole[face] else audit.point_kind[face, point]
        probability = audit.face_probability[face] if whole[face] else audit.point_probability[face, point]
        numbers = (*audit.annotations[face, point], *points[face, point])
        values = (length[face, point], 100 * length[face, point] / sizes[face], along[face, point], across[face, point])
        writer.writerow(
            (
                shown(audit.ids[face]),
                point,
                NAMES[kind] if kind >= 0 else "",
                f"{probability:.4f}",
                *(_text(value, 6) for value in numbers),
                *(_text(value, 3) for value in (*values, spread[face, point])),
                who(face, point),
            )
        )
    return text.getvalue()


def _text(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def exporter(audit: Path, out: Path | None = None) -> Callable[[Path], dict[str, Any]] | None:
    """What the review page's Export calls: `clean` with what people decided.

    Args:
        audit: folder of the audit.
        out: folder that is written; None = that of the cleaned data set whose audit it is, or NAME-clean beside it.

    Returns:
        Gives of the audit's folder what is to be told of the export; None where the data set cannot be written once more.

    Raises:
        SemalignError: the audit cannot be read, or `out` holds something else.
    """
    if out is None:
        inside = audit.name == AUDIT and (audit.parent / PROVENANCE).is_file()
        out = audit.parent if inside else audit.with_name(f"{audit.resolve().name.removesuffix('-audit')}-clean")
    if not (out / PROVENANCE).is_file():
        refuse_occupied(out, "cleaned data set")
    try:
        source = Source.of(read_about(audit))
        refuse_read_only(source.path)
    except SemalignError:
        return None
    source.refuse_within(out)
    target = out

    def export(folder: Path) -> dict[str, Any]:
        found = read_audit(folder)
        refuse_other(found, source.opened(), folder)
        done = clean(found, source, target, "reviewed", decisions=folder)
        told = {
            "folder": shown(done.out),
            "faces changed": done.faces,
            "points moved": done.points,
            "files": len(done.files),
        }
        return told | ({"notes": " ".join(done.notes)} if done.notes else {})

    return export


def read_provenance(out: Path) -> dict[str, Any]:
    """What `clean` wrote of itself.

    Raises:
        SemalignError: there is nothing finished in the folder.
    """
    found = read_json(out / PROVENANCE, "run 'semalign clean' again")
    if not isinstance(found, dict):
        raise SemalignError(f"{out / PROVENANCE}: is no provenance of a cleaned data set; run 'semalign clean' again.")
    return found
