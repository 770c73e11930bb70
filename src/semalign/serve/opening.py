"""An address to serve the page at, or a sentence on why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.serve.limits import Limits
from semalign.serve.service import Service
from semalign.web.opening import listen, needs_server

if TYPE_CHECKING:
    from semalign.serve.server import PageServer


def open_server(
    service: Service, host: str = "127.0.0.1", port: int = 8765, limits: Limits | None = None
) -> PageServer:
    """A server that listens; clients that come are answered once its `serve_forever` runs.

    Args:
        service: what answers.
        host: an address or name of this machine.
        port: 0 takes a free one.
        limits: how much it takes on; None for `Limits()`.

    Raises:
        SemalignError: the address or the port cannot be had, or what the extra 'serve' brings is not installed.
    """
    with needs_server():
        from semalign.serve.server import PageServer
    return PageServer(service, listen(host, port), host, limits or Limits())
