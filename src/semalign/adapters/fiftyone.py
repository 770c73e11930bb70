"""To and from FiftyOne: a picture is one `fiftyone.Sample`, its faces are `fiftyone.Keypoints`.

FiftyOne's coordinates are shares of the picture: a point (x, y) of our frames, whose pixel centres are at integers, is
((x + 0.5) / width, (y + 0.5) / height) there.

Shape legend: n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from semalign.adapters.common import by_picture, joined, needs, refuse_count, scheme_of, split_of, verdicts
from semalign.data.images import image_size
from semalign.data.samples import Box, Dataset, Sample
from semalign.schemes import LandmarkScheme

if TYPE_CHECKING:
    import fiftyone as fo

    from semalign.auditing import Audit
    from semalign.detect import Face

PACKAGE = "fiftyone"
FIELD, PROPOSALS = "ground_truth", "proposals"
TEXTS = ("subset", "group", "track")  # of a sample, as they are


def to_fiftyone(dataset: Dataset, audit: Audit | None = None, field: str = FIELD) -> list[fo.Sample]:
    """The pictures of a data set as samples, tagged by split, with their faces in a field of key points.

    A key point object is a face: its label is "face", `face` its id, `points` (n, 2), NaN where absent; `visible` (n,) where
    the annotation says it, `bounding_box` (x, y, width, height) where it has one, and subset, group and track.

    With an audit faces also have kind, probability and point_probability (n,); the sample has kind and probability of its worst
    face, by which the App sorts; and the field `proposals` has the faces as they should be.

    Args:
        dataset: faces of pictures.
        audit: of these faces.
        field: for the faces.

    Raises:
        SemalignError: FiftyOne is not installed, faces of videos, a picture that cannot be read, or an audit of other faces.
    """
    with needs(PACKAGE):
        import fiftyone as fo
    said = verdicts(dataset, audit)
    made = []
    for picture, faces in by_picture(dataset, PACKAGE).items():
        width, height = size = faces[0].size or image_size(picture)
        metadata = fo.ImageMetadata(width=width, height=height)
        fields = {field: fo.Keypoints(keypoints=[_annotation(fo, face, size, said) for face in faces])}
        if said:
            own = [said[face.id] for face in faces]
            worst = max(own, key=lambda verdict: verdict.probability)
            pairs = zip(faces, own, strict=True)
            proposed = [_key_point(fo, verdict.proposal, size, face=face.id) for face, verdict in pairs]
            fields |= {
                PROPOSALS: fo.Keypoints(keypoints=proposed),
                "kind": worst.kind,
                "probability": worst.probability,
            }
        splits = sorted({face.split for face in faces})
        made.append(fo.Sample(filepath=str(picture), tags=splits, metadata=metadata, **fields))
    return made


def from_fiftyone(samples: Iterable[fo.Sample], scheme: str | Path | LandmarkScheme, field: str = FIELD) -> Dataset:
    """Samples, or a FiftyOne data set or view, as a data set: what `to_fiftyone` gives comes back the same, to rounding.

    A sample with the tag `test` is a test face. Its size is that of its metadata, or else of the picture.

    Args:
        samples: with faces in the field; those without are passed over.
        scheme: what the points are: a shipped name, a TOML file or a scheme.
        field: of the faces (`fiftyone.Keypoints`).

    Raises:
        SemalignError: no faces, another number of points than the scheme's, two faces of one id, or a picture whose size is
            neither said nor can be read.
    """
    landmarks, faces = scheme_of(scheme), []
    for sample in samples:
        found = sample[field] if sample.has_field(field) else None
        split = split_of("test" if "test" in sample.tags else "train")
        for one in [] if found is None else found.keypoints:
            size = _size(sample)
            points = _points(one, size, sample.filepath, landmarks)
            seen, box = _value(one, "visible"), _value(one, "bounding_box")
            faces.append(
                Sample(
                    id=_value(one, "face") or "",
                    image=Path(sample.filepath),
                    points=points,
                    split=split,
                    box=None if box is None else _box_of(box, size),
                    visible=None if seen is None else np.array(seen, bool),
                    tags=tuple(one.tags or ()),
                    size=size,
                    subset=_value(one, "subset") or "",
                    group=_value(one, "group") or "",
                    track=_value(one, "track") or "",
                )
            )
    return joined(faces, landmarks, PACKAGE)


def faces_to_fiftyone(faces: Sequence[Face], size: tuple[int, int]) -> fo.Keypoints:
    """What a `Detector` finds in a picture of a size (width, height), for a field of the picture's sample.

    The confidence of each point goes along, and the faces' scores, tracks (`index`) and spreads.

    Raises:
        SemalignError: FiftyOne is not installed.
    """
    with needs(PACKAGE):
        import fiftyone as fo
    made = []
    for face in faces:
        said: dict[str, Any] = {"confidence": face.confidence.tolist(), "score": face.score, "index": face.track}
        if face.spread is not None:
            said["spread"] = face.spread.tolist()
        made.append(_key_point(fo, face.points, size, **said))
    return fo.Keypoints(keypoints=made)


def faces_from_fiftyone(
    keypoints: fo.Keypoints, size: tuple[int, int], scheme: str | Path | LandmarkScheme
) -> list[Face]:
    """Key points of a picture of a size (width, height) as found faces; where they have no confidence it is 1.

    Raises:
        SemalignError: another number of points than the scheme's.
    """
    from semalign.detect.result import Face

    landmarks, found = scheme_of(scheme), []
    for one in keypoints.keypoints:
        points, spread = _points(one, size, PACKAGE, landmarks), _value(one, "spread")
        confidence = np.ones(len(points)) if one.confidence is None else np.array(one.confidence, np.float64)
        own = None if spread is None else np.array(spread, np.float64).reshape(-1, 2)
        found.append(Face(points, confidence, landmarks, one.index, own))
    return found


def relative(points: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> Float[np.ndarray, "n 2"]:
    """Points of an image frame as shares of the picture's width and height."""
    shares: np.ndarray = (points + 0.5) / np.array(size, np.float64)
    return shares


def absolute(shares: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> Float[np.ndarray, "n 2"]:
    """Back from `relative`."""
    points: np.ndarray = shares * np.array(size, np.float64) - 0.5
    return points


def _annotation(fo: Any, face: Sample, size: tuple[int, int], said: dict[str, Any]) -> Any:
    attributes: dict[str, Any] = {name: value for name in TEXTS if (value := getattr(face, name))}
    attributes |= {"face": face.id, "tags": list(face.tags)}
    if face.visible is not None:
        attributes["visible"] = face.visible.tolist()
    if face.box is not None:
        low, high = relative(np.array(face.box).reshape(2, 2), size)
        attributes["bounding_box"] = [*low.tolist(), *(high - low).tolist()]
    if said:
        verdict = said[face.id]
        attributes |= {"probability": verdict.probability, "point_probability": verdict.points.tolist()}
        attributes |= {} if verdict.kind is None else {"kind": verdict.kind}
    return _key_point(fo, face.points, size, **attributes)


def _key_point(fo: Any, points: np.ndarray, size: tuple[int, int], **attributes: Any) -> Any:
    return fo.Keypoint(label="face", points=relative(points, size).tolist(), **attributes)


def _box_of(box: Sequence[float], size: tuple[int, int]) -> Box:
    x, y, width, height = box
    (x0, y0), (x1, y1) = absolute(np.array([[x, y], [x + width, y + height]]), size).tolist()
    return x0, y0, x1, y1


def _points(one: Any, size: tuple[int, int], where: str, scheme: LandmarkScheme) -> np.ndarray:
    points = absolute(np.array(one.points, np.float64).reshape(-1, 2), size)
    refuse_count(where, points, scheme)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def _size(sample: Any) -> tuple[int, int]:
    """(width, height) of a sample's picture."""
    said = sample.metadata
    if said is not None and said.width and said.height:
        return int(said.width), int(said.height)
    return image_size(Path(sample.filepath))


def _value(one: Any, name: str) -> Any:
    """An attribute that a label may have."""
    return one[name] if one.has_field(name) else None
