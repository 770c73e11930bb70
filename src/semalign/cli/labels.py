"""List and export label versions."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semalign.cli.options import AsJson, Data, KeepGoing, argument, flag, one_line, option
from semalign.cli.output import say

if TYPE_CHECKING:
    from semalign.data import Dataset

Labels = Annotated[Path, argument("LABELS", "Folder of label versions, such as labels/ of a run.")]


def list_versions(labels: Labels, as_json: AsJson = False) -> None:
    """List the versions of the labels and how far each moved from the one before.

    Example:
        semalign labels list runs/300w/labels
    """
    from semalign.cli import tables
    from semalign.data import LabelStore

    store = LabelStore(labels)
    latest = store.read()
    tables.print_versions([*(store.read(index) for index in store.versions()[:-1]), latest], as_json)


def export(
    labels: Labels,
    out: Annotated[Path, argument("OUT", "New folder for images and .pts files.")],
    data: Data,
    version: Annotated[int, option("--version", "K", "Version to export; -1 is the last.", default=True)] = -1,
    scheme: Annotated[
        str | None,
        option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="that of the labels"),
    ] = None,
    keep_going: KeepGoing = False,
    overwrite: Annotated[
        bool, flag("--overwrite", "Replace an export of other labels of this data set that OUT holds.")
    ] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Only list the .pts files and whose points they would hold.")] = False,
) -> None:
    """Write a version of the labels as .pts files beside a copy of the images.

    The copy has the folder layout of the data set; faces without labels, such as test faces, keep their annotations.

    Example:
        semalign labels export runs/300w/labels realigned --data ~/300w
    """
    from semalign.cli.progress import stage_of
    from semalign.data import LabelStore, export_labels, open_dataset
    from semalign.data.export import labels_of, scheme_of_labels
    from semalign.schemes import load_scheme

    chosen = LabelStore(labels).read(version)
    given = scheme_of_labels(chosen, labels) if scheme is None else load_scheme(scheme)
    dataset = open_dataset(data, given, keep_going=keep_going)
    if dry_run:
        _list(labels_of(chosen, dataset), dataset, out)
        return
    with stage_of("writing images and labels") as progress:
        export_labels(chosen, dataset, out, progress, overwrite)
    say(f"{len(dataset)} faces, {len(chosen.ids)} of them with the labels of version {chosen.index}: {out}")


def _list(found: Container[str], dataset: Dataset, out: Path) -> None:
    """What would be written."""
    for sample in dataset.samples:
        source = "labels" if sample.id in found else "annotation"
        typer.echo(one_line(f"{(out / sample.id).with_suffix('.pts')} <- {source}"))
    say(f"{len(dataset)} faces; nothing was written", err=True)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_versions, "export": export}
