"""To and from supervision: a picture's faces are one `supervision.KeyPoints`.

Coordinates are the same numbers there as here: pixels of the image, pixel centres at integers, which supervision leaves open.

Shape legend: b faces of a picture, n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.adapters.common import by_picture, joined, needs, refuse_count, scheme_of, split_of, verdicts
from semalign.data.samples import ABSENT, HIDDEN, UNKNOWN, Dataset, Sample
from semalign.schemes import LandmarkScheme

if TYPE_CHECKING:
    import supervision as sv

    from semalign.auditing import Audit
    from semalign.detect import Face

PACKAGE = "supervision"
TEXTS = ("id", "split", "subset", "group", "track")  # of a sample, as they are


def to_supervision(dataset: Dataset, audit: Audit | None = None) -> dict[Path, sv.KeyPoints]:
    """The faces of each picture as key points.

    `xy` is (b, n, 2) float64, NaN where a point is absent, and `visible` False there. `data` has for each face what a sample
    has, too: id, split, subset, group, track, tags, box (NaN without one), visibility (`Sample.visibility`). With an audit it
    also has kind ("" = nothing is wrong), probability, point_probability and proposal.

    Args:
        dataset: faces of pictures.
        audit: of these faces.

    Raises:
        SemalignError: supervision is not installed, faces of videos, or an audit of other faces.
    """
    with needs(PACKAGE):
        import supervision as sv
    said = verdicts(dataset, audit)
    made = {}
    for picture, faces in by_picture(dataset, PACKAGE).items():
        visibility = np.stack([face.visibility for face in faces])
        data: dict[str, Any] = {name: np.array([getattr(face, name) for face in faces]) for name in TEXTS}
        data["tags"] = [list(face.tags) for face in faces]
        data["box"] = np.array([(np.nan,) * 4 if face.box is None else face.box for face in faces])
        data["visibility"] = visibility
        if said:
            own = [said[face.id] for face in faces]
            data["kind"] = np.array([verdict.kind or "" for verdict in own])
            data["probability"] = np.array([verdict.probability for verdict in own])
            data["point_probability"] = np.stack([verdict.points for verdict in own])
            data["proposal"] = np.stack([verdict.proposal for verdict in own])
        points = np.stack([face.points for face in faces])
        zeros = np.zeros(len(faces), int)
        made[picture] = sv.KeyPoints(xy=points, class_id=zeros, visible=visibility != ABSENT, data=data)
    return made


def from_supervision(
    pictures: Mapping[str | Path, sv.KeyPoints]
    | Mapping[Path, sv.KeyPoints]
    | Iterable[tuple[str | Path, sv.KeyPoints]],
    scheme: str | Path | LandmarkScheme,
) -> Dataset:
    """Key points as a data set: what `to_supervision` gives comes back the same.

    Of key points that come from elsewhere, those at (0, 0) or not finite are absent, and those with `visible` False hidden.

    Args:
        pictures: key points by the path of their picture.
        scheme: what the points are: a shipped name, a TOML file or a scheme.

    Raises:
        SemalignError: no faces, another number of points than the scheme's, or two faces of one id.
    """
    landmarks = scheme_of(scheme)
    pairs = pictures.items() if isinstance(pictures, Mapping) else pictures
    faces = [face for path, points in pairs for face in _faces_of(Path(path), points, landmarks)]
    return joined(faces, landmarks, PACKAGE)


def faces_to_supervision(faces: Sequence[Face]) -> sv.KeyPoints:
    """What a `Detector` finds in a picture as key points, with the confidence of each, the faces' scores, and in `data` their
    tracks (-1 = none) and spreads (NaN = none).

    Raises:
        SemalignError: supervision is not installed.
    """
    with needs(PACKAGE):
        import supervision as sv
    if not faces:
        return sv.KeyPoints.empty()
    spread = [np.full_like(face.points, np.nan) if face.spread is None else np.array(face.spread) for face in faces]
    return sv.KeyPoints(
        xy=np.stack([face.points for face in faces]),
        class_id=np.zeros(len(faces), int),
        keypoint_confidence=np.stack([face.confidence for face in faces]),
        detection_confidence=np.array([face.score for face in faces]),
        data={
            "track": np.array([-1 if face.track is None else face.track for face in faces]),
            "spread": np.stack(spread),
        },
    )


def faces_from_supervision(key_points: sv.KeyPoints, scheme: str | Path | LandmarkScheme) -> list[Face]:
    """Key points as found faces; where they have no confidence it is 1.

    Raises:
        SemalignError: another number of points than the scheme's.
    """
    from semalign.detect.result import Face

    landmarks, found = scheme_of(scheme), []
    for row, points in enumerate(np.asarray(key_points.xy, np.float64)):
        refuse_count(PACKAGE, points, landmarks)
        confidence = key_points.keypoint_confidence
        own = np.ones(len(points)) if confidence is None else confidence[row]
        track, spread = (_of(key_points, name, row) for name in ("track", "spread"))
        known = spread is not None and np.isfinite(spread).all()
        numbered = None if track is None or track < 0 else int(track)
        found.append(Face(points, own, landmarks, numbered, spread if known else None))
    return found


def _of(key_points: sv.KeyPoints, name: str, row: int) -> Any:
    """What `data` says of a face; None where it says nothing."""
    values = key_points.data.get(name)
    return None if values is None else values[row]


def _faces_of(picture: Path, key_points: sv.KeyPoints, scheme: LandmarkScheme) -> Iterable[Sample]:
    for row, given in enumerate(np.asarray(key_points.xy, np.float64)):
        refuse_count(picture, given[..., :2], scheme)
        points, visible = _points(given[..., :2], key_points, row)
        texts = {name: str(_of(key_points, name, row) or "") for name in TEXTS}
        box = _of(key_points, "box", row)
        known = box is not None and np.isfinite(box).all()
        x0, y0, x1, y1 = (float(value) for value in box) if known else (0.0,) * 4
        yield Sample(
            **(texts | {"split": split_of(texts["split"])}),  # type: ignore[arg-type]
            image=picture,
            points=points,
            box=(x0, y0, x1, y1) if known else None,
            visible=visible,
            tags=tuple(_of(key_points, "tags", row) or ()),
        )


def _points(given: np.ndarray, key_points: sv.KeyPoints, row: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (n, 2), NaN where absent, and which of them are visible (n,), None where nothing says so."""
    said = _of(key_points, "visibility", row)
    if said is not None:
        there = np.asarray(said) != ABSENT
        unknown = bool((np.asarray(said)[there] == UNKNOWN).all())
        return np.where(there[:, None], given, np.nan), None if unknown else np.asarray(said) != HIDDEN
    there = np.isfinite(given).all(axis=1) & (given != 0).any(axis=1)
    seen = None if key_points.visible is None else np.asarray(key_points.visible[row], bool)
    return np.where(there[:, None], given, np.nan), seen
