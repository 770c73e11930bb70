"""Points of the plane as complex numbers x + iy, in which turning and scaling is one product.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float


def similarity(centred: Complex[np.ndarray, "b n"], mean: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "b 1"]:
    """Scale and turn of the mean that bring it nearest to each shape."""
    return (centred @ mean.conj())[:, None] / (np.abs(mean) ** 2).sum()


def to_complex(points: Float[np.ndarray, "*b 2"]) -> Complex[np.ndarray, "*b"]:
    """Points as x + iy."""
    return points[..., 0] + 1j * points[..., 1]


def to_points(points: Complex[np.ndarray, "*b"]) -> Float[np.ndarray, "*b 2"]:
    """The inverse of `to_complex`."""
    return np.stack([points.real, points.imag], axis=-1)
