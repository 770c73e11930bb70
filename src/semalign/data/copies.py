"""Which of many thumbnails show one photograph or moment, without comparing each with each.

Signatures are evened out and sorted into lists, each around one face's (`semalign.data.neighbours`); a face is compared with
those of its own list and of the lists that are next. What looks alike is looked at closely (`semalign.data.likeness`). A
photograph that is there often is a crowd: once LARGE faces stand for it, a further copy is compared with the likest of these,
and then with nothing else.

Shape legend: b faces, k pairs, s side of a thumbnail, m of a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from semalign.data.likeness import (
    MOVED,
    PROPOSED,
    REGISTRABLE,
    ROUNDING,
    SAME_PHOTOGRAPH,
    SIGNED,
    SMALL,
    coarsely_registered,
    fine_likeness,
    moved_onto,
    normalised,
    registered_likeness,
    signatures,
    small_thumbnails,
)
from semalign.data.neighbours import Lists, evened
from semalign.data.thumbnails import Thumbnails
from semalign.shapes import Bool, Float, Int, UInt8

LARGE = 16  # faces that stand for a photograph; of fewer copies each is compared with each
CLOSE = 0.9  # likeness from which a further copy does not stand for its photograph
BLOCK, COLUMNS = 512, 8192  # faces compared at a time, and with how many
CROWDED = 4 * LARGE  # proposals for each face of a block from which it is halved
UNMOVED = np.eye(2, 3)


@dataclass(frozen=True, eq=False)
class Copies:
    """Thumbnails that show the same photograph or moment.

    Attributes:
        pairs: (first, second, likeness), ascending, first < second.
        crowds: the lowest row of the crowd that a face is of (b,), or -1. Of a crowd not all pairs were compared.
    """

    pairs: list[tuple[int, int, float]]
    crowds: Int[np.ndarray, " b"]


def find_copies(faces: Iterable[UInt8[np.ndarray, "_ s s"]], count: int, seed: int = 0) -> Copies:
    """Copies among thumbnails that come in parts; 1 kB a face in memory.

    Args:
        faces: the thumbnails.
        count: how many there are in all.
        seed: of the draw of faces around which lists are made.
    """
    search = _Search(count)
    try:
        for part in faces:
            search.read(part)
        return search.run(np.random.default_rng(seed))
    finally:
        search.close()


class _Search:
    """Thumbnails, their signatures, and the pairs found so far."""

    def __init__(self, count: int) -> None:
        self._thumbnails = Thumbnails()
        self._small = np.zeros((count, SMALL * SMALL), np.int8)
        self._signatures = np.zeros((count, SIGNED), np.float16)
        self._limit = 1.0  # cosine of signatures from which a pair is looked at
        self._groups = _Groups(count)
        self._pairs: list[tuple[int, int, float]] = []
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def read(self, faces: UInt8[np.ndarray, "_ s s"]) -> None:
        """Add thumbnails after those that are there."""
        start = len(self._thumbnails)
        self._thumbnails.append(faces)
        for first in range(0, len(faces), BLOCK):
            small = small_thumbnails(faces[first : first + BLOCK].astype(np.float32))
            rows = slice(start + first, start + first + len(small))
            self._signatures[rows] = signatures(small)
            largest = np.maximum(np.abs(small).max(axis=1, keepdims=True), 1e-9)
            self._small[rows] = np.round(small * (127 / largest))

    def close(self) -> None:
        """Give back what the thumbnails take."""
        self._thumbnails.close()

    def run(self, rng: np.random.Generator) -> Copies:
        """All copies."""
        order = rng.permutation(np.flatnonzero(self._signatures.any(axis=1)))
        self._limit = evened(self._signatures, order)
        lists = Lists(self._signatures, order)
        for number in range(lists.count):
            self._list(lists, number)
        self._look_at_waiting()
        return Copies(sorted(self._pairs), self._groups.crowds())

    def _list(self, lists: Lists, number: int) -> None:
        """Compare the faces of a list with each other, and then those of other lists with what is left of them."""
        members, guests = lists.faces(number)
        standing = members[:0]

        def among_themselves(block: np.ndarray) -> bool:
            nonlocal standing
            block = self._active(block)
            one, other = self._proposed(block, np.concatenate([standing, block]))
            once = one > other
            if _crowded(once, block):
                return False
            self._judge(one[once], other[once], len(block))
            standing = np.concatenate([standing, self._active(block)])
            return True

        def with_members(block: np.ndarray) -> bool:
            block = self._active(block)
            one, other = self._proposed(block, standing)
            once = lists.meet_here(number, one, other)
            if _crowded(once, block):
                return False
            self._judge(one[once], other[once], len(block))
            return True

        _in_blocks(members, among_themselves)
        _in_blocks(guests, with_members)

    def _active(self, rows: Int[np.ndarray, " _"]) -> Int[np.ndarray, " _"]:
        """Those that stand for a photograph."""
        standing: np.ndarray = rows[self._groups.active[rows]]
        return standing

    def _proposed(self, rows: Int[np.ndarray, " _"], others: Int[np.ndarray, " _"]) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (k,), (k,) of one and the other that have like signatures."""
        ones, found = self._signatures[rows].astype(np.float32), [(rows[:0], rows[:0])]
        for start in range(0, len(others), COLUMNS):
            columns = others[start : start + COLUMNS]
            row, column = np.nonzero(ones @ self._signatures[columns].astype(np.float32).T > self._limit)
            found.append((rows[row], columns[column]))
        return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])

    def _judge(self, one: Int[np.ndarray, " k"], other: Int[np.ndarray, " k"], faces: int) -> None:
        """Look at pairs proposed for so many faces, for each face and crowd at the likest first, and join what is alike.

        Single ones wait until there are some hundred, which takes less time.
        """
        groups = self._groups
        new = groups.apart(one, other)
        one, other = one[new], other[new]
        if groups.in_crowd(one).any() or groups.in_crowd(other).any():
            newcomer, there = np.where(groups.in_crowd(one), (other, one), (one, other))
            cosine = np.einsum("km,km->k", *(self._signatures[rows].astype(np.float32) for rows in (one, other)))
            order = np.lexsort((there, -cosine, groups.label[there], newcomer))
            key = np.stack([newcomer, groups.label[there]])[:, order]
            begins = np.concatenate([[True], (np.diff(key) != 0).any(axis=0)]) & groups.in_crowd(there[order])
            self._look(one[order[begins]], other[order[begins]])
            rest = np.sort(order[~begins])
            self._look(one[rest], other[rest])
            return
        self._waiting.append((one, other))
        if len(one) > faces or sum(len(rows) for rows, _ in self._waiting) >= BLOCK:
            self._look_at_waiting()

    def _look_at_waiting(self) -> None:
        """Compare the pairs that wait."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._look(np.concatenate([one for one, _ in waiting]), np.concatenate([other for _, other in waiting]))

    def _look(self, one: Int[np.ndarray, " k"], other: Int[np.ndarray, " k"]) -> None:
        """Compare pairs and join those that are alike."""
        for start in range(0, len(one), BLOCK):
            part = slice(start, start + BLOCK)
            first, second = np.minimum(one[part], other[part]), np.maximum(one[part], other[part])
            wanted = self._groups.apart(first, second)
            first, second = first[wanted], second[wanted]
            small = [normalised(self._small[rows].astype(np.float32)) for rows in (first, second)]
            like = np.flatnonzero(np.einsum("kp,kp->k", *small) > PROPOSED - ROUNDING)
            if not len(like):
                continue
            likeness, movements = moved_onto(small[1][like], small[0][like])
            for index in np.flatnonzero(likeness > MOVED):
                row = like[index]
                self._decide(int(first[row]), int(second[row]), movements[index])

    def _decide(self, first: int, second: int, movement: Float[np.ndarray, "2 3"]) -> None:
        """Join two faces if they are alike after a registration; a copy of what is there often may be alike without one."""
        groups = self._groups
        rows = np.array([first, second])
        if not groups.apart(rows[:1], rows[1:])[0]:
            return
        one, other = self._thumbnails[first], self._thumbnails[second]
        small = small_thumbnails(np.stack([one, other]))
        if float(small[0] @ small[1]) <= PROPOSED:
            return
        likeness = fine_likeness(one, other, UNMOVED) if groups.in_crowd(rows).any() else 0.0
        if likeness < CLOSE:
            if coarsely_registered(one, other, movement) < REGISTRABLE:
                return
            likeness = registered_likeness(one, other)
        if likeness >= SAME_PHOTOGRAPH:
            self._pairs.append((first, second, likeness))
            groups.join(first, second, likeness >= CLOSE)


class _Groups:
    """Faces of one photograph, and which of them stand for it."""

    def __init__(self, count: int) -> None:
        self.label = np.arange(count, dtype=np.int32)  # of the group
        self.active = np.ones(count, bool)
        self._members: dict[int, list[int]] = {}  # of groups of two and more
        self._standing = np.ones(count, np.int32)  # active faces of a group, by label
        self._crowd = np.zeros(count, bool)  # by label

    def in_crowd(self, rows: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
        """Whether so many faces stand for a photograph that its copies are no longer compared with each other."""
        found: np.ndarray = self._crowd[self.label[rows]]
        return found

    def apart(self, one: Int[np.ndarray, " k"], other: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
        """Which pairs are still to be compared: both stand for a photograph, and not for one crowd."""
        label = self.label[one]
        together = (label == self.label[other]) & self._crowd[label]
        found: np.ndarray = self.active[one] & self.active[other] & ~together
        return found

    def join(self, one: int, other: int, close: bool) -> None:
        """Put two groups together; a face that is close to one of a crowd does not stand for the photograph itself."""
        kept, joined = int(self.label[one]), int(self.label[other])
        if close and self._crowd[kept] != self._crowd[joined]:
            newcomer = other if self._crowd[kept] else one
            self.active[newcomer] = False
            self._standing[self.label[newcomer]] -= 1
        if kept == joined:
            return
        members = self._members.pop(kept, [kept]), self._members.pop(joined, [joined])
        if len(members[0]) < len(members[1]):
            kept, joined, members = joined, kept, members[::-1]
        self.label[members[1]] = kept
        self._members[kept] = members[0]
        members[0].extend(members[1])
        self._standing[kept] += self._standing[joined]
        self._crowd[kept] |= self._crowd[joined] or self._standing[kept] >= LARGE

    def crowds(self) -> Int[np.ndarray, " b"]:
        """The lowest row of each face's crowd (b,), -1 for faces of none."""
        lowest = np.full(len(self.label), -1, np.int32)
        for label, members in self._members.items():
            if self._crowd[label]:
                lowest[members] = min(members)
        return lowest


def _in_blocks(rows: Int[np.ndarray, " _"], compare: Callable[[np.ndarray], bool]) -> None:
    """Call with some hundred faces after the other; where that says no, with their first half and then with the other."""
    waiting = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)][::-1]
    while waiting:
        block = waiting.pop()
        if not compare(block):
            waiting += [block[len(block) // 2 :], block[: len(block) // 2]]


def _crowded(proposed: Bool[np.ndarray, " k"], block: Int[np.ndarray, " _"]) -> bool:
    """Whether there are so many proposals that some should be judged first, so that others become needless."""
    return len(block) > 1 and int(proposed.sum()) > CROWDED * len(block)
