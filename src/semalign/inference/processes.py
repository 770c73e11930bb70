"""What a detector needs in the programs of others: copies, pickles, forked processes, settings that are not its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

_HOME = os.getpid()  # the process in which this was imported
_alone = threading.local()


class PerThread(threading.local):
    """What each thread makes for itself. A copy or a pickle of it begins empty."""

    def __reduce__(self) -> tuple[type[PerThread], tuple[()]]:
        return PerThread, ()


def compute_alone() -> None:
    """From now on this thread computes alone what it asks for: there is one like it for each core.

    PyTorch's setting is for the threads that begin later, too; `torch.set_num_threads` in another thread puts it back.
    """
    torch.set_num_threads(1)
    _alone.here = True


def computes_alone() -> bool:
    """Whether this thread computes alone."""
    return getattr(_alone, "here", False)


@contextmanager
def own_settings(device: torch.device | None = None) -> Iterator[None]:
    """Within the block, what the program has set for all of its code does not matter, and nothing of it is changed.

    These are autocast, gradients, the default device and numpy's errors. In a forked process PyTorch computes with one thread
    there, because the threads of its parent are gone and would be waited for without end.
    """
    kind = "cpu" if device is None else device.type
    forked = os.getpid() != _HOME
    threads = torch.get_num_threads()
    if forked and threads > 1:
        torch.set_num_threads(1)
    try:
        with (
            np.errstate(all="ignore"),
            torch.no_grad(),
            nullcontext()
            if torch.get_default_device().type == "cpu"
            else torch.device("cpu"),  # it slows every operation
            torch.autocast("cpu", enabled=False),
            torch.autocast(kind, enabled=False),
        ):
            yield
    finally:
        if forked and threads > 1:
            torch.set_num_threads(threads)
