"""Write a data set in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from semalign.cli.options import AsJson, KeepGoing, argument, flag, one_line, option
from semalign.cli.output import print_json, say

if TYPE_CHECKING:
    from semalign.data import Converted


def convert(
    source: Annotated[
        Path,
        argument(
            "IN", "Data set: a folder that is known, images with .pts files, or a document such as annotations.xml."
        ),
    ],
    out: Annotated[Path, argument("OUT", "New file; for pts and labelme a new folder.")],
    to: Annotated[
        str,
        option(
            "--to",
            "FORMAT",
            "pts, coco, cvat, label-studio, dlib, wflw, hrnet, labelme, csv or parquet.",
        ),
    ],
    scheme: Annotated[
        str | None,
        option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="the data's own"),
    ] = None,
    images: Annotated[
        Path | None,
        option(
            "--images",
            "DIR",
            "Folder of the pictures that a document names.",
            default="the document's, or images in it",
        ),
    ] = None,
    keep_going: KeepGoing = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace what is at OUT already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a data set in another format, and say what that cannot hold.

    Every format that can be written is also read by every other command that takes a data set. IN is only read. Pictures are
    copied for pts alone, whose files lie beside them.

    Examples:
        semalign convert faces/annotations.xml faces.json --to coco
        semalign convert ~/300w points.parquet --to parquet
        semalign convert faces.json faces-pts --to pts --images pictures
    """
    from semalign.data import convert_dataset
    from semalign.schemes import load_scheme

    given = load_scheme(scheme) if scheme else None
    done = convert_dataset(source, out, to, given, images=images, keep_going=keep_going, overwrite=overwrite)
    if as_json:
        print_json(_values(done, out, to))
        return
    pictures = len({sample.image for sample in done.dataset.samples})
    say(
        one_line(
            f"{len(done.dataset)} faces in {pictures} pictures, {done.dataset.scheme.count} points each "
            f"({done.dataset.scheme.name}): {out}"
        )
    )
    for note in (*done.dataset.notes, *done.notes):
        say(one_line(f"note: {note}"))
    for _, why in done.dataset.skipped:
        say(one_line(f"left out: {why}"), err=True)


def _values(done: Converted, out: Path, to: str) -> dict[str, object]:
    from semalign.files import shown

    return {
        "out": shown(out),
        "format": to,
        "faces": len(done.dataset),
        "pictures": len({sample.image for sample in done.dataset.samples}),
        "scheme": done.dataset.scheme.name,
        "landmarks": done.dataset.scheme.count,
        "files": len(done.files),
        "not_kept": [shown(note) for note in done.notes],
        "notes": [shown(note) for note in done.dataset.notes],
        "skipped": [{"face": shown(name), "why": shown(why)} for name, why in done.dataset.skipped],
    }


COMMANDS: dict[str, Callable[..., None]] = {"convert": convert}
