"""Smooth curves through control points, and positions along them by arc length."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def spline_matrix(controls: int, samples: int, closed: bool = False) -> np.ndarray:
    """The (samples, controls) matrix that takes control points to `samples` points of the cubic spline through them.

    Knots are uniform; an open spline is natural (no curvature at its ends) and its samples include both ends; a closed
    one starts at control 0 and its samples do not repeat the start.
    """
    bend = _second_derivatives(controls, closed)
    spans = controls if closed else controls - 1
    parameter = np.arange(samples) * spans / (samples if closed else samples - 1)
    start = np.minimum(parameter.astype(int), spans - 1)
    end = (start + 1) % controls
    b = (parameter - start)[:, None]
    a = 1.0 - b
    identity = np.eye(controls)
    curvature = (a**3 - a) / 6.0 * bend[start] + (b**3 - b) / 6.0 * bend[end]
    return a * identity[start] + b * identity[end] + curvature


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


def arc_length(line: np.ndarray) -> np.ndarray:
    """Distance from the start at each vertex of a polyline (k, 2) -> (k,)."""
    step = line[1:] - line[:-1]
    length = np.zeros(len(line))
    np.cumsum(np.sqrt((step * step).sum(1)), out=length[1:])
    return length


def interpolate(line: np.ndarray, length: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Points (n, 2) at arc lengths (n,) of a polyline (k, 2) with its `arc_length`; beyond its ends, the ends."""
    points = np.empty((len(position), 2))
    points[:, 0] = np.interp(position, length, line[:, 0])
    points[:, 1] = np.interp(position, length, line[:, 1])
    return points


def point_at(line: np.ndarray, position: np.ndarray, length: np.ndarray | None = None) -> np.ndarray:
    """Points (n, 2) at arc lengths (n,) of a polyline (k, 2); beyond its ends it goes on straight.

    `length` is the line's `arc_length`, if it is known already.
    """
    length = arc_length(line) if length is None else length
    last = length[-1]
    points = interpolate(line, length, position)
    if position.min() < 0.0:
        points += np.minimum(position, 0.0)[:, None] * _unit(line[1] - line[0])
    if position.max() > last:
        points += np.maximum(position - last, 0.0)[:, None] * _unit(line[-1] - line[-2])
    return points


def evenly(line: np.ndarray, count: int) -> np.ndarray:
    """`count` points (count, 2) at equal arc length from a polyline's start to its end, both included."""
    length = arc_length(line)
    return interpolate(line, length, np.arange(count) * (length[-1] / (count - 1)))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(vector[0], vector[1])), 1e-12)
