"""What only shows in many faces together: points of a part of a data set that count from another number than the others'.

Shape legend: b faces.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped

FEWEST = 20  # faces of a group, and of all others, of which it can be told
NEAR = 0.35  # pixels by which an offset may miss a whole pixel
SURELY = 5.0  # standard errors by which an offset must differ from none


def shifted_groups(
    offsets: Float[np.ndarray, "b 2"], groups: Shaped[np.ndarray, " b"], good: Bool[np.ndarray, " b"]
) -> dict[str, Float[np.ndarray, " 2"]]:
    """Groups of faces whose points lie a pixel further than the others', right and down, or left and up.

    Tools count pixels from 0 or from 1. A single face does not tell, as nobody annotates to the pixel; the median of many does.

    Args:
        offsets: of each face's points from where they are seen, pixels of the image.
        groups: that each face belongs to, such as its folder.
        good: faces that are heard.

    Returns:
        For each such group, the smaller ones of two that differ, what is to be taken off its points: (1, 1) or (-1, -1).
    """
    found = {}
    for group in np.unique(groups):
        own, others = offsets[good & (groups == group)], offsets[good & (groups != group)]
        if len(own) < FEWEST or len(others) < len(own):
            continue
        apart = np.median(own, axis=0) - np.median(others, axis=0)
        error = np.sqrt(_error(own) ** 2 + _error(others) ** 2)
        step = np.sign(apart)
        if step[0] == step[1] and (np.abs(apart - step) < NEAR).all() and (np.abs(apart) > SURELY * error).all():
            found[str(group)] = step
    return found


def _error(offsets: Float[np.ndarray, "c 2"]) -> Float[np.ndarray, " 2"]:
    """Standard errors of medians, from the median of the deviations."""
    deviation = 1.4826 * np.median(np.abs(offsets - np.median(offsets, axis=0)), axis=0)
    error: np.ndarray = 1.2533 * deviation / np.sqrt(len(offsets))
    return error
