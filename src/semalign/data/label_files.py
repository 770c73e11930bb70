"""The Parquet file of a label version, written and read by row groups of whole faces, so that memory depends on no file's size.

What is in it, `semalign.data.labels` says. Numbers are written plainly and compressed (zstd), words and small integers by
dictionaries, every page with a checksum. A file is read through a buffer and not mapped into memory: a mapped file that is
cut meanwhile kills the process, and its pages count as memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.data.samples import UNKNOWN, VISIBLE
from semalign.errors import SemalignError

if TYPE_CHECKING:
    import pyarrow as pa  # imported where it is used: what only reads pictures and trains does without it
    import pyarrow.parquet as pq

Provenance = Mapping[str, str | int | float]
PARTS = ("prior_cost", "likelihood_cost", "movement", "confidence")
SPREAD = ("spread_x", "spread_y")
VISIBILITY = "visibility"
ROWS = 250_000  # of a row group: 2 MB a column
_METADATA = b"semalign"
_CODED = ["image", "landmark", "iteration", VISIBILITY]  # few values a row group: written by a dictionary


@dataclass(frozen=True, eq=False)
class LabelPart:
    """Labels of some images in a row, to be written: arrays (b, n), None where nothing is known."""

    ids: Sequence[str]
    points: np.ndarray  # (b, n, 2) image frame, px; NaN for an absent point
    prior_cost: np.ndarray | None = None
    likelihood_cost: np.ndarray | None = None
    confidence: np.ndarray | None = None
    spread: np.ndarray | None = None  # (b, n, 2) px of the image
    visibility: np.ndarray | None = None  # of the first version; later ones have the same
    movement: np.ndarray | None = None  # worked out by the store


def faces_of_group(count: int) -> int:
    """How many faces of so many landmarks a row group has."""
    return max(1, ROWS // count)


@lru_cache(maxsize=1)
def schema() -> pa.Schema:
    """The columns of a label version."""
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


def image_column(ids: Sequence[str], count: int) -> pa.Array:
    """Each image's id for so many rows."""
    import pyarrow as pa

    rows = np.repeat(np.arange(len(ids), dtype=np.int32), count)
    return pa.DictionaryArray.from_arrays(rows, pa.array(ids, pa.string())).cast(pa.string())


def write_labels(path: Path, faces: Iterable[LabelPart], iteration: int, provenance: Provenance) -> None:
    """Write a label version, of which each item becomes a row group.

    Raises:
        OSError: the file cannot be written; what there is of it is no Parquet file that anything reads.
    """
    import pyarrow.parquet as pq

    said = json.dumps(dict(provenance), allow_nan=False)
    columns = schema().with_metadata({_METADATA: said.encode()})
    with pq.ParquetWriter(path, columns, compression="zstd", use_dictionary=_CODED, write_page_checksum=True) as writer:
        for some in faces:
            table = _table(some, iteration, columns)
            writer.write_table(table, row_group_size=len(table))


class LabelFile:
    """A label version's file, of which only the end has been read. It is open only while something is read of it.

    Attributes:
        shape: images and landmarks.
        iteration: of the alternation; 0 = annotations.
        provenance: where the labels came from.
    """

    def __init__(self, path: Path) -> None:
        """Look at a file.

        Raises:
            SemalignError: it is none of label versions, or damaged.
        """
        self.path = path
        with self._named():
            import pyarrow.parquet as pq

            self._mark = _mark(path)
            self._footer = pq.read_metadata(path)
            rows = [self._footer.row_group(group).num_rows for group in range(self._footer.num_row_groups)]
            self._ends = np.cumsum(rows, dtype=np.int64)
            self._columns = frozenset(self._footer.schema.to_arrow_schema().names)
            missing = [
                name for name in ("image", "landmark", "x", "y", *PARTS, "iteration") if name not in self._columns
            ]
            if missing:
                raise ValueError(f"it has no column {missing[0]}")
            if min(rows, default=0) < 0 or sum(rows) != self._footer.num_rows or not sum(rows):
                raise ValueError("it has no rows" if not sum(rows) else "its parts have other rows than the whole")
            with self._opened() as file:
                table = file.read_row_group(rows.index(max(rows)), columns=["landmark", "iteration"], use_threads=False)
            count = int(_whole(table["landmark"]).max()) + 1
            if count < 1 or sum(rows) % count:
                raise ValueError("its rows are not whole images")
            self.shape = (sum(rows) // count, count)
            self.iteration = int(_whole(table["iteration"])[0])
            self.provenance = _provenance(self._footer.metadata)

    def ids(self, start: int, stop: int) -> tuple[str, ...]:
        """The images' ids from `start` up to `stop`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        count, ids = self.shape[1], list[str]()
        with self._named():
            for row, table in self._pieces(["image"], start, stop):
                column = table["image"].unify_dictionaries().combine_chunks()
                if not pa.types.is_dictionary(column.type):
                    column = pc.dictionary_encode(column.cast(pa.string()))
                if column.null_count:
                    raise ValueError("it has rows without an image")
                names, coded = column.dictionary.cast(pa.string()), column.indices.to_numpy()
                begun = -row % count  # rows of the face with which the row group before ended
                heads = coded[begun::count]
                same = np.array_equal(coded[begun:], np.repeat(heads, count)[: len(coded) - begun])
                if not same or set(names.take(pa.array(np.unique(coded[:begun]))).to_pylist()) - set(ids[-1:]):
                    raise ValueError("its rows are not whole images")
                ids += names.take(pa.array(heads)).to_pylist()
            if len(set(ids)) != len(ids):
                raise ValueError("an image occurs twice in it")
        return tuple(ids)

    def numbers(self, names: Sequence[str], start: int, stop: int) -> np.ndarray:
        """Columns of numbers of the images from `start` up to `stop`, (b, n, columns) float64, NaN where there are none.

        Columns without any number, or which the file lacks, take no memory and cannot be written to.
        """
        shape = (stop - start, self.shape[1], len(names))
        found: np.ndarray | None = None
        with self._named():
            if self._columns.issuperset(names):
                for row, table in self._pieces(names, start, stop):
                    values = np.stack([_floats(table[name]) for name in names], axis=-1)
                    if found is None:
                        if np.isnan(values).all():
                            continue
                        found = np.empty((shape[0] * shape[1], shape[2]))
                        found[:row] = np.nan
                    found[row : row + len(values)] = values
        return np.broadcast_to(np.nan, shape) if found is None else found.reshape(shape)

    def visibility(self, start: int, stop: int) -> np.ndarray:
        """What annotations say of the points of the images from `start` up to `stop`, (b, n) int8."""
        found = np.full((stop - start) * self.shape[1], UNKNOWN, np.int8)
        with self._named():
            if VISIBILITY in self._columns:
                for row, table in self._pieces([VISIBILITY], start, stop):
                    values = _whole(table[VISIBILITY].fill_null(UNKNOWN))
                    if values.min() < UNKNOWN or values.max() > VISIBLE:
                        raise ValueError("its column visibility says what is not known here")
                    found[row : row + len(values)] = values
        return found.reshape(-1, self.shape[1])

    def _pieces(self, names: Sequence[str], start: int, stop: int) -> Iterator[tuple[int, pa.Table]]:
        """What is wanted of some columns, by row groups, each with the number of its first row, from 0."""
        count = self.shape[1]
        first, last = start * count, stop * count
        with self._opened() as file:
            if _mark(self.path) != self._mark:
                raise ValueError("it has changed since it was opened")
            for group in range(int(np.searchsorted(self._ends, first, "right")), self._footer.num_row_groups):
                rows = self._footer.row_group(group).num_rows
                begin = int(self._ends[group]) - rows
                if begin >= last:
                    break
                if not rows or first == last:
                    continue
                table = file.read_row_group(group, columns=[*names, "landmark"], use_threads=False)
                if len(table) != rows:
                    raise ValueError("it lacks rows")
                row = max(first, begin)
                table = table.slice(row - begin, min(last, begin + rows) - row)
                if not np.array_equal(_whole(table["landmark"]), np.arange(row, row + len(table)) % count):
                    raise ValueError("its rows are not whole images")
                yield row - first, table

    def _opened(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        return pq.ParquetFile(
            self.path, metadata=self._footer, read_dictionary=["image"], page_checksum_verification=True
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever goes wrong in the block is the file's fault: Arrow raises all kinds of errors for a damaged one."""
        try:
            yield
        except Exception as error:
            what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SemalignError(
                f"{self.path}: is no label version that can be read ({what}); remove or replace it."
            ) from error


def _table(some: LabelPart, iteration: int, columns: pa.Schema) -> pa.Table:
    import pyarrow as pa

    images, count = some.points.shape[:2]
    numbers: dict[str, np.ndarray | None] = {"x": some.points[..., 0], "y": some.points[..., 1]}
    numbers |= {name: getattr(some, name) for name in PARTS}
    numbers |= {name: None if some.spread is None else some.spread[..., axis] for axis, name in enumerate(SPREAD)}
    empty = np.full(images * count, np.nan)
    visibility = np.asarray(some.visibility).ravel()
    return pa.table(
        {
            "image": image_column(some.ids, count),
            "landmark": np.tile(np.arange(count, dtype=np.int16), images),
            **{name: empty if values is None else np.ravel(values) for name, values in numbers.items()},
            "iteration": np.full(images * count, iteration, dtype=np.int32),
            VISIBILITY: pa.array(visibility, pa.int8(), mask=visibility == UNKNOWN),
        },
        schema=columns,
    )


def _mark(path: Path) -> tuple[int, ...]:
    """What a file looks like from outside; another mark = another file."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _whole(column: pa.ChunkedArray) -> np.ndarray:
    """A column of whole numbers; pandas makes floating ones of those with gaps."""
    import pyarrow as pa

    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError("its landmark, iteration or visibility is not a whole number")
    return column.cast(pa.int32()).to_numpy()


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers, float64, NaN where it says nothing."""
    import pyarrow as pa

    return column.cast(pa.float64()).to_numpy()


def _provenance(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    said = json.loads((metadata or {}).get(_METADATA, b"{}"))
    if not isinstance(said, dict):
        raise ValueError("what it says of its origin is no object")
    return said
