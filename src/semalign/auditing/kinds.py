"""What may be wrong with an annotation."""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A way in which annotations go wrong.

    Attributes:
        name: in tables and files.
        title: in words.
        whole: it concerns a face as a whole, not single landmarks.
    """

    name: str
    title: str
    whole: bool


KINDS: Final = (
    Kind("point", "a single point lies off", False),
    Kind("slipped", "points slipped along their curve", False),
    Kind("guessed", "a hidden point was guessed, and badly", False),
    Kind("shifted", "the points of a curve have their neighbours' numbers", True),
    Kind("exchanged", "left and right are exchanged", True),
    Kind("mirrored", "the points belong to the mirrored picture", True),
    Kind("misplaced", "the whole face is misplaced", True),
    Kind("scaled", "the points belong to a resized copy of the picture", True),
    Kind("another", "the points are another face's", True),
    Kind("frame", "the points are those of the frame before or after", True),
    Kind("origin", "the points count from another number than the others", True),
    Kind("duplicate", "a copy of the photograph has other points", True),
    Kind("shape", "many points lie off", True),
)
NAMES: Final = tuple(kind.name for kind in KINDS)
NUMBERS: Final = {name: index for index, name in enumerate(NAMES)}  # index in `KINDS` by name
WHOLE: Final = tuple(index for index, kind in enumerate(KINDS) if kind.whole)
