"""Progress on the terminal: a bar with elapsed and remaining time; without a terminal, a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

INTERVAL = 10.0  # seconds between plain lines
Clock = Callable[[], float]
_SILENT: list[bool] = []  # not empty: no progress is shown


def silent(asked: bool) -> None:
    """Show no progress from now on, or show it again."""
    _SILENT[:] = [True] if asked else []


def is_silent() -> bool:
    """Whether no progress is to be shown."""
    return bool(_SILENT)


@dataclass
class Stage:
    """One stage of work: how far it is and how long it will take. Times are seconds of the given clock."""

    title: str
    total: int
    clock: Clock = time.monotonic
    done: int = 0
    note: str = ""
    started: float = field(init=False)
    _base: tuple[float, int] = field(init=False)  # time and count from which the speed is measured
    _last: tuple[float, int] = field(init=False)  # the same of the latest report

    def __post_init__(self) -> None:
        self.started = self.clock()
        self._base = self._last = (self.started, 0)

    def advance(self, done: int, note: str = "") -> None:
        """Take a report: `done` more steps are done, `note` is shown beside them."""
        now = self.clock()
        if self.done == 0 and done > 1:  # a resumed stage begins in the middle, which says nothing of the speed
            self._base = (now, done)
        self.done += done
        self._last = (now, self.done)
        if note:
            self.note = note

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return self.clock() - self.started

    @property
    def remaining(self) -> float | None:
        """Seconds until the stage is done, at its mean speed so far; None before there is one."""
        (start, first), (now, last) = self._base, self._last
        if last <= first or now <= start:
            return None
        whole = (self.total - last) * (now - start) / (last - first)
        return max(0.0, whole - (self.clock() - now))


class RichProgress:
    """Shows stages, also nested ones, on a console (standard error); implements `semalign.pipeline.Progress`."""

    def __init__(
        self, console: Console | None = None, interval: float = INTERVAL, clock: Clock = time.monotonic
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._interval = interval
        self._clock = clock
        self._stages: dict[TaskID, Stage] = {}
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            _Counted(self._stages),
            _Times(self._stages),
            _Note(self._stages),
            console=self.console,
            transient=True,
            disable=bool(_SILENT) or not self.console.is_terminal,
        )

    def say(self, text: str) -> None:
        """Print a line that stays, unless progress is not to be shown."""
        if _SILENT:
            return
        self.console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[..., None]]:
        """A stage of `total` steps; yields `advance(steps done now, note)` and leaves a line with the time it took."""
        stage = Stage(title, total, self._clock)
        advance = self._bar(stage) if self.console.is_terminal and not _SILENT else self._lines(stage)
        finished = False
        try:
            yield advance
            finished = True
        finally:
            self._remove(stage)
            note = f"  {stage.note}" if stage.note else ""
            self.say(f"{'✓' if finished else '✗'} {title}: {clock_time(stage.elapsed)}{note}")

    def _bar(self, stage: Stage) -> Callable[..., None]:
        if not self._stages:
            self._bars.start()
        task = self._bars.add_task(stage.title, total=max(stage.total, 1))
        self._stages[task] = stage

        def advance(done: int, note: str = "") -> None:
            stage.advance(done, note)
            self._bars.update(task, completed=stage.done)

        return advance

    def _remove(self, stage: Stage) -> None:
        for task in [task for task, other in self._stages.items() if other is stage]:
            self._bars.remove_task(task)
            del self._stages[task]
            if not self._stages:
                self._bars.stop()

    def _lines(self, stage: Stage) -> Callable[..., None]:
        self.say(f"{stage.title} ...")
        due = self._clock() + self._interval

        def advance(done: int, note: str = "") -> None:
            nonlocal due
            stage.advance(done, note)
            if self._clock() >= due and stage.done < stage.total:
                due = self._clock() + self._interval
                self.say("  " + ", ".join(filter(None, (f"{stage.done}/{stage.total}", _times(stage), stage.note))))

        return advance


@contextmanager
def stage_of(title: str, progress: RichProgress | None = None) -> Iterator[Callable[[int, int], None]]:
    """A stage for a function that reports (done, total): yields such a callback; its first call begins the stage."""
    shown = progress or RichProgress()
    with ExitStack() as stack:
        advance: Callable[..., None] | None = None
        seen = 0

        def report(done: int, total: int) -> None:
            nonlocal advance, seen
            advance = advance or stack.enter_context(shown.stage(title, total))
            advance(done - seen)
            seen = done

        yield report


def clock_time(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _times(stage: Stage) -> str:
    left = stage.remaining
    return clock_time(stage.elapsed) + (f", {clock_time(left)} left" if left is not None else "")


class _StageColumn(ProgressColumn):
    """A column made from our stage: rich's own estimate forgets steps that take longer than half a minute."""

    def __init__(self, stages: dict[TaskID, Stage]) -> None:
        super().__init__()
        self._stages = stages

    def render(self, task: Task) -> Text:
        stage = self._stages.get(task.id)
        return Text(self.text(stage) if stage else "", no_wrap=True)

    def text(self, stage: Stage) -> str:
        raise NotImplementedError


class _Counted(_StageColumn):
    def text(self, stage: Stage) -> str:
        return f"{stage.done}/{stage.total}"


class _Times(_StageColumn):
    def text(self, stage: Stage) -> str:
        return _times(stage)


class _Note(_StageColumn):
    def text(self, stage: Stage) -> str:
        return stage.note
