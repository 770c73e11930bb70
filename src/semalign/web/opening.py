"""An address to serve a page at, or a sentence on why there is none."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from semalign.errors import SemalignError

BACKLOG = 1024  # clients that have come and are not yet looked at


@contextmanager
def needs_server() -> Iterator[None]:
    """A block that imports what the extra 'serve' brings.

    Raises:
        SemalignError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise SemalignError(
            "the page needs Starlette and uvicorn; install them with: pip install 'semalign[serve]'."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can come to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; no name server is asked for this machine's name.

    Args:
        host: an address or name of this machine.
        port: 0 takes a free one.

    Raises:
        SemalignError: the address or the port cannot be had.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        listening.close()
        raise SemalignError(_reason(host, port, error)) from error
    return listening


def _reason(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OverflowError):
        return f"there is no port {port}; choose one from 0 to 65535 with --port."
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port."
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} is not allowed; choose one above 1023 with --port."
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return f"{host}: cannot be listened on ({reason}); choose an address of this machine with --host."
