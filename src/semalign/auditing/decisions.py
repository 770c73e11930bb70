"""What people decided about an audit: `decisions.sqlite` in its folder, a history to which things are only added.

An action is what a person did at once: decisions on some faces and points, or the undoing of an earlier action. Actions
are numbered in the order in which they were made, whoever made them, so that the work of several people merges by order.
What holds of a face or a point is its last decision that is not undone. An action is on disk when the call returns
(write-ahead log, synchronous=FULL); a program that is killed loses at most what it has not been told is done.

    actions    number, who, at (UTC, ISO 8601), undoes (number of an action, or null)
    images     face, image (id)
    decisions  number, action, face, landmark (-1 = the whole face), verdict (index in VERDICTS), x, y (moved points)

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign.auditing.result import Audit
from semalign.errors import SemalignError
from semalign.files import reason

FORMAT: Final = 1
FILE: Final = "decisions.sqlite"
VERDICTS: Final = ("accept", "reject", "move", "flag")
ACCEPT, REJECT, MOVE, FLAG = range(4)
NONE: Final = -1  # nothing was decided
WHOLE: Final = -1  # in place of a landmark
LONGEST_NAME = 80  # letters of a person's name
PATIENCE = 20.0  # seconds to wait while another process writes

_TABLES = """
CREATE TABLE IF NOT EXISTS actions(
    number INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, at TEXT NOT NULL, undoes INTEGER UNIQUE);
CREATE TABLE IF NOT EXISTS images(face INTEGER PRIMARY KEY, image TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS decisions(
    number INTEGER PRIMARY KEY AUTOINCREMENT, action INTEGER NOT NULL, face INTEGER NOT NULL, landmark INTEGER NOT NULL,
    verdict INTEGER NOT NULL, x REAL, y REAL);
CREATE INDEX IF NOT EXISTS of_action ON decisions(action);
CREATE INDEX IF NOT EXISTS of_point ON decisions(face, landmark, number);
"""
_STANDING = "action NOT IN (SELECT undoes FROM actions WHERE undoes IS NOT NULL)"


@dataclass(frozen=True)
class Decision:
    """What is decided about a point or a face.

    Attributes:
        face: row in the audit.
        landmark: from 0; None = the whole face, which is all its points but those that are decided singly.
        verdict: accept (the proposal), reject (the annotation stays), move (to x, y), flag (to be looked at again).
        x, y: of a moved point, image frame.
    """

    face: int
    landmark: int | None
    verdict: str
    x: float | None = None
    y: float | None = None


class Entry(NamedTuple):
    """A line of the history.

    Attributes:
        action: number; those of one action were made at once.
        image: id of the face.
        landmark: from 0; None = the whole face.
        verdict: in `VERDICTS`.
        x, y: of a moved point, image frame.
        who: made it.
        at: UTC, ISO 8601.
        undone: it does not hold any more, because its action was undone.
    """

    action: int
    image: str
    landmark: int | None
    verdict: str
    x: float | None
    y: float | None
    who: str
    at: str
    undone: bool


@dataclass(frozen=True, eq=False)
class Standing:
    """What holds now. The arrays are changed in place as decisions are made.

    Attributes:
        face: index in `VERDICTS` for each face as a whole, -1 = none.
        point: likewise for points that are decided singly.
        moved: where points were moved to, image frame, by face and landmark.
    """

    face: Int[np.ndarray, " b"]
    point: Int[np.ndarray, "b n"]
    moved: dict[tuple[int, int], tuple[float, float]]

    def verdicts(self, rows: np.ndarray | slice = slice(None)) -> Int[np.ndarray, "b n"]:
        """What holds for every point of some faces: its own verdict, or else the face's."""
        point = self.point[rows]
        return np.where(point == NONE, self.face[rows][:, None], point)


class Decisions:
    """The decisions on one audit. Several threads and several processes may use it at once.

    Args:
        folder: of the audit; the file is made with the first decision.
        images: ids of the audit's faces; decisions on others are kept and not heard.
        count: landmarks of a face.

    Raises:
        SemalignError: the file there cannot be read.
    """

    def __init__(self, folder: str | Path, images: Sequence[str], count: int) -> None:
        self.path = Path(folder) / FILE
        self._images, self._count = tuple(images), count
        self._rows: dict[str, int] = {}
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._faces: dict[int, int] = {}  # row of the audit for a face of the file
        self._seen = self._last_face = 0
        self._untold: set[int] = set()
        self._standing = Standing(
            np.full(len(self._images), NONE, np.int8), np.full((len(self._images), count), NONE, np.int8), {}
        )
        if self.path.exists():
            self._listen()

    @property
    def change(self) -> int:
        """The number of the last action that `standing` knows; 0 = nothing was ever decided."""
        return self._seen

    @property
    def standing(self) -> Standing:
        """What holds, as of the last call of any method here; `refresh` hears what other processes did."""
        return self._standing

    def decide(self, decisions: Iterable[Decision], who: str) -> int:
        """Add an action; all its decisions are on disk when this returns, or none is.

        Args:
            decisions: of one about the same point the last holds.
            who: made them.

        Returns:
            Its number.

        Raises:
            SemalignError: no such face or landmark or verdict, a moved point without a place, or a file that cannot be
                written.
        """
        made = list(decisions)
        for decision in made:
            self._check(decision)
        who = checked_name(who)
        with self._writing() as cursor:
            action = self._add_action(cursor, who, None)
            faces = self._known(cursor, {decision.face for decision in made})
            cursor.executemany(
                "INSERT INTO decisions(action, face, landmark, verdict, x, y) VALUES(?, ?, ?, ?, ?, ?)",
                (
                    (
                        action,
                        faces[one.face],
                        WHOLE if one.landmark is None else one.landmark,
                        VERDICTS.index(one.verdict),
                        one.x,
                        one.y,
                    )
                    for one in made
                ),
            )
        self._listen()
        return action

    def undo(self, who: str) -> int | None:
        """Undo the last action of a person that is not undone yet.

        Returns:
            The number of the action that was undone; None = there is none left.

        Raises:
            SemalignError: the file cannot be written.
        """
        who = checked_name(who)
        if not self.path.exists():
            return None
        with self._writing() as cursor:
            found = cursor.execute(
                "SELECT max(number) FROM actions WHERE who = ? AND undoes IS NULL AND number NOT IN "
                "(SELECT undoes FROM actions WHERE undoes IS NOT NULL)",
                (who,),
            ).fetchone()[0]
            if found is not None:
                self._add_action(cursor, who, found)
        self._listen()
        return None if found is None else int(found)

    def refresh(self) -> set[int]:
        """Hear what was decided meanwhile, by other processes too.

        Returns:
            The faces, by row, on which something changed since the last call.

        Raises:
            SemalignError: the file cannot be read.
        """
        self._listen()
        with self._lock:
            untold, self._untold = self._untold, set()
        return untold

    def _listen(self) -> None:
        if not self.path.exists():
            return
        with self._reading() as cursor:
            news = cursor.execute(
                "SELECT number, undoes FROM actions WHERE number > ? ORDER BY number", (self._seen,)
            ).fetchall()
            if not news:
                return
            undone = [(undoes,) for _, undoes in news if undoes is not None]
            changed = self._hear(cursor, self._seen)
            for action in undone:
                changed |= self._take_back(cursor, action[0])
            self._seen = int(news[-1][0])
            self._untold |= changed

    def faces_of(self, action: int) -> list[tuple[int, int | None]]:
        """Face (row) and landmark (None = whole) of every decision of an action."""
        with self._reading() as cursor:
            found = cursor.execute(
                "SELECT face, landmark FROM decisions WHERE action = ? ORDER BY number", (action,)
            ).fetchall()
            self._hear_faces(cursor)
            known = ((self._faces.get(face), landmark) for face, landmark in found)
            return [(row, None if landmark == WHOLE else landmark) for row, landmark in known if row is not None]

    def history(self, face: int | None = None) -> Iterator[Entry]:
        """Everything that was ever decided, first things first.

        Args:
            face: row; None = all faces, also those that the audit does not have.
        """
        if not self.path.exists():
            return
        only = "" if face is None else "WHERE image = ?"
        with self._reading() as cursor:
            rows = cursor.execute(
                "SELECT action, image, landmark, verdict, x, y, who, at, action IN (SELECT undoes FROM actions WHERE undoes "
                "IS NOT NULL) FROM decisions JOIN images USING(face) JOIN actions ON actions.number = action "
                f"{only} ORDER BY decisions.number",
                () if face is None else (self._images[face],),
            ).fetchall()
        for action, image, landmark, verdict, x, y, who, at, undone in rows:
            which = None if landmark == WHOLE else landmark
            with self._sentences("read"):
                _check_stored(verdict, x, y)
                if verdict == NONE:
                    raise ValueError("a verdict is unknown")
            yield Entry(action, str(image), which, VERDICTS[verdict], x, y, str(who), str(at), bool(undone))

    def people(self) -> dict[tuple[int, int | None], str]:
        """Who made the decision that holds, by face (row) and landmark (None = the face as a whole)."""
        rows = {image: row for row, image in enumerate(self._images)}
        standing = (one for one in self.history() if not one.undone and one.image in rows)
        return {(rows[one.image], one.landmark): one.who for one in standing}

    def labels(self, audit: Audit) -> tuple[Float[np.ndarray, "b n 2"], Bool[np.ndarray, "b n"]]:
        """The labels that result: accepted proposals, moved points, and everything else as it was annotated.

        Args:
            audit: whose faces these are.

        Returns:
            Points (b, n, 2), image frame, NaN where absent; and which points somebody has accepted, moved or rejected
            (b, n), by themselves or with their face. A flag decides nothing.
        """
        self._listen()
        with self._lock:
            verdicts = self._standing.verdicts()
            points = np.where((verdicts == ACCEPT)[..., None], audit.proposals, audit.annotations)
            for (face, landmark), place in self._standing.moved.items():
                points[face, landmark] = place
        there = np.isfinite(audit.annotations).all(axis=-1)
        points[~there] = np.nan
        return points, np.isin(verdicts, (ACCEPT, REJECT, MOVE)) & there

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _check(self, one: Decision) -> None:
        if not 0 <= one.face < len(self._images):
            raise SemalignError(f"there is no face {one.face}; the audit has {len(self._images)}, from 0.")
        if one.landmark is not None and not 0 <= one.landmark < self._count:
            raise SemalignError(f"there is no landmark {one.landmark}; give one from 0 to {self._count - 1}.")
        if one.verdict not in VERDICTS:
            raise SemalignError(f"{one.verdict!r} is no verdict; give one of {', '.join(VERDICTS)}.")
        place = [value for value in (one.x, one.y) if value is not None and math.isfinite(value)]
        if (one.verdict == "move") != (len(place) == 2) or (one.verdict == "move" and one.landmark is None):
            raise SemalignError("only a point that is moved has a place; give its landmark, x and y with it.")

    def _add_action(self, cursor: sqlite3.Cursor, who: str, undoes: int | None) -> int:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        cursor.execute("INSERT INTO actions(who, at, undoes) VALUES(?, ?, ?)", (who, now, undoes))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _known(self, cursor: sqlite3.Cursor, rows: set[int]) -> dict[int, int]:
        """The file's numbers of some faces, which are given to those that have none."""
        names = [(self._images[row],) for row in rows]
        cursor.executemany("INSERT OR IGNORE INTO images(image) VALUES(?)", names)
        self._hear_faces(cursor)
        numbers = {row: face for face, row in self._faces.items()} if len(rows) > 50 else {}
        if not numbers:
            for row in rows:
                found = cursor.execute("SELECT face FROM images WHERE image = ?", (self._images[row],)).fetchone()
                numbers[row] = int(found[0])
        return numbers

    def _hear_faces(self, cursor: sqlite3.Cursor) -> None:
        if not self._rows:
            self._rows = {image: row for row, image in enumerate(self._images)}
        news = cursor.execute("SELECT face, image FROM images WHERE face > ? ORDER BY face", (self._last_face,))
        for face, image in news:
            self._last_face = face
            row = self._rows.get(image)
            if row is not None:
                self._faces[face] = row

    def _hear(self, cursor: sqlite3.Cursor, after: int) -> set[int]:
        """Take in all decisions of later actions that are not undone."""
        self._hear_faces(cursor)
        rows = cursor.execute(
            f"SELECT face, landmark, verdict, x, y FROM decisions WHERE action > ? AND {_STANDING} ORDER BY number",
            (after,),
        )
        return {self._put(*row) for row in rows} - {NONE}

    def _take_back(self, cursor: sqlite3.Cursor, action: int) -> set[int]:
        """Let the points of an action that was undone have what was decided on them before."""
        points = cursor.execute("SELECT DISTINCT face, landmark FROM decisions WHERE action = ?", (action,)).fetchall()
        before = cursor.execute(
            "SELECT face, landmark, verdict, x, y, max(number) FROM decisions WHERE (face, landmark) IN "
            f"(SELECT face, landmark FROM decisions WHERE action = ?) AND {_STANDING} GROUP BY face, landmark",
            (action,),
        ).fetchall()
        there = {(row[0], row[1]) for row in before}
        changed = {
            self._put(face, landmark, NONE, None, None) for face, landmark in points if (face, landmark) not in there
        }
        return (changed | {self._put(*row[:5]) for row in before}) - {NONE}

    def _put(self, face: int, landmark: int, verdict: int, x: float | None, y: float | None) -> int:
        row = self._faces.get(face, NONE)
        if row == NONE or not WHOLE <= landmark < self._count:
            return NONE
        _check_stored(verdict, x, y)
        if landmark == WHOLE:
            self._standing.face[row] = verdict
            return row
        self._standing.point[row, landmark] = verdict
        if verdict == MOVE and x is not None and y is not None:
            self._standing.moved[row, landmark] = (x, y)
        else:
            self._standing.moved.pop((row, landmark), None)
        return row

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Cursor]:
        """A block that sees one state of the file."""
        with self._lock, self._sentences("read"):
            cursor = self._open().cursor()
            cursor.execute("BEGIN")
            try:
                yield cursor
            finally:
                cursor.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """A block that writes everything or nothing, and nobody else meanwhile."""
        with self._lock, self._sentences("written"):
            cursor = self._open().cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _sentences(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, TypeError, ValueError, OverflowError, IndexError) as error:  # or values of another kind
            raise SemalignError(
                f"{self.path}: cannot be {what} ({reason(error)}); "
                "nothing of the last step is kept; check the disk and the file."
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            opened = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                opened.execute("PRAGMA trusted_schema = OFF")
                _refuse_programs(opened)
                opened.execute("PRAGMA journal_mode = WAL")
                opened.execute("PRAGMA synchronous = FULL")
                version = opened.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, FORMAT):
                    raise SemalignError(f"{self.path}: is of a newer version of Semalign; use that one.")
                opened.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
            except BaseException:
                opened.close()
                raise
            self._connection = opened
        return self._connection


def _refuse_programs(opened: sqlite3.Connection) -> None:
    """Refuse a file in which more than tables and their indices are: views and triggers are programs.

    Raises:
        sqlite3.Error: it holds some, or is no database.
    """
    found = opened.execute("SELECT name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone()
    tables = opened.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    odd = [
        name for name, sql in tables if "virtual" in str(sql).lower().split() or "generated" in str(sql).lower().split()
    ]
    if found is not None or odd:
        raise sqlite3.DatabaseError("it holds views, triggers or the like, which no decisions need")


def _check_stored(verdict: Any, x: Any, y: Any) -> None:
    """Refuse a decision as no program of ours writes it.

    Raises:
        ValueError: an unknown verdict, or a place that is none.
    """
    if not isinstance(verdict, int) or not NONE <= verdict < len(VERDICTS):
        raise ValueError("a verdict is unknown")
    if not all(value is None or (isinstance(value, float) and math.isfinite(value)) for value in (x, y)):
        raise ValueError("a point was moved to no place")


def checked_name(who: str) -> str:
    """A person's name as it is kept, without blanks around it.

    Raises:
        SemalignError: it is empty, too long, or not printable.
    """
    name = who.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise SemalignError(f"{who!r} is no name; give one of 1 to {LONGEST_NAME} printable letters.")
    return name
