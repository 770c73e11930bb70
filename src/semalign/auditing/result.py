"""What an audit found: how probably each annotation is wrong, of what kind, and where it should be; and its folder.

    audit.json       data set, scheme, who judged, how many faces
    labels/          label store: 0000 the annotations, 0001 what is proposed, with how sure it is
    faces.parquet    a row a face: image, file, frame, probability, odds, kind, dx, dy
    points.parquet   a row a landmark, face by face as in the label store: image, landmark, probability, kind

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign.auditing.kinds import NAMES, WHOLE
from semalign.auditing.shift import Shift, shift_of
from semalign.data.label_files import faces_of_group, image_column
from semalign.data.labels import LabelStore
from semalign.data.samples import ABSENT, UNKNOWN
from semalign.data.tables import read_table
from semalign.errors import SemalignError
from semalign.files import atomic_path, read_json, write_json
from semalign.schemes import LandmarkScheme, scheme_of_text, scheme_text

if TYPE_CHECKING:
    import pandas as pd  # the extra `pandas`, imported where it is used

FORMAT = 1
SHIFT = "shift"  # key of `Audit.about`: how far all points lie to one side (`semalign.auditing.shift`)
ABOUT, LABELS, FACES, POINTS = "audit.json", "labels", "faces.parquet", "points.parquet"
LISTED = 0.5  # least probability of what is listed
SHIFTED = 0.9  # probability of a shift of the whole set, as of a folder's


class Finding(NamedTuple):
    """An annotation that is probably wrong.

    Attributes:
        image: id of the face; empty = all faces of the set, of which dy is NaN, not being known.
        landmark: from 0; None = the whole face.
        kind: name in `KINDS`; empty where next to nothing speaks for an error.
        probability: that it is wrong, 0 to 1.
        dx, dy: from the annotation to where it should be, pixels of the image; of a whole face the mean over its points.
    """

    image: str
    landmark: int | None
    kind: str
    probability: float
    dx: float
    dy: float


class Wrong(NamedTuple):
    """What is probably wrong.

    Attributes:
        faces: as a whole, so that their points need not be looked at one by one.
        points: by themselves, in the other faces.
    """

    faces: Bool[np.ndarray, " b"]
    points: Bool[np.ndarray, "b n"]


@dataclass(frozen=True, eq=False)
class Audit:
    """The verdict on every annotation of some faces. Points are in the image frames, 0-based pixels, NaN where absent.

    Attributes:
        ids: of the faces, unique.
        files: their pictures, as absolute paths.
        frames: of videos, from 0; -1 for pictures.
        scheme: the landmarks.
        annotations: what people marked.
        proposals: where the points should be.
        spread: standard deviations of the proposals along x and y, pixels.
        face_probability: that something is wrong with the face as a whole, or with any point of it.
        face_kind: index in `KINDS` of what is most probably wrong with it; -1 = nothing is.
        point_probability: that the point is wrong by itself.
        point_kind: likewise.
        about: what else is to be said: the data set's folder (`data`), who judged, of which version.
        odds: logarithm of the odds that anything is wrong with the face, which tells faces apart whose probability is nearly 1.
    """

    ids: tuple[str, ...]
    files: tuple[str, ...]
    frames: Int[np.ndarray, " b"]
    scheme: LandmarkScheme
    annotations: Float[np.ndarray, "b n 2"]
    proposals: Float[np.ndarray, "b n 2"]
    spread: Float[np.ndarray, "b n 2"]
    face_probability: Float[np.ndarray, " b"]
    face_kind: Int[np.ndarray, " b"]
    point_probability: Float[np.ndarray, "b n"]
    point_kind: Int[np.ndarray, "b n"]
    about: dict[str, Any]
    odds: Float[np.ndarray, " b"]

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.ids)

    def moves(self) -> Float[np.ndarray, "b n 2"]:
        """From annotations to proposals, pixels of the image; 0 where a point is absent."""
        return np.nan_to_num(self.proposals - self.annotations)

    def there(self) -> Bool[np.ndarray, "b n"]:
        """Points that are annotated."""
        return np.isfinite(self.annotations).all(axis=-1)

    def wrong(self, least: float = LISTED) -> Wrong:
        """What is wrong at least this probably: the one rule of what is listed, shown and taken.

        A face is wrong as a whole if its kind says so and it is wrong probably enough; of all others single points may be.
        """
        faces = (self.face_probability >= least) & np.isin(self.face_kind, WHOLE)
        return Wrong(faces, self.there() & (self.point_probability >= least) & ~faces[:, None])

    def shift(self) -> Shift | None:
        """How far all points lie to one side of where faces are, if that is to be told."""
        found = shift_of(self.about.get(SHIFT))
        return found if found is not None and found.sure else None

    def findings(self, least: float = LISTED) -> Iterator[Finding]:
        """What is probably wrong, worst first: faces as a whole, single points of the others, and all points of the set.

        Args:
            least: probability of what is listed.
        """
        moves, wrong = self.moves(), self.wrong(least)
        found = []
        for face in np.flatnonzero(wrong.faces):
            middle = moves[face].mean(axis=0)
            kind = kind_name(self.face_kind[face])
            found.append(Finding(self.ids[face], None, kind, float(self.face_probability[face]), *map(float, middle)))
        for face, point in np.argwhere(wrong.points):
            probability, kind = float(self.point_probability[face, point]), kind_name(self.point_kind[face, point])
            found.append(Finding(self.ids[face], int(point), kind, probability, *map(float, moves[face, point])))
        shift = self.shift()
        if shift is not None and least <= SHIFTED:
            found.append(Finding("", None, "origin", SHIFTED, -shift.right, float("nan")))
        yield from sorted(found, key=lambda one: -one.probability)

    def to_pandas(
        self, rows: Literal["findings", "faces", "points"] = "findings", least: float = LISTED
    ) -> pd.DataFrame:
        """The audit as a data frame. Coordinates are pixels of the image, 0-based; dx and dy lead to where points should be.

        - `findings`, worst first, `rank` from 1 being the index: image, face (row of the audit), landmark and name (none for a
          whole face), kind, probability, dx, dy. A shift of the whole set has no image, face and dy.
        - `faces`, all of them: image, file, frame (of a video), kind (None: nothing is wrong), probability, odds, dx, dy.
        - `points`, all of them: image, face, landmark, name, kind, probability, x, y, proposed_x, proposed_y, dx, dy, spread_x,
          spread_y; NaN where a point is absent.

        Args:
            rows: what a row is.
            least: probability of findings that are listed.

        Raises:
            SemalignError: pandas is not installed, or no such rows.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise SemalignError(
                "a data frame needs pandas; install it with: pip install 'semalign[pandas]'."
            ) from error
        if rows == "points":
            return pd.DataFrame(self._points_by_column())
        if rows == "faces":
            faces = self._faces_by_column()
            return pd.DataFrame(faces | {"frame": pd.array(faces["frame"], dtype="Int32")})
        if rows == "findings":
            found = self._findings_by_column(least)
            found["landmark"] = pd.array(found["landmark"], dtype="Int16")
            if None in found["face"]:
                found["face"] = pd.array(found["face"], dtype="Int64")
            return pd.DataFrame(found, index=pd.RangeIndex(1, len(found["face"]) + 1, name="rank"))
        raise SemalignError(f"an audit has no rows {rows!r}; choose from findings, faces, points.")

    def _findings_by_column(self, least: float) -> dict[str, Any]:
        found, face = list(self.findings(least)), {name: row for row, name in enumerate(self.ids)}
        names = [None if one.landmark is None else self.scheme.landmarks[one.landmark] for one in found]
        return {
            "image": np.array([one.image or None for one in found], object),
            "face": [face[one.image] if one.image else None for one in found],
            "landmark": [one.landmark for one in found],
            "name": np.array(names, object),
            "kind": np.array([one.kind for one in found], object),
            **{name: np.array([getattr(one, name) for one in found], float) for name in ("probability", "dx", "dy")},
        }

    def _faces_by_column(self) -> dict[str, Any]:
        middle = self.moves().mean(axis=1)
        return {
            "image": np.array(self.ids, object),
            "file": np.array(self.files, object),
            "frame": [None if frame < 0 else frame for frame in self.frames.tolist()],
            "kind": _called(self.face_kind),
            "probability": self.face_probability,
            "odds": self.odds,
            "dx": middle[:, 0],
            "dy": middle[:, 1],
        }

    def _points_by_column(self) -> dict[str, Any]:
        count, moves = self.scheme.count, self.proposals - self.annotations
        values = {"": self.annotations, "proposed_": self.proposals, "d": moves, "spread_": self.spread}
        return {
            "image": np.repeat(np.array(self.ids, object), count),
            "face": np.repeat(np.arange(len(self)), count),
            "landmark": np.tile(np.arange(count), len(self)),
            "name": np.tile(np.array(self.scheme.landmarks, object), len(self)),
            "kind": _called(self.point_kind.ravel()),
            "probability": self.point_probability.ravel(),
            **{f"{name}{'xy'[axis]}": value[..., axis].ravel() for name, value in values.items() for axis in range(2)},
        }


def kind_name(kind: int) -> str:
    """The name of a kind by its index; empty for -1."""
    return NAMES[kind] if kind >= 0 else ""


def face_sizes(annotations: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, " b"]:
    """Square roots of the areas of the annotations' boxes, pixels, at least 1; absent points do not count."""
    there = np.isfinite(annotations)
    low = np.where(there, annotations, np.inf).min(axis=1)
    high = np.where(there, annotations, -np.inf).max(axis=1)
    with np.errstate(invalid="ignore"):
        sides = np.nan_to_num(high - low, nan=0.0, posinf=0.0, neginf=0.0).clip(0.0)
    return np.sqrt(sides[:, 0] * sides[:, 1]).clip(1.0)


def write_audit(audit: Audit, folder: str | Path) -> None:
    """Write an audit into its folder, `audit.json` last.

    Raises:
        SemalignError: a file that cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    (folder / ABOUT).unlink(missing_ok=True)
    store = LabelStore(folder / LABELS)
    for index in store.versions():  # of an audit that is being replaced
        store.path(index).unlink(missing_ok=True)
    provenance = {"scheme": scheme_text(audit.scheme), "source": "audit"}
    for index, (points, spread) in enumerate(((audit.annotations, None), (audit.proposals, audit.spread))):
        visibility = np.where(np.isnan(points).any(axis=-1), ABSENT, UNKNOWN).astype(np.int8)
        store.append(
            audit.ids, points, iteration=index, provenance=provenance, spread=spread, visibility=visibility, index=index
        )
    middle = audit.moves().mean(axis=1)
    faces = {
        "image": pa.array(audit.ids, pa.string()),
        "file": pa.array(audit.files, pa.string()),
        "frame": pa.array(audit.frames, pa.int32(), mask=audit.frames < 0),
        "probability": pa.array(audit.face_probability, pa.float64()),
        "kind": _names(audit.face_kind),
        "odds": pa.array(audit.odds, pa.float32()),
        "dx": pa.array(middle[:, 0], pa.float32()),
        "dy": pa.array(middle[:, 1], pa.float32()),
    }
    with atomic_path(folder / FACES) as temporary:
        pq.write_table(pa.table(faces), temporary, compression="zstd")
    size = faces_of_group(audit.scheme.count)
    groups = (_points_of(audit, slice(start, start + size)) for start in range(0, len(audit), size))
    first = next(groups)
    with atomic_path(folder / POINTS) as place, pq.ParquetWriter(place, first.schema, compression="zstd") as writer:
        for group in chain([first], groups):
            writer.write_table(group)
    about = {"format": FORMAT, "scheme": scheme_text(audit.scheme), "faces": len(audit)}
    write_json(folder / ABOUT, audit.about | about)


def read_audit(folder: str | Path) -> Audit:
    """The audit in a folder.

    Raises:
        SemalignError: there is none, or one that is unfinished, damaged, or of a newer version.
    """
    import pyarrow as pa

    folder = Path(folder)
    refuse_unfinished(folder)
    about = read_json(folder / ABOUT, "make the audit again")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise SemalignError(f"{folder / ABOUT}: is not of a version that is known here; make the audit again.")
    store = LabelStore(folder / LABELS)
    annotations, proposals = store.read(0), store.read(1)
    try:
        faces = read_table(folder / FACES)
        points = read_table(folder / POINTS, columns=["probability", "kind"])
        shape = annotations.points.shape[:2]
        audit = Audit(
            ids=annotations.ids,
            files=tuple(faces["file"].to_pylist()),
            frames=faces["frame"].cast(pa.int32()).fill_null(-1).to_numpy(),
            scheme=scheme_of_text(str(about["scheme"])),
            annotations=annotations.points,
            proposals=proposals.points,
            spread=proposals.spread,
            face_probability=faces["probability"].to_numpy().astype(np.float64),
            face_kind=_indices(faces["kind"]),
            point_probability=points["probability"].to_numpy().astype(np.float64).reshape(shape),
            point_kind=_indices(points["kind"]).reshape(shape),
            about=about,
            odds=faces["odds"].to_numpy().astype(np.float64),
        )
        _refuse_misfit(audit)
        audit.shift()
        return audit
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, pa.ArrowException) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SemalignError(f"{folder}: is no audit that can be read ({what}); make it again.") from error


def _refuse_misfit(audit: Audit) -> None:
    """Refuse an audit whose files do not fit each other.

    Raises:
        ValueError: they do not; says which.
    """
    faces, count = len(audit.ids), audit.scheme.count
    if audit.annotations.shape != (faces, count, 2) or audit.proposals.shape != audit.annotations.shape:
        raise ValueError("its labels are of another number of faces or landmarks")
    of_faces = (audit.files, audit.frames, audit.face_probability, audit.face_kind, audit.odds)
    if any(len(values) != faces for values in of_faces) or not all(isinstance(name, str) for name in audit.files):
        raise ValueError(f"{FACES} does not hold a row for each face")
    for values in (audit.face_probability, audit.point_probability):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError("a probability is not from 0 to 1")
    if len(set(audit.ids)) < faces:
        raise ValueError("a face occurs twice")


def refuse_unfinished(folder: Path) -> None:
    """Refuse a folder without a finished audit.

    Raises:
        SemalignError: it holds none.
    """
    if not (folder / ABOUT).is_file():
        raise SemalignError(f"{folder}: holds no finished audit; make one with 'semalign audit PATH --out {folder}'.")


def _called(kinds: np.ndarray) -> np.ndarray:
    """Names of kinds, None where there is none."""
    return np.array([*NAMES, None], object)[kinds]


def _points_of(audit: Audit, rows: slice) -> Any:
    """The rows of points.parquet of some faces."""
    import pyarrow as pa

    ids, count = audit.ids[rows], audit.scheme.count
    return pa.table(
        {
            "image": image_column(ids, count),
            "landmark": pa.array(np.tile(np.arange(count), len(ids)), pa.int16()),
            "probability": pa.array(audit.point_probability[rows].ravel(), pa.float64()),
            "kind": _names(audit.point_kind[rows].ravel()),
        }
    )


def _names(kinds: np.ndarray) -> Any:
    """A column of kinds by name, null where there is none."""
    import pyarrow as pa

    indices = pa.array(np.maximum(kinds, 0).astype(np.int8), mask=np.asarray(kinds) < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(NAMES))


def _indices(column: Any) -> np.ndarray:
    """Back from `_names`; -1 also for a kind that is not known here."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(NAMES)).fill_null(-1)
    return found.to_numpy().astype(np.int8)
