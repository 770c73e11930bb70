"""What is made ahead comes in order, never more than asked for, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from semalign.ahead import made_ahead, results_of


def threads() -> int:
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_everything_comes_in_its_order(count):
    assert list(made_ahead(str, range(count))) == [str(item) for item in range(count)]
    assert threads() == 0


def test_no_more_lie_ready_than_was_asked_for():
    begun, ahead = [], []
    for taken, _ in enumerate(made_ahead(begun.append, range(20), depth=3)):
        time.sleep(0.01)
        ahead.append(len(begun) - taken - 1)
    assert max(ahead) == 3 and len(begun) == 20


def test_the_next_is_made_while_the_last_is_worked_on():
    made = [threading.Event() for _ in range(3)]
    for item in made_ahead(lambda item: made[item].set() or item, range(3)):
        assert item == 2 or made[item + 1].wait(30)


def test_an_error_comes_at_its_turn_and_ends_the_thread():
    def make(item: int) -> int:
        if item == 2:
            raise ValueError("the third")
        return item

    seen = []
    with pytest.raises(ValueError, match="the third"):
        seen.extend(made_ahead(make, range(9), depth=5))
    assert threads() == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whoever_stops_early_leaves_no_thread_and_no_work(error):
    begun: list[int] = []
    with pytest.raises(error):
        stop_at(begun, error)
    done = len(begun)
    time.sleep(0.05)
    assert len(begun) == done < 6 and threads() == 0


def stop_at(begun: list[int], error: type[BaseException]) -> None:
    items = made_ahead(begun.append, range(100))
    try:
        for taken, _ in enumerate(items):
            if taken == 2:
                raise error
    finally:
        items.close()  # as it is when nothing refers to it any more


def test_one_that_is_left_behind_keeps_no_program_from_its_end():
    lines = "from semalign.ahead import made_ahead\nitems = made_ahead(str, range(9))\nnext(items)\nprint('end')"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "end\n" and not done.stderr


def test_results_come_in_order_and_few_items_are_handed_out_before_they_are_taken() -> None:
    handed = []

    def items() -> Iterator[int]:
        for item in range(40):
            handed.append(item)
            yield item

    with ThreadPoolExecutor(3) as pool:
        results = results_of(pool, lambda item: item * item, items(), ahead=5)
        assert [next(results) for _ in range(10)] == [item * item for item in range(10)]
        assert len(handed) <= 15
        assert list(results) == [item * item for item in range(10, 40)]


def test_an_error_ends_the_results_and_what_waits_is_not_done() -> None:
    done, go = [], threading.Event()

    def work(item: int) -> None:
        go.wait(10)
        if item == 0:
            raise ValueError("first")
        done.append(item)

    with ThreadPoolExecutor(1) as pool:
        results = results_of(pool, work, range(100), ahead=50)
        threading.Timer(0.1, go.set).start()
        with pytest.raises(ValueError, match="first"):
            next(results)
    assert len(done) < 50
