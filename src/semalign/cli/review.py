"""The command that opens the page on which people go through an audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from semalign.cli.options import argument, flag, option


def review(
    path: Annotated[Path, argument("PATH", "Folder of an audit, as `semalign audit` makes it.")],
    name: Annotated[
        str | None, option("--name", "NAME", "Who is at work; kept with every decision.", default="your user's name")
    ] = None,
    port: Annotated[int, option("--port", "PORT", "Port; 0 takes a free one.", default=True, min=0, max=65535)] = 8766,
    host: Annotated[
        str,
        option(
            "--host",
            "ADDRESS",
            "Address to listen on; others than the loopback let in who has the whole address that is printed.",
            default=True,
        ),
    ] = "127.0.0.1",
    browse: Annotated[bool, flag("--open", "Open the page in the browser.")] = False,
) -> None:
    """A page on this machine: go through what an audit found, by the keyboard, and decide what is accepted.

    Every decision is on disk before the page says so. Several people may work at once. Pictures stay on this machine, and
    annotations are only read. Ctrl-C ends it. Needs the extra 'serve'.

    Examples:
        semalign review audits/faces
        semalign review audits/faces --name Ann --open
    """
    from semalign.cli.output import say
    from semalign.cli.page import run_page
    from semalign.review import open_review

    run_page(open_review(path, name=name, host=host, port=port, say=lambda text: say(text, err=True)), browse)


COMMANDS: dict[str, Callable[..., None]] = {"review": review}
