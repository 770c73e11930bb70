"""What a detector needs in the programs of others: copies, pickles, forked processes, settings that are not its own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

_HOME = os.getpid()  # the process in which this was imported
_alone = threading.local()


class PerThread(threading.local):
    """What each thread makes for itself. A copy or a pickle of it begins empty."""

    def __reduce__(self) -> tuple[type[PerThread], tuple[()]]:
        return PerThread, ()


def compute_alone() -> None:
    """From now on this thread computes alone what it asks for: there is one like it for each core.

    PyTorch's setting is for the threads that begin later, too; `threads_put_back` in another thread ends it.
    """
    torch = _torch()
    if torch is not None:
        torch.set_num_threads(1)
    _alone.here = True


@contextmanager
def threads_put_back() -> Iterator[None]:
    """When the block ends, PyTorch computes with as many threads as before."""
    torch = _torch()
    threads = 0 if torch is None else torch.get_num_threads()
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)


def _torch() -> Any:
    """PyTorch if the program has loaded it; None where nothing of it can matter."""
    if sys.modules.get("torch") is None:
        return None
    import torch  # which may be on its way in another thread

    return torch


def computes_alone() -> bool:
    """Whether this thread computes alone."""
    return getattr(_alone, "here", False)


@contextmanager
def own_settings(device: Any = None) -> Iterator[None]:
    """Within the block, what the program has set for all of its code does not matter, and nothing of it is changed.

    These are numpy's errors and, where PyTorch is loaded, its autocast, gradients and default device. In a forked process
    PyTorch computes with one thread there, because the threads of its parent are gone and would be waited for without end.

    Args:
        device: PyTorch's, on which the network lies; None for the CPU.
    """
    with np.errstate(all="ignore"), nullcontext() if _torch() is None else _own_settings_of_torch(device):
        yield


@contextmanager
def _own_settings_of_torch(device: Any) -> Iterator[None]:
    import torch

    kind = "cpu" if device is None else device.type
    forked = os.getpid() != _HOME
    threads = torch.get_num_threads()
    if forked and threads > 1:
        torch.set_num_threads(1)
    try:
        with (
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
