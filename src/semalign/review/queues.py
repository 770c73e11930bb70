"""Which places of a queue a person wants to see, in the order of their rank.

Shape legend: b faces, n landmarks, q places in a queue, m places that are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Int

from semalign.auditing import KINDS
from semalign.auditing.decisions import ACCEPT, FLAG, MOVE, NONE, REJECT
from semalign.auditing.kinds import NUMBERS
from semalign.auditing.result import LISTED
from semalign.errors import SemalignError
from semalign.review.index import Index, Queue

STATES: Final = ("todo", "done", "flagged", "all")
QUEUES: Final = ("faces", "points")
ORDERS: Final = ("probability", "move")
DECIDED: Final = (ACCEPT, REJECT, MOVE)


@dataclass(frozen=True)
class Filter:
    """What a person wants to see of a queue.

    Attributes:
        queue: `faces` or `points`.
        kind: name in `KINDS`; "" = any.
        region: name in the scheme; "" = any.
        landmark: from 0; None = any.
        least: probability of being wrong.
        move: least way from annotation to proposal, in sizes of the face; of a face the largest of the region or landmark.
        state: todo (nobody has decided), done, flagged, or all.
        order: by how probably they are wrong, or by how far they move, of faces the mean over the points.
    """

    queue: str = "faces"
    kind: str = ""
    region: str = ""
    landmark: int | None = None
    least: float = LISTED
    move: float = 0.0
    state: str = "todo"
    order: str = "probability"


def read_filter(values: Mapping[str, Any], index: Index) -> Filter:
    """The filter that a request asks for, by the names of the fields.

    Raises:
        SemalignError: a value that makes no sense.
    """
    landmark = values.get("landmark")
    try:
        found = Filter(
            queue=str(values.get("queue", "faces")),
            kind=str(values.get("kind") or ""),
            region=str(values.get("region") or ""),
            landmark=None if landmark in (None, "") else int(str(landmark)),
            least=float(values.get("least") or 0.0) if "least" in values else LISTED,
            move=float(values.get("move") or 0.0),
            state=str(values.get("state", "todo")),
            order=str(values.get("order", "probability")),
        )
    except ValueError as error:
        raise SemalignError("least and move are numbers, and a landmark is its number from 0.") from error
    for value, allowed, what in (
        (found.queue, QUEUES, "queue"),
        (found.state, STATES, "state"),
        (found.order, ORDERS, "order"),
        (found.kind, ("", *NUMBERS), "kind"),
        (found.region, ("", *index.scheme.regions), "region"),
    ):
        if value not in allowed:
            raise SemalignError(f"there is no {what} {value!r}; choose from {', '.join(filter(None, allowed))}.")
    if found.landmark is not None and not 0 <= found.landmark < index.scheme.count:
        raise SemalignError(f"there is no landmark {found.landmark}; give one from 0 to {index.scheme.count - 1}.")
    return found


def verdicts_of(
    queue: Queue, ranks: np.ndarray | slice, faces: Int[np.ndarray, " b"], points: Int[np.ndarray, "b n"]
) -> Int[np.ndarray, " m"]:
    """What was decided at some places of a queue, index in `VERDICTS`, -1 = nothing.

    Args:
        queue: of faces or points.
        ranks: of the places.
        faces: what was decided on faces, those included all whose points are decided one by one.
        points: what was decided on points singly.
    """
    face = queue.face[ranks]
    whole = faces[face]
    if len(queue) == 0 or queue.landmark[0] < 0:
        return whole
    single = points[face, queue.landmark[ranks]]
    return np.where(single == NONE, whole, single)


def places(
    index: Index, wanted: Filter, verdicts: Callable[[slice], Int[np.ndarray, " m"]]
) -> tuple[np.ndarray, dict[str, int]]:
    """The places of a queue that pass a filter, and how many would pass by kind.

    Args:
        index: the audit.
        wanted: the filter.
        verdicts: gives what was decided at some ranks, as `verdicts_of` does.

    Returns:
        Ranks (m,) ascending, and by the kind's name how many pass the filter when any kind is wanted; by "" how many in all.
    """
    queue = index.queue(wanted.queue, wanted.order)
    if wanted.order == "move":
        stop, passing = len(queue), queue.probability >= wanted.least
    else:
        stop = int(np.searchsorted(-queue.probability, -wanted.least, side="right"))  # ranked by it
        passing = np.ones(stop, dtype=bool)
    said = verdicts(slice(stop))
    if wanted.state == "todo":
        passing &= said == NONE
    elif wanted.state == "flagged":
        passing &= said == FLAG
    elif wanted.state == "done":
        passing &= np.isin(said, DECIDED)
    members = list(range(index.scheme.count)) if not wanted.region else list(index.scheme.regions[wanted.region])
    if wanted.landmark is not None:
        members = [wanted.landmark]
    if wanted.queue == "points":
        if len(members) < index.scheme.count:
            passing &= np.isin(queue.landmark[:stop], members)
        passing &= queue.move[:stop] >= wanted.move
    elif wanted.move > 0:
        far = queue.move[:stop]
        if len(members) < index.scheme.count:
            far = index.move[:, members].max(axis=1)[queue.face[:stop]]
        passing &= far >= wanted.move
    kinds = queue.kind[:stop]
    counts = np.bincount(kinds[passing].astype(np.int64) + 1, minlength=len(KINDS) + 1)[1:]
    every = int(passing.sum())
    if wanted.kind:
        passing &= kinds == NUMBERS[wanted.kind]
    by_name = {kind.name: int(count) for kind, count in zip(KINDS, counts, strict=True)}
    return np.flatnonzero(passing), by_name | {"": every}
