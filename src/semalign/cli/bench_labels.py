"""The command that measures methods of finding labels against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from semalign.cli.options import JsonFile, Out, Overwrite, Resume, option
from semalign.cli.output import say

Size = Literal["tiny", "small", "full"]


def labels(
    out: Out,
    data: Annotated[
        Path | None,
        option(
            "--data", "PATH", "Real faces with iBUG's 68 points, as 300W: noise is planted in their annotations, too."
        ),
    ] = None,
    annotators: Annotated[
        Path | None,
        option("--annotators", "CSV", "File of LFPW's three annotators, who marked faces of 300W; with --data."),
    ] = None,
    networks: Annotated[
        Path | None,
        option(
            "--networks",
            "DIR",
            "Folder of a finished crossfit: real faces are judged by its networks that have not seen them.",
            default="the shipped model",
        ),
    ] = None,
    size: Annotated[
        Size,
        option("--size", "SIZE", "How much: tiny (to try), small (about 20 minutes) or full (hours).", default=True),
    ] = "small",
    parts: Annotated[
        list[str] | None,
        option(
            "--part",
            "PART",
            "Only these cells: truth, planted, annotators or halves; may be given several times.",
            default="all",
        ),
    ] = None,
    seed: Annotated[int, option("--seed", "S", "Seed of everything random.", default=True, min=0)] = 0,
    resume: Resume = False,
    json_file: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Which method finds the best labels? Each is held against the truth, and against the best that is possible.

    Networks are trained on synthetic faces with noise of several kinds and sizes, so that none judges a face that it has seen.
    Real faces tell what share of planted noise is removed, and how many people a label is worth.

    DIR then holds labels.csv, labels.json and labels.png; each cell of the table is kept as soon as it is measured.

    Examples:
        semalign bench labels --out bench
        semalign bench labels --out bench --data ~/300w --annotators lfpw_annotators.csv --networks crossfit
        semalign bench labels --out real --data ~/300w --networks crossfit --part planted
        semalign bench labels --out bench --resume
    """
    from dataclasses import replace

    from semalign.cli import tables
    from semalign.cli.output import claim_file, write_or_print_json
    from semalign.cli.progress import RichProgress
    from semalign.label_bench import PARTS, SIZES, bench_labels
    from semalign.pipeline.witnesses import CrossFitted

    claim_file(json_file, overwrite)
    settings = replace(SIZES[size], seed=seed)
    builder = None if networks is None else CrossFitted(networks)
    results = bench_labels(
        settings,
        out,
        data=data,
        annotators=annotators,
        builder=builder,
        parts=parts or PARTS,
        resume=resume,
        progress=RichProgress(),
    )
    if json_file is not None:
        write_or_print_json(json_file, results)
    if str(json_file) != "-":
        tables.print_label_bench(results)
        say(f"figures: {out / 'labels.json'}")
