"""How many processor cores there are to work with, what threads do on them while they wait, and how much waits for them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

AHEAD = 256  # pieces of work that wait for threads or to be taken
Item = TypeVar("Item")
Result = TypeVar("Result")
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # of OpenMP, in any library and in GNU's


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait_asleep() -> None:
    """Let PyTorch's threads sleep while they wait for each other, in this process and in those that it starts.

    By default they wait busily, which takes their cores from whatever else runs on the machine, and from each other. It must be
    said before PyTorch is imported. What the user has set for either of these stays as it is.
    """
    if not any(name in os.environ for name in PASSIVE):
        os.environ.update(PASSIVE)


def results_of(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int = AHEAD
) -> Iterator[Result]:
    """As `pool.map`, but no more than so many items are handed out before their results are taken.

    So the memory does not grow with their number, which `pool.map` takes 1.8 kB each of.
    """
    left, waiting = iter(items), deque[Future[Result]]()
    try:
        while True:
            waiting.extend(pool.submit(work, item) for item in islice(left, ahead - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
