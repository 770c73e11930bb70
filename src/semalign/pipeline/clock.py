"""How long each stage of a run took, over all interruptions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semalign.files import read_object, write_json


class Clock:
    """Seconds by stage, kept in a file so that they add up over interruptions."""

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Counts the time of a stage while it is open."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            if not self.seconds and self.path.is_file():
                known = read_object(self.path, "delete it to count anew")
                self.seconds = {name: value for name, value in known.items() if isinstance(value, int | float)}
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - begin, 2)
            if self.writes:
                write_json(self.path, self.seconds)
