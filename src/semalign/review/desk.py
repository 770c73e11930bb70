"""What the page asks for and does: queues, faces, decisions, progress, who is where.

Everything is by the face's number (its row). Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from semalign.auditing import KINDS, Decision, Decisions
from semalign.auditing.decisions import ACCEPT, MOVE, NONE, REJECT, VERDICTS, checked_name
from semalign.auditing.result import LISTED
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.review.index import Index
from semalign.review.pictures import Pictures
from semalign.review.queues import DECIDED, ORDERS, QUEUES, Filter, places, verdicts_of

Export = Callable[[Path], Mapping[str, Any]]

AWAY: Final = 4.0  # seconds after which a page that says nothing more has gone
REMEMBERED: Final = 2000  # changes of which it is known which faces they touched
MANY: Final = 400  # faces changed at once, beyond which a page asks anew for all that it shows
PAGE: Final = 500  # most places of a queue in one answer
LATEST: Final = 12  # lines of a face's history that are shown


@dataclass
class _Visit:
    who: str
    face: int
    since: float


class Desk:
    """One audit, its decisions, and the people at work on it. Safe to call from several threads.

    Args:
        folder: of the audit.
        index: of the audit.
        name: of the person, where a page does not say another.
        export: makes what the button 'Export' asks for of the folder; None = there is no such button.
    """

    def __init__(self, folder: Path, index: Index, name: str, export: Export | None = None) -> None:
        self.folder, self.index, self.name = folder, index, checked_name(name)
        self.pictures = Pictures(index)
        self.decisions = Decisions(folder, index.ids, index.scheme.count)
        self._export, self._exporting = export, threading.Lock()
        self._lock = threading.RLock()
        self._visits: dict[str, _Visit] = {}
        self._changes: deque[tuple[int, frozenset[int]]] = deque(maxlen=REMEMBERED)
        self._listed = index.listed.sum(axis=1)
        self._status = np.full(len(index), NONE, np.int8)
        self._gained, self._settled = np.zeros(len(index)), np.zeros(len(index))
        self._points_done = np.zeros(len(index), np.int32)
        self._first = self.decisions.change
        touched = self.decisions.refresh()
        self._count(np.fromiter(touched, np.int64, len(touched)))

    def describe(self) -> dict[str, Any]:
        """What the page must know before anything else."""
        index, scheme = self.index, self.index.scheme
        return {
            "title": shown(
                str(
                    index.about.get("name")
                    or Path(str(index.about.get("data") or self.folder)).name
                    or self.folder.name
                )
            ),
            "faces": len(index),
            "name": self.name,
            "export": self._export is not None,
            "landmarks": list(scheme.landmarks),
            "curves": [{"landmarks": list(curve.landmarks), "closed": curve.closed} for curve in scheme.curves],
            "regions": {name: list(members) for name, members in scheme.regions.items()},
            "kinds": [{"name": kind.name, "title": kind.title, "whole": kind.whole} for kind in KINDS],
            "verdicts": list(VERDICTS),
            "listed": LISTED,
            "gain": index.whole_gain,
            "progress": self.progress(),
            "change": self.decisions.change,
        }

    def queue(self, wanted: Filter, after: int = -1, limit: int = PAGE) -> dict[str, Any]:
        """A part of a queue.

        Args:
            wanted: the filter.
            after: only places of a greater rank.
            limit: most places.

        Returns:
            total, kinds (how many there would be of each), any (of whatever kind), more (whether there are any behind the
            last), and items: lists of rank, face, landmark (-1 = whole), kind (-1 = none), probability, move in sizes of the
            face, verdict.
        """
        self._hear()
        with self._lock:
            found, kinds = places(self.index, wanted, partial(self._verdicts, wanted.queue, wanted.order))
            behind = found[np.searchsorted(found, after, side="right") :]
            part = behind[: min(limit, PAGE)]
            queue = self.index.queue(wanted.queue, wanted.order)
            columns = (
                part.tolist(),
                queue.face[part].tolist(),
                queue.landmark[part].tolist(),
                queue.kind[part].tolist(),
                queue.probability[part].astype(np.float64).round(3).tolist(),
                queue.move[part].astype(np.float64).round(4).tolist(),
                self._verdicts(wanted.queue, wanted.order, part).tolist(),
            )
            return {
                "change": self.decisions.change,
                "total": len(found),
                "any": kinds.pop(""),
                "kinds": kinds,
                "more": len(behind) > len(part),
                "items": list(zip(*columns, strict=True)),
            }

    def verdicts(self, name: str, ranks: Sequence[int], order: str = "probability") -> dict[str, Any]:
        """What is decided now at some places of a queue, index in `VERDICTS`, -1 = nothing.

        Raises:
            SemalignError: there is no such queue, or no such place in it.
        """
        if name not in QUEUES:
            raise SemalignError(f"there is no queue {name!r}; choose from {', '.join(QUEUES)}.")
        if order not in ORDERS:
            raise SemalignError(f"there is no order {order!r}; choose from {', '.join(ORDERS)}.")
        count = len(self.index.queue(name, order))
        if ranks and not 0 <= min(ranks) <= max(ranks) < count:
            raise SemalignError(f"there is no such place; the queue has {count}, from 0.")
        self._hear()
        with self._lock:
            return {"verdicts": self._verdicts(name, order, np.array(ranks, np.int64)).tolist()}

    def face(self, row: int) -> dict[str, Any]:
        """Everything about a face but its picture.

        Raises:
            SemalignError: there is no such face.
        """
        self._check(row)
        self._hear()
        index = self.index
        kind, frame = int(index.face_kind[row]), int(index.frames[row])
        with self._lock:
            standing = self.decisions.standing
            moved = {
                point: standing.moved.get((row, point))
                for point in np.flatnonzero(standing.point[row] == MOVE).tolist()
            }
            verdict, status, verdicts = int(standing.face[row]), int(self._status[row]), standing.point[row].tolist()
        past = list(self.decisions.history(row))[-LATEST:]
        return {
            "face": row,
            "change": self.decisions.change,
            "image": shown(index.ids[row]),
            "file": shown(Path(index.files[row]).name) + (f", frame {frame}" if frame >= 0 else ""),
            "kind": kind,
            "probability": round(float(index.face_probability[row]), 3),
            "size": round(float(index.size[row]), 2),
            "annotations": _places(index.annotations[row]),
            "proposals": _places(index.proposals[row]),
            "spread": _places(index.spread[row]),
            "probabilities": index.point_probability[row].astype(np.float64).round(3).tolist(),
            "kinds": index.point_kind[row].tolist(),
            "gains": index.gain[row].astype(np.float64).round(6).tolist(),
            "listed": np.flatnonzero(index.listed[row]).tolist(),
            "verdict": verdict,
            "status": status,
            "verdicts": verdicts,
            "moved": moved,
            "history": [
                {"landmark": one.landmark, "verdict": one.verdict, "who": one.who, "at": one.at, "undone": one.undone}
                for one in reversed(past)
            ],
        }

    def decide(self, decisions: Sequence[Decision], who: str) -> dict[str, Any]:
        """Keep decisions; they are on disk when this returns.

        Raises:
            SemalignError: decisions that make no sense, or that cannot be written.
        """
        action = self.decisions.decide(decisions, who)
        self._hear()
        return {"action": action, "change": self.decisions.change, "progress": self.progress()}

    def decide_all(self, wanted: Filter, verdict: str, count: int, who: str) -> dict[str, Any]:
        """Decide everything that a filter lets through and nobody has decided, if it is as many as the person was told.

        Raises:
            SemalignError: it is another number by now, or a verdict that cannot be given to many.
        """
        if verdict not in ("accept", "reject", "flag"):
            raise SemalignError(f"{verdict!r} cannot be given to many at once; accept, reject or flag them.")
        self._hear()
        with self._lock:
            found, _ = places(self.index, wanted, partial(self._verdicts, wanted.queue, wanted.order))
            if len(found) != count:
                raise SemalignError(f"it would be {len(found)} by now and not {count}; look again.")
            queue = self.index.queue(wanted.queue, wanted.order)
            pairs = zip(queue.face[found].tolist(), queue.landmark[found].tolist(), strict=True)
            made: list[Decision] = []
            for face, landmark in pairs:
                made += [Decision(face, point, verdict) for point in self._meant(face, landmark, verdict)]
            return self.decide(made, who) | {"count": len(found)} if made else {"count": 0}

    def undo(self, who: str) -> dict[str, Any]:
        """Undo a person's last action.

        Returns:
            undone: how many decisions; face and landmark of the first, where there is one.
        """
        action = self.decisions.undo(who)
        if action is None:
            return {"undone": 0, "change": self.decisions.change, "progress": self.progress()}
        points = self.decisions.faces_of(action)
        self._hear()
        first = {"face": points[0][0], "landmark": points[0][1]} if points else {}
        return {"undone": len(points), "change": self.decisions.change, "progress": self.progress()} | first

    def changes(self, since: int, page: str, who: str, face: int | None) -> dict[str, Any]:
        """What happened after a change, and who has which face open; also says that a page is there.

        Args:
            since: number of the last change that the page knows.
            page: its own number, made up by it.
            who: is at it.
            face: open there.

        Returns:
            change; faces (the numbers of those that changed), or null when all must be asked for anew; progress; open
            (names by face, of other pages).
        """
        self._hear()
        now = time.monotonic()
        with self._lock:
            if face is not None and 0 <= face < len(self.index) and 0 < len(page) <= 40:
                self._visits[page] = _Visit(checked_name(who), face, now)
            self._visits = {key: visit for key, visit in self._visits.items() if now - visit.since < AWAY}
            opened: dict[int, list[str]] = {}
            for key, visit in self._visits.items():
                if key != page:
                    opened.setdefault(visit.face, []).append(visit.who)
            changed: set[int] | None = set()
            if since != self.decisions.change:
                forgotten = self._changes[0][0] if len(self._changes) == REMEMBERED else self._first
                touched: set[int] = set().union(*(faces for number, faces in self._changes if number > since))
                complete = since >= forgotten
                changed = touched if complete and len(touched) <= MANY else None
            return {
                "change": self.decisions.change,
                "faces": None if changed is None else sorted(changed),
                "progress": self.progress(),
                "open": opened,
            }

    def progress(self) -> dict[str, Any]:
        """How much is done.

        Returns:
            gained: share of the whole expected gain that accepted and moved points bring; settled: share that belongs to
            decided points, those included that stay; faces and points: [done, all] of those that are listed.
        """
        with self._lock:
            index = self.index
            whole = index.whole_gain or 1.0
            listed = index.face_probability >= LISTED
            done = np.isin(self._status, DECIDED)
            return {
                "gained": float(self._gained.sum() / whole),
                "settled": float(self._settled.sum() / whole),
                "faces": [int((done & listed).sum()), int(listed.sum())],
                "points": [int(self._points_done.sum()), int(self._listed.sum())],
                "flagged": [int((self._status == VERDICTS.index("flag")).sum())],
            }

    def export(self) -> dict[str, Any]:
        """What the export says of itself.

        Raises:
            SemalignError: there is none, one is under way, or it failed.
        """
        if self._export is None:
            raise SemalignError("nothing can be exported from here.")
        if not self._exporting.acquire(blocking=False):
            raise SemalignError("an export is under way; wait for it.")
        try:
            return {"result": dict(self._export(self.folder))}
        finally:
            self._exporting.release()

    def close(self) -> None:
        """Close the files."""
        self.decisions.close()

    def _meant(self, face: int, landmark: int, verdict: str) -> list[int | None]:
        """The landmarks that a decision on a place of a queue is about; None = the face as a whole.

        Of a face with points that are suspicious by themselves, it is those of them that nobody has decided.
        """
        if landmark >= 0:
            return [landmark]
        listed = np.flatnonzero(self.index.listed[face]) if verdict != "flag" else np.array([], np.int64)
        said = self.decisions.standing.verdicts(np.array([face]))[0]
        return [int(point) for point in listed if said[point] == NONE] or [None]

    def _check(self, row: int) -> None:
        if not 0 <= row < len(self.index):
            raise SemalignError(f"there is no face {row}; the audit has {len(self.index)}, from 0.")

    def _hear(self) -> None:
        """Take in what other processes decided."""
        with self._lock:
            faces = self.decisions.refresh()
            if faces:
                self._count(np.fromiter(faces, np.int64, len(faces)))
                self._changes.append((self.decisions.change, frozenset(faces)))

    def _count(self, rows: np.ndarray) -> None:
        """Count anew what is done in some faces."""
        with self._lock:
            standing, index = self.decisions.standing, self.index
            said = standing.verdicts(rows)
            gain, listed = index.gain[rows], index.listed[rows]
            decided = np.isin(said, DECIDED)
            self._gained[rows] = (gain * np.isin(said, (ACCEPT, MOVE))).sum(axis=1)
            self._settled[rows] = (gain * decided).sum(axis=1)
            done = (decided & listed).sum(axis=1)
            self._points_done[rows] = done
            all_done = (self._listed[rows] > 0) & (done == self._listed[rows])
            points = np.full(len(rows), MOVE, np.int8)  # some this and some that
            for verdict in (ACCEPT, REJECT):
                points[((said == verdict) & listed).sum(axis=1) == self._listed[rows]] = verdict
            whole = standing.face[rows]
            self._status[rows] = np.where((whole == NONE) & all_done, points, whole)

    def _verdicts(self, name: str, order: str, ranks: np.ndarray | slice) -> np.ndarray:
        standing = self.decisions.standing
        faces = self._status if name == "faces" else standing.face
        return verdicts_of(self.index.queue(name, order), ranks, faces, standing.point)


def _places(points: np.ndarray) -> list[list[float] | None]:
    """Points (n, 2) for JSON, null where they are absent."""
    rounded = np.asarray(points, dtype=np.float64).round(3).tolist()
    return [pair if np.isfinite(pair).all() else None for pair in rounded]
