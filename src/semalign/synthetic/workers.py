"""A function over many numbers in processes of their own.

They are started as commands, not by `multiprocessing`, which would run the caller's script again in each of them: a script
without `if __name__ == "__main__"` works, and so does a notebook. A worker ends with its standard input, so that none outlives
a parent that was killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, BinaryIO

_COMMAND = "import sys; sys.path[:] = {path!r}; from semalign.synthetic.workers import serve; serve()"


def spread(function: Callable[[int], Any], count: int, workers: int, chunk: int) -> Iterator[Any]:
    """`function` of 0 to `count` - 1, in order, from so many processes; where none can be started, from this one.

    Args:
        function: can be pickled, and belongs to an installed module.
        count: of numbers.
        workers: processes.
        chunk: numbers that a process takes at a time.

    Raises:
        Exception: what the function raises.
    """
    ranges = [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    free: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
    processes = [_start(function) for _ in range(min(workers, len(ranges)))]
    for process in processes:
        free.put(process)

    def work(numbers: range) -> list[Any]:
        process = free.get()
        try:
            return [function(number) for number in numbers] if process is None else _ask(process, function, numbers)
        finally:
            free.put(process)

    pool = ThreadPoolExecutor(max(len(processes), 1))
    waiting: deque[Future[list[Any]]] = deque(pool.submit(work, numbers) for numbers in ranges)
    try:
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)
        for process in processes:
            if process is not None:
                _end(process)


def serve() -> None:
    """A worker: read a function, then ranges, until the input ends; write the results of each."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then closes the input
    cv2.setNumThreads(1)
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed is no answer
    function = pickle.load(source)
    while True:
        try:
            numbers = pickle.load(source)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = (True, [function(number) for number in numbers])
        except Exception as error:
            answer = (False, error)
        _send(answers, answer)


def _start(function: Callable[[int], Any]) -> subprocess.Popen[bytes] | None:
    if not sys.executable:
        return None
    command = [sys.executable, "-c", _COMMAND.format(path=[os.path.abspath(place) for place in sys.path])]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        _send(process.stdin, function)
    except OSError:
        return None
    return process


def _ask(process: subprocess.Popen[bytes], function: Callable[[int], Any], numbers: range) -> list[Any]:
    """A worker's results; this process's own if the worker has died."""
    try:
        _send(process.stdin, numbers)
        fine, answer = pickle.load(process.stdout)  # type: ignore[arg-type]
    except (OSError, EOFError, pickle.UnpicklingError, ValueError):
        return [function(number) for number in numbers]
    if not fine:
        raise answer
    return answer


def _send(stream: BinaryIO | Any, value: Any) -> None:
    pickle.dump(value, stream)
    stream.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
