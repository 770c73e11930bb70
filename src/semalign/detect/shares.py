"""Pictures shared out between processes: each leaves lines of the record, of which the record is made once all are there.

Files of a picture's own are written at once, but for those of its second and further faces: their names depend on all other
pictures, so whoever puts the results together writes them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.results import BEGUN, PREDICTING
from semalign.detect.finding import Finding, Recording, Writer
from semalign.detect.folders import BATCH, Outcome
from semalign.detect.journal import dumped
from semalign.detect.overlays import Overlays
from semalign.detect.sources import Source
from semalign.detect.writers import MORE, PtsWriter, ResultFolder
from semalign.errors import SemalignError
from semalign.files import write_json
from semalign.parts import Arrays, Parts, Share
from semalign.shapes import UInt8

MOST = 256  # pictures in a part
WANTED = 64  # parts of a work, where they are not larger or smaller than may be

Look = Callable[[Sequence[Source], Recording], Iterable[Outcome]]


class Lines:
    """What is found in the pictures of one part, as lines that are not yet in a record.

    Attributes:
        entries: of the pictures, in their order.
    """

    def __init__(self, folder: Path, formats: Sequence[str]) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self._pts = PtsWriter(folder) if "pts" in formats else None
        self._overlays: Writer | None = Overlays(folder) if "overlay" in formats else None

    def prepare(self, finding: Finding, picture: UInt8[np.ndarray, "h w 3"]) -> dict[str, Any]:
        """Write the files of a picture's own as far as their names are known, and return its line."""
        entry = {**finding.place(), "stem": str(finding.stem), "faces": [face.to_dict() for face in finding.faces]}
        if self._pts is not None:
            self._pts.add(replace(finding, faces=finding.faces[:1]), picture, [finding.stem][: len(finding.faces)])
            if len(finding.faces) > 1:
                entry[MORE] = [face.points.tolist() for face in finding.faces[1:]]
        if self._overlays is not None:
            self._overlays.add(finding, picture, [finding.stem] * len(finding.faces))
        return entry

    def record(self, entry: Mapping[str, Any]) -> None:
        """Keep a picture's line."""
        self.entries.append(entry)


class Shares:
    """The pictures of a folder of results, shared out.

    Args:
        folder: of the results.
        formats: of the results.
        sources: all pictures, in order.
        depends: what the results depend on beside the pictures' names.

    Raises:
        SemalignError: not all are pictures.
    """

    def __init__(self, folder: Path, formats: Sequence[str], sources: Sequence[Source], depends: Any) -> None:
        for source in sources:
            if source.kind != "image":
                raise SemalignError(
                    f"{source.name}: is no picture, and only these are shared out; give it to another command."
                )
        self.folder, self.formats, self.sources = folder, tuple(formats), sources
        names = [[source.name, str(source.stem)] for source in sources]
        size = BATCH * min(max(len(sources) // WANTED // BATCH, 1), MOST // BATCH)
        self.parts = Parts((folder / BEGUN).parent, [depends, sorted(formats), names], len(sources), size)

    def begin(self) -> None:
        """Mark the folder as one of shared work.

        Raises:
            SemalignError: it holds the shares of other work, or cannot be written.
        """
        self.parts.refuse_others()
        write_json(self.folder / BEGUN, {"made_by": PREDICTING})

    def work(self, share: Share, look: Look, advance: Callable[[int], None] | None = None) -> None:
        """Look at what is missing of this share.

        Args:
            share: of all pictures.
            look: finds the faces of some pictures and gives them to what records them.
            advance: told how many more pictures are done.

        Raises:
            SemalignError: results cannot be written.
        """

        def do(rows: np.ndarray) -> Arrays:
            lines = Lines(self.folder, self.formats)
            outcomes = list(look([self.sources[row] for row in rows], lines))
            place = {id(self.sources[row]): int(row) for row in rows}
            said = [[place[id(o.source)], o.faces, o.problem, o.harmless] for o in outcomes]
            return {"lines": _packed(lines.entries), "said": _packed(said)}

        self.parts.work(share, do, advance)

    def put_together(self, results: ResultFolder) -> Iterator[Outcome]:
        """Record what all processes have found, in the pictures' order; each picture's outcome.

        Args:
            results: has the names of all pictures.

        Raises:
            SemalignError: parts are missing or damaged, or results cannot be written.
        """
        self.parts.commit()
        for _, part in self.parts.read():
            for entry in _unpacked(part["lines"]):
                results.adopt(entry)
            for row, faces, problem, harmless in _unpacked(part["said"]):
                yield Outcome(self.sources[row], faces, problem, harmless)

    def clear(self) -> None:
        """Delete the parts, whose results are in the folder."""
        (self.folder / BEGUN).unlink(missing_ok=True)  # first: without it nobody goes on with what is left of them
        shutil.rmtree((self.folder / BEGUN).parent, ignore_errors=True)


def is_shared(folder: Path) -> bool:
    """Whether processes have begun to share out a work in a folder of results."""
    return (folder / BEGUN).is_file()


def _packed(values: Sequence[Any]) -> np.ndarray:
    """JSON values, a line each, as bytes."""
    return np.frombuffer("".join(f"{dumped(value)}\n" for value in values).encode(), np.uint8)


def _unpacked(data: np.ndarray) -> Iterator[Any]:
    for line in data.tobytes().splitlines():
        yield json.loads(line)
