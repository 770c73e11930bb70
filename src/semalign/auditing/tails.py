"""How much a figure speaks for an error: against how it is spread over faces that are as they should be.

The usual spread is that of a ratio of variances with heavy tails (beta prime), fitted to the figures that are not far out, so
that the errors among them have no part in it. Where something is wrong, a figure may have any size above the usual, each order
of magnitude as likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MIDDLE, HIGH = 0.5, 0.95  # quantiles from which the usual spread is taken
STEEPEST, FLATTEST = 100.0, 1.2  # exponents of its tail that are possible
DECADES = 5.0  # sizes of figures where something is wrong, in powers of ten above the usual


@dataclass(frozen=True)
class Tail:
    """The spread of a figure over faces that are as they should be: x/scale is beta prime (half, exponent).

    Attributes:
        half: half the number of coordinates that are measured, 1 or 2.
        exponent: of the tail, which falls with this power.
        scale: unit of the figure.
        least: from which a figure may come from an error.
    """

    half: int
    exponent: float
    scale: float
    least: float

    def log_factor(self, x: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
        """Logarithm of how many times likelier the figure is with an error than without."""
        y = np.maximum(x, self.least) / self.scale
        a = self.exponent
        without = np.log(a) - (a + self.half) * np.log1p(y) - np.log(self.scale)
        if self.half == 2:
            without += np.log(a + 1) + np.log(y)
        wrong = -np.log(np.maximum(x, self.least)) - np.log(DECADES * np.log(10))
        factor: np.ndarray = np.where(x < self.least, np.minimum(wrong - without, 0.0) - 3.0, wrong - without)
        return factor


def fit_tail(x: Float[np.ndarray, "*b"], half: int = 1, high: float = HIGH) -> Tail:
    """The usual spread of a figure.

    Args:
        x: of all faces, or of all points of them; few of them come from errors.
        half: as `Tail.half`.
        high: quantile up to which next to none comes from an error.
    """
    x = np.maximum(np.asarray(x, np.float64).ravel(), 1e-12)
    middle, top = np.quantile(x, [MIDDLE, high])
    low, up = FLATTEST, STEEPEST
    for _ in range(60):
        exponent = np.sqrt(low * up)
        ratio = _quantile(high, half, exponent) / _quantile(MIDDLE, half, exponent)
        low, up = (exponent, up) if ratio > top / middle else (low, exponent)
    return Tail(half, float(exponent), float(middle / _quantile(MIDDLE, half, exponent)), float(top))


def _quantile(share: float, half: int, exponent: float) -> float:
    """Of beta prime (half, exponent)."""
    if half == 1:
        return float((1 - share) ** (-1 / exponent) - 1)
    low, up = 1e-9, 1e9
    for _ in range(100):
        y = np.sqrt(low * up)
        beyond = (1 + y) ** -exponent * (1 + exponent * y / (1 + y))
        low, up = (y, up) if beyond > 1 - share else (low, y)
    return float(y)
