"""Contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from semalign.synthetic.objects import ObjectPicture
from semalign.synthetic.render import Face


def contact_sheet(
    faces: Sequence[Face] | Sequence[ObjectPicture], columns: int = 6, points: bool = False, zoom: int = 1
) -> UInt8[np.ndarray, "h w 3"]:
    """Faces or objects of one size in rows of `columns`, RGB; with `points`, the truth over them, red where it is hidden."""
    tiles = []
    for face in faces:
        tile = cv2.resize(face.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        if points:
            for point, visible in zip((face.points + 0.5) * zoom - 0.5, face.visible, strict=True):
                x, y = np.rint(point * 16).astype(int)
                colour = (60, 255, 90) if visible else (255, 80, 60)
                cv2.circle(tile, (int(x), int(y)), 16 * max(1, zoom // 2), colour, -1, cv2.LINE_AA, 4)
        tiles.append(tile)
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[row : row + columns]) for row in range(0, len(tiles), columns)])
