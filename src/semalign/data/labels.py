"""The label store: one Parquet file a version, 0000 being the annotations. Versions are added, never changed.

Columns: image (id), landmark (index from 0), x and y (image frame, px), prior_cost, likelihood_cost, movement (px of the
image, from the version before), confidence, spread_x and spread_y (standard deviations of the label, px of the image; NaN
where the search does not say, missing in files of version 0.1), iteration, visibility (0 absent, 1 hidden, 2 visible, null
where the annotation does not say; missing in files of version 0.1). An absent point has NaN for x and y in all versions. Rows
go image by image, landmark by landmark. Where a label came from stands in the file's schema metadata under "semalign", as
JSON. `pandas.read_parquet` reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semalign.data.samples import ABSENT, UNKNOWN, Dataset
from semalign.errors import SemalignError
from semalign.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa  # imported where it is used: what only reads pictures and trains does without it

Provenance = Mapping[str, str | int | float]
PARTS = ("prior_cost", "likelihood_cost", "movement", "confidence")
SPREAD = ("spread_x", "spread_y")
VISIBILITY = "visibility"
_METADATA = b"semalign"
_FILE = re.compile(r"(\d{4,})\.parquet")


@dataclass(frozen=True, eq=False)
class LabelVersion:
    """One version of all labels. Arrays are (b, n) float64, NaN where there is no value or the point is absent."""

    index: int
    ids: tuple[str, ...]
    points: np.ndarray  # (b, n, 2) float64, image frame, px
    prior_cost: np.ndarray
    likelihood_cost: np.ndarray
    movement: np.ndarray  # px of the image, from the version before
    confidence: np.ndarray
    spread: np.ndarray  # (b, n, 2) standard deviations of the labels along x and y, px of the image
    iteration: int  # of the alternation; 0 = annotations
    provenance: Provenance
    visibility: np.ndarray  # (b, n) int8, see `semalign.data.samples.Sample.visibility`


class LabelStore:
    """The label versions in a folder. One process writes, any number read."""

    def __init__(self, folder: str | Path) -> None:
        """Nothing is read or written until asked for."""
        self.folder = Path(folder)

    def versions(self) -> tuple[int, ...]:
        """The versions that are there, ascending."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SemalignError(f"{self.folder}: cannot be read ({error.strerror}); check the folder.") from error
        return tuple(sorted(int(match[1]) for match in map(_FILE.fullmatch, names) if match))

    def path(self, index: int) -> Path:
        """The file of a version."""
        return self.folder / f"{index:04d}.parquet"

    def start(self, dataset: Dataset, provenance: Provenance | None = None) -> LabelVersion:
        """Version 0, the annotations; given back as it is where it exists with the same labels."""
        points, visibility = dataset.points(), dataset.visibility()
        return self.append(dataset.ids(), points, iteration=0, provenance=provenance, visibility=visibility, index=0)

    def append(
        self,
        ids: Sequence[str],
        points: np.ndarray,
        *,
        iteration: int,
        provenance: Provenance | None = None,
        prior_cost: np.ndarray | None = None,
        likelihood_cost: np.ndarray | None = None,
        confidence: np.ndarray | None = None,
        spread: np.ndarray | None = None,
        visibility: np.ndarray | None = None,
        index: int | None = None,
    ) -> LabelVersion:
        """Write the next version from points (b, n, 2) of the image frame and, where known, costs and confidence (b, n) and
        spread (b, n, 2); return it.

        The movement follows from the version before, and so does `visibility` (b, n), which is given with the first one.
        Points that are absent by it are NaN. A program that continues names the `index` that the version must get: if that
        exists and holds the same labels, it is given back unchanged.

        Raises:
            SemalignError: labels of the wrong shape, not finite or absent where they are not; other images than in the
                version before, an index that exists with other labels or leaves a gap, or a file that cannot be written.
        """
        there = self.versions()
        following = there[-1] + 1 if there else 0
        index = following if index is None else index
        points = np.asarray(points, dtype=np.float64)
        _check_points(self.path(index), ids, points)
        if index in there:
            return self._same(index, tuple(ids), points, iteration)
        if index != following:
            raise SemalignError(f"{self.path(index)}: the next label version is {following}; write that one first.")
        before = self._before(index, tuple(ids), points.shape) if index else None
        if before is not None:
            visibility = before.visibility
        elif visibility is None:
            visibility = np.full(points.shape[:2], UNKNOWN, np.int8)
        _check_absent(self.path(index), ids, points, visibility)
        given = {"prior_cost": prior_cost, "likelihood_cost": likelihood_cost, "confidence": confidence}
        parts = {name: _part(self.path(index), name, value, points.shape[:2]) for name, value in given.items()}
        parts["spread"] = _part(self.path(index), "spread", spread, points.shape)
        movement = np.full(points.shape[:2], np.nan)
        if before is not None:
            movement = np.linalg.norm(points - before.points, axis=-1)
        version = LabelVersion(
            index,
            tuple(ids),
            points,
            movement=movement,
            iteration=iteration,
            provenance=dict(provenance or {}),
            visibility=np.asarray(visibility, np.int8),
            **parts,
        )
        import pyarrow.parquet as pq

        with atomic_path(self.path(index)) as temporary:
            pq.write_table(_table(version), temporary, compression="zstd")
        return version

    def read(self, version: int = -1) -> LabelVersion:
        """A version by its number; negative numbers count from the last one.

        Raises:
            SemalignError: there is no such version, or its file is damaged.
        """
        there = self.versions()
        if not there:
            raise SemalignError(f"{self.folder}: holds no label versions; give the folder 'labels' of a run.")
        if version < 0 and -version <= len(there):
            version = there[version]
        if version not in there:
            raise SemalignError(
                f"{self.folder}: holds no label version {version}; choose from {there[0]} to {there[-1]}."
            )
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(version)
        try:
            return _version(version, pq.read_table(path))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SemalignError(
                f"{path}: is no label version that can be read ({what}); remove or replace it."
            ) from error

    def _before(self, index: int, ids: tuple[str, ...], shape: tuple[int, ...]) -> LabelVersion:
        """The version before another one, which must be of the same images."""
        before = self.read(index - 1)
        if before.ids != ids or before.points.shape != shape:
            raise SemalignError(
                f"{self.path(index)}: the labels are not those of the images of version {index - 1}, in its order; "
                "use a label folder of its own for each training set."
            )
        return before

    def _same(self, index: int, ids: tuple[str, ...], points: np.ndarray, iteration: int) -> LabelVersion:
        there = self.read(index)
        if there.ids != ids or there.iteration != iteration or not np.array_equal(there.points, points, equal_nan=True):
            raise SemalignError(
                f"{self.path(index)}: exists with other labels and is never overwritten; choose another folder."
            )
        return there


def _check_points(path: Path, ids: Sequence[str], points: np.ndarray) -> None:
    if points.ndim != 3 or points.shape[2] != 2 or len(points) != len(ids) or points.size == 0:
        raise SemalignError(
            f"cannot write {path}: {len(ids)} images and points of shape {points.shape}; give (b, n, 2)."
        )
    if len(set(ids)) != len(ids):
        raise SemalignError(f"cannot write {path}: an image occurs twice; give each one once.")


def _check_absent(path: Path, ids: Sequence[str], points: np.ndarray, visibility: np.ndarray) -> None:
    absent = visibility == ABSENT
    right = np.where(absent, np.isnan(points).all(axis=2), np.isfinite(points).all(axis=2))
    if not right.all():
        image, landmark = np.argwhere(~right)[0]
        if absent[image, landmark]:
            raise SemalignError(
                f"cannot write {path}: landmark {landmark} of {ids[image]} was not annotated and has a label; leave it NaN."
            )
        raise SemalignError(
            f"cannot write {path}: landmark {landmark} of {ids[image]} is not finite; find out where it came from."
        )


def _part(path: Path, name: str, value: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if value is None:
        return np.full(shape, np.nan)
    value = np.asarray(value, dtype=np.float64)
    if value.shape != shape:
        raise SemalignError(f"cannot write {path}: {name} has shape {value.shape}; give {shape}.")
    return value


@lru_cache(maxsize=1)
def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("image", pa.string(), nullable=False),
            pa.field("landmark", pa.int16(), nullable=False),
            pa.field("x", pa.float64(), nullable=False),
            pa.field("y", pa.float64(), nullable=False),
            *(pa.field(name, pa.float64(), nullable=False) for name in (*PARTS, *SPREAD)),
            pa.field("iteration", pa.int32(), nullable=False),
            pa.field(VISIBILITY, pa.int8()),
        ]
    )


def _table(version: LabelVersion) -> pa.Table:
    import pyarrow as pa

    images, count = version.points.shape[:2]
    columns = {
        "image": pa.array(np.repeat(np.array(version.ids, dtype=object), count), pa.string()),
        "landmark": np.tile(np.arange(count, dtype=np.int16), images),
        "x": version.points[..., 0].ravel(),
        "y": version.points[..., 1].ravel(),
        **{name: getattr(version, name).ravel() for name in PARTS},
        **{name: version.spread[..., axis].ravel() for axis, name in enumerate(SPREAD)},
        "iteration": np.full(images * count, version.iteration, dtype=np.int32),
        VISIBILITY: pa.array(version.visibility.ravel(), pa.int8(), mask=version.visibility.ravel() == UNKNOWN),
    }
    provenance = json.dumps(dict(version.provenance), allow_nan=False)
    return pa.table(columns, schema=_schema().with_metadata({_METADATA: provenance.encode()}))


def _version(index: int, table: pa.Table) -> LabelVersion:
    landmark = table["landmark"].to_numpy()
    count = int(landmark.max()) + 1 if len(landmark) else 0
    if not count or len(landmark) % count or not np.array_equal(landmark.reshape(-1, count)[0], np.arange(count)):
        raise ValueError("its rows are not whole images")
    if not (landmark.reshape(-1, count) == np.arange(count)).all():
        raise ValueError("its rows are not whole images")
    x, y, *parts = (table[name].to_numpy().astype(np.float64).reshape(-1, count) for name in ("x", "y", *PARTS))
    return LabelVersion(
        index=index,
        ids=tuple(table["image"].to_numpy()[::count].tolist()),
        points=np.stack([x, y], axis=-1),
        spread=_spread(table, count),
        visibility=_visibility(table, count),
        iteration=int(table["iteration"][0].as_py()),
        provenance=json.loads((table.schema.metadata or {}).get(_METADATA, b"{}")),
        **dict(zip(PARTS, parts, strict=True)),
    )


def _spread(table: pa.Table, count: int) -> np.ndarray:
    """(b, n, 2); NaN for a file of version 0.1, which has none."""
    if SPREAD[0] not in table.column_names:
        return np.full((len(table) // count, count, 2), np.nan)
    return np.stack([table[name].to_numpy().astype(np.float64).reshape(-1, count) for name in SPREAD], axis=-1)


def _visibility(table: pa.Table, count: int) -> np.ndarray:
    """(b, n) int8; unknown for a file of version 0.1, which does not say."""
    if VISIBILITY not in table.column_names:
        return np.full((len(table) // count, count), UNKNOWN, np.int8)
    return table[VISIBILITY].fill_null(UNKNOWN).to_numpy().astype(np.int8).reshape(-1, count)
