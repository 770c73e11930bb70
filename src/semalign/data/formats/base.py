"""The shape of a reader: it finds a data set of its format, lists the faces, can read each, and says what is missing.

A `Format` is a reader that can also write: a data set of any origin anew, or its own document with other coordinates in it.

All else is the same for every format and is done by `semalign.data.opening`: where the data set lies, what happens to a bad
face, folders of images that are not there, sets without faces, and the truth of synthetic ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme


@dataclass(frozen=True)
class Entry:
    """A face as its data set lists it."""

    name: str  # what it is called if it turns out bad: the sample's id, or like it
    where: str  # its annotation in messages: the file, and the line or face within
    read: Callable[[], Sample]  # SemalignError: the annotation is not understood; points and picture are checked later


@dataclass(frozen=True)
class Bad:
    """A face, or a file of several, that is known to be bad before it is read."""

    name: str
    error: SemalignError


@dataclass(frozen=True)
class Note:
    """A sentence on what is missing or unusual, where it shows while faces are listed."""

    text: str


class Reader(ABC):
    """A format of data sets. What can be chosen about it are fields of its class.

    Attributes:
        name: of the data sets; empty where each has the name of its folder.
        title: the format's name in messages.
        wanted: what a folder of this format holds, in messages.
        scheme: name of the landmark scheme that its faces are annotated in.
        origin: what the centre of the first pixel is called in the files: 0, 1, or 0.5 where pixels have their edges at whole
            numbers; in samples it is always 0.
        general: it takes folders of any shape, so it is asked only about those that no other reader knows.
        document: the annotations are in documents of their own, not beside each picture; asked last.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    wanted: ClassVar[str]
    scheme: ClassVar[str]
    origin: ClassVar[float] = 0
    general: ClassVar[bool] = False
    document: ClassVar[bool] = False

    @abstractmethod
    def holds(self, place: Path) -> bool:
        """Whether the folder or file `place` is a data set of this format, as far as can be seen without reading it."""

    @abstractmethod
    def entries(self, place: Path) -> Iterator[Entry | Bad | Note]:
        """The faces in their order.

        Raises:
            SemalignError: a file without which no face can be listed is damaged.
        """

    def notes(self, place: Path, samples: Sequence[Sample]) -> Iterable[str]:
        """What the data set lacks or has more than the official one, in sentences, where these are its usable faces."""
        return ()

    def whole(self, part: Path) -> Path | None:
        """The folder of the data set that the folder `part` is a known part of, if it is."""
        return None

    def configured(self, scheme: LandmarkScheme | None, images: Path | None) -> Reader:
        """The reader for faces of this scheme, with the folder of a document's pictures; most need to know neither."""
        return self

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """The given scheme if it fits the format, by default the format's own.

        Raises:
            SemalignError: another number of landmarks.
        """
        own = load_scheme(self.scheme)
        if given is not None and given.count != own.count:
            raise SemalignError(
                f"{self.title} has {own.count} points a face, the scheme {given.name} {given.count}; "
                f"choose the scheme {own.name}."
            )
        return own if given is None else given


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        files: annotation files, in order.
        notes: what the format could not hold, of how many faces or points, in sentences.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


class Format(Reader):
    """A format that can also be written.

    Attributes:
        short: its name on the command line; empty where another format writes the same files.
        ending: of a new document; empty where a folder is written.
    """

    short: ClassVar[str] = ""
    ending: ClassVar[str] = ""

    @abstractmethod
    def write(self, dataset: Dataset, out: Path, overwrite: bool = False) -> Written:
        """Write a data set of any origin into the new file or folder `out`.

        Raises:
            SemalignError: what the format cannot do without is missing, or a file cannot be read or written.
        """

    @abstractmethod
    def rewrite(self, place: Path, points: Mapping[str, np.ndarray], out: Path, overwrite: bool = False) -> Written:
        """Write the data set at `place` once more with other coordinates; all else stays as it is, byte for byte.

        Args:
            place: what `holds` says yes to; it is only read.
            points: new points (n, 2) of faces by their ids, image frame, 0-based; NaN = as it was. A coordinate that is what
                it was keeps its digits, and a point that is absent stays absent.
            out: folder that gets the documents under their own names, or file for the only one.
            overwrite: replace what is there.

        Raises:
            SemalignError: faces that are not there, another number of points, or a file that cannot be read or written.
        """
