"""The command that opens the page on which people go through an audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from semalign.cli import judging
from semalign.cli.options import argument, flag, option


def review(
    path: Annotated[
        Path,
        argument("PATH", "Folder of an audit or of a cleaned data set, or a data set, of which a quick audit is made."),
    ],
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
    out: Annotated[
        Path | None,
        option("--out", "DIR", "Folder of a data set's audit.", default="the data set's name and '-audit'"),
    ] = None,
    model: Annotated[str, option("--model", "MODEL", "Model that judges a data set.", default=True)] = "default",
    crossfit: judging.Crossfit = None,
    scheme: judging.Scheme = None,
    images: judging.Images = None,
    no_duplicates: judging.NoDuplicates = False,
) -> None:
    """A page on this machine: go through what an audit found, by the keyboard, and decide what is accepted.

    Every decision is on disk before the page says so. Several people may work at once. Pictures stay on this machine, and
    annotations are only read. The page's export writes the data set once more, as was decided, beside the audit. Ctrl-C
    ends it. Needs the extra 'serve'.

    Examples:
        semalign review faces-audit
        semalign review faces-clean --name Ann --open
        semalign review ~/faces/annotations.xml
    """
    from semalign.auditing.cleaning import audit_of
    from semalign.cli.output import say
    from semalign.cli.page import run_page
    from semalign.review import open_review

    folder = audit_of(path) or _audited(path, out, model, crossfit, scheme, images, no_duplicates)
    opened = open_review(folder, name=name, host=host, port=port, export=_export, say=lambda text: say(text, err=True))
    run_page(opened, browse)


def _audited(
    path: Path,
    out: Path | None,
    model: str,
    crossfit: Path | None,
    scheme: str | None,
    images: Path | None,
    no_duplicates: bool,
) -> Path:
    """The folder of a data set's audit: the one that is there, or else a new one."""
    from semalign.auditing.judging import Judging, audit_source, audit_there
    from semalign.cli.output import say
    from semalign.cli.progress import RichProgress
    from semalign.data.opening import NoDatasetError
    from semalign.errors import SemalignError

    judges = Judging(crossfit is None, model, crossfit, duplicates=not no_duplicates)
    source = judging.source(path, scheme, images)
    try:
        dataset = source.open()
    except NoDatasetError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise SemalignError(f"{path}: holds no finished audit, and {why}") from error
    folder = Path(f"{dataset.name}-audit") if out is None else out
    if audit_there(folder, dataset) is not None:
        say(f"going on with the audit in {folder}", err=True)
        return folder
    made = audit_source(source, dataset, folder, judges, progress=RichProgress())
    for one in made.about["left_out"]:
        say(f"not judged: {one['image']}: {one['why']}", err=True)
    return folder


def _export(folder: Path) -> Mapping[str, Any]:
    """What the page shows of an export."""
    from semalign.auditing.cleaning import export_reviewed
    from semalign.files import shown

    made = export_reviewed(folder)
    moved = made.provenance["moved"]
    found = {
        "labels": shown(made.labels.absolute()),
        "changes": shown((made.out / "changes.csv").absolute()),
        "faces_changed": moved["faces_changed"],
        "points_moved": moved["points_moved"],
    }
    return found | {f"note_{number}": note for number, note in enumerate(made.provenance["notes"], 1)}


COMMANDS: dict[str, Callable[..., None]] = {"review": review}
