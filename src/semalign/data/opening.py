"""Opens a data set of any format that has a reader: what is the same for all of them is done here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semalign.data import formats
from semalign.data.faults import Inspector
from semalign.data.formats.base import Bad, Entry, Note, Reader
from semalign.data.formats.common import subfolders
from semalign.data.results import MADE_BY, exported_version, kind_of_results, refuse_results, results_note
from semalign.data.samples import Dataset, Sample
from semalign.data.truth import read_description, read_truth
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme


def open_dataset(
    root: str | Path,
    scheme: LandmarkScheme | None = None,
    *,
    keep_going: bool = False,
    reader: Reader | None = None,
) -> Dataset:
    """The data set in the folder `root`, or in the only folder inside it that holds one, with what it lacks in `notes`.

    A data set that synthetic.json describes is named "synthetic" and has its truth. Images are not decoded, only their
    size is read, and of videos the first frame. Faces whose whole folder of images is missing are left out, which
    `notes` says.

    Args:
        root: the folder; a known part of a data set, such as ibug of 300W, stands for all of it.
        scheme: another landmark scheme than the data set's own.
        keep_going: put bad samples (see `semalign.data.faults`) into `skipped` instead of stopping at the first.
        reader: of the format; by default that of `semalign.data.formats.READERS` which knows the folder.

    Raises:
        SemalignError: no data set of a known format, or more than one; one without faces; a scheme that does not fit; an
            unfinished or damaged synthetic data set; a file that the reader cannot do without is damaged; and, unless
            `keep_going`, the first bad sample.
    """
    dataset = scan_dataset(root, scheme, keep_going=keep_going, reader=reader)
    if not dataset.samples:
        raise SemalignError(f"{dataset.root}: holds no usable face, for example: {dataset.skipped[0][1]}")
    return dataset


def scan_dataset(
    root: str | Path,
    scheme: LandmarkScheme | None = None,
    *,
    keep_going: bool = False,
    reader: Reader | None = None,
) -> Dataset:
    """As `open_dataset`, but a data set of nothing but bad samples is given back, too."""
    given = Path(root)
    refuse_results(given)
    found, place = find_dataset(given, formats.READERS if reader is None else (reader,))
    folder = place if place.is_dir() else place.parent
    description = read_description(folder)
    if scheme is None and description is not None:
        scheme = load_scheme(description.scheme)
    scheme = found.choose_scheme(place, scheme)
    reading = _Reading(folder, keep_going, Inspector(scheme, found.origin))
    for item in found.entries(place):
        reading.take(item)
    samples = tuple(reading.samples)
    if not samples and not reading.skipped:
        raise SemalignError(f"{place}: holds no annotated face ({found.wanted}); choose another folder.")
    notes: tuple[str, ...] = ()
    if place.resolve() in given.resolve().parents:
        notes = (f"{given} is a part of {folder}, all of which is read.",)
    if place.is_dir() and not found.general:
        notes = (*notes, *_results_beside(place))
    if (version := exported_version(folder)) is not None:
        notes = (*notes, f"The training labels are label version {version}, exported by Semalign.")
    if description is None:
        notes = (*notes, *reading.notes, *reading.missing_notes(), *found.notes(place, samples))
        return Dataset(
            folder,
            found.name or folder.resolve().name,
            scheme,
            samples,
            notes,
            tuple(reading.skipped),
            tuple(reading.suspicious),
        )
    truth = read_truth(folder, scheme.count, [sample.id for sample in samples])
    return Dataset(folder, "synthetic", scheme, samples, notes, tuple(reading.skipped), truth=truth)


def find_dataset(given: Path, known: Sequence[Reader]) -> tuple[Reader, Path]:
    """The reader, of those that are `known`, of the data set in a folder, and the folder or file to give to it.

    Raises:
        SemalignError: the folder is missing or unreadable, holds no data set, or more than one.
    """
    special = [reader for reader in known if not reader.general]
    found = _holding(special, [given])
    if not found and os.path.isdir(given):
        found = _holding(special, [folder for folder in subfolders(given) if kind_of_results(folder) is None])
        found = found or [(reader, whole) for reader in special if (whole := reader.whole(given)) is not None]
    found = found or _holding([reader for reader in known if reader.general], [given])
    if len(found) > 1:
        names = ", ".join(f"{reader.title} in {at.name}" if at != given else reader.title for reader, at in found)
        raise SemalignError(f"{given}: holds several data sets ({names}); give the folder of one of them.")
    if not found:
        wanted = ", ".join(f"{reader.wanted} ({reader.title})" for reader in known)
        kind = kind_of_results(given)
        what = "is no data set of a known layout" if kind is None else f"was {MADE_BY[kind]} and is no data set"
        if not os.path.isdir(given):
            what = "is a file, not a folder" if os.path.exists(given) else "there is no such folder"
        raise SemalignError(f"{given}: {what}; give the folder that holds {wanted}.")
    return found[0]


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
        if folder not in self._present:
            if not folder.is_dir():
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
