"""A server of pages for one machine: an application behind the guard, by uvicorn, on a socket that listens already."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Mapping

import uvicorn
from starlette.types import ASGIApp

from semalign.web.connection import connection_class
from semalign.web.guard import Guard
from semalign.web.limits import ConnectionLimits

GRACE = 3  # seconds in which answers that are under way may be finished when the server is stopped


def address_of(listening: socket.socket) -> str:
    """Where the page of a listening socket is, such as http://127.0.0.1:8765/."""
    name, port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


class LocalServer:
    """Serves an application; `serve_forever` runs it, `shutdown` ends it.

    Args:
        app: answers what the guard lets through.
        headers: of every answer.
        listening: the socket that clients come to; the server closes it when it ends.
        names: names in a Host header that are this server's, beside addresses and `localhost`.
        limits: of connections.

    Attributes:
        url: where the page is.
        port: the port of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        headers: Mapping[str, str],
        listening: socket.socket,
        names: Collection[str],
        limits: ConnectionLimits,
    ) -> None:
        self.url, self.port = address_of(listening), int(listening.getsockname()[1])
        self._socket = listening
        config = uvicorn.Config(
            Guard(app, headers, {"localhost", *(name.lower() for name in names)}, self.url),
            http=connection_class(limits, headers),
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="off",
            workers=1,
            log_config=None,
            log_level=logging.CRITICAL,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = uvicorn.Server(config)

    def serve_forever(self) -> None:
        """Answer until `shutdown` is called, or, in the main thread, until Ctrl-C or SIGTERM.

        After such a signal the server ends in order, and then the signal has the effect that it has without the server:
        Ctrl-C raises KeyboardInterrupt.
        """
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def shutdown(self) -> None:
        """Ask `serve_forever`, in another thread, to return; it may take up to three seconds."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back; `serve_forever` has done so when it returns."""
        self._socket.close()
