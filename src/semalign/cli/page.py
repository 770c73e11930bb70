"""A page that a command serves until it is told to end."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from semalign.web.server import LocalServer


def run_page(opened: LocalServer, browse: bool) -> None:
    """Serve a page until Ctrl-C or SIGTERM, and close its server.

    Args:
        opened: listens already.
        browse: open the page in the browser.
    """
    import signal
    import webbrowser

    with closing(opened) as server:
        typer.echo(f"{server.url} (Ctrl-C ends)")
        if browse:
            webbrowser.open(server.url)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
        finally:
            signal.signal(signal.SIGTERM, before)
