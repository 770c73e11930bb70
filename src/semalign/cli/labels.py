"""List and export label versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from semalign.cli.options import Data, KeepGoing, argument, option

Labels = Annotated[Path, argument("LABELS", "Folder of label versions, such as labels/ of a run.")]


def list_versions(labels: Labels) -> None:
    """List the versions of the labels and how far each moved from the one before.

    Example:
        semalign labels list runs/300w/labels
    """
    from semalign.cli import tables
    from semalign.data import LabelStore

    store = LabelStore(labels)
    latest = store.read()
    tables.print_versions([*(store.read(index) for index in store.versions()[:-1]), latest])


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
) -> None:
    """Write a version of the labels as .pts files beside a copy of the images.

    The copy has the folder layout of the data set; faces without labels, such as test faces, keep their annotations.

    Example:
        semalign labels export runs/300w/labels realigned --data ~/300w
    """
    from semalign.cli.progress import stage_of
    from semalign.data import LabelStore, export_labels, open_dataset
    from semalign.data.export import scheme_of_labels
    from semalign.schemes import load_scheme

    chosen = LabelStore(labels).read(version)
    given = scheme_of_labels(chosen, labels) if scheme is None else load_scheme(scheme)
    dataset = open_dataset(data, given, keep_going=keep_going)
    with stage_of("writing images and labels") as progress:
        export_labels(chosen, dataset, out, progress=progress)
    typer.echo(f"{len(dataset)} faces, {len(chosen.ids)} of them with the labels of version {chosen.index}: {out}")


COMMANDS: dict[str, Callable[..., None]] = {"list": list_versions, "export": export}
