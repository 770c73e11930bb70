"""Smooth curves through control points, and positions along them by arc length."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def spline_matrix(controls: int, samples: int, closed: bool = False) -> np.ndarray:
    """The (samples, controls) matrix that takes control points to `samples` points of the cubic spline through them.

    Knots are uniform; an open spline is natural (no curvature at its ends) and its samples include both ends; a closed one
    starts at control 0 and its samples do not repeat the start.
    """
    bend = _second_derivatives(controls, closed)
    spans = controls if closed else controls - 1
    parameter = np.arange(samples) * spans / (samples if closed else samples - 1)
    start = np.minimum(parameter.astype(int), spans - 1)
    end = (start + 1) % controls
    b = (parameter - start)[:, None]
    a = 1.0 - b
    identity = np.eye(controls)
    return (
        a * identity[start]
        + b * identity[end]
        + (a**3 - a) / 6.0 * bend[start]
        + (b**3 - b) / 6.0 * bend[end]
    )


def _second_derivatives(controls: int, closed: bool) -> np.ndarray:
    """The linear map from control values to the spline's second derivatives at the knots."""
    identity = np.eye(controls)
    difference = np.roll(identity, 1, 1) - 2.0 * identity + np.roll(identity, -1, 1)
    system = (np.roll(identity, 1, 1) + 4.0 * identity + np.roll(identity, -1, 1)) / 6.0
    if not closed:
        for end in (0, -1):
            difference[end] = 0.0
            system[end] = identity[end]
    return np.linalg.solve(system, difference)


def spline(controls: np.ndarray, samples: int, closed: bool = False) -> np.ndarray:
    """`samples` points of the cubic spline through the controls (k, d)."""
    return spline_matrix(len(controls), samples, closed) @ controls


def arc_length(curve: np.ndarray) -> np.ndarray:
    """Distance from the start at each vertex of a polyline (k, 2) -> (k,)."""
    step = np.diff(curve, axis=0)
    return np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])


def point_at(curve: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Points (n, 2) at arc lengths (n,) of a polyline; beyond its ends it goes on straight."""
    length = arc_length(curve)
    inside = np.clip(position, 0.0, length[-1])
    points = np.stack([np.interp(inside, length, curve[:, 0]), np.interp(inside, length, curve[:, 1])], axis=1)
    before = np.minimum(position, 0.0)[:, None]
    after = np.maximum(position - length[-1], 0.0)[:, None]
    return points + before * _unit(curve[1] - curve[0]) + after * _unit(curve[-1] - curve[-2])


def evenly(curve: np.ndarray, count: int) -> np.ndarray:
    """`count` points (count, 2) at equal arc length from a polyline's start to its end."""
    return point_at(curve, np.linspace(0.0, arc_length(curve)[-1], count))


def position_on(curve: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Arc length (n,) of the place on a polyline (k, 2) that is nearest to each point (n, 2)."""
    start, step = curve[:-1], np.diff(curve, axis=0)
    squared = np.maximum((step**2).sum(1), 1e-18)
    offset = points[:, None] - start[None]
    share = np.clip((offset * step).sum(2) / squared, 0.0, 1.0)
    distance = ((offset - share[..., None] * step) ** 2).sum(2)
    nearest = distance.argmin(1)
    rows = np.arange(len(points))
    return arc_length(curve)[nearest] + share[rows, nearest] * np.sqrt(squared[nearest])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(vector[0], vector[1])), 1e-12)
