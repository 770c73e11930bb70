"""Numbers in annotation files: read and moved as they are written, in decimals, so that no digit changes on the way."""

from __future__ import annotations

from decimal import Context, Decimal

import numpy as np

_CONTEXT = Context(prec=40)


def moved(value: float, by: str) -> float:
    """The number that is nearest to the decimal `value` + `by`; 0.1 + 0.5 - 0.5 is 0.1 again. What is not finite stays."""
    if not np.isfinite(value):
        return float(value)
    return float(_CONTEXT.add(Decimal(repr(float(value))), Decimal(by)))


def all_moved(values: np.ndarray, by: str) -> np.ndarray:
    """`moved` for each number of an array (...) float64, as a new one."""
    return np.array([moved(value, by) for value in values.ravel().tolist()], dtype=np.float64).reshape(values.shape)


def written(value: float) -> str:
    """A number as the shortest text that is read back as the same one."""
    return repr(float(value))
