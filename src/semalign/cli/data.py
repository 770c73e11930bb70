"""Check a data set, make synthetic ones, draw synthetic faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from semalign.cli.options import argument, flag, option

Seed = Annotated[int, option("--seed", "S", "Seed; the same seed gives the same bytes.", default=True)]


def check(
    path: Annotated[
        Path, argument("PATH", "Data set: 300W or another known one, complete or partial, or images with .pts files.")
    ],
    scheme: Annotated[
        str | None,
        option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="the data's own"),
    ] = None,
) -> None:
    """Read every image and annotation of a data set and list what is wrong.

    Bad faces cannot be used; suspicious ones are used but should be looked at. The exit status is 1 if a face is bad.

    Example:
        semalign data check ~/300w
    """
    from semalign.cli import tables
    from semalign.cli.progress import stage_of
    from semalign.data import check_dataset
    from semalign.schemes import load_scheme

    with stage_of("reading images and annotations") as progress:
        report = check_dataset(path, scheme=load_scheme(scheme) if scheme else None, progress=progress)
    tables.print_check(report)
    if not report.ok:
        raise typer.Exit(1)


def synthesize(
    out: Annotated[Path, argument("OUT", "Folder of the new data set.")],
    count: Annotated[int, option("--count", "N", "Faces in all.", default=True)] = 2500,
    seed: Seed = 0,
    test_count: Annotated[
        int | None, option("--test-count", "N", "How many of them are test faces.", default="a fifth")
    ] = None,
    size: Annotated[int, option("--size", "PX", "Side of the images in pixels.", default=True)] = 144,
    noise: Annotated[
        float, option("--noise", "FACTOR", "Annotation noise: 1 as human annotators, 0 none.", default=True)
    ] = 1.0,
    workers: Annotated[
        int | None,
        option("--workers", "N", "Processes; the files do not depend on it.", default="one per core", min=1),
    ] = None,
) -> None:
    """Make a data set of synthetic faces: true landmarks, noisy annotations.

    OUT has the layout of 300W, with the exact points in truth.parquet. The same command completes an unfinished set.

    Example:
        semalign data synthesize faces --count 1000 --seed 7
    """
    from semalign.cli.progress import stage_of
    from semalign.cores import usable_cores
    from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, write_dataset

    settings = SynthesisSettings(
        count=count,
        seed=seed,
        test_count=count // 5 if test_count is None else test_count,
        face=FaceSettings(size=size),
        noise=NoiseSettings(scale=noise),
    )
    with stage_of("drawing faces") as progress:
        write_dataset(out, settings, progress=progress, workers=workers or usable_cores())
    typer.echo(f"{count} faces: {out}")


def sheet(
    out: Annotated[Path, argument("OUT.png", "Picture to write.")],
    count: Annotated[int, option("--count", "N", "Faces on it.", default=True, min=1)] = 24,
    seed: Seed = 0,
    points: Annotated[bool, flag("--points", "Draw the true landmarks: visible green, hidden red.")] = False,
) -> None:
    """Draw a contact sheet: synthetic faces side by side in one picture.

    Example:
        semalign data sheet faces.png --points
    """
    import cv2

    from semalign.files import write_bytes
    from semalign.synthetic import SynthesisSettings, contact_sheet, face_of

    settings = SynthesisSettings(seed=seed)
    picture = contact_sheet([face_of(seed, index, settings) for index in range(count)], points=points, zoom=2)
    write_bytes(out, cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    typer.echo(f"{count} faces: {out}")


COMMANDS: dict[str, Callable[..., None]] = {"check": check, "synthesize": synthesize, "sheet": sheet}
