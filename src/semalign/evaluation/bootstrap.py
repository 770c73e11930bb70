"""Is one set of errors smaller than another on the same faces? A paired bootstrap over the faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CHUNK = 1 << 22  # resampled indices held at a time


@dataclass(frozen=True)
class Difference:
    """A mean difference of paired values with its percentile interval, in the values' unit."""

    mean: float
    low: float
    high: float
    level: float  # share of the resampled means that lies between low and high

    @property
    def verdict(self) -> str:
        """'lower' or 'higher' if the interval leaves zero out, else 'undecided'."""
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "undecided"


def paired_bootstrap(
    values: Float[np.ndarray, " b"],
    reference: Float[np.ndarray, " b"],
    rng: np.random.Generator,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """The mean of values - reference over faces, with the interval of its mean over faces drawn with replacement.

    Raises:
        ValueError: there are no faces, or a value is not finite: a face that is left out on one side alone would bias.
    """
    difference = values - reference
    if not len(difference) or not np.isfinite(difference).all():
        raise ValueError("paired values must be finite and at least one")
    count = len(difference)
    rows = max(1, CHUNK // count)
    means = [
        difference[rng.integers(count, size=(min(rows, resamples - start), count))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(difference.mean()), float(low), float(high), level)
