"""What stands before the routes: who may ask, the headers of every answer, and the end of requests that are refused.

Only requests that a page of this server may have sent are answered: the Host must be an address or this host's name (a
foreign name that was made to point here is refused), the Origin, where there is one, must be the same, and there are no
CORS headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Collection, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semalign.web.answers import BUSY, error_answer
from semalign.web.connection import CROWDED

LINGER = 1.0  # seconds in which the rest of a refused body is read and dropped, so that the client sees the answer


class Guard:
    """An ASGI application around another.

    Args:
        app: answers requests that are allowed.
        headers: of every answer.
        names: names in a Host header that are this server's, in lower case, beside addresses.
        url: where the page is; its port must be in the Host header.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], names: Collection[str], url: str) -> None:
        self._app, self._names, self._url = app, names, url
        self._port = urlsplit(url).port or 80
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = _Exchange(receive, send, self._headers)
        try:
            await (self._refusal(scope) or self._app)(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.started:
                stopping = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, "the server is being stopped.")
                await stopping(scope, exchange.receive, exchange.send)
            raise
        except Exception:
            if not exchange.started:  # otherwise the application has said already that it failed
                raise

    def _refusal(self, scope: Scope) -> Response | None:
        if scope.get("state", {}).get(CROWDED):
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
        if scope["method"] not in ("GET", "POST"):
            return error_answer(HTTPStatus.NOT_IMPLEMENTED, "only GET and POST are answered here.")
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_ours(hosts[0], self._names, self._port):
            given = hosts[0] if hosts else ""
            return error_answer(HTTPStatus.FORBIDDEN, f"this server is not {given!r}; open {self._url}.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            return error_answer(HTTPStatus.FORBIDDEN, "other sites may not ask this server.")
        return None


class _Exchange:
    """One request and its answer.

    A refusal that comes before the whole body was read ends the connection. Were it closed at once, the rest of the body
    would reset it, and the client might never see the answer; so the rest is read for a moment.
    """

    def __init__(self, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._receive, self._send, self._headers = receive, send, headers
        self.started = False
        self._read, self._closing = False, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._read = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._closing = message["status"] >= HTTPStatus.BAD_REQUEST and not self._read
            close = [(b"connection", b"close")] if self._closing else []
            message = {**message, "headers": [*message.get("headers", ()), *self._headers, *close]}
        elif self._closing and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not self._read:
                        await self.receive()
            message = {"type": "http.response.body"}
        await self._send(message)


def is_ours(host: str, names: Collection[str], port: int) -> bool:
    """Whether a Host header names this server: an address (which no name server can redirect) or one of our names."""
    try:
        parts = urlsplit(f"//{host}")
        name, given = parts.hostname, parts.port
    except ValueError:
        return False
    if not name or parts.username is not None or parts.path or (given or 80) != port:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True
