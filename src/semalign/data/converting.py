"""A data set written in another format, or in its own with other coordinates."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semalign.data import formats
from semalign.data.formats.base import Entry, Format, Written
from semalign.data.formats.document import DocumentFormat
from semalign.data.opening import find_dataset, own_scheme, scan_dataset
from semalign.data.results import refuse_results
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import reason
from semalign.locks import one_writer, one_writer_of
from semalign.schemes import LandmarkScheme


@dataclass(frozen=True, eq=False)
class Converted:
    """A data set that was converted.

    Attributes:
        dataset: as it was read.
        files: annotation files that were written.
        notes: what was not kept, of how many faces or points, in sentences.
    """

    dataset: Dataset
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def convert_dataset(
    source: str | Path,
    out: str | Path,
    to: str,
    scheme: LandmarkScheme | None = None,
    *,
    images: str | Path | None = None,
    keep_going: bool = False,
    overwrite: bool = False,
) -> Converted:
    """Write the data set at `source` in another format into the new file or folder `out`.

    Pictures are only needed where the new format cannot do without them: `.pts` files lie beside copies of them, and COCO,
    CVAT, Label Studio and LabelMe say their sizes, if the old format does not.

    Args:
        source: a data set of any format that `semalign.data.open_dataset` reads; never written to.
        out: file, or for `pts` and `labelme` folder.
        to: name of the format, of `semalign.data.formats.FORMATS`.
        scheme: landmark scheme, by default what the data set has.
        images: folder of the pictures that a document names, if they are not beside it.
        keep_going: leave out bad faces, which `Converted.dataset.skipped` lists.
        overwrite: replace what is at `out`.

    Raises:
        SemalignError: an unknown format, a data set that cannot be read, an `out` that is there or is what is read, or
            something that the format cannot do without.
    """
    if to not in formats.FORMATS:
        raise SemalignError(f"the format {to!r} is unknown; choose from {', '.join(formats.FORMATS)}.")
    source, out = Path(source), Path(out)
    dataset = scan_dataset(source, scheme, keep_going=keep_going, images=images, pictures=False)
    if not dataset.samples:
        raise SemalignError(f"{source}: holds no usable face, for example: {dataset.skipped[0][1]}")
    _refuse_source(source, dataset, out)
    with one_writer_of(out), one_writer(out) if out.is_dir() and any(out.iterdir()) else nullcontext():
        try:
            done = formats.FORMATS[to].write(dataset, out, overwrite)
        except UnicodeEncodeError as error:  # a picture that was named in no encoding, or half a letter in a document
            raise SemalignError(f"{source}: a name in it is no text ({reason(error)}); correct it.") from error
    return Converted(dataset, done.files, done.notes)


def rewrite_dataset(
    source: str | Path,
    points: Mapping[str, np.ndarray],
    out: str | Path,
    scheme: LandmarkScheme | None = None,
    *,
    images: str | Path | None = None,
    overwrite: bool = False,
) -> Written:
    """Write the data set at `source` once more, in its own format, with other coordinates; all else stays as it is.

    Of documents only these are written, into the folder `out` under their own names, or into the file `out` where there is one.
    Of folders of `.pts` files the pictures are copied, too. A coordinate that is what it was keeps its digits.

    Args:
        source: as `semalign.data.open_dataset` takes it; it is only read.
        points: new points (n, 2) of faces by their ids, image frame, 0-based, in the order of the scheme; NaN = as it was.
        out: new or empty folder, or file.
        scheme: that with which the data set was opened.
        images: that with which the data set was opened.
        overwrite: replace what is at `out`, though never what is read.

    Raises:
        SemalignError: a format that is only read, faces that are not there, another number of points, or a file that cannot be
            read or written.
    """
    known, place = rewritable(source, scheme, images=images)
    return known.rewrite(place, points, Path(out), overwrite)


def rewritable(
    source: str | Path, scheme: LandmarkScheme | None = None, *, images: str | Path | None = None
) -> tuple[Format, Path]:
    """The format in which `rewrite_dataset` writes the data set at `source`, and the file or folder that it reads.

    Raises:
        SemalignError: no data set, or one of a format that is only read.
    """
    source = Path(source)
    refuse_results(source)
    found, place = find_dataset(source, formats.READERS)
    scheme = own_scheme(place) if scheme is None else scheme
    known = found.configured(scheme, None if images is None else Path(images))
    if not isinstance(known, Format):
        raise SemalignError(
            f"{source}: {found.title} is only read; write it anew with 'semalign convert {source} OUT --to FORMAT'."
        )
    return known, place


def _refuse_source(source: Path, dataset: Dataset, out: Path) -> None:
    """Refuse to write where the data set is.

    Raises:
        SemalignError: `out` is the data set's folder, one above it, one of its documents or pictures.
    """
    real, own = Path(os.path.realpath(out)), Path(os.path.realpath(source))
    kept: set[Path] = set()
    if os.path.isfile(real):  # the annotations' files are listed once more
        images = [sample.image for sample in dataset.samples]
        kept = {Path(os.path.realpath(path)) for path in (source, *_annotation_files(source), *images)}
    elif os.path.isdir(own):
        kept = {Path(os.path.realpath(dataset.root)), own, *own.parents}
    if real in kept:
        raise SemalignError(f"{out}: is what is read, and is never overwritten; choose another name or folder.")


def _annotation_files(source: Path) -> Iterable[Path]:
    """The files that the annotations are in."""
    reader, place = find_dataset(source, formats.READERS)
    if isinstance(reader, DocumentFormat):
        return reader.documents(place)
    entries = (item for item in reader.entries(place) if isinstance(item, Entry))
    return {Path(entry.where.partition(": ")[0]) for entry in entries}
