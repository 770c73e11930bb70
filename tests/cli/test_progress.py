"""The progress that the terminal shows: counting, times, plain lines, bars, nesting, failures."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from semalign.cli.progress import RichProgress, Stage, clock_time, stage_of


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shown(clock: Clock, terminal: bool = False) -> tuple[RichProgress, io.StringIO]:
    text = io.StringIO()
    return RichProgress(Console(file=text, force_terminal=terminal, width=120), clock=clock), text


def test_remaining_time_is_what_is_left_at_the_mean_speed(clock: Clock) -> None:
    stage = Stage("work", 10, clock)
    assert stage.remaining is None
    clock.now += 4
    stage.advance(1)
    assert stage.remaining == pytest.approx(36)
    clock.now += 2
    stage.advance(1)
    assert stage.remaining == pytest.approx(24)
    clock.now += 1
    assert stage.remaining == pytest.approx(23)
    clock.now += 100
    assert stage.remaining == 0


def test_what_was_done_before_a_resumption_does_not_count_as_speed(clock: Clock) -> None:
    stage = Stage("work", 100, clock)
    stage.advance(80)
    assert (stage.done, stage.remaining) == (80, None)
    clock.now += 3
    stage.advance(1)
    assert stage.remaining == pytest.approx(19 * 3)


def test_plain_lines_come_now_and_then(clock: Clock) -> None:
    progress, text = shown(clock)
    with progress.stage("training", 100) as advance:
        for _ in range(100):
            clock.now += 1
            advance(1, "loss [0.5]")
    lines = text.getvalue().splitlines()
    assert lines[:2] == ["training ...", "  10/100, 0:10, 1:30 left, loss [0.5]"]
    assert lines[-1] == "✓ training: 1:40  loss [0.5]"
    assert len(lines) == 2 + 9


def test_a_note_stays_until_the_next_one(clock: Clock) -> None:
    progress, text = shown(clock)
    with progress.stage("training", 3) as advance:
        advance(1, "loss 0.5")
        advance(1)
    assert "loss 0.5" in text.getvalue().splitlines()[-1]


def test_a_stage_that_fails_is_marked_and_the_error_goes_on(clock: Clock) -> None:
    progress, text = shown(clock)
    with pytest.raises(ValueError, match="broken"), progress.stage("search", 2):
        raise ValueError("broken")
    assert text.getvalue().splitlines()[-1] == "✗ search: 0:00"


def test_bars_show_count_and_time_and_go_away_in_nested_stages(clock: Clock) -> None:
    progress, text = shown(clock, terminal=True)
    with progress.stage("outer", 4) as outer:
        clock.now += 10
        outer(1, "first")
        with progress.stage("inner", 2) as inner:
            inner(2)
            progress._bars.refresh()
    out = text.getvalue()
    assert "1/4" in out
    assert "0:10, 0:30 left" in out
    assert "2/2" in out
    assert out.index("✓ inner") < out.index("✓ outer")
    assert progress._bars.tasks == []


def test_a_stage_of_nothing_is_no_error(clock: Clock) -> None:
    for terminal in (False, True):
        progress, text = shown(clock, terminal)
        with progress.stage("nothing", 0):
            pass
        assert "✓ nothing" in text.getvalue()


def test_a_callback_of_totals_becomes_a_stage(clock: Clock) -> None:
    progress, text = shown(clock)
    with stage_of("reading", progress) as report:
        assert text.getvalue() == ""
        for done in (1, 2, 4):
            clock.now += 10
            report(done, 4)
    assert text.getvalue().splitlines() == [
        "reading ...",
        "  2/4, 0:10, 0:10 left",
        "✓ reading: 0:20",
    ]


def test_clock_time() -> None:
    assert [clock_time(seconds) for seconds in (0, 59.6, 61, 3600, 3725)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "1:02:05",
    ]


def test_the_pipeline_accepts_it() -> None:
    """Its methods take what the protocol's take."""
    import inspect

    from semalign.pipeline import Progress, SilentProgress

    for name in [name for name in vars(Progress) if not name.startswith("_")]:
        signatures = [inspect.signature(getattr(kind, name)) for kind in (Progress, SilentProgress, RichProgress)]
        for ours, theirs in itertools.pairwise(signatures):
            assert list(ours.parameters) == list(theirs.parameters)
