"""What makes a sample a bad one, in one place for all readers and for `data check`.

A face is bad if its picture cannot be read; if its points are not as many as the scheme's, are not all finite, lie all on
one spot, or lie far off the picture. What a format itself can get wrong (a line without a path) its reader says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semalign.data.samples import Sample
from semalign.data.video import picture_size
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

# How far a point may lie outside the image, as a share of the larger side of the landmarks' box. A face that is cut
# by the border is annotated where it would go on; half a face further, points and image do not belong together.
OUTSIDE_TOLERANCE = 0.5


def check_finite(points: np.ndarray, where: Path | str) -> None:
    """Refuse points (n, 2) that are not all finite.

    Raises:
        SemalignError: naming `where` they come from and the first such point.
    """
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        index = int(np.argmin(finite))
        raise SemalignError(f"{where}: point {index} (from 0) is not finite; annotate it or remove the sample.")


def check_points(points: np.ndarray, size: tuple[int, int], where: Path | str) -> None:
    """Refuse points (n, 2) that coincide or lie off the picture of (width, height) by more than the tolerance.

    Raises:
        SemalignError: naming `where` they come from and the point that is farthest off.
    """
    side = float(np.ptp(points, axis=0).max())
    if side <= 0.0:
        raise SemalignError(f"{where}: all points lie on one spot; annotate the face or remove the sample.")
    beyond = outside(points, size)
    if beyond.max() > OUTSIDE_TOLERANCE * side:
        index = int(beyond.argmax())
        raise SemalignError(
            f"{where}: point {index} (from 0) lies {beyond[index]:.0f} px off the image of {size[0]}×{size[1]} px; "
            "check that image and annotation belong together, or remove the sample."
        )


def outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far (n,) the points (n, 2) lie outside the picture of (width, height): px along the worse axis, 0 inside."""
    beyond = np.maximum(-0.5 - points, points - (np.array(size) - 0.5))
    distance: np.ndarray = np.maximum(beyond.max(axis=1), 0.0)
    return distance


@dataclass(frozen=True)
class Inspector:
    """Refuses bad samples of a scheme. The sizes of pictures are kept, as one may show several faces."""

    scheme: LandmarkScheme
    _sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def inspect(self, sample: Sample, where: str) -> None:
        """Refuse a bad sample; of its picture only the size is read.

        Raises:
            SemalignError: naming `where` its points come from, or the picture.
        """
        if len(sample.points) != self.scheme.count:
            raise SemalignError(
                f"{where}: holds {len(sample.points)} points where the scheme {self.scheme.name} has "
                f"{self.scheme.count}; replace the file or choose another scheme."
            )
        check_finite(sample.points, where)
        if sample.image not in self._sizes:
            self._sizes[sample.image] = picture_size(sample)
        check_points(sample.points, self._sizes[sample.image], where)
