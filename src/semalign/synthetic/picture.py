"""The flat picture of the front view on which a face is painted, in the anatomy's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from semalign.synthetic import draw
from semalign.synthetic.draw import Paint
from semalign.synthetic.surface import BOTTOM, CELLS, LEFT, RIGHT, TOP

CORNER = np.array([LEFT, TOP])


@dataclass
class Picture:
    """An image whose pixel (0, 0) is the point `corner` of the front view, `texel` pixels per outer-eye distance.

    All lengths that its methods take are outer-eye distances.
    """

    image: np.ndarray  # (h, w, 3) or (h, w) uint8
    texel: float
    corner: np.ndarray = field(default_factory=lambda: CORNER)

    def to(self, xy: np.ndarray) -> np.ndarray:
        """Pixels of points of the front view."""
        return (xy - self.corner) * self.texel

    def fill(self, polygon: np.ndarray, colour: Paint) -> None:
        """Fill a polygon (n, 2), or several (m, n, 2) that do not overlap; larger by draw.SPILL pixels."""
        draw.fill(self.image, self.to(polygon), colour)

    def fill_exactly(self, polygon: np.ndarray, colour: Paint) -> None:
        """Fill a smooth, dense polygon (n, 2) up to its outline."""
        draw.fill_exactly(self.image, self.to(polygon), colour)

    def stroke(self, line: np.ndarray, colour: Paint, width: float, closed: bool = False) -> None:
        """Draw a polyline (n, 2), or several (m, n, 2)."""
        draw.stroke(self.image, self.to(line), colour, width * self.texel, closed)

    def disc(self, centre: np.ndarray, radius: float, colour: Paint) -> None:
        """Fill a circle."""
        draw.disc(self.image, self.to(centre), radius * self.texel, colour)

    def patch(self, about: np.ndarray, margin: int = 4) -> Picture:
        """The part around some points (..., 2): painting it paints the whole."""
        pixels = self.to(about).reshape(-1, 2)
        low = np.maximum(np.floor(pixels.min(0)).astype(int) - margin, 0)
        high = np.ceil(pixels.max(0)).astype(int) + margin
        return Picture(self.image[low[1] : high[1], low[0] : high[0]], self.texel, self.corner + low / self.texel)

    def smaller(self, factor: int, colour: Paint) -> Picture:
        """A picture of the same place with 1 channel and `factor` times fewer pixels each way; see `enlarged`."""
        height, width = self.image.shape[:2]
        corner = self.corner + 0.5 * (factor - 1) / self.texel  # the middle of the first factor × factor pixels
        return Picture(draw.flat((height // factor, width // factor), colour), self.texel / factor, corner)

    def like(self, colour: Paint, channels: int = 3) -> Picture:
        """A picture of the same place in one colour, with 3 channels or 1."""
        shape = (*self.image.shape[:2], 3) if channels == 3 else self.image.shape[:2]
        return Picture(draw.flat(shape, colour), self.texel, self.corner)

    def cover(self, layer: Picture, mask: Picture) -> None:
        """Lay a layer of the same place over this as far as the mask says."""
        draw.blend(self.image, layer.image, mask.image)


def front_picture(texel: float, colour: Paint) -> Picture:
    """A picture of all that the height field covers, in one colour; its sides are multiples of 8 pixels."""
    height, width = (8 * int(np.ceil(length * texel / 8)) for length in (BOTTOM - TOP, RIGHT - LEFT))
    return Picture(draw.flat((height, width, 3), colour), texel)


def enlarged(small: np.ndarray, picture: Picture) -> np.ndarray:
    """The image of a smaller picture of the same place (`Picture.smaller`), enlarged to the picture's pixels."""
    return cv2.resize(small, picture.image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def stretched(field: np.ndarray, picture: Picture) -> np.ndarray:
    """An array of the height field's cells, enlarged to the picture's pixels."""
    scale = CELLS / picture.texel
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = picture.image.shape[1::-1]
    return cv2.warpAffine(
        field, np.array([[scale, 0, 0], [0, scale, 0]]), size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
