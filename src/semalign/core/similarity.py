"""Points of the plane as complex numbers x + iy, in which turning and scaling is one product.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float


def similarity(centred: Complex[np.ndarray, "b n"], mean: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "b 1"]:
    """Scale and turn of the mean that bring it nearest to each shape."""
    return (centred @ mean.conj())[:, None] / (np.abs(mean) ** 2).sum()


def frames_of(shapes: Complex[np.ndarray, "b n"], mean: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, "b 1"]:
    """Turn and size of each shape, wherever it lies: the mean times it lies nearest to the shape around its middle."""
    return similarity(shapes - shapes.mean(axis=1, keepdims=True), mean)


def sizes_of(shapes: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """Root mean square distance of each shape's points from their middle."""
    sizes: np.ndarray = np.sqrt((np.abs(shapes - shapes.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))
    return sizes


def completed(shapes: Complex[np.ndarray, "b n"], iterations: int = 10) -> Complex[np.ndarray, "b n"]:
    """The shapes with what is absent (NaN) where the mean shape, moved onto each shape, has it; each has a point at least."""
    absent = np.isnan(shapes)
    if not absent.any():
        return shapes
    centres = np.nanmean(shapes, axis=1, keepdims=True)
    filled = np.where(absent, centres, shapes)
    most = int(np.argmin(absent.sum(axis=1)))
    mean = filled[most] - centres[most]
    for _ in range(iterations):
        centres = filled.mean(axis=1, keepdims=True)
        frames = similarity(filled - centres, mean)
        mean = ((filled - centres) / np.where(frames == 0, 1, frames)).mean(axis=0)
        filled = np.where(absent, centres + similarity(filled - centres, mean) * mean, shapes)
    return filled


def to_complex(points: Float[np.ndarray, "*b 2"]) -> Complex[np.ndarray, "*b"]:
    """Points as x + iy."""
    return points[..., 0] + 1j * points[..., 1]


def to_points(points: Complex[np.ndarray, "*b"]) -> Float[np.ndarray, "*b 2"]:
    """The inverse of `to_complex`."""
    return np.stack([points.real, points.imag], axis=-1)
