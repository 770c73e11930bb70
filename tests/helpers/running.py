"""A page's server that runs while a test asks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from semalign.web.server import LocalServer

Server = TypeVar("Server", bound=LocalServer)


@contextmanager
def running(opened: Server) -> Iterator[Server]:
    """The server in a thread of its own; it has ended when the block has."""
    thread = threading.Thread(target=opened.serve_forever)
    thread.start()
    try:
        yield opened
    finally:
        opened.shutdown()
        thread.join()
