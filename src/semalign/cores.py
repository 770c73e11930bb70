"""How many processor cores there are to work with, and what threads do on them while they wait."""

from __future__ import annotations

import os

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
