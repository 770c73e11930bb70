"""What makes a sample a bad one, in one place for all readers and for `data check`.

A face is bad if its picture cannot be read; if its points are not as many as the scheme's, are not finite, lie all on one
spot or within a few pixels (as coordinates from 0 to 1 do), or lie far off the picture; if all but one are absent. A point is
absent if its coordinates are NaN, or a placeholder such as 0 0. A face that can be used but looks wrong is suspicious
(`semalign.data.suspicions`): it is kept and listed. What a format itself can get wrong (a line without a path) its reader says.

Shape legend: n landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from semalign.data.archives import is_file
from semalign.data.samples import Sample
from semalign.data.suspicions import absences, suspicions
from semalign.data.video import picture_size
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

# How far a point may lie outside the image, as a share of the larger side of the landmarks' box. A face that is cut
# by the border is annotated where it would go on; half a face further, points and image do not belong together.
OUTSIDE_TOLERANCE = 0.5
PLACEHOLDERS = (0.0, -1.0, -99.0, -999.0, -9999.0)  # written twice for a point that was not annotated: 0 0, -1 -1
# A face of fewer pixels than this shows nothing; coordinates from 0 to 1 or from -1 to 1 look like such a face.
LEAST_SIDE = 2.5
FARTHEST = 1e9  # pixels of a coordinate; what lies farther is no pixel, and its square overflows
SIZES = 4096  # of pictures, the last ones, that are kept, as the faces of one mostly follow each other
UNKNOWN_SIZE = (1 << 40, 1 << 40)  # of a picture that is not there: nothing lies off it
LEAST_PICTURE = 16  # px of the smaller side from which a face so small is not the whole picture


def check_finite(points: np.ndarray, where: Path | str) -> None:
    """Refuse points (n, 2) that are neither finite nor absent, which is two NaN.

    Raises:
        SemalignError: naming `where` they come from and the first such point.
    """
    absent = np.isnan(points).all(axis=1)
    finite = np.isfinite(points).all(axis=1) | absent
    if not finite.all():
        index = int(np.argmin(finite))
        raise SemalignError(f"{where}: point {index} (from 0) is not finite; annotate it or remove the sample.")
    near = (np.abs(points) <= FARTHEST).all(axis=1) | absent
    if not near.all():
        index = int(np.argmin(near))
        raise SemalignError(
            f"{where}: point {index} (from 0) lies beyond any picture; correct it or remove the sample."
        )


def check_points(points: np.ndarray, size: tuple[int, int], where: Path | str) -> None:
    """Refuse points (n, 2) that coincide or lie off the picture of (width, height) by more than the tolerance.

    Absent ones (NaN) are passed over, but two points must be there.

    Raises:
        SemalignError: naming `where` they come from and the point that is farthest off.
    """
    there = points[~np.isnan(points).any(axis=1)]
    if len(there) < min(2, len(points)):
        raise SemalignError(
            f"{where}: {len(there) or 'none'} of {len(points)} points {'is' if len(there) == 1 else 'are'} annotated; "
            "annotate the face or remove the sample."
        )
    side = float(np.ptp(there, axis=0).max())
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


def without_placeholders(sample: Sample, origin: float) -> Sample:
    """The sample with absent points where its file, which counts pixels from `origin`, only says that there is none."""
    gone = placeholders(sample.points + origin)
    return replace(sample, points=np.where(gone[:, None], np.nan, sample.points)) if gone.any() else sample


def placeholders(written: np.ndarray) -> np.ndarray:
    """Which (n,) of the points (n, 2), as a file writes them, only say that there is none, as 0 0 and -1 -1 do."""
    gone: np.ndarray = (written[:, 0] == written[:, 1]) & np.isin(written[:, 0], PLACEHOLDERS)
    return gone


def outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far (n,) the points (n, 2) lie off the picture of (width, height): px along the worse axis, 0 inside or absent."""
    if size == UNKNOWN_SIZE:
        return np.zeros(len(points))
    beyond = np.nan_to_num(np.maximum(-0.5 - points, points - (np.array(size) - 0.5)))
    distance: np.ndarray = np.maximum(beyond.max(axis=1), 0.0)
    return distance


@dataclass(frozen=True)
class Inspector:
    """Refuses bad samples of a scheme. The sizes of some pictures are kept, as one may show several faces."""

    scheme: LandmarkScheme
    origin: float = 0  # what the format calls the centre of the first pixel
    says_absent: bool = False  # the format has a way to say that a point is absent, which is then nothing to look at
    pictures: bool = True  # refuse a face whose picture is not there; else it is not held against one
    _sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def inspect(self, sample: Sample, where: str) -> tuple[Sample, list[str]]:
        """The sample with its absent points, and what is suspicious about it, in sentences; only the picture's size is read.

        Raises:
            SemalignError: a bad sample, naming `where` its points come from, or the picture.
        """
        if len(sample.points) != self.scheme.count:
            raise SemalignError(
                f"{where}: holds {len(sample.points)} points where the scheme {self.scheme.name} has "
                f"{self.scheme.count}; replace the file or choose another scheme."
            )
        check_finite(sample.points, where)
        if sample.image not in self._sizes:
            if len(self._sizes) >= SIZES:
                self._sizes.clear()
            self._sizes[sample.image] = self._size(sample)
        size, known = self._sizes[sample.image], without_placeholders(sample, self.origin)
        check_points(known.points, size, where)
        doubts = suspicions(known.points, size, self.scheme, self.origin)
        plain = known is sample and self.says_absent
        written = () if plain else absences(sample.points + self.origin, known.points)
        clauses = (*written, *doubts, *_other_size(sample, size))
        return known, [f"{where}: {clause}; look at it." for clause in clauses]

    def _size(self, sample: Sample) -> tuple[int, int]:
        """The picture's size; without the picture, if that may be, the size that its document says, or none."""
        if self.pictures or is_file(sample.image):
            return picture_size(sample)
        return sample.size or UNKNOWN_SIZE


def _other_size(sample: Sample, size: tuple[int, int]) -> tuple[str, ...]:
    """A clause where the document says another size than the picture has."""
    if sample.size is None or size in (sample.size, UNKNOWN_SIZE):
        return ()
    told, real = (f"{width}×{height}" for width, height in (sample.size, size))
    return (f"the picture has {real} px where the annotation says {told}, so that its points may lie elsewhere",)
