"""Which points of audited faces take which new place, who decided that, and what is to be known of each of them.

Shape legend: b faces, n landmarks, m points that move.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign.auditing.decisions import MOVE, Decisions
from semalign.auditing.kinds import NUMBERS
from semalign.auditing.result import LISTED, SHIFTED, Audit, face_sizes, kind_name
from semalign.core.curves import split, tangents
from semalign.errors import SemalignError
from semalign.files import shown

WAYS: Final = ("auto", "all", "reviewed", "none")
ORIGIN: Final = NUMBERS["origin"]
DIGITS: Final = 3  # decimals of a new coordinate, pixels
COLUMNS: Final = (
    *("image", "landmark", "name", "kind", "probability", "from_x", "from_y", "to_x", "to_y", "distance", "percent"),
    *("along", "across", "spread_x", "spread_y", "who"),
)


@dataclass(frozen=True, eq=False)
class Changes:
    """The points that move, face by face. Coordinates are in the image frame, 0-based pixels.

    Attributes:
        audit: whose faces these are.
        points: labels of all faces: new places, and annotations where nothing moves.
        face: row of each point that moves.
        landmark: of each, from 0.
        kind: of the error, index in `KINDS`; -1 = none.
        probability: that the annotation is wrong: of a face that is wrong as a whole that of the face, else the point's own.
        by_hand: a person has put it there.
        who: `auto`, or the person that decided.
    """

    audit: Audit
    points: Float[np.ndarray, "b n 2"]
    face: Int[np.ndarray, " m"]
    landmark: Int[np.ndarray, " m"]
    kind: Int[np.ndarray, " m"]
    probability: Float[np.ndarray, " m"]
    by_hand: Bool[np.ndarray, " m"]
    who: tuple[str, ...]

    def __len__(self) -> int:
        """Number of points that move."""
        return len(self.face)

    def that_move(self) -> Changes:
        """Without points that are where they were."""
        kept: np.ndarray = np.any(self.moves() != 0, axis=1)
        who = tuple(name for name, keep in zip(self.who, kept.tolist(), strict=True) if keep)
        arrays = {name: getattr(self, name)[kept] for name in ("face", "landmark", "kind", "probability", "by_hand")}
        return replace(self, who=who, **arrays)

    def moves(self) -> Float[np.ndarray, "m 2"]:
        """From the annotations, pixels."""
        found: np.ndarray = (self.points - self.audit.annotations)[self.face, self.landmark]
        return found

    def by_face(self) -> dict[str, Float[np.ndarray, "n 2"]]:
        """New points of the faces that have any, NaN for those that stay: as `semalign.data.rewrite_dataset` takes them."""
        found: dict[str, np.ndarray] = {}
        for face, landmark in zip(self.face.tolist(), self.landmark.tolist(), strict=True):
            own = found.setdefault(self.audit.ids[face], np.full(self.points.shape[1:], np.nan))
            own[landmark] = self.points[face, landmark]
        return found

    def summary(self) -> dict[str, Any]:
        """How many moved, how far, of which kinds, by whom; for JSON. Shares are in % of the faces' sizes."""
        distance = np.hypot(*self.moves().T)
        percent = 100 * distance / face_sizes(self.audit.annotations)[self.face]
        found: dict[str, Any] = {
            "faces": len(self.audit),
            "faces_changed": len(set(self.face.tolist())),
            "points": int(self.audit.there().sum()),
            "points_moved": len(self),
            "kinds": dict(Counter(kind_name(kind) for kind in self.kind.tolist()).most_common()),
            "who": dict(Counter(self.who).most_common()),
        }
        for name, values in (("distance", distance), ("percent", percent)):
            figures = (np.median(values), np.max(values)) if len(values) else (None, None)
            found[name] = {
                key: None if value is None else round(float(value), 3)
                for key, value in zip(("median", "largest"), figures, strict=True)
            }
        return found

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """A row for each point, with the columns `COLUMNS`; None where nothing is known."""
        audit, at = self.audit, (self.face, self.landmark)
        moves, own = self.moves(), np.unique(self.face)
        line = np.full(self.points.shape, np.nan)
        line[own] = tangents(self.points[own], audit.scheme)
        distance, (along, across) = np.hypot(*moves.T), split(moves[None], line[at][None])
        columns = (
            np.round(self.probability, 4),
            *np.round([*audit.annotations[at].T, *self.points[at].T], 9),
            *np.round([distance, 100 * distance / face_sizes(audit.annotations)[self.face]], 4),
            *np.round([along[0], across[0], *np.where(self.by_hand[:, None], np.nan, audit.spread[at]).T], 4),
        )
        numbers = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
        places = zip(self.face.tolist(), self.landmark.tolist(), self.kind.tolist(), self.who, numbers, strict=True)
        for face, landmark, kind, who, values in places:
            known = (value if isfinite(value) else None for value in values)
            yield shown(audit.ids[face]), landmark, audit.scheme.landmarks[landmark], kind_name(kind), *known, who


def changes(
    audit: Audit,
    accept: str = "auto",
    least: float = LISTED,
    folder: Path | None = None,
    unshift: bool = False,
) -> Changes:
    """What moves.

    Args:
        audit: of the faces.
        accept: `auto`: faces that are wrong as a whole and single points, each at least as probably as `least`, take what is
            proposed; `all`: all points do; `reviewed`: as people decided; `none`: nothing moves.
        least: probability.
        folder: of the audit, where people's decisions are.
        unshift: all points but those that a person put somewhere are also moved sideways by the shift of the whole set.

    Raises:
        SemalignError: an unknown way, no decisions where they are asked for, or no shift.
    """
    if accept not in WAYS:
        raise SemalignError(f"{accept!r} is no way to accept proposals; choose from {', '.join(WAYS)}.")
    wrong = audit.wrong(least)
    by_hand = np.zeros(audit.point_kind.shape, bool)
    people: dict[tuple[int, int | None], str] = {}
    target, taken = audit.proposals, np.zeros(audit.point_kind.shape, bool)
    if accept == "auto":
        taken = wrong.points | wrong.faces[:, None]
    elif accept == "all":
        taken = ~taken
    elif accept == "reviewed":
        decisions = decided(audit, folder)
        try:
            target, taken = decisions.labels(audit)
            by_hand, people = decisions.standing.verdicts() == MOVE, decisions.people()
        finally:
            decisions.close()
    points = _rounded(audit.annotations, target, taken)
    kinds, chances = audit.point_kind, audit.point_probability
    if unshift:
        left = ~by_hand & audit.there()
        points = np.where(left[..., None], _unshifted(audit, points), points)
        kinds, chances = (np.where(left & ~taken, value, own) for value, own in ((ORIGIN, kinds), (SHIFTED, chances)))
    face, landmark = np.nonzero((points != audit.annotations).any(axis=-1) & audit.there())
    whole = wrong.faces[face] & (taken | by_hand)[face, landmark]
    return Changes(
        audit,
        points,
        face,
        landmark,
        np.where(whole, audit.face_kind[face], kinds[face, landmark]),
        np.where(whole, audit.face_probability[face], chances[face, landmark]),
        by_hand[face, landmark],
        tuple(
            (people.get((row, point)) or people.get((row, None), "")) if accept == "reviewed" else "auto"
            for row, point in zip(face.tolist(), landmark.tolist(), strict=True)
        ),
    )


def decided(audit: Audit, folder: Path | None) -> Decisions:
    """People's decisions on an audit, to be closed.

    Raises:
        SemalignError: nobody has decided anything.
    """
    if folder is not None:
        decisions = Decisions(folder, audit.ids, audit.scheme.count)
        if decisions.change:
            return decisions
        decisions.close()
    raise SemalignError(
        f"{folder}: nobody has decided anything there yet; go through it with 'semalign review {folder}'."
    )


def write_changes(path: Path, found: Changes) -> None:
    """The rows as a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(found.rows())


def _unshifted(audit: Audit, points: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
    """The points without the shift of the whole set, in thousandths of a pixel.

    Raises:
        SemalignError: the audit tells none.
    """
    shift = audit.shift()
    if shift is None:
        raise SemalignError("the audit tells no shift of the whole set; leave unshift=True out.")
    low, high = np.nanmin(audit.annotations, axis=1), np.nanmax(audit.annotations, axis=1)
    found = points.copy()
    found[..., 0] = np.round(points[..., 0] - shift.of((high - low).max(axis=1))[:, None], DIGITS)
    return found


def _rounded(
    annotations: Float[np.ndarray, "b n 2"], target: Float[np.ndarray, "b n 2"], taken: Bool[np.ndarray, "b n"]
) -> Float[np.ndarray, "b n 2"]:
    """Targets in thousandths of a pixel where they are taken; a coordinate that is nearer than that to what it was stays."""
    with np.errstate(invalid="ignore"):
        new = np.isfinite(target) & (np.abs(target - annotations) >= 0.5 * 10.0**-DIGITS)
    whole = np.isfinite(target).all(axis=-1, keepdims=True)
    return np.where(new & whole & taken[..., None], np.round(target, DIGITS), annotations)
