"""Which of many signatures are worth comparing: they are evened out, and sorted into lists.

Faces have their layout in common, and differ mostly in a few ways (light, turn, beard), so that many strangers have like
signatures: their number grows with the square of the faces'. What is common is taken off, and what varies much counts less,
as learned from the faces themselves: copies stay alike, and strangers are as good as never.

Shape legend: b faces, m numbers of a signature, l lists, k pairs.
"""

from __future__ import annotations

import numpy as np

from semalign.data.likeness import EVENED, SIGNATURE
from semalign.shapes import Bool, Float, Int

DRAWN = 1024  # faces from which it is learned what faces have in common
ENOUGH = 512  # of these that are unlike each other; of fewer it is not learned
EVENING = 0.25  # power of a variance by which its direction is divided: 0 is not at all, 0.5 to equal variances
FLOOR = 0.01  # of the mean variance, added to each
NEXT = 16  # lists in which a face is looked for, its own included
APART = 0.95  # cosine of two signatures above which they do not begin two lists
BLOCK = 512  # faces at a time


def evened(signatures: Float[np.ndarray, "b m"], order: Int[np.ndarray, " _"]) -> float:
    """Even signatures out, in place, and give the cosine from which two of them propose a pair.

    Where most faces are of one photograph, or there are few, signatures stay as they are.

    Args:
        signatures: of length 1, or zeros, which remain.
        order: rows to learn from, in an order drawn at random.
    """
    drawn = signatures[order[:DRAWN]].astype(np.float32)
    unlike = drawn[_unlike(drawn @ drawn.T, SIGNATURE)]
    if len(unlike) < ENOUGH:
        return SIGNATURE
    mean = unlike.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((unlike - mean).T).astype(np.float64))
    evening = (directions * (variances + FLOOR * variances.mean()) ** -EVENING).astype(np.float32)
    for start in range(0, len(signatures), BLOCK):
        part = signatures[start : start + BLOCK].astype(np.float32)
        grey = ~part.any(axis=1)
        part = (part - mean) @ evening
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
        part[grey] = 0
        signatures[start : start + BLOCK] = part
    return EVENED


class Lists:
    """Faces by the signatures that theirs are next to; those that are all of one grey are in no list.

    Args:
        signatures: of all faces.
        order: rows of those that are in lists, in an order drawn at random.
    """

    def __init__(self, signatures: Float[np.ndarray, "b m"], order: Int[np.ndarray, " _"]) -> None:
        heads = _heads(signatures, order, round(len(order) ** 0.5))
        self.count = len(heads)
        self._nearest = np.full((len(signatures), max(1, min(NEXT, self.count))), self.count, np.uint16)
        self._own = np.full(len(signatures), self.count, np.uint16)
        drawn = np.sort(order)
        for start in range(0, len(drawn), BLOCK):
            rows = drawn[start : start + BLOCK]
            cosine = signatures[rows].astype(np.float32) @ heads.T
            self._own[rows] = cosine.argmax(axis=1)
            width = self._nearest.shape[1]
            self._nearest[rows] = (
                np.argpartition(-cosine, width - 1, axis=1)[:, :width] if width < self.count else np.arange(self.count)
            )
        by_list = np.argsort(self._nearest, axis=None, kind="stable")
        self._starts = np.searchsorted(self._nearest.ravel()[by_list], np.arange(self.count + 1))
        self._rows = (by_list // self._nearest.shape[1]).astype(np.int32)

    def faces(self, number: int) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
        """A list's own faces and those of other lists to which it is next, ascending."""
        rows = self._rows[self._starts[number] : self._starts[number + 1]]
        own = self._own[rows] == number
        return rows[own], rows[~own]

    def meet_here(
        self, number: int, guests: Int[np.ndarray, " k"], members: Int[np.ndarray, " k"]
    ) -> Bool[np.ndarray, " k"]:
        """Which pairs are compared in this list: those that do not meet in the guest's own list before."""
        home = self._own[guests]
        met: np.ndarray = (home < number) & (self._nearest[members] == home[:, None]).any(axis=1)
        return ~met


def _unlike(cosine: Float[np.ndarray, "b b"], limit: float) -> Int[np.ndarray, " _"]:
    """Rows, each unlike all of them that are before it."""
    near = cosine > limit
    kept = np.zeros(len(cosine), bool)
    for row, others in enumerate(near):
        kept[row] = not (others & kept).any()
    return np.flatnonzero(kept)


def _heads(signatures: Float[np.ndarray, "b m"], order: Int[np.ndarray, " _"], wanted: int) -> Float[np.ndarray, "l m"]:
    """So many signatures that are not near each other, or fewer; twice as many are tried."""
    heads = np.zeros((wanted, signatures.shape[1]), np.float32)
    count = 0
    for row in order[: 2 * wanted]:
        signature = signatures[row].astype(np.float32)
        if count < wanted and not (heads[:count] @ signature > APART).any():
            heads[count] = signature
            count += 1
    return heads[:count]
