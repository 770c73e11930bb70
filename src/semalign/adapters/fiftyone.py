"""To and from FiftyOne's samples: annotations, proposals and how probably each point is wrong, to sort and filter by.

FiftyOne's points are shares of the picture's width and height from its corner, ours are pixels whose centres are whole numbers:
x of ours is (x + 0.5) / width there. An absent point is (nan, nan) in both.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.auditing import KINDS, Audit
from semalign.data import Dataset, Sample
from semalign.data.video import picture_size
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

if TYPE_CHECKING:
    import fiftyone as fo

ANNOTATION, PROPOSAL, WRONG = "annotation", "proposal", "wrong"  # fields of a sample
FACE = "face"  # attribute of key points: the face's id


def to_fiftyone(dataset: Dataset, audit: Audit | None = None) -> list[fo.Sample]:
    """A sample for each picture, with the faces' key points in its field `annotation`.

    With an audit there are also `proposal`, key points where the points should be, and `wrong`, the probability that anything
    is wrong with a face of the picture; each face's key points in `annotation` have `probability` and `kind`, a list by point.

    Args:
        dataset: its pictures must be there.
        audit: of this data set.

    Raises:
        SemalignError: FiftyOne is not installed, or an audit of other faces.
    """
    fo = _fiftyone()
    rows = {} if audit is None else {name: row for row, name in enumerate(audit.ids)}
    if audit is not None and not rows.keys() <= set(dataset.ids()):
        raise SemalignError("the audit is of other faces than the data set; give the audit of this one.")
    found = []
    for picture, faces in groupby(dataset.samples, key=lambda sample: sample.image):
        samples = list(faces)
        size = np.array(picture_size(samples[0]), np.float64)
        sample = fo.Sample(filepath=str(picture.absolute()))
        annotated, proposed, wrong = [], [], []
        for face in samples:
            more: dict[str, Any] = {FACE: face.id}
            row = rows.get(face.id)
            if audit is not None and row is not None:
                kinds = [KINDS[kind].name if kind >= 0 else None for kind in audit.point_kind[row]]
                own = audit.face_kind[row]
                more |= {
                    "probability": audit.point_probability[row].tolist(),
                    "kind": kinds,
                    WRONG: float(audit.face_probability[row]),
                    "face_kind": KINDS[own].name if own >= 0 else None,
                }
                proposed.append(_keypoint(fo, dataset.scheme, audit.proposals[row], size, {FACE: face.id}))
                wrong.append(float(audit.face_probability[row]))
            annotated.append(_keypoint(fo, dataset.scheme, face.points, size, more))
        sample[ANNOTATION] = fo.Keypoints(keypoints=annotated)
        if proposed:
            sample[PROPOSAL], sample[WRONG] = fo.Keypoints(keypoints=proposed), max(wrong)
        found.append(sample)
    return found


def from_fiftyone(
    samples: Iterable[fo.Sample], scheme: LandmarkScheme, field: str = ANNOTATION, root: str | Path = "."
) -> Dataset:
    """A data set of the key points in a field of FiftyOne's samples, or of a FiftyOne data set.

    Args:
        samples: their pictures must be there.
        scheme: what the points are, in their order.
        field: of the key points.
        root: folder that the faces' ids are relative to.

    Raises:
        SemalignError: a picture that is not there, or key points of another number.
    """
    found = []
    for sample in samples:
        picture = Path(sample.filepath)
        key_points = sample[field].keypoints if sample[field] is not None else []
        for row, one in enumerate(key_points):
            shares = np.array(one.points, np.float64).reshape(-1, 2)
            if len(shares) != scheme.count:
                raise SemalignError(
                    f"{picture}: key points of {len(shares)} points, the scheme {scheme.name} has {scheme.count}; "
                    "give their own scheme."
                )
            name = one[FACE] if one.has_field(FACE) and one[FACE] else _name(picture, Path(root), row, len(key_points))
            face = Sample(str(name), picture, shares, "train", "")
            size = np.array(picture_size(face), np.float64)
            found.append(Sample(face.id, picture, shares * size - 0.5, "train", ""))
    return Dataset(Path(root), "fiftyone", scheme, tuple(found))


def _keypoint(fo: Any, scheme: LandmarkScheme, points: np.ndarray, size: np.ndarray, more: dict[str, Any]) -> Any:
    shares = (points + 0.5) / size
    return fo.Keypoint(label=scheme.name, points=[(float(x), float(y)) for x, y in shares], **more)


def _name(picture: Path, root: Path, row: int, count: int) -> str:
    inside = picture.relative_to(root) if picture.is_relative_to(root) else picture
    return inside.as_posix() if count == 1 else f"{inside.as_posix()}#{row}"


def _fiftyone() -> Any:
    try:
        import fiftyone
    except ImportError as error:
        raise SemalignError("this needs FiftyOne; install it with 'pip install fiftyone'.") from error
    return fiftyone
