"""A document written once more with other coordinates: what is refused, and the texts that are put into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import AnyStr

import numpy as np

from semalign.data.formats.faces import Edit
from semalign.data.formats.numbers import written
from semalign.errors import SemalignError


def refuse_same(target: Path, source: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        SemalignError: both are one file.
    """
    if os.path.realpath(target) == os.path.realpath(source):
        raise SemalignError(f"{target}: is what is read, and is never overwritten; choose another name or folder.")


def refuse_strangers(left: Mapping[str, np.ndarray], place: Path) -> None:
    """Refuse new points of faces that are not there.

    Raises:
        SemalignError: there are some.
    """
    if left:
        raise SemalignError(
            f"{place}: has no face {min(left)!r}, of which there are new points; give the set they are of."
        )


def new_points(new: np.ndarray, old: np.ndarray, name: str) -> np.ndarray:
    """Which (n,) of the points (n, 2) are new: finite, other than the old ones, and not absent.

    Raises:
        SemalignError: another number of points, or a coordinate that is neither finite nor, as both of a point, NaN.
    """
    if new.shape != old.shape:
        raise SemalignError(
            f"{name}: has {len(old)} points, the new ones have the shape {new.shape}; give ({len(old)}, 2)."
        )
    finite = np.isfinite(new).all(axis=1)
    if not (finite | np.isnan(new).all(axis=1)).all():
        raise SemalignError(f"{name}: a new coordinate is not finite; correct it.")
    changed: np.ndarray = finite & np.isfinite(old).all(axis=1) & (new != old).any(axis=1)
    return changed


def spliced(whole: AnyStr, changes: Iterable[tuple[tuple[int, int], AnyStr]]) -> AnyStr:
    """A text, or its bytes, with others in place of some spans, which do not overlap."""
    pieces: list[AnyStr] = []
    end = 0
    for (start, stop), new in sorted(changes):
        pieces.extend((whole[end:start], new))
        end = stop
    pieces.append(whole[end:])
    return whole[:0].join(pieces)


def new_texts(edits: Sequence[Edit]) -> dict[tuple[int, int], str]:
    """The new numbers by their spans, where each edit's spot is those of x and y."""
    return {edit.spot[axis]: written(new) for edit in edits for axis, new in edit.changed()}
