"""What is wanted next is made ready by a thread, while what came before is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

DEPTH = 2  # things that lie ready, or are on their way

T = TypeVar("T")
R = TypeVar("R")


def made_ahead(make: Callable[[T], R], items: Sequence[T], depth: int = DEPTH) -> Iterator[R]:
    """`make` of each item in their order, up to `depth` of them ahead of whoever asks; one thread makes them all.

    What is made must not depend on when it is made. An error comes where its item's turn is. When the iteration ends, also
    early and by an error, what was not begun is not made, and what is being made is waited for. A single item is made where
    it is asked for.

    Args:
        make: called by the thread, for one item after the other.
        items: what for.
        depth: at least 1; so many results are in memory beside the one that is worked on.
    """
    if len(items) < 2:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(
        1, "ahead"
    )  # idle between its tasks: one that is left behind keeps no program from its end
    try:
        rest, waiting = iter(items), deque[Future[R]]()
        waiting.extend(pool.submit(make, item) for item in islice(rest, depth))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(rest, 1))
            yield made
            del made  # its memory is for the next
    finally:
        pool.shutdown(cancel_futures=True)
