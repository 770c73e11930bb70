"""Keeping large blocks of memory in the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # names and values of glibc's <malloc.h>


@cache
def keep_large_blocks() -> None:
    """Tell glibc to keep freed blocks instead of returning them to the system; elsewhere, do nothing.

    A batch of heatmaps is tens of megabytes. By default each is mapped afresh for every operation and zeroed page by page
    by the kernel, which costs a fifth of a CPU training step.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 1 << 28)
