"""Work that threads get a few pieces of at a time: what is wanted next is made ready while what came before is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 256  # pieces of work that wait for threads or to be taken
DEPTH = 2  # things that lie ready, or are on their way

Item = TypeVar("Item")
Result = TypeVar("Result")


def results_of(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int = AHEAD
) -> Iterator[Result]:
    """As `pool.map`, but no more than so many items are handed out before their results are taken.

    So the memory does not grow with their number, which `pool.map` takes 1.8 kB each of.
    """
    left, waiting = iter(items), deque[Future[Result]]()
    try:
        waiting.extend(pool.submit(work, item) for item in islice(left, ahead))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(left, 1))
            yield made
            del made  # its memory is for the next
    finally:
        for future in waiting:
            future.cancel()


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`work` of each item in their order, so many of them at the same time, for work that leaves Python's lock to others.

    Items are taken by whoever asks, up to two for each thread ahead; errors and early ends are as of `made_ahead`.
    """
    if threads == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, "beside")
    try:
        yield from results_of(pool, work, items, 2 * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def made_ahead(make: Callable[[Item], Result], items: Sequence[Item], depth: int = DEPTH) -> Iterator[Result]:
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
    pool = ThreadPoolExecutor(1, "ahead")  # idle between tasks: one that is left behind keeps no program from its end
    try:
        yield from results_of(pool, make, items, depth)
    finally:
        pool.shutdown(cancel_futures=True)
