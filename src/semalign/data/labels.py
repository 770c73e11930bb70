"""The label store: one Parquet file a version, 0000 being the annotations. Versions are added, never changed.

Columns: image (id), landmark (index from 0), x and y (image frame, px), prior_cost, likelihood_cost, movement (px of the
image, from the version before), confidence, spread_x and spread_y (standard deviations of the label, px of the image; NaN
where the search does not say, missing in files of version 0.1), iteration, visibility (0 absent, 1 hidden, 2 visible, null
where the annotation does not say; missing in files of version 0.1). An absent point has NaN for x and y in all versions. Rows
go image by image, landmark by landmark. Where a label came from stands in the file's schema metadata under "semalign", as
JSON. `pandas.read_parquet` reads it, and so does whatever else reads Parquet.

Versions are written and read by parts (`semalign.data.label_files`), so that a store may be larger than memory: only what is
asked of a version is read, and only while it is held is it in memory.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.data.label_files import SPREAD, LabelFile, LabelPart, Provenance, faces_of_group, schema, write_labels
from semalign.data.samples import ABSENT, UNKNOWN, Dataset
from semalign.errors import SemalignError
from semalign.files import atomic_path

if TYPE_CHECKING:
    import pyarrow.dataset as arrow_dataset

__all__ = ["LabelPart", "LabelStore", "LabelVersion", "Provenance"]

_FILE = re.compile(r"(\d{4,})\.parquet")
_ARRAYS = tuple(field.name for field in fields(LabelPart) if field.name not in ("ids", "movement"))


@dataclass(frozen=True, eq=False)
class LabelVersion:
    """One version of all labels, or of some images. Arrays are (b, n) float64, NaN where there is no value or no point.

    Each is read from the file when it is first asked for, and kept; all raise `SemalignError` where the file is damaged, has
    changed, or is gone. One without any value takes no memory and cannot be written to.
    """

    index: int
    file: LabelFile
    start: int  # the first of the images, in the file
    stop: int

    @property
    def shape(self) -> tuple[int, int]:
        """(b, n): images and landmarks, without reading any."""
        return self.stop - self.start, self.file.shape[1]

    @property
    def iteration(self) -> int:
        """Of the alternation; 0 = annotations."""
        return self.file.iteration

    @property
    def provenance(self) -> Provenance:
        """Where the labels came from."""
        return self.file.provenance

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The images."""
        return self.file.ids(self.start, self.stop)

    @cached_property
    def points(self) -> np.ndarray:
        """(b, n, 2) float64, image frame, px."""
        return self._numbers("x", "y")

    @cached_property
    def prior_cost(self) -> np.ndarray:
        """‖o - ŷ‖², squared px of a 256×256 heatmap."""
        return self._numbers("prior_cost")[..., 0]

    @cached_property
    def likelihood_cost(self) -> np.ndarray:
        """χ² at the label, squared px of a 256×256 heatmap, not weighted."""
        return self._numbers("likelihood_cost")[..., 0]

    @cached_property
    def movement(self) -> np.ndarray:
        """Px of the image, from the version before."""
        return self._numbers("movement")[..., 0]

    @cached_property
    def confidence(self) -> np.ndarray:
        """The heatmap's value at the label, 0 to 1."""
        return self._numbers("confidence")[..., 0]

    @cached_property
    def spread(self) -> np.ndarray:
        """(b, n, 2) standard deviations of the labels along x and y, px of the image."""
        return self._numbers(*SPREAD)

    @cached_property
    def visibility(self) -> np.ndarray:
        """(b, n) int8, see `semalign.data.samples.Sample.visibility`."""
        return self.file.visibility(self.start, self.stop)

    def part(self, start: int, stop: int) -> LabelVersion:
        """The images from `start` up to `stop` of these; nothing else is read."""
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        return LabelVersion(self.index, self.file, self.start + start, self.start + max(start, stop))

    def parts(self, images: int | None = None) -> Iterator[LabelVersion]:
        """All images in parts of so many, by default of a row group, for work that needs them one after the other."""
        images = faces_of_group(self.shape[1]) if images is None else images
        for start in range(0, self.shape[0], images):
            yield self.part(start, start + images)

    def _numbers(self, *names: str) -> np.ndarray:
        return self.file.numbers(names, self.start, self.stop)


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
        if not dataset.samples:
            _check_points(self.path(0), (), dataset.points())
        size = faces_of_group(dataset.scheme.count)
        starts = range(0, len(dataset), size)
        some = (replace(dataset, samples=dataset.samples[start : start + size]) for start in starts)
        parts = (LabelPart(part.ids(), part.points(), visibility=part.visibility()) for part in some)
        return self.append_parts(parts, iteration=0, provenance=provenance, index=0)

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
        whole = LabelPart(ids, points, prior_cost, likelihood_cost, confidence, spread, visibility)
        return self.append_parts([whole], iteration=iteration, provenance=provenance, index=index)

    def append_parts(
        self,
        parts: Iterable[LabelPart | LabelVersion],
        *,
        iteration: int,
        provenance: Provenance | None = None,
        index: int | None = None,
    ) -> LabelVersion:
        """Write the next version from parts, one after the other in the order of the images, of any sizes: `append` for
        labels that need not be in memory together. Parts of another store's version will do.

        Raises:
            SemalignError: as `append`.
        """
        there = self.versions()
        following = there[-1] + 1 if there else 0
        index = following if index is None else index
        path = self.path(index)
        groups = _groups(path, parts)
        if index in there:
            return self._same(index, groups, iteration)
        if index != following:
            raise SemalignError(f"{path}: the next label version is {following}; write that one first.")
        before = self.read(index - 1) if index else None
        with atomic_path(path) as temporary:
            write_labels(temporary, _completed(path, groups, before), iteration, provenance or {})
        return self.read(index)

    def read(self, version: int = -1) -> LabelVersion:
        """A version by its number; negative numbers count from the last one. Its labels are read when they are asked for.

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
        file = LabelFile(self.path(version))
        return LabelVersion(version, file, 0, file.shape[0])

    def to_arrow(self) -> arrow_dataset.Dataset:
        """All versions as one data set of Arrow, a row a label, with the column `version` beside those of the files.

        Only what a query asks for is read: `store.to_arrow().to_table(filter=pyarrow.dataset.field("version") == 1)`.

        Raises:
            SemalignError: there is no version.
        """
        import pyarrow as pa
        import pyarrow.dataset as arrow_dataset
        from pyarrow.fs import LocalFileSystem

        there = self.versions()
        if not there:
            raise SemalignError(f"{self.folder}: holds no label versions; give the folder 'labels' of a run.")
        form, files, number = arrow_dataset.ParquetFileFormat(), LocalFileSystem(), arrow_dataset.field("version")
        fragments = [
            form.make_fragment(str(self.path(one)), files, number == pa.scalar(one, pa.int32())) for one in there
        ]
        columns = schema().append(pa.field("version", pa.int32()))
        return arrow_dataset.FileSystemDataset(fragments, columns, form, files)

    def _same(self, index: int, groups: Iterable[LabelPart], iteration: int) -> LabelVersion:
        there, at = self.read(index), 0
        for group in groups:
            part = there.part(at, at + len(group.ids))
            at += len(group.ids)
            same = part.shape == group.points.shape[:2] and there.iteration == iteration and part.ids == group.ids
            if not same or not np.array_equal(part.points, group.points, equal_nan=True):
                break
        else:
            if at == there.shape[0]:
                return there
        raise SemalignError(
            f"{self.path(index)}: exists with other labels and is never overwritten; choose another folder."
        )


def _groups(path: Path, parts: Iterable[LabelPart | LabelVersion]) -> Iterator[LabelPart]:
    """The parts, checked by themselves, in pieces of a row group each, but for the last."""
    held: list[LabelPart] = []
    count = size = 0
    for part in parts:
        part = _checked(path, part, count)
        count = part.points.shape[1]
        start = 0
        while start < len(part.ids):
            stop = start + faces_of_group(count) - size
            held.append(_cut(part, slice(start, stop)))
            size += len(held[-1].ids)
            start = stop
            if size == faces_of_group(count):
                yield _joined(held)
                held, size = [], 0
    if held:
        yield _joined(held)
    if not count:
        _check_points(path, (), np.empty((0, 0, 2)))


def _checked(path: Path, part: LabelPart | LabelVersion, count: int) -> LabelPart:
    """A part with arrays of the right shapes; all parts have `count` landmarks, where that is not 0."""
    ids, points = tuple(part.ids), np.asarray(part.points, dtype=np.float64)
    _check_points(path, ids, points)
    if count and points.shape[1] != count:
        raise SemalignError(
            f"cannot write {path}: parts of {count} and of {points.shape[1]} landmarks; give one scheme's."
        )
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        value, shape = getattr(part, name), points.shape if name in ("points", "spread") else points.shape[:2]
        arrays[name] = None if value is None else np.asarray(value, np.int8 if name == "visibility" else np.float64)
        if value is not None and arrays[name].shape != shape:
            raise SemalignError(f"cannot write {path}: {name} has shape {arrays[name].shape}; give {shape}.")
    return LabelPart(ids, **arrays)


def _cut(part: LabelPart, rows: slice) -> LabelPart:
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        values = getattr(part, name)
        arrays[name] = values if values is None else values[rows]
    return LabelPart(part.ids[rows], **arrays)


def _joined(parts: Sequence[LabelPart]) -> LabelPart:
    if len(parts) == 1:
        return parts[0]
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        values = [getattr(part, name) for part in parts]
        known = next((value for value in values if value is not None), None)
        if known is not None:
            nothing = UNKNOWN if name == "visibility" else np.nan
            shapes = [(len(part.ids), *known.shape[1:]) for part in parts]
            filled = (np.full(shape, nothing) if v is None else v for v, shape in zip(values, shapes, strict=True))
            arrays[name] = np.concatenate(list(filled))
    return LabelPart(tuple(name for part in parts for name in part.ids), **arrays)


def _completed(path: Path, groups: Iterable[LabelPart], before: LabelVersion | None) -> Iterator[LabelPart]:
    """The groups with their movement and visibility, which must be of the images of the version before."""
    at, hashes = 0, array("q")
    for group in groups:
        visibility, movement = group.visibility, None
        if before is not None:
            part = before.part(at, at + len(group.ids))
            _check_images(path, before, part.shape == group.points.shape[:2] and part.ids == group.ids)
            visibility = part.visibility
            movement = np.linalg.norm(group.points - part.points, axis=-1)
        elif visibility is None:
            visibility = np.full(group.points.shape[:2], UNKNOWN, np.int8)
        _check_absent(path, group.ids, group.points, visibility)
        hashes.extend(map(hash, group.ids))
        at += len(group.ids)
        yield replace(group, visibility=visibility, movement=movement)
    if before is not None:
        _check_images(path, before, at == before.shape[0])
    elif len(np.unique(np.array(hashes))) != at:  # of ten million ids two have the same hash once in 300,000 times
        _refuse_twice(path)


def _check_images(path: Path, before: LabelVersion, right: bool) -> None:
    if not right:
        raise SemalignError(
            f"{path}: the labels are not those of the images of version {before.index}, in its order; "
            "use a label folder of its own for each training set."
        )


def _check_points(path: Path, ids: Sequence[str], points: np.ndarray) -> None:
    if points.ndim != 3 or points.shape[2] != 2 or len(points) != len(ids) or points.size == 0:
        raise SemalignError(
            f"cannot write {path}: {len(ids)} images and points of shape {points.shape}; give (b, n, 2)."
        )
    if len(set(ids)) != len(ids):
        _refuse_twice(path)


def _refuse_twice(path: Path) -> None:
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
