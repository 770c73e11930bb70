"""What makes a sample a bad one, in one place for all readers and for `data check`.

A face is bad if its picture cannot be read; if its points are not as many as the scheme's, are not all finite, are
placeholders such as 0 0, lie all on one spot or within a few pixels (as coordinates from 0 to 1 do), or lie far off the
picture. A face that can be used but looks wrong is suspicious (`semalign.data.suspicions`): it is kept and listed. What a
format itself can get wrong (a line without a path) its reader says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semalign.data.samples import Sample
from semalign.data.suspicions import suspicions
from semalign.data.video import picture_size
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

# How far a point may lie outside the image, as a share of the larger side of the landmarks' box. A face that is cut
# by the border is annotated where it would go on; half a face further, points and image do not belong together.
OUTSIDE_TOLERANCE = 0.5
PLACEHOLDERS = (0.0, -1.0, -99.0, -999.0, -9999.0)  # written twice for a point that was not annotated: 0 0, -1 -1
# A face of fewer pixels than this shows nothing; coordinates from 0 to 1 or from -1 to 1 look like such a face.
LEAST_SIDE = 2.5
LEAST_PICTURE = 16  # px of the smaller side from which a face so small is not the whole picture


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
    if side < LEAST_SIDE and min(size) >= LEAST_PICTURE:
        raise SemalignError(
            f"{where}: all points lie within {side:.1f} px in an image of {size[0]}×{size[1]} px; write coordinates in pixels, "
            "not as shares of the image, or remove the sample."
        )
    beyond = outside(points, size)
    if beyond.max() > OUTSIDE_TOLERANCE * side:
        index = int(beyond.argmax())
        raise SemalignError(
            f"{where}: point {index} (from 0) lies {beyond[index]:.0f} px off the image of {size[0]}×{size[1]} px; "
            f"check that image and annotation belong together{_hint(points, size)}, or remove the sample."
        )


def _hint(points: np.ndarray, size: tuple[int, int]) -> str:
    """What would bring points inside the picture, if something simple would."""
    return " and that x and y are not exchanged" if outside(points[:, ::-1], size).max() == 0 else ""


def check_annotated(written: np.ndarray, where: Path | str) -> None:
    """Refuse points (n, 2), as the file writes them, some of which only say that there is no annotation.

    Raises:
        SemalignError: naming `where` they come from, how many they are and the first.
    """
    gone = placeholders(written)
    if gone.any() and not gone.all():  # all of them lie on one spot
        first = int(gone.argmax())
        value = f"{written[first, 0]:g} {written[first, 1]:g}"
        raise SemalignError(
            f"{where}: {gone.sum()} of {len(gone)} points are {value}, as if not annotated (the first is point {first}, "
            "from 0); annotate them or remove the sample."
        )


def placeholders(written: np.ndarray) -> np.ndarray:
    """Which (n,) of the points (n, 2), as a file writes them, only say that there is none, as 0 0 and -1 -1 do."""
    gone: np.ndarray = (written[:, 0] == written[:, 1]) & np.isin(written[:, 0], PLACEHOLDERS)
    return gone


def outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far (n,) the points (n, 2) lie outside the picture of (width, height): px along the worse axis, 0 inside."""
    beyond = np.maximum(-0.5 - points, points - (np.array(size) - 0.5))
    distance: np.ndarray = np.maximum(beyond.max(axis=1), 0.0)
    return distance


@dataclass(frozen=True)
class Inspector:
    """Refuses bad samples of a scheme. The sizes of pictures are kept, as one may show several faces."""

    scheme: LandmarkScheme
    origin: int = 0  # from which the format counts pixels
    _sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def inspect(self, sample: Sample, where: str) -> list[str]:
        """Refuse a bad sample, and say in sentences what is suspicious about a good one; only the picture's size is read.

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
        size = self._sizes[sample.image]
        check_annotated(sample.points + self.origin, where)
        check_points(sample.points, size, where)
        found = suspicions(sample.points, size, self.scheme, self.origin)
        return [f"{where}: {clause}; look at it." for clause in found]
