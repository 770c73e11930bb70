"""A landmark scheme for points of one's own, drafted from one annotated face, as TOML to be completed by hand.

Shape legend: n landmarks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

HEAD = """\
# A landmark scheme for {count} points, drafted from {source}.
# It can be used as it is. Each part that is filled in makes more possible; landmarks are named or counted from 0, and left
# and right are the viewer's, in the image.
name = {name}

# Any names, each once.
landmarks = [
{landmarks}
]

# [left, right] landmarks that change places when the picture is mirrored. {pairs_note}
pairs = [{pairs}]

# The points of the left and of the right eye, whose means stand for the pupils, as [[0, 1], [2, 3]]. They give
# nme_interpupil. Without pupils and outer_eyes errors are in % of the face box (nme_box).
pupils = [[], []]

# The outer corners of the left and of the right eye, as outer_eyes = [0, 3]. They give nme_interocular.
# outer_eyes = [0, 3]

# Corners and tips, which are well defined.
strong = []

# Groups that results are listed by, and lines of the face, as:
# [regions]
# mouth = [5, 6]
# [[curves]]
# name = "jaw"
# landmarks = [8, 7, 9]
"""
NO_PAIRS = """None are clear from the sample.
# Without pairs pictures are not mirrored in training."""
GUESSED = """These are
# guessed from the sample's symmetry: check them. Without pairs pictures are not mirrored in training."""


def draft_scheme(points: Float[np.ndarray, "n 2"], name: str, source: str) -> str:
    """A scheme for such points as TOML with comments: names point_0 …, and pairs where the face is clearly symmetric.

    Args:
        points: of one face, the more frontal the better.
        name: of the scheme.
        source: where the face is from, for the first comment; one line.
    """
    pairs = symmetric_pairs(points)
    return HEAD.format(
        count=len(points),
        source=" ".join(source.split()),
        name=json.dumps(name, ensure_ascii=False),
        landmarks="\n".join(f'    "point_{index}",' for index in range(len(points))),
        pairs_note=GUESSED if pairs else NO_PAIRS,
        pairs=", ".join(f"[{left}, {right}]" for left, right in pairs),
    )


def symmetric_pairs(points: Float[np.ndarray, "n 2"]) -> Sequence[tuple[int, int]]:
    """(left, right) points that a mirror down the middle of the face exchanges; none unless that is clear for every point.

    It is clear if each point's mirror image lies nearer to its partner than half the way from there to any other point.
    """
    if len(points) < 2 or not np.isfinite(points).all():
        return []
    middle = float((points[:, 0].min() + points[:, 0].max()) / 2)
    partner = np.arange(len(points))
    for _ in range(5):
        mirrored = points * (-1.0, 1.0) + (2 * middle, 0.0)
        away = np.linalg.norm(mirrored[:, None] - points[None], axis=2)
        partner = away.argmin(axis=1)
        middle = float((points[:, 0] + points[partner, 0]).mean() / 2)
    spacing = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(spacing, np.inf)
    clear = away[np.arange(len(points)), partner] < spacing.min(axis=1)[partner] / 2
    if not clear.all() or (partner[partner] != np.arange(len(points))).any():
        return []
    exchanged = [(index, int(other)) for index, other in enumerate(partner) if index < other]
    return [pair if points[pair[0], 0] <= points[pair[1], 0] else pair[::-1] for pair in exchanged]
