"""How far labels are from the known truth, by region of the face, along the curves and across them.

All figures are means over faces and landmarks, in % of the truth's outer-eye distance; where the scheme names no outer corners
of the eyes, of the size √(w·h) of the box around the truth, as everywhere (`nme_box`).

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.core.curves import split, tangents
from semalign.core.metrics import box_size, interocular, landmark_boxes
from semalign.schemes import LandmarkScheme


def label_error(
    labels: Float[np.ndarray, "b n 2"], truth: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme
) -> dict[str, Any]:
    """The mean error of labels against the truth, ready for JSON; None where there is nothing to average.

    Landmarks whose truth is NaN do not count. `along` and `across` are the parts of the error along the truth's curve
    and across it, over the landmarks that lie on a curve.

    Returns:
        {"all", "along", "across", "strong", "weak": mean, "regions": {name: {"mean", "along", "across"}},
        "by_landmark": [n means]}
    """
    unit = box_size(landmark_boxes(truth)) if scheme.outer_eyes is None else interocular(truth, scheme)
    offset = 100.0 * (labels - truth) / np.where(unit > 0, unit, np.nan)[:, None, None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    along, across = split(offset, tangents(truth, scheme))
    return {
        "all": mean_or_none(distance),
        "along": mean_or_none(along),
        "across": mean_or_none(across),
        "strong": mean_or_none(distance[:, list(scheme.strong)]),
        "weak": mean_or_none(distance[:, list(scheme.weak)]),
        "regions": {
            name: {
                "mean": mean_or_none(distance[:, list(members)]),
                "along": mean_or_none(along[:, list(members)]),
                "across": mean_or_none(across[:, list(members)]),
            }
            for name, members in scheme.regions.items()
        },
        "by_landmark": [mean_or_none(distance[:, landmark]) for landmark in range(scheme.count)],
    }


def mean_or_none(values: np.ndarray) -> float | None:
    """The mean of what is not NaN; None if that is nothing."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else None
