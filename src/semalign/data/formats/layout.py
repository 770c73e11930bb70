"""Which landmarks a document has, in which order, and which scheme they are those of.

Points come either in an order of their own (COCO, HRNet) or with a label each (CVAT's skeletons, Label Studio, LabelMe, dlib).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme, shipped_schemes

_NUMBERED = re.compile(r"(\D*?)[\s_.-]*(\d{1,6})")
LONGEST = 200  # letters of a label that may end in a number; the time that looking takes grows with their square
MOST_GAPS = 2  # numbers that labels may span, as a multiple of the labels: absent points leave gaps


@dataclass(frozen=True)
class Layout:
    """The landmarks of a document in the order of its scheme.

    Attributes:
        scheme: what they are.
        labels: the document's label for each landmark; None where its points have an order of their own.
        order: the document's point for each landmark; None where they come in the scheme's order or have labels.
        note: what should be known about the choice of the scheme, in a sentence; else empty.
    """

    scheme: LandmarkScheme
    labels: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None
    note: str = ""


def numbered(labels: Sequence[str], counts: Sequence[int] = ()) -> tuple[str, ...] | None:
    """Labels that end in numbers, in the order of these, with those that are missing between them; None for others.

    They count from 0 where one is 0, or where one of `counts`, numbers of landmarks, then fits and otherwise not; else from 1.
    """
    if any(len(label) > LONGEST for label in labels):
        return None
    matches = [_NUMBERED.fullmatch(label) for label in labels]
    known = {int(match[2]): label for match, label in zip(matches, labels, strict=True) if match}
    if not labels or len(known) < len(labels) or len({match[1] for match in matches if match}) > 1:
        return None
    last = max(known)
    first = 0 if min(known) == 0 or (last + 1 in counts and last not in counts) else 1
    if last - first + 1 > max(MOST_GAPS * len(known), len(known) + 4):
        return tuple(known[number] for number in sorted(known))
    return tuple(known.get(number, f"#{number}") for number in range(first, last + 1))


def labelled(labels: Sequence[str], declared: bool, given: LandmarkScheme | None, name: str, path: Path) -> Layout:
    """The layout of points that have labels.

    Args:
        labels: all that there are, each once, in order of appearance.
        declared: the document says itself which there are, so that none is missing.
        given: scheme that was asked for.
        name: of a scheme that is made of the labels.
        path: the document, for messages.

    Raises:
        SemalignError: the given scheme has other landmarks.
    """
    known = set(labels)
    counts = [load_scheme(shipped).count for shipped in shipped_schemes()] if given is None else [given.count]
    by_number = numbered(labels, () if declared else counts)
    names = tuple(labels) if by_number is None else by_number
    if given is not None:
        if known <= set(given.landmarks):
            return Layout(given, given.landmarks)
        if by_number is not None and len(names) < given.count:
            names += tuple(f"#{index}" for index in range(len(names), given.count))
        _check_count(len(names), given, path)
        return Layout(given, names)
    schemes = [load_scheme(shipped) for shipped in shipped_schemes()]
    same = [scheme for scheme in schemes if known == set(scheme.landmarks)]
    if not same and not declared:
        same = [scheme for scheme in schemes if known <= set(scheme.landmarks) and 2 * len(known) > scheme.count]
    if same:
        best = min(same, key=lambda scheme: scheme.count)
        return Layout(best, best.landmarks)
    scheme, note = _scheme_of(names, by_number is None, name)
    return Layout(scheme, names, note=note)


def ordered(count: int, names: Sequence[str] | None, given: LandmarkScheme | None, name: str, path: Path) -> Layout:
    """The layout of points that come in an order of their own, `count` a face, with names or without.

    Raises:
        SemalignError: the given scheme has another number of landmarks.
    """
    if names is not None and len(set(names)) < len(names):
        names = None
    schemes = [load_scheme(shipped) for shipped in shipped_schemes()] if given is None else [given]
    for scheme in schemes:
        if names is not None and set(names) == set(scheme.landmarks):
            order = tuple(list(names).index(landmark) for landmark in scheme.landmarks)
            return Layout(scheme, order=None if order == tuple(range(count)) else order)
    if given is not None:
        _check_count(count, given, path)
        return Layout(given)
    meant = names is not None and numbered(names) is None
    scheme, note = _scheme_of(tuple(names or (f"point_{index}" for index in range(count))), meant, name)
    return Layout(scheme, note=note)


def arranged(points: np.ndarray, layout: Layout, labels: Sequence[str] | None) -> tuple[int, ...]:
    """For each landmark of the layout the row of the document's points (m, 2) that is it; -1 where the face has none."""
    if layout.labels is not None and labels is not None:
        rows = {label: row for row, label in enumerate(labels)}
        return tuple(rows.get(label, -1) for label in layout.labels)
    if layout.order is not None and len(points) == len(layout.order):
        return layout.order
    return tuple(range(len(points)))


def _scheme_of(names: tuple[str, ...], meant: bool, name: str) -> tuple[LandmarkScheme, str]:
    """The shipped scheme of as many points, or one of the names alone; and a note where names that mean something differ."""
    for shipped in shipped_schemes():
        scheme = load_scheme(shipped)
        if scheme.count == len(names):
            note = (
                f"The landmarks are called otherwise than those of {shipped}, which has as many and is taken; "
                "--scheme chooses another."
            )
            return scheme, note if meant else ""
    return LandmarkScheme(name or f"{len(names)} points", names), ""


def _check_count(count: int, given: LandmarkScheme, path: Path) -> None:
    if count != given.count:
        raise SemalignError(
            f"{path}: has {count} landmarks a face, the scheme {given.name} {given.count}; choose another scheme."
        )
