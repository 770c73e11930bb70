"""The command that opens the page on which people go through an audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from semalign.cli.judging import Images, QuickModel, Scheme
from semalign.cli.options import argument, flag, one_line, option


def review(
    path: Annotated[
        Path, argument("PATH", "Folder of an audit or of a cleaned data set, or a data set, which is audited first.")
    ],
    name: Annotated[
        str | None, option("--name", "NAME", "Who is at work; kept with every decision.", default="your user's name")
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", "DIR", "Folder that Export writes.", default="that of the cleaned data set, or NAME-clean"),
    ] = None,
    model: QuickModel = "default",
    scheme: Scheme = None,
    images: Images = None,
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
    annotations are only read: Export writes the corrected data set, in its own format, into a folder of its own. A data set
    is audited by --model first, into NAME-audit; for another audit make it with 'semalign audit'. Ctrl-C ends. Needs the
    extra 'serve'.

    Examples:
        semalign review faces/annotations.xml
        semalign review faces-audit --name Ann --open
    """
    from semalign.auditing.cleaning import exporter
    from semalign.cli.output import say
    from semalign.cli.page import run_page
    from semalign.review import open_review

    def tell(text: str) -> None:
        say(one_line(text), err=True)

    folder = _audit_of(path, model, scheme, images, tell)
    export = exporter(folder, out)
    run_page(open_review(folder, name=name, host=host, port=port, export=export, say=tell), browse)


def _audit_of(path: Path, model: str, scheme: str | None, images: Path | None, tell: Callable[[str], None]) -> Path:
    """The folder of the audit: PATH, one in it, or one of the data set that it is."""
    from semalign.auditing.cleaning import AUDIT
    from semalign.auditing.result import ABOUT, read_audit
    from semalign.auditing.run import Judging, audit_source
    from semalign.auditing.source import Source, refuse_other
    from semalign.cli.progress import RichProgress
    from semalign.schemes import load_scheme

    for folder in (path, path / AUDIT):
        if (folder / ABOUT).is_file():
            return folder
    source = Source(path, load_scheme(scheme) if scheme else None, images)
    dataset = source.opened()
    folder = Path(f"{dataset.name}-audit")
    if (folder / ABOUT).is_file():
        refuse_other(read_audit(folder), dataset, folder)
        tell(f"audit: {folder}, which was there")
    else:
        audit_source(source, dataset, Judging(quick=True, model=model), folder, progress=RichProgress())
        tell(f"audit: {folder}")
    return folder


COMMANDS: dict[str, Callable[..., None]] = {"review": review}
