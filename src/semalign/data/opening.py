"""Opens a data set of any format that has a reader: what is the same for all of them is done here."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semalign.data import formats
from semalign.data.archives import is_folder
from semalign.data.faults import Inspector
from semalign.data.formats.base import Bad, Entry, Note, Reader
from semalign.data.formats.common import subfolders
from semalign.data.formats.plain import holds_pairs
from semalign.data.results import MADE_BY, exported_version, kind_of_results, refuse_results, results_note
from semalign.data.samples import Dataset, Sample
from semalign.data.truth import read_description, read_truth
from semalign.errors import SemalignError
from semalign.schemes import SCHEME_FILE, LandmarkScheme, load_scheme


class NoDatasetError(SemalignError):
    """A path holds no data set of a known format, or several."""


def open_dataset(
    root: str | Path,
    scheme: LandmarkScheme | None = None,
    *,
    keep_going: bool = False,
    reader: Reader | None = None,
    images: str | Path | None = None,
    pictures: bool = True,
) -> Dataset:
    """The data set in the folder or document `root`, or in the only folder in it that holds one; `notes` says what it lacks.

    A data set that synthetic.json describes is named "synthetic" and has its truth. Images are not decoded, only their
    size is read, and of videos the first frame. Faces whose whole folder of images is missing are left out, which
    `notes` says.

    Args:
        root: the folder; a known part of a data set, such as ibug of 300W, stands for all of it. Or the document that holds
            the annotations of many pictures (COCO, CVAT, CSV …), or a folder with one.
        scheme: another landmark scheme than the data set's own, which is that of the scheme.toml in its folder if there is
            one.
        keep_going: put bad samples (see `semalign.data.faults`) into `skipped` instead of stopping at the first.
        reader: of the format; by default that of `semalign.data.formats.READERS` which knows the folder.
        images: folder in which a document's pictures are, if it is not the document's own or `images` beside it.
        pictures: False keeps faces whose pictures are not there; then only their annotations can be used.

    Raises:
        SemalignError: no data set of a known format, or more than one; one without faces; a scheme that does not fit; an
            unfinished or damaged synthetic data set; a file that the reader cannot do without is damaged; and, unless
            `keep_going`, the first bad sample.
    """
    dataset = scan_dataset(root, scheme, keep_going=keep_going, reader=reader, images=images, pictures=pictures)
    if not dataset.samples:
        raise SemalignError(f"{dataset.root}: holds no usable face, for example: {dataset.skipped[0][1]}")
    return dataset


def scan_dataset(
    root: str | Path,
    scheme: LandmarkScheme | None = None,
    *,
    keep_going: bool = False,
    reader: Reader | None = None,
    images: str | Path | None = None,
    pictures: bool = True,
) -> Dataset:
    """As `open_dataset`, but a data set of nothing but bad samples is given back, too."""
    given = Path(root)
    refuse_results(given)
    found, place = find_dataset(given, formats.READERS if reader is None else (reader,))
    folder = place if place.is_dir() else place.parent
    description = read_description(folder)
    scheme = own_scheme(place) if scheme is None else scheme
    if scheme is None and description is not None:
        scheme = load_scheme(description.scheme)
    found = found.configured(scheme, None if images is None else _folder_of(images))
    scheme = found.choose_scheme(place, scheme)
    inspector = Inspector(scheme, found.origin, says_absent=found.document, pictures=pictures)
    reading = _Reading(folder, keep_going, inspector)
    for item in found.entries(place):
        reading.take(item)
    samples = tuple(reading.samples)
    if not samples and reading.missing and found.document:
        raise SemalignError(
            f"{place}: none of its {reading.missing.total()} faces has its picture in {min(reading.missing)}; "
            "put the pictures beside the file or into images there, or name their folder (--images)."
        )
    if not samples and not reading.skipped:
        raise SemalignError(f"{place}: holds no annotated face ({found.wanted}); choose another folder.")
    notes = _passed_over(found, place) if description is None else ()
    if place.resolve() in given.resolve().parents:
        notes = (*notes, f"{given} is a part of {folder}, all of which is read.")
    if place.is_dir() and not found.general and not found.document:
        notes = (*notes, *_results_beside(place))
        notes = (*notes, *_annotated_beside(given if given in place.parents else place, found, samples))
    if (version := exported_version(folder)) is not None:
        notes = (*notes, f"The training labels are label version {version}, exported by Semalign.")
    if description is None:
        notes = (*notes, *reading.notes, *reading.missing_notes(), *found.notes(place, samples))
        return Dataset(
            folder,
            found.name or (place.stem if place.is_file() else folder.resolve().name),
            scheme,
            samples,
            notes,
            tuple(reading.skipped),
            tuple(reading.suspicious),
            source=given,
        )
    truth = read_truth(folder, scheme.count, [sample.id for sample in samples])
    return Dataset(folder, "synthetic", scheme, samples, notes, tuple(reading.skipped), truth=truth, source=given)


def own_scheme(place: Path) -> LandmarkScheme | None:
    """The landmark scheme in a data set's folder, or that of its document; None where there is none.

    Raises:
        SemalignError: it is no scheme.
    """
    file = (place if place.is_dir() else place.parent) / SCHEME_FILE
    return load_scheme(file) if file.is_file() else None


def find_dataset(given: Path, known: Sequence[Reader]) -> tuple[Reader, Path]:
    """The reader, of those that are `known`, of the data set in a folder, and the folder or file to give to it.

    Raises:
        NoDatasetError: the folder is missing or unreadable, holds no data set, or more than one.
    """
    special = [reader for reader in known if not reader.general and not reader.document]
    found = _holding(special, [given])
    inner: list[Path] = []
    if not found and os.path.isdir(given):
        inner = [folder for folder in subfolders(given) if kind_of_results(folder) is None]
        found = _holding(special, inner)
        found = found or [(reader, whole) for reader in special if (whole := reader.whole(given)) is not None]
    found = found or _holding([reader for reader in known if reader.general], [given])
    documents = [reader for reader in known if reader.document]
    found = found or _holding(documents, [given])
    inner = [folder for folder in inner if not folder.name.startswith(".")]
    found = found or _holding(documents, inner)
    if len(found) > 1:
        names = ", ".join(f"{reader.title} in {at.name}" if at != given else reader.title for reader, at in found)
        one = "one of the files" if all(reader.document for reader, _ in found) else "the folder of one of them"
        raise NoDatasetError(f"{given}: holds several data sets ({names}); give {one}.")
    if not found:
        raise NoDatasetError(_nothing(given, known))
    return found[0]


def _nothing(given: Path, known: Sequence[Reader]) -> str:
    """Why a path is no data set, and what would be one."""
    wanted = ", ".join(f"{reader.wanted} ({reader.title})" for reader in known)
    if os.path.isfile(given):
        if zipfile.is_zipfile(given) and given.suffix.lower() == ".zip":
            return f"{given}: is a ZIP archive; unpack it and give the folder, or the file with the annotations in it."
        return (
            f"{given}: is a file, not a folder, and no document of a known format; give {wanted}, or the folder of one."
        )
    kind = kind_of_results(given)
    what = "is no data set of a known layout" if kind is None else f"was {MADE_BY[kind]} and is no data set"
    if not os.path.isdir(given):
        what = "there is no such folder"
    return f"{given}: {what}; give the folder that holds {wanted}."


def _folder_of(images: str | Path) -> Path:
    """The folder of pictures that was given.

    Raises:
        SemalignError: there is none.
    """
    if not os.path.isdir(images):
        raise SemalignError(f"{images}: there is no such folder of pictures; correct --images.")
    return Path(images)


def _passed_over(found: Reader, place: Path) -> tuple[str, ...]:
    """A sentence on documents that lie in a folder whose `.pts` files are read."""
    if not found.general:
        return ()
    documents = [reader for reader in formats.READERS if reader.document]
    others = ", ".join(reader.title for reader, _ in _holding(documents, [place]))
    return (
        (f"The .pts files are read, and {others} beside them is not; give the file itself to read that.",)
        if others
        else ()
    )


def _holding(known: Sequence[Reader], places: Iterable[Path]) -> list[tuple[Reader, Path]]:
    return [(reader, place) for place in places for reader in known if _holds(reader, place)]


def _holds(reader: Reader, place: Path) -> bool:
    try:
        return reader.holds(place)
    except OSError:  # what must not be looked at is no data set
        return False


def _results_beside(root: Path) -> list[str]:
    """A sentence for each folder of Semalign's own results beside the folders of a data set, which its reader passes over."""
    kinds = {folder.name: kind_of_results(folder) for folder in subfolders(root)}
    return [results_note(name, kind) for name, kind in kinds.items() if kind is not None]


def _annotated_beside(root: Path, found: Reader, samples: Sequence[Sample]) -> list[str]:
    """A sentence for each folder of annotated pictures beside a data set of a known layout, whose reader passes over it."""
    used = {sample.image.relative_to(root).parts[0] for sample in samples if root in sample.image.parents}
    others = [folder for folder in subfolders(root) if folder.name not in used and kind_of_results(folder) is None]
    return [
        f"{folder.name} holds annotated pictures, too, but is no part of {found.title} and is passed over; to read all as one "
        "folder of your own, give their folders other names."
        for folder in others
        if holds_pairs(folder)
    ]


@dataclass
class _Reading:
    """A data set that is being read.

    Attributes:
        root: its folder.
        keep_going: put bad samples into `skipped` instead of stopping at the first.
        inspector: tells the good ones.
        samples: the good ones so far.
        skipped: (id, why) of the bad ones.
        suspicious: (id, why) of good ones that look wrong.
        notes: what its reader noted.
        missing: how many faces have their image in a folder that is not there at all, by folder.
    """

    root: Path
    keep_going: bool
    inspector: Inspector
    samples: list[Sample] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    suspicious: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: Counter[Path] = field(default_factory=Counter)
    _present: set[Path] = field(default_factory=set)

    def take(self, item: Entry | Bad | Note) -> None:
        """Add what a reader has listed.

        Raises:
            SemalignError: a bad sample, unless `keep_going`.
        """
        if isinstance(item, Note):
            self.notes.append(item.text)
        elif isinstance(item, Bad):
            self._refuse(item)
        else:
            try:
                self._read(item)
            except SemalignError as error:
                self._refuse(Bad(item.name, error))

    def missing_notes(self) -> list[str]:
        """A sentence for each folder of images that is not there."""
        counts = {Path(os.path.relpath(folder, self.root)).as_posix(): count for folder, count in self.missing.items()}
        return [f"{name} is missing ({count} faces of the annotations)." for name, count in counts.items()]

    def _read(self, entry: Entry) -> None:
        sample = entry.read()
        folder = sample.image.parent
        if self.inspector.pictures and folder not in self._present:
            if not is_folder(folder):
                self.missing[folder] += 1
                return
            self._present.add(folder)
        sample, doubts = self.inspector.inspect(sample, entry.where)
        self.suspicious += [(sample.id, why) for why in doubts]
        self.samples.append(sample)

    def _refuse(self, bad: Bad) -> None:
        if not self.keep_going:
            raise bad.error
        self.skipped.append((bad.name, str(bad.error)))
