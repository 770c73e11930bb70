"""Turns for work that takes long: a few at a time, a queue with an end, and nothing for clients that have gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from semalign.web.answers import busy

Result = TypeVar("Result")


class Turns:
    """Threads of their own for work that takes long; who comes first is served first.

    Args:
        at_a_time: pieces of work, each in a thread.
        queue: requests that wait; more are refused at once.
        waiting: seconds that a request waits.
    """

    def __init__(self, at_a_time: int, queue: int, waiting: float) -> None:
        self._most, self._waiting, self._inside = at_a_time + queue, waiting, 0
        self._free = asyncio.Semaphore(at_a_time)
        self._threads = ThreadPoolExecutor(at_a_time, thread_name_prefix="semalign-page")

    async def run(self, request: Request, work: Callable[[], Result]) -> Result:
        """What the work returns; it is not begun when the client has gone meanwhile.

        Raises:
            RefusedError: the queue is full, or the turn did not come in time (503).
            ClientDisconnect: the client went away.
        """
        if self._inside >= self._most:
            raise busy()
        self._inside += 1
        try:
            await self._take()
            try:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            finally:
                self._free.release()
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Begin nothing any more; what is being worked on ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take(self) -> None:
        try:
            async with asyncio.timeout(self._waiting):
                await self._free.acquire()
        except TimeoutError:
            raise busy() from None
