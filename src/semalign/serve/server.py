"""The page's server: Starlette's routes behind uvicorn, for one person on one machine.

It keeps nothing and logs nothing. Uploads are bounded before and while they are read, in size and in time, pictures before
they are unpacked, and only so many are worked on at a time. See `guard` for who may ask.
"""

from __future__ import annotations

import logging
import socket
from importlib import resources

import uvicorn

from semalign.serve.answers import common_headers
from semalign.serve.app import Answers
from semalign.serve.connection import connection_class
from semalign.serve.guard import Guard
from semalign.serve.limits import Limits
from semalign.serve.service import Service

GRACE = 3  # seconds in which answers that are under way may be finished when the server is stopped


class PageServer:
    """Serves the page; `serve_forever` runs it, `shutdown` ends it.

    Args:
        service: what answers.
        listening: the socket that clients come to; the server closes it when it ends.
        host: as the address was given; a name in it is this server's.
        limits: how much it takes on.

    Attributes:
        url: where the page is.
        port: the port of it.
    """

    def __init__(self, service: Service, listening: socket.socket, host: str, limits: Limits) -> None:
        name, self.port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{self.port}/"
        page = resources.files("semalign.serve").joinpath("page.html").read_bytes()
        headers = common_headers(page.decode("utf-8"))
        self._socket = listening
        self._answers = Answers(service, page, limits)
        config = uvicorn.Config(
            Guard(self._answers.app(), headers, {"localhost", host.lower()}, self.url),
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
        self._answers.close()
        self._socket.close()
