"""The page's server: for one person on one machine, or for several who have the token."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

from semalign.review.access import Access
from semalign.review.app import Answers
from semalign.review.desk import Desk
from semalign.web.answers import common_headers
from semalign.web.limits import ConnectionLimits
from semalign.web.opening import is_loopback
from semalign.web.server import LocalServer

ANYWHERE = ("0.0.0.0", "::")


class ReviewServer(LocalServer):
    """Serves the page; `serve_forever` runs it, `shutdown` ends it.

    Args:
        desk: what answers.
        listening: the socket that clients come to; the server closes it when it ends.
        host: as the address was given; a name in it is this server's. Others than the loopback need a token.
        limits: of connections.
        opened: what is to be closed with the server.

    Attributes:
        url: where the page is, with the token where one is needed.
        token: that people must show; None on the loopback.
    """

    def __init__(
        self, desk: Desk, listening: socket.socket, host: str, limits: ConnectionLimits, opened: ExitStack
    ) -> None:
        self._opened = opened
        self.token = None if is_loopback(host) else secrets.token_urlsafe(24)
        names = [host] if self.token is None else [host, socket.gethostname()]
        port = int(listening.getsockname()[1])
        self._answers = Answers(desk, limits)
        super().__init__(Access(self._answers.app(), self.token, port), common_headers(), listening, names, limits)
        if self.token is not None:
            place = f"http://{socket.gethostname()}:{port}/" if host in ANYWHERE else self.url
            self.url = f"{place}?token={self.token}"

    def close(self) -> None:
        """Give the port back; `serve_forever` has done so when it returns."""
        super().close()
        self._answers.close()
        self._opened.close()
