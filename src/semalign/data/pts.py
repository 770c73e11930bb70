"""iBUG `.pts` files: 1-based pixel coordinates on disk, 0-based everywhere else; `nan nan` is a point that is absent."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from semalign.data.archives import read_bytes
from semalign.data.faults import check_finite
from semalign.errors import SemalignError
from semalign.files import write_text

_HEADER = re.compile(r"\s*version\s*:\s*\S+\s+n_points\s*:\s*(\d+)\s*\{([^{}]*)\}\s*", re.IGNORECASE)


def read_pts(path: str | Path) -> np.ndarray:
    """The points (n, 2) float64 of the file as (x, y) in the image frame: 0-based, pixel centres at integers, NaN if absent.

    Raises:
        SemalignError: a file that is missing or cannot be read, is no .pts file, holds another number of points than
            its header says, or a coordinate that is no finite number (a point of two NaN is absent).
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise SemalignError(f"{path}: there is no such file; check the path.") from None
    except UnicodeDecodeError:
        raise SemalignError(f"{path}: is not a text file; replace it by a .pts file.") from None
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the file and its permissions."
        ) from error
    match = _HEADER.fullmatch(text)
    if match is None:
        raise SemalignError(f"{path}: is not a .pts file (version, n_points, points in braces); replace it.")
    numbers = match[2].split()
    expected = int(match[1]) if len(match[1]) < 10 else -1
    if len(numbers) != 2 * expected:
        raise SemalignError(
            f"{path}: says {match[1][:10]} points but holds {len(numbers) / 2:g}; correct or replace the file."
        )
    try:
        points = np.array(numbers, dtype=np.float64).reshape(expected, 2)
    except ValueError:
        raise SemalignError(f"{path}: holds a coordinate that is no number; correct or replace the file.") from None
    check_finite(points, path)
    return points - 1.0


def write_pts(path: str | Path, points: np.ndarray, absent: bool = False) -> None:
    """Write points (n, 2) of the image frame (0-based), kept to a millionth of a pixel; atomic.

    With `absent`, points of two NaN are written as `nan nan`.

    Raises:
        SemalignError: points that are not (n, 2) or not finite, or a file that cannot be written.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise SemalignError(f"cannot write {path}: the points have shape {points.shape}; give (n, 2).")
    if not (np.isfinite(points) | (np.isnan(points).all(axis=1, keepdims=True) & absent)).all():
        raise SemalignError(f"cannot write {path}: a coordinate is not finite; remove the point or the sample.")
    lines = [f"{x + 1.0:.6f} {y + 1.0:.6f}" for x, y in points.tolist()]
    write_text(Path(path), "\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}"]) + "\n")
