"""To and from `supervision.KeyPoints`, which holds the faces of one picture.

Its points are pixels of the image as ours are, (x, y) with the first pixel 0. An absent point is (0, 0) with confidence 0
there, which its annotators do not draw.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.data import Dataset, Sample
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

if TYPE_CHECKING:
    import supervision as sv

    from semalign.detect import Face

IDS = "id"  # in the data of key points: the faces' ids


def faces_to_supervision(faces: Sequence[Face]) -> sv.KeyPoints:
    """The faces that a detector has found in one picture.

    Args:
        faces: of one scheme; none gives empty key points.

    Raises:
        SemalignError: supervision is not installed.
    """
    if not faces:
        return _supervision().KeyPoints.empty()
    points, confidence = np.stack([face.points for face in faces]), np.stack([face.confidence for face in faces])
    return _key_points(points, confidence)


def dataset_to_supervision(dataset: Dataset) -> Iterator[tuple[Path, sv.KeyPoints]]:
    """The pictures of a data set, and the annotations of the faces in each; their ids are in `data["id"]`.

    Raises:
        SemalignError: supervision is not installed.
    """
    for picture, samples in groupby(dataset.samples, key=lambda sample: sample.image):
        found = list(samples)
        points = np.stack([sample.points for sample in found])
        there = np.isfinite(points).all(axis=-1)
        key_points = _key_points(np.where(there[..., None], points, 0.0), there.astype(np.float64))
        key_points.data[IDS] = np.array([sample.id for sample in found])
        yield picture, key_points


def dataset_from_supervision(
    pictures: Iterable[tuple[str | Path, sv.KeyPoints]], scheme: LandmarkScheme, root: str | Path = "."
) -> Dataset:
    """A data set of pictures and their key points, such as another detector's, to audit or to convert.

    Args:
        pictures: files, and the faces in each; points of confidence 0 at (0, 0) are absent.
        scheme: what the points are, in their order.
        root: folder that the faces' ids are relative to.

    Raises:
        SemalignError: key points of another number.
    """
    samples = []
    for picture, key_points in pictures:
        xy = np.asarray(key_points.xy, np.float64)
        if len(xy) and xy.shape[1:] != (scheme.count, 2):
            raise SemalignError(
                f"{picture}: has {xy.shape[1]} points a face, the scheme {scheme.name} {scheme.count}; give its own scheme."
            )
        confidence = _confidence(key_points)
        absent = (xy == 0).all(axis=-1) & (True if confidence is None else np.asarray(confidence) == 0)
        ids = key_points.data.get(IDS) if key_points.data else None
        for row, points in enumerate(np.where(absent[..., None], np.nan, xy)):
            name = str(ids[row]) if ids is not None else _name(Path(picture), Path(root), row, len(xy))
            samples.append(Sample(name, Path(picture), points, "train", ""))
    return Dataset(Path(root), "supervision", scheme, tuple(samples))


def _name(picture: Path, root: Path, row: int, count: int) -> str:
    inside = picture.relative_to(root) if picture.is_relative_to(root) else picture
    return inside.as_posix() if count == 1 else f"{inside.as_posix()}#{row}"


def _key_points(points: np.ndarray, confidence: np.ndarray) -> Any:
    """Key points of this version of supervision, which has renamed the confidence of points."""
    kind = _supervision().KeyPoints
    fields = getattr(kind, "__dataclass_fields__", {})
    word = "keypoint_confidence" if "keypoint_confidence" in fields else "confidence"
    return kind(xy=points, **{word: confidence})


def _confidence(key_points: Any) -> np.ndarray | None:
    found: np.ndarray | None = getattr(key_points, "keypoint_confidence", None)
    return found if found is not None else getattr(key_points, "confidence", None)


def _supervision() -> Any:
    try:
        import supervision
    except ImportError as error:
        raise SemalignError("this needs supervision; install it with 'pip install supervision'.") from error
    return supervision
