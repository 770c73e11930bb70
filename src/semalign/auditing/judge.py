"""In which way each annotation is most probably wrong, and how far it is from what is usual.

Every face is held against what witnesses say of it who have not seen its annotation (`semalign.core.residuals`). Then each way
in which it may be wrong (`semalign.auditing.hypotheses`) is tried: points that are taken away, a run of points that slipped,
the whole face moved, turned or resized, its points in another order, or mirrored. The way that leaves least to be explained is
its kind.

Shape legend: b faces, n landmarks, m = 2n whitened coordinates, w runs of points.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign.auditing.hypotheses import mirrored, moved, movements, orders, slips, windows
from semalign.auditing.kinds import NUMBERS
from semalign.core.residuals import Whitened, fit_residuals, flat_pairs, pairs
from semalign.schemes import LandmarkScheme

CHUNK = 256  # faces at once
NEVER = -1e9  # logarithm of what is impossible
FAR = 16.0  # d² from which a point counts as one that lies off
# Of indicators' highest levels, for what is no face: networks trained on few pictures are now and then far off.
HALVINGS = 3
UNLIKELY = 4.0  # times the usual d² from which a face is not explained
TRIED = 6.0  # d² of a run of points, or of its worst point, from which it is looked for what slipped
# What a way must explain, in natural units, before it is believed: the more it could have explained, the more.
POINT, SLIP, SHAPE = 8.0, 9.0, 6.0
# Ways in which a whole face may have been moved: kind, which of the `movements`, and what it must explain.
MOVEMENTS = (
    ("misplaced", (0, 1), 6.0),
    ("scaled", (4,), 4.0),
    ("scaled", (2,), 4.0),
    ("misplaced", (3,), 4.0),
    ("misplaced", (0, 1, 2, 3), 25.0),
)


@dataclass(frozen=True, eq=False)
class Seen:
    """Annotations and what witnesses say of the same faces, without what these do systematically differently.

    Attributes:
        observed: annotations, image frame, NaN where absent.
        predicted: what the witnesses say together.
        indicators: positive numbers that go along with large differences (`semalign.core.residuals`).
        widths: of the pictures, pixels.
    """

    observed: Float[np.ndarray, "b n 2"]
    predicted: Float[np.ndarray, "b n 2"]
    indicators: Float[np.ndarray, "k b n"]
    widths: Float[np.ndarray, " b"]

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.observed)

    def take(self, rows: Int[np.ndarray, " c"]) -> Seen:
        """Some of the faces."""
        return Seen(self.observed[rows], self.predicted[rows], self.indicators[:, rows], self.widths[rows])


@dataclass(frozen=True, eq=False)
class Figures:
    """What is measured of each face.

    Attributes:
        whole: d² of the face.
        points: d² of each point given the others.
        slip: by how much d² falls for each run of points that slips; 0 where it was not tried.
        movement: by how much d² falls if the face is moved as each of `MOVEMENTS` says.
        order: logarithm of how much likelier the best other order of its points is than their own.
        kind: the way that explains most, index in `KINDS`.
        repaired: annotations without it, image frame.
        changed: points that it changes.
        rest: d² of the repaired face.
    """

    whole: Float[np.ndarray, " b"]
    points: Float[np.ndarray, "b n"]
    slip: Float[np.ndarray, "b w"]  # float32, as they are many
    movement: Float[np.ndarray, "b 5"]
    order: Float[np.ndarray, " b"]
    kind: Int[np.ndarray, " b"]
    repaired: Float[np.ndarray, "b n 2"]
    changed: Bool[np.ndarray, "b n"]
    rest: Float[np.ndarray, " b"]

    def room(self, count: int) -> Figures:
        """Figures of so many faces, to be put in."""
        own = (getattr(self, field.name) for field in fields(self))
        return Figures(*(np.empty((count, *values.shape[1:]), values.dtype) for values in own))

    def put(self, rows: Int[np.ndarray, " c"], others: Figures) -> None:
        """Replace those of some faces."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)


class Way(NamedTuple):
    """A way in which faces may be wrong.

    Attributes:
        gain: logarithm of how much likelier it makes the annotation, less what it must explain.
        kind: index in `KINDS`.
        repaired: annotations without it.
        changed: points that it changes.
        rest: d² that is left.
    """

    gain: Float[np.ndarray, " b"]
    kind: Int[np.ndarray, " b"]
    repaired: Float[np.ndarray, "b n 2"]
    changed: Bool[np.ndarray, "b n"]
    rest: Float[np.ndarray, " b"]


class Judge:
    """Has learned from some faces what is usual, and measures these or others.

    Args:
        seen: most of them annotated well.
        scheme: the landmarks.
    """

    def __init__(self, seen: Seen, scheme: LandmarkScheme) -> None:
        self.scheme = scheme
        halvings = 0 if scheme.names_eyes else HALVINGS
        self.model = fit_residuals(seen.observed, seen.predicted, seen.indicators, halvings)
        self.freedom, self.usual = _student(self.model.squares(self._whitened(seen).x), 2 * scheme.count)
        self._orders, self._windows = orders(scheme), windows(scheme)

    def figures(self, seen: Seen) -> Figures:
        """What is measured of faces."""
        first = self._measured(seen.take(np.arange(min(CHUNK, len(seen)))))
        found = first.room(len(seen))
        found.put(np.arange(len(first.whole)), first)
        for start in range(CHUNK, len(seen), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(seen)))
            found.put(rows, self._measured(seen.take(rows)))
        return found

    def log_likelihood(self, squares: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
        """Of faces with such d², but for what is the same for all: Student's distribution."""
        coordinates = 2 * self.scheme.count
        likelihood: np.ndarray = -(self.freedom + coordinates) / 2 * np.log1p(squares / self.usual / self.freedom)
        return likelihood

    def unlike(self, squares: Float[np.ndarray, "*b"]) -> Bool[np.ndarray, "*b"]:
        """Whether d² is that of faces which nothing explains."""
        found: np.ndarray = squares > UNLIKELY * self.usual * 2 * self.scheme.count
        return found

    def _whitened(self, seen: Seen) -> Whitened:
        return self.model.whitened(seen.observed, seen.predicted, seen.indicators)

    def _measured(self, seen: Seen) -> Figures:
        face = _Face(self, seen, self._whitened(seen))
        points, single = face.single_points()
        slip, slipped = face.slipped(points, self._windows)
        movement, moving = face.moving()
        reordered = [face.as_(order.kind, order(seen.observed)) for order in self._orders]
        reordered += [face.as_("mirrored", over) for over in mirrored(seen.observed, seen.widths, self.scheme)]
        ways = [face.misshapen(), single, slipped, *moving, *reordered]
        best, rows = np.argmax([way.gain for way in ways], axis=0), np.arange(len(seen))
        kind, repaired, changed, rest = (
            np.stack([getattr(way, name) for way in ways])[best, rows]
            for name in ("kind", "repaired", "changed", "rest")
        )
        order = np.max([way.gain for way in reordered], axis=0)
        return Figures(face.whole, points, slip.astype(np.float32), movement, order, kind, repaired, changed, rest)


class _Face:
    """Some faces that are being measured."""

    def __init__(self, judge: Judge, seen: Seen, whitened: Whitened) -> None:
        self.judge, self.seen, self.whitened, self.model = judge, seen, whitened, judge.model
        self.x = whitened.x
        self.whole = self.model.squares(self.x)
        self.null = judge.log_likelihood(self.whole)
        self.there = ~np.isnan(seen.observed).any(axis=-1)

    def way(self, kind: str, repaired: np.ndarray, squares: np.ndarray, must: float | np.ndarray) -> Way:
        gain = self.judge.log_likelihood(squares) - self.null - must
        differs = np.abs(repaired - self.seen.observed).max(axis=-1) > 1e-6
        return Way(gain, np.full(len(gain), NUMBERS[kind]), repaired, differs & self.there, squares)

    def misshapen(self) -> Way:
        """Its points may lie off in any way."""
        m = self.x.shape[1]
        over = np.maximum(self.whole / self.judge.usual / m, 1.0)
        squares = self.whole / over
        way = self.way("shape", self.seen.observed, squares, SHAPE + m / 2 * np.log(over))
        return way._replace(rest=self.whole)

    def single_points(self) -> tuple[np.ndarray, Way]:
        """d² of each point, and points being where they are to be expected where they lie far out."""
        left_out = self.model.left_out(self.x)
        far = (left_out.squares > FAR) & self.there
        x = np.where(far[..., None], pairs(left_out.expected), pairs(self.x))
        mended = np.where(far[..., None], self.whitened.points(flat_pairs(x)), self.seen.observed)
        way = self.way("point", mended, self.model.squares(flat_pairs(x)), POINT * np.maximum(far.sum(axis=1), 1))
        return left_out.squares, way

    def slipped(self, points: np.ndarray, runs: list) -> tuple[np.ndarray, Way]:
        """By how much d² falls for each run of points that slips, and the best of them."""
        falls = np.zeros((len(self.x), len(runs)))
        repaired, squares = self.seen.observed.copy(), self.whole.copy()
        rows = np.flatnonzero(points.max(axis=1) > TRIED)
        if len(runs) and len(rows):
            x, unit = self.x[rows], self.whitened.unit[rows]
            directions = slips(runs, self.seen.predicted[rows], unit)
            amounts, falls[rows] = self.model.along(x, directions)
            best, own = falls[rows].argmax(axis=1), np.arange(len(rows))
            step = pairs(directions[own, best] * amounts[own, best, None])
            mended = self.whitened.unit[rows] * (step[..., 0] + 1j * step[..., 1])
            repaired[rows] += np.stack([mended.real, mended.imag], axis=-1)
            squares[rows] -= falls[rows, best]
        return falls, self.way("slipped", repaired, squares, SLIP)

    def moving(self) -> tuple[np.ndarray, list[Way]]:
        """By how much d² falls if a face is moved, turned and resized, and these ways."""
        observed = np.where(self.there[..., None], self.seen.observed, self.whitened.points(self.x))
        directions = movements(observed, self.whitened.unit)
        falls, ways = np.zeros((len(self.x), len(MOVEMENTS))), []
        for row, (kind, which, must) in enumerate(MOVEMENTS):
            every = np.zeros((len(self.x), directions.shape[1]))
            every[:, which], falls[:, row] = self.model.best(self.x, directions[:, which])
            repaired = np.where(self.there[..., None], moved(observed, every), self.seen.observed)
            ways.append(self.way(kind, repaired, self.whole - falls[:, row], must))
        return falls, ways

    def as_(self, kind: str, other: np.ndarray) -> Way:
        """Its points are in truth these."""
        x = self.model.again(self.whitened, other)
        known = ~np.isnan(other).any(axis=-1)
        repaired = np.where(known[..., None], other, self.whitened.points(x))
        repaired = np.where(self.there[..., None], repaired, np.nan)
        few = known.sum(axis=1) < self.there.sum(axis=1) - 1
        return self.way(kind, repaired, self.model.squares(x), np.where(few, -NEVER, np.log(40.0)))


def _student(squares: Float[np.ndarray, " b"], coordinates: int) -> tuple[float, float]:
    """Degrees of freedom and scale of a Student distribution with such d², from the better three quarters of the faces."""
    middle, high = np.quantile(squares, [0.5, 0.75])
    low, up = 3.0, 300.0
    for _ in range(60):
        freedom = np.sqrt(low * up)
        ratio = _chi(0.5, freedom) / _chi(0.25, freedom)
        low, up = (freedom, up) if ratio > high / middle else (low, freedom)
    return float(freedom), float(middle / coordinates / (freedom / _chi(0.5, freedom)))


def _chi(share: float, freedom: float) -> float:
    """Quantile of chi-square, by Wilson and Hilferty."""
    z = {0.25: -0.6744897501960817, 0.5: 0.0}[share]
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + z * np.sqrt(part)) ** 3)
