"""Does a method know how sure it is? Stated spreads held against true errors.

Shape legend: b faces, n landmarks, k labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.evaluation.labels import mean_or_none

SHARE = 0.9  # of labels that are to lie within their radius
BINS = 10
_ANGLES, _RATIOS, _HALVINGS = 256, 101, 50


def radius(spread: Float[np.ndarray, "*k 2"]) -> Float[np.ndarray, "*k"]:
    """The radius of the circle that holds 90 % of a normal distribution with these standard deviations along x and y."""
    large, small = spread.max(axis=-1), spread.min(axis=-1)
    ratio = small / np.where(large > 0, large, np.nan)
    return large * np.interp(ratio, *_factors())


def honesty(
    spread: Float[np.ndarray, "b n 2"],
    offset: Float[np.ndarray, "b n 2"],
    unit: Float[np.ndarray, " b"],
    regions: Mapping[str, Sequence[int]],
) -> dict[str, Any] | None:
    """How well stated spreads predict errors, ready for JSON; None where nothing is stated, as a spread of nothing is.

    Args:
        spread: standard deviations of labels along x and y, pixels of the image; NaN where absent.
        offset: of the labels from the truth, likewise.
        unit: what errors are in % of, likewise.
        regions: landmarks by name.

    Returns:
        {"within_90": the share of labels that lie within the radius of 90 %, "within_90_by_region",
        "deciles": [{"stated", "real"}: root mean squared errors in %, of a tenth of the labels, the surest first]}
    """
    distance = np.hypot(offset[..., 0], offset[..., 1])
    stated = np.hypot(spread[..., 0], spread[..., 1])
    known = np.isfinite(distance) & (stated > 0)
    if not known.any():
        return None
    inside = np.where(known, distance <= radius(spread), np.nan)
    scale = 100.0 / unit[:, None]
    pairs = np.stack([(stated * scale)[known], (distance * scale)[known]])
    parts = np.array_split(pairs[:, np.argsort(pairs[0], kind="stable")], BINS, axis=1)
    return {
        "within_90": mean_or_none(inside),
        "within_90_by_region": {name: mean_or_none(inside[:, list(members)]) for name, members in regions.items()},
        "deciles": [
            dict(zip(("stated", "real"), np.sqrt((part**2).mean(axis=1)).tolist(), strict=True))
            for part in parts
            if part.size
        ],
    }


@lru_cache(maxsize=1)
def _factors() -> tuple[np.ndarray, np.ndarray]:
    """Ratios of the smaller to the larger standard deviation, and the radius by the larger one.

    In polar coordinates the share beyond a radius r is the mean over all directions of exp(-r²/2g²), where g² is
    cos² + (ratio · sin)²; the radius at which it is a tenth is found by halving.
    """
    angle = (np.arange(_ANGLES) + 0.5) / _ANGLES * np.pi
    ratio = np.linspace(0.0, 1.0, _RATIOS)
    squares = np.cos(angle) ** 2 + (ratio[:, None] * np.sin(angle)) ** 2
    low, high = np.zeros(_RATIOS), np.full(_RATIOS, 4.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = 1.0 - np.exp(-(middle[:, None] ** 2) / (2 * squares)).mean(axis=1)
        low, high = np.where(within < SHARE, middle, low), np.where(within < SHARE, high, middle)
    return ratio, (low + high) / 2
