"""From an audit's folder to a server of the page."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from semalign.locks import among_others
from semalign.review.desk import Desk, Export
from semalign.review.index import open_index
from semalign.web.limits import ConnectionLimits
from semalign.web.opening import listen, needs_server

if TYPE_CHECKING:
    from semalign.review.server import ReviewServer

PORT = 8766


def open_review(
    folder: str | Path,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    export: Export | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> ReviewServer:
    """A server of the page on an audit; people that come are answered once its `serve_forever` runs.

    Args:
        folder: of the audit.
        name: of the person at work, kept with every decision; None = the user's of this system. A page may say another.
        host: an address or name of this machine. Where it is not the loopback, people must show the token in `url`.
        port: 0 takes a free one.
        export: called with the folder by the page's button; what it returns is shown. None = there is no button.
        say: is told what takes a moment.

    Raises:
        SemalignError: there is no finished audit, its folder cannot be written, the address or the port cannot be had, or
            what the extra 'serve' brings is not installed; or the audit is just being made anew. While people are at work on
            it, nobody else can do that.
    """
    with needs_server():
        from semalign.review.server import ReviewServer
    folder = Path(folder)
    with ExitStack() as opened:
        opened.enter_context(among_others(folder))
        desk = Desk(folder, open_index(folder, say), name or user_name(), export)
        opened.callback(desk.close)
        return ReviewServer(desk, listen(host, port), host, ConnectionLimits(), opened.pop_all())


def user_name() -> str:
    """The user's name of this system, or `somebody`."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
