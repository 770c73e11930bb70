"""How the library tells what it is doing: the caller decides how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Advance = Callable[..., None]  # advance(done: int, note: str = "")


@runtime_checkable
class Progress(Protocol):
    """What long work reports to."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Open a stage of `total` steps; the callable that it gives is told (steps done now, a short note)."""

    def say(self, text: str) -> None:
        """One sentence for the user."""


class SilentProgress:
    """Reports to nobody."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Advance]:
        """A stage that nobody sees."""
        yield lambda done, note="": None

    def say(self, text: str) -> None:
        """Nothing."""


class PrefixedProgress:
    """Progress whose stages say what they belong to."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        self.progress, self.prefix = progress, prefix

    def stage(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """A stage under a longer title."""
        return self.progress.stage(f"{self.prefix}{title}", total)

    def say(self, text: str) -> None:
        """As it is."""
        self.progress.say(text)


def counted(advance: Advance) -> Callable[[int, int], None]:
    """For functions that report (done so far, all): a callback that advances a stage by the difference."""
    seen = 0

    def callback(done: int, everything: int) -> None:
        nonlocal seen
        advance(done - seen)
        seen = done

    return callback
