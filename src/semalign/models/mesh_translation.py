"""What a model file says of the face mesh: what its points are in the landmarks' terms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semalign.core.translation import Translation

MESH = "mesh."  # begins the names of its arrays


def translation_in(arrays: Mapping[str, np.ndarray]) -> Translation | None:
    """The translation among a file's arrays, in float64; None where there is none."""
    parts = {name.removeprefix(MESH): value for name, value in arrays.items() if name.startswith(MESH)}
    return Translation(**{name: value.astype(np.float64) for name, value in parts.items()}) if parts else None
