"""Uploaded pictures: read first, within limits of size and time, and only then given a turn to be worked on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from semalign.serve.limits import Limits
from semalign.web.answers import RefusedError

TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")

Result = TypeVar("Result")


class Uploads:
    """Reads bodies; counts what is in memory of all of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._held = limits, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, counted as being in memory until the context ends.

        Raises:
            RefusedError: no length (411), too long (413), no picture's type (415), not sent in time (408), or no memory
                for it beside the others (503; it is read to its end all the same, so that the client sees the answer).
            ClientDisconnect: the client went away.
        """
        self._check(request.headers)
        body = bytearray()
        try:
            if not await self._in_time(request, body):
                raise _busy()
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _in_time(self, request: Request, body: bytearray) -> bool:
        try:
            async with asyncio.timeout(self._limits.sending):
                return await self._collect(request, body)
        except TimeoutError:
            seconds = f"{self._limits.sending:g}"
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"the picture did not come within {seconds} seconds; try again."
            ) from None

    async def _collect(self, request: Request, body: bytearray) -> bool:
        """Append the body's pieces; False, with nothing kept, if all bodies together became too much."""
        length, whole = 0, True
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                length += len(piece)
                if length > self._limits.upload:
                    raise self._too_long()
                if whole and self._held + len(piece) > self._limits.uploads:
                    whole = False
                    self._held -= len(body)
                    body.clear()
                if whole:
                    body += piece
                    self._held += len(piece)
        return whole

    def _check(self, headers: Headers) -> None:
        """Refuse by the head alone what will not be read."""
        length = headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,20}", length) or "transfer-encoding" in headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the upload's length is not given.")
        if int(length) > self._limits.upload:
            raise self._too_long()
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in TYPES:
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"uploads are of type {', '.join(TYPES)}.")

    def _too_long(self) -> RefusedError:
        megabytes = self._limits.upload // 2**20
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the picture has more than {megabytes} MB; make it smaller."
        )


class Turns:
    """At most `at_a_time` pictures are worked on, each in a thread, while at most `queue` wait, first come first served."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._inside = limits, 0
        self._free = asyncio.Semaphore(limits.at_a_time)
        self._threads = ThreadPoolExecutor(limits.at_a_time, thread_name_prefix="semalign-serve")

    async def run(self, request: Request, work: Callable[[], Result]) -> Result:
        """What the work returns; it is not begun when the client has gone meanwhile.

        Raises:
            RefusedError: the queue is full, or the turn did not come in time (503).
            ClientDisconnect: the client went away.
        """
        if self._inside >= self._limits.at_a_time + self._limits.queue:
            raise _busy()
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
            async with asyncio.timeout(self._limits.waiting):
                await self._free.acquire()
        except TimeoutError:
            raise _busy() from None


def _busy() -> RefusedError:
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is busy; try again.")
