"""Check a data set, make synthetic ones, draw synthetic faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semalign.cli.options import AsJson, Overwrite, argument, flag, option
from semalign.cli.output import claim_file, say

if TYPE_CHECKING:
    from semalign.data import CheckReport

Seed = Annotated[int, option("--seed", "S", "Seed; the same seed gives the same bytes.", default=True)]


def check(
    path: Annotated[
        Path,
        argument(
            "PATH", "Data set: 300W or another known one, images with .pts files, or a file of CVAT, COCO, LabelMe …"
        ),
    ],
    scheme: Annotated[
        str | None,
        option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="the data's own"),
    ] = None,
    faces: Annotated[
        bool,
        flag("--faces", "Also find the faces and list annotations that do not lie on them, or look exchanged."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every image and annotation of a data set and list what is wrong.

    Bad faces cannot be used; suspicious ones are used but should be looked at. The exit status is 1 if a face is bad.

    Examples:
        semalign data check ~/300w
        semalign data check ~/300w --faces
    """
    from semalign.cli import tables
    from semalign.cli.progress import stage_of
    from semalign.data import check_dataset
    from semalign.schemes import load_scheme

    with stage_of("reading images and annotations") as progress:
        report = check_dataset(path, scheme=load_scheme(scheme) if scheme else None, progress=progress)
    if faces and report.usable:
        with stage_of("finding faces") as progress:
            report = _with_faces(report, progress)
    tables.print_check(report, as_json)
    if not report.ok:
        raise typer.Exit(1)


def _with_faces(report: CheckReport, progress: Callable[[int, int], None]) -> CheckReport:
    """The report with what a comparison with found faces adds."""
    from dataclasses import replace

    from semalign.detect.comparison import compare_with_found

    found = compare_with_found(report.dataset, progress)
    note = f"{found.compared} annotations were compared with the faces that were found"
    if found.unseen:
        note += f"; in the pictures of {found.unseen} none was found"
    suspicious = sorted((*report.suspicious, *found.suspicious), key=lambda problem: problem.file)
    return replace(report, suspicious=tuple(suspicious), notes=(*report.notes, f"{note}."))


def synthesize(
    out: Annotated[Path, argument("OUT", "Folder of the new data set.")],
    count: Annotated[
        int | None, option("--count", "N", "Faces or objects in all.", default="2500 faces, 200 objects")
    ] = None,
    seed: Seed = 0,
    test_count: Annotated[
        int | None, option("--test-count", "N", "How many of the faces are test faces.", default="a fifth")
    ] = None,
    size: Annotated[
        int | None, option("--size", "PX", "Side of the images in pixels.", default="144; of objects 192")
    ] = None,
    noise: Annotated[
        float, option("--noise", "FACTOR", "Annotation noise: 1 as human annotators, 0 none.", default=True)
    ] = 1.0,
    workers: Annotated[
        int | None,
        option("--workers", "N", "Processes; the files do not depend on it.", default="one per core", min=1),
    ] = None,
    objects: Annotated[
        bool,
        flag("--object", "Toy aeroplanes with 12 points instead of faces: what is no face and has its own scheme."),
    ] = False,
) -> None:
    """Make a data set of synthetic faces, or of objects: true landmarks, noisy annotations.

    OUT has the layout of 300W, or with --object is a folder of images with .pts files and a scheme.toml; the exact points are
    in truth.parquet. The same command completes an unfinished set.

    Examples:
        semalign data synthesize faces --count 1000 --seed 7
        semalign data synthesize aeroplanes --object
    """
    from semalign.cli.progress import stage_of
    from semalign.cores import usable_cores
    from semalign.errors import SemalignError
    from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, write_dataset

    if objects:
        if test_count is not None:
            raise SemalignError("--test-count is of faces; a set of objects is all for training, leave it out.")
        _synthesize_objects(out, 200 if count is None else count, seed, size, noise, workers)
        return
    count, size = 2500 if count is None else count, 144 if size is None else size
    settings = SynthesisSettings(
        count=count,
        seed=seed,
        test_count=count // 5 if test_count is None else test_count,
        face=FaceSettings(size=size),
        noise=NoiseSettings(scale=noise),
    )
    with stage_of("drawing faces") as progress:
        write_dataset(out, settings, progress=progress, workers=workers or usable_cores())
    say(f"{count} faces: {out}")


def _synthesize_objects(out: Path, count: int, seed: int, size: int | None, noise: float, workers: int | None) -> None:
    """A data set of objects."""
    from semalign.cli.progress import stage_of
    from semalign.cores import usable_cores
    from semalign.synthetic import ObjectNoise, ObjectSetSettings, ObjectSettings, write_objects

    look = ObjectSettings() if size is None else ObjectSettings(size=size)
    settings = ObjectSetSettings(count=count, seed=seed, object=look, noise=ObjectNoise(scale=noise))
    with stage_of("drawing objects") as progress:
        write_objects(out, settings, progress=progress, workers=workers or usable_cores())
    say(f"{count} objects: {out}")


def sheet(
    out: Annotated[Path, argument("OUT.png", "Picture to write.")],
    count: Annotated[int, option("--count", "N", "Faces or objects on it.", default=True, min=1)] = 24,
    seed: Seed = 0,
    points: Annotated[bool, flag("--points", "Draw the true landmarks: visible green, hidden red.")] = False,
    objects: Annotated[bool, flag("--object", "Toy aeroplanes instead of faces.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw a contact sheet: synthetic faces, or objects, side by side in one picture.

    Examples:
        semalign data sheet faces.png --points
        semalign data sheet aeroplanes.png --object --points
    """
    import cv2

    from semalign.errors import SemalignError
    from semalign.files import write_bytes
    from semalign.synthetic import ObjectSettings, SynthesisSettings, contact_sheet, face_of, object_of

    if out.suffix.lower() != ".png":
        raise SemalignError(f"{out}: the picture is a PNG file; give a name that ends in .png.")
    claim_file(out, overwrite)
    if objects:
        drawn = contact_sheet(
            [object_of(seed, index, ObjectSettings()) for index in range(count)], points=points, zoom=2
        )
    else:
        settings = SynthesisSettings(seed=seed)
        drawn = contact_sheet([face_of(seed, index, settings) for index in range(count)], points=points, zoom=2)
    write_bytes(out, cv2.imencode(".png", drawn[..., ::-1])[1].tobytes())
    say(f"{count} {'objects' if objects else 'faces'}: {out}")


COMMANDS: dict[str, Callable[..., None]] = {"check": check, "synthesize": synthesize, "sheet": sheet}
