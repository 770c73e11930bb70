"""Results as JSON lines on standard output, instead of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from semalign.detect.finding import Finding
from semalign.detect.journal import FORMAT, dumped
from semalign.detect.names import Names
from semalign.schemes import LandmarkScheme


class PrintedResults:
    """As `ResultFolder`, but each picture's line is printed, after a line that says where the results come from."""

    overlays = None

    def __init__(self, stream: TextIO, scheme: LandmarkScheme, about: Mapping[str, Any]) -> None:
        self.stream, self.names, self.done = stream, Names(), frozenset[str]()
        self._print({"format": FORMAT, **about, "landmarks": list(scheme.landmarks)})

    def __enter__(self) -> PrintedResults:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say that everything is done, if it is."""
        if error is None:
            self._print({"complete": True})

    def add(self, finding: Finding, picture: np.ndarray) -> None:
        """Print the faces of a picture."""
        self.record(self.prepare(finding, picture))

    def prepare(self, finding: Finding, picture: np.ndarray) -> dict[str, Any]:
        """A picture's line."""
        return {**finding.place(), "faces": [face.to_dict() for face in finding.faces]}

    def record(self, entry: Mapping[str, Any]) -> None:
        """Print a picture's line."""
        self._print(entry)

    def end_video(self, name: str) -> None:
        """Say that all frames of a video were printed."""
        self._print({"video": name})

    def _print(self, values: Mapping[str, Any]) -> None:
        self.stream.write(f"{dumped(values)}\n")
        self.stream.flush()
