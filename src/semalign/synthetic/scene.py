"""The picture under way and the head in it, shared by everything that is drawn around and in front of the face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from semalign.synthetic import draw
from semalign.synthetic.draw import Paint
from semalign.synthetic.surface import Projection
from semalign.synthetic.traits import Colour, Traits


@dataclass(frozen=True)
class Frame:
    """A flat thing's own coordinates in the picture, in outer-eye distances."""

    origin: np.ndarray  # (2,) pixels
    right: np.ndarray  # (2,) unit vector of the picture
    down: np.ndarray  # (2,) unit vector of the picture
    unit: float  # pixels per outer-eye distance

    def to(self, xy: ArrayLike) -> np.ndarray:
        """Pixels (n, 2) of points (n, 2) of the frame."""
        points = np.asarray(xy, float) * self.unit
        return self.origin + points[:, :1] * self.right + points[:, 1:] * self.down

    def inside(self, pixel: np.ndarray) -> tuple[float, float]:
        """The point of the frame at a pixel (2,)."""
        offset = (pixel - self.origin) / self.unit
        return float(offset @ self.right), float(offset @ self.down)


@dataclass
class Scene:
    """A picture at the resolution of drawing. Lengths that its methods take are pixels of it unless said otherwise."""

    image: np.ndarray  # (s, s, 3) uint8
    covered: np.ndarray  # (s, s) uint8, 255 where something hides the face
    projection: Projection
    traits: Traits
    edge: np.ndarray  # (k, 2) the head's visible edge, from the chin by the image's left and round
    unit: float  # pixels per outer-eye distance
    hair: np.ndarray  # (s, s, 3) uint8, hair everywhere, to cut pieces from

    @property
    def side(self) -> int:
        """Pixels across."""
        return self.image.shape[0]

    def at(self, xyz: ArrayLike) -> np.ndarray:
        """Pixels (n, 2) of points (n, 3) of the head, in outer-eye distances."""
        return self.projection(np.asarray(xyz, float))

    def mask(self) -> np.ndarray:
        """An empty mask (s, s) uint8."""
        return np.zeros(self.image.shape[:2], np.uint8)

    def lit(self, colour: Colour, factor: float = 1.0) -> Colour:
        """A colour in the scene's light."""
        return draw.shade(colour, factor * self.traits.light.level)

    def fill(self, polygon: np.ndarray, colour: Paint, covers: bool = False) -> None:
        """Fill a polygon (n, 2); `covers` when it may hide the face."""
        draw.fill(self.image, polygon, colour)
        if covers:
            draw.fill(self.covered, polygon, 255)

    def stroke(self, line: np.ndarray, colour: Paint, width: float, covers: bool = False) -> None:
        """Draw a polyline (n, 2); `covers` when it may hide the face."""
        draw.stroke(self.image, line, colour, width)
        if covers:
            draw.stroke(self.covered, line, 255, width)

    def cast(self, mask: np.ndarray, softness: float, strength: float) -> None:
        """Darken where a mask is set by a share `strength`, edges softened by `softness` outer-eye distances."""
        area = _around(mask, margin=round(3 * softness * self.unit))
        shadow = draw.soften(mask[area], softness * self.unit)
        draw.darken(self.image[area], cv2.addWeighted(shadow, strength, shadow, 0.0, 0.0))

    def grow_hair(self, mask: np.ndarray, covers: bool = False) -> None:
        """Lay hair where a mask is set; `covers` when it may hide the face."""
        area = _around(mask)
        draw.blend(self.image[area], self.hair[area], mask[area])
        if covers:
            self.covered[area] = cv2.max(self.covered[area], mask[area])

    def upright(self, origin: np.ndarray) -> Frame:
        """The body's frame with its origin at a pixel: a head that leans takes the body along only a little."""
        down = self.projection.linear[:, 1] / self.unit * 0.35 + np.array([0.0, 0.65])
        down /= np.hypot(down[0], down[1])
        return Frame(origin, np.array([down[1], -down[0]]), down, self.unit)


def _around(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the part of a mask that is set (at least one), and so many pixels more on each side."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(max(y - margin, 0), y + height + margin + 1), slice(max(x - margin, 0), x + width + margin + 1)
