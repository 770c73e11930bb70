"""What is the same for all formats whose annotations are in documents: one file for all pictures, or one for each.

A format of this kind says how a document is recognised, read (`parse`), changed (`revise`) and made (`compose`). Where pictures
lie, what faces are called, which scheme they have and in which order its landmarks are is done here.

Shape legend: m points of a face in its document, n landmarks of its scheme.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from semalign.data.formats.base import Bad, Entry, Format, Note, Written
from semalign.data.formats.common import face_id, list_folder
from semalign.data.formats.faces import Edit, Face, Kind, Parsed, read_bytes
from semalign.data.formats.layout import Layout, arranged, labelled, ordered
from semalign.data.formats.pictures import Pictures, check_name, clean_name, split_of
from semalign.data.formats.revising import new_points, refuse_same, refuse_strangers
from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError
from semalign.files import atomic_folder, refuse_existing, write_bytes
from semalign.schemes import LandmarkScheme, load_scheme

MOST_SIDE = 10_000_000  # pixels of a picture's side; a document that says more is not believed


@dataclass(frozen=True)
class DocumentFormat(Format):
    """A format of documents.

    Attributes:
        images: folder in which the pictures are, if it is not the document's or one beside it.
        arranged: scheme in whose order the points are given.
        endings: of its documents, in small letters.
        folders: in which documents may lie within the folder that is given; "" is that itself.
        several: a data set is made of several documents, one for each picture.
    """

    images: Path | None = None
    arranged: LandmarkScheme | None = None

    name: ClassVar[str] = ""
    scheme: ClassVar[str] = "ibug68"
    document: ClassVar[bool] = True
    endings: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ("",)
    several: ClassVar[bool] = False

    # ---- what a format says of itself ----

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file with the right ending is a document of this format, as far as can be told without reading all."""

    @abstractmethod
    def parse(self, data: bytes, path: Path) -> Parsed:
        """What is in a document.

        Raises:
            SemalignError: it is damaged.
        """

    @abstractmethod
    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """A document with new coordinates of some points, all else byte for byte as it is."""

    @abstractmethod
    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A document of the faces of a data set, and notes on what it could not hold.

        Raises:
            SemalignError: what the format cannot do without is missing.
        """

    # ---- reading ----

    def configured(self, scheme: LandmarkScheme | None, images: Path | None) -> DocumentFormat:
        """The same format for faces of this scheme and for pictures in this folder."""
        return replace(self, arranged=scheme, images=images or self.images)

    def documents(self, place: Path) -> list[Path]:
        """The documents that a file or folder stands for.

        Raises:
            SemalignError: a folder that cannot be read.
        """
        if os.path.isfile(place):
            return [place] if self._is_one(place) else []
        inside = [place / folder if folder else place for folder in self.folders]
        paths = (Path(entry.path) for folder in inside if os.path.isdir(folder) for entry in list_folder(folder))
        return [path for path in paths if os.path.isfile(path) and self._is_one(path)]

    def holds(self, place: Path) -> bool:
        """Whether there is a document of this format."""
        try:
            return bool(self.documents(place))
        except SemalignError:
            return False

    def choose_scheme(self, place: Path, given: LandmarkScheme | None) -> LandmarkScheme:
        """The given scheme, else that of the landmarks' names, else of their number, else one made of the names.

        Raises:
            SemalignError: a damaged document, several kinds of landmarks, or a scheme that does not fit.
        """
        layout = self._layout(self._parsed(place), given, place)[0]
        return (given or load_scheme(self.scheme)) if layout is None else layout.scheme

    def entries(self, place: Path) -> Iterator[Entry | Bad | Note]:
        """The faces, those of a document in its order.

        Raises:
            SemalignError: a damaged document.
        """
        parsed = self._parsed(place)
        layout, kind = self._layout(parsed, self.arranged, place)
        yield from (Note(note) for _, part in parsed for note in part.notes)
        if layout is not None and layout.note and self.arranged is None:
            yield Note(layout.note)
        others = sum(isinstance(face, Face) and face.kind != kind for _, part in parsed for face in part.faces)
        if others:
            yield Note(f"{others} annotations of other landmarks than the scheme's are left out.")
        pictures: dict[Path, Pictures] = {}
        below: dict[Path, dict[str, list[Path]]] = {}
        for name, face, path in self._named(parsed, kind, place):
            if isinstance(face, Bad):
                yield face
            elif layout is not None:
                finder = pictures.setdefault(path, Pictures(path, self.images, below))
                yield Entry(name, face.where, partial(self._sample, name, face, layout, finder))

    def _is_one(self, path: Path) -> bool:
        try:
            return path.suffix.lower() in self.endings and not path.name.startswith(".") and self.recognises(path)
        except OSError:
            return False

    def _chosen(self, place: Path) -> tuple[Path, ...]:
        """The documents of a data set.

        Raises:
            SemalignError: none, or several where one is needed.
        """
        found = self.documents(place)
        if len(found) > 1 and not self.several:
            names = ", ".join(path.name for path in found[:6])
            raise SemalignError(
                f"{place}: holds several {self.title} files ({names}{', …' if len(found) > 6 else ''}); give one of them."
            )
        if not found:
            raise SemalignError(f"{place}: holds no {self.title} file; give the file itself.")
        return tuple(found)

    def _parsed(self, place: Path) -> tuple[tuple[Path, Parsed], ...]:
        paths = self._chosen(place)
        try:
            stamps = tuple((os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths)
        except OSError as error:
            raise SemalignError(f"{place}: cannot be read ({error.strerror}); check the file.") from error
        return _parse_all(replace(self, images=None, arranged=None), paths, stamps)

    def _layout(
        self, parsed: tuple[tuple[Path, Parsed], ...], given: LandmarkScheme | None, place: Path
    ) -> tuple[Layout | None, str]:
        """The layout of the landmarks and the kind that has them; None where there is no face."""
        faces = [face for _, part in parsed for face in part.faces if isinstance(face, Face)]
        present = {face.kind for face in faces}
        every = [kind for _, part in parsed for kind in part.kinds if kind.name in present]
        kinds = {kind.name: kind for kind in sorted(every, key=lambda kind: kind.landmarks is not None)}
        if not faces:
            return None, ""
        if len(kinds) > 1:
            sizes = {name: self._count([face for face in faces if face.kind == name], kinds[name]) for name in kinds}
            fitting = [name for name, size in sizes.items() if given is not None and size == given.count]
            if len(fitting) != 1:
                names = ", ".join(f"{name} ({size})" for name, size in sizes.items())
                raise SemalignError(
                    f"{place}: has landmarks of several kinds ({names}); choose one by its number of points with --scheme."
                )
            kinds = {fitting[0]: kinds[fitting[0]]}
        ((name, kind),) = kinds.items()
        own = [face for face in faces if face.kind == name]
        labels = dict.fromkeys(label for face in own if face.labels is not None for label in face.labels)
        if labels or own[0].labels is not None:
            declared = kind.landmarks is not None
            every_label = tuple(dict.fromkeys((*(kind.landmarks or ()), *labels)))
            return labelled(every_label, declared, given, name, place), name
        return ordered(self._count(own, kind), kind.landmarks, given, name, place), name

    @staticmethod
    def _count(faces: Sequence[Face], kind: Kind) -> int:
        if kind.landmarks is not None:
            return len(kind.landmarks)
        if faces[0].labels is None:
            return len(faces[0].points)
        return len({label for face in faces for label in face.labels or ()})

    def _named(
        self, parsed: tuple[tuple[Path, Parsed], ...], kind: str, place: Path
    ) -> Iterator[tuple[str, Face | Bad, Path]]:
        """The faces of a kind with their ids, and the documents that they are in.

        The only face of a picture has its name; of several, each has that with its number from 1.
        """
        rows: list[tuple[str, Face | Bad, Path]] = []
        for path, part in parsed:
            inside = path.parent.relative_to(place).as_posix() if self.several and os.path.isdir(place) else "."
            for face in part.faces:
                if isinstance(face, Bad):
                    rows.append((face.name, face, path))
                elif face.kind == kind:
                    name = clean_name(face.picture)
                    rows.append((name if inside == "." else f"{inside}/{name}", face, path))
        times = Counter(name for name, face, _ in rows if isinstance(face, Face))
        numbers: Counter[str] = Counter()
        taken = set(times)
        for name, face, path in rows:
            if isinstance(face, Bad):
                yield name, face, path
                continue
            try:
                check_name(face.picture, path)
            except SemalignError as error:
                yield face.where, Bad(face.where, error), path
                continue
            numbers[name] += 1
            own = name
            if times[name] > 1:
                number = numbers[name]
                own = face_id("", name, number)
                while own in taken:
                    number += 10000
                    own = face_id("", name, number)
                taken.add(own)
            yield own, face, path

    def _sample(self, name: str, face: Face, layout: Layout, pictures: Pictures) -> Sample:
        rows = np.array(arranged(face.points, layout, face.labels))
        points = _rows(face.points, rows, np.nan)
        visible = None if face.visible is None else _rows(face.visible, rows, False)
        image = pictures.find(face.picture)
        picture = clean_name(face.picture)
        inside = os.path.dirname(name)
        shown = f"{inside}/{os.path.basename(picture)}" if self.several and inside else picture
        split = face.split or split_of(shown, pictures.document)
        subset = os.path.dirname(shown) or pictures.document.resolve().parent.name or "faces"
        return Sample(
            id=name,
            image=image,
            points=points,
            split=split,
            subset=subset,
            box=face.box,
            visible=visible,
            tags=face.tags,
            name=shown,
            size=_plausible(face.size),
            track=face.track,
        )

    # ---- writing ----

    def write(self, dataset: Dataset, out: Path, overwrite: bool = False) -> Written:
        """Write one document."""
        self.refuse_frames(dataset)
        refuse_existing(out, overwrite)
        data, notes = self.compose(dataset)
        write_bytes(out, data)
        return Written((out,), notes)

    def refuse_frames(self, dataset: Dataset) -> None:
        """Refuse faces that lie in videos.

        Raises:
            SemalignError: there are some.
        """
        if any(sample.frame is not None for sample in dataset.samples):
            raise SemalignError(
                f"{dataset.root}: its faces lie in the frames of videos, of which {self.title} knows nothing; "
                "write the frames as pictures first."
            )

    def rewrite(self, place: Path, points: Mapping[str, np.ndarray], out: Path, overwrite: bool = False) -> Written:
        """Write the documents with new coordinates."""
        parsed = self._parsed(place)
        layout, kind = self._layout(parsed, self.arranged, place)
        edits: dict[Path, list[Edit]] = {path: [] for path, _ in parsed}
        missing = dict(points)
        for name, face, path in self._named(parsed, kind, place):
            new = missing.pop(name, None) if isinstance(face, Face) else None
            if new is not None and isinstance(face, Face) and layout is not None:
                edits[path] += _edits(face, np.asarray(new, dtype=np.float64), layout, name)
        refuse_strangers(missing, place)
        targets = {path: self._target(path, place, out) for path in edits}
        for path, target in targets.items():
            refuse_same(target, path)
        if self.several:
            with atomic_folder(out, f"{self.title} files", overwrite) as folder:
                for path, target in targets.items():
                    write_bytes(folder / target.relative_to(out), self._revised(path, edits[path]))
        else:
            for path, target in targets.items():
                refuse_existing(target, overwrite)
                write_bytes(target, self._revised(path, edits[path]))
        notes = self.revision_notes([edit for some in edits.values() for edit in some])
        return Written(tuple(targets.values()), tuple(notes))

    def _revised(self, path: Path, edits: Sequence[Edit]) -> bytes:
        data = read_bytes(path)
        return self.revise(data, path, edits) if edits else data

    def revision_notes(self, edits: Sequence[Edit]) -> Sequence[str]:
        """What new coordinates lose in this format."""
        return ()

    def _target(self, path: Path, place: Path, out: Path) -> Path:
        if not self.several and out.suffix.lower() == path.suffix.lower() and not out.is_dir():
            return out
        return out / (path.relative_to(place) if os.path.isdir(place) else Path(path.name))


def _plausible(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The size of a picture as its document says, or None where no picture has such a one."""
    return size if size is not None and min(size) > 0 and max(size) <= MOST_SIDE else None


def _rows(values: np.ndarray, rows: np.ndarray, missing: float | bool) -> np.ndarray:
    """Rows of an array by their numbers; -1 gives a row of `missing`."""
    if not len(values):
        return np.full((len(rows), *values.shape[1:]), missing, dtype=values.dtype)
    chosen = values[rows]
    chosen[rows < 0] = missing
    return chosen


def _edits(face: Face, new: np.ndarray, layout: Layout, name: str) -> list[Edit]:
    rows = arranged(face.points, layout, face.labels)
    old = _rows(face.points, np.array(rows), np.nan)
    changed = np.flatnonzero(new_points(new, old, name))
    return [Edit(face.spots[rows[index]], old[index], new[index]) for index in changed.tolist()]


@lru_cache(maxsize=1)
def _parse_all(
    known: DocumentFormat, paths: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]
) -> tuple[tuple[Path, Parsed], ...]:
    """Documents as they are while their times of change and sizes are these; the last ones are kept, as they are read twice."""
    return tuple((path, _parse(known, path)) for path in paths)


def _parse(known: DocumentFormat, path: Path) -> Parsed:
    """A document; of several, one that is damaged is a bad face."""
    try:
        return known.parse(read_bytes(path), path)
    except SemalignError as error:
        if not known.several:
            raise
        return Parsed((Bad(path.name, error),))
