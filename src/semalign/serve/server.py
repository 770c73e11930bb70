"""The page's server: Starlette's routes behind uvicorn, for one person on one machine.

It keeps nothing and logs nothing. Uploads are bounded before and while they are read, in size and in time, pictures before
they are unpacked, and only so many are worked on at a time. See `semalign.web.guard` for who may ask.
"""

from __future__ import annotations

import socket
from importlib import resources

from semalign.serve.app import Answers
from semalign.serve.limits import Limits
from semalign.serve.service import Service
from semalign.web.answers import common_headers, hashes
from semalign.web.server import LocalServer


class PageServer(LocalServer):
    """Serves the page; `serve_forever` runs it, `shutdown` ends it.

    Args:
        service: what answers.
        listening: the socket that clients come to; the server closes it when it ends.
        host: as the address was given; a name in it is this server's.
        limits: how much it takes on.
    """

    def __init__(self, service: Service, listening: socket.socket, host: str, limits: Limits) -> None:
        page = resources.files("semalign.serve").joinpath("page.html").read_bytes()
        text = page.decode("utf-8")
        headers = common_headers(hashes(text, "script"), hashes(text, "style"), "blob: data:")
        self._answers = Answers(service, page, limits)
        super().__init__(self._answers.app(), headers, listening, [host], limits)

    def close(self) -> None:
        """Give the port back; `serve_forever` has done so when it returns."""
        self._answers.close()
        super().close()
