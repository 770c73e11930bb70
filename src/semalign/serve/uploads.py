"""Uploaded pictures: read whole before they are worked on, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request

from semalign.serve.limits import Limits
from semalign.web.answers import RefusedError, busy

TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")


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
        body, upload = bytearray(), b""
        try:
            if not await self._in_time(request, body):
                raise busy()
            upload = bytes(body)
            body.clear()  # so that it is there once
            yield upload
        finally:
            self._held -= len(body) + len(upload)

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
