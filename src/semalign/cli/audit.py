"""Find wrong annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from semalign.cli import judging
from semalign.cli.options import JsonFile, Overwrite, Shard, option
from semalign.cli.output import claim_file, say
from semalign.cli.sharing import goes_on, progress_of, share_of


def audit(
    path: judging.DataPath,
    out: Annotated[
        Path | None, option("--out", "DIR", "Folder of the audit.", default="the data set's name and '-audit'")
    ] = None,
    quick: judging.Quick = False,
    model: judging.Model = "default",
    crossfit: judging.Crossfit = None,
    recipe: judging.RecipeOfNetworks = None,
    folds: judging.Folds = None,
    scheme: judging.Scheme = None,
    images: judging.Images = None,
    top: Annotated[int, option("--top", "N", "Findings that are printed.", default=True, min=0)] = 20,
    csv_file: Annotated[Path | None, option("--csv", "FILE", "Write all findings to this CSV file, too.")] = None,
    json_file: JsonFile = None,
    least: judging.Least = 0.5,
    fail_above: Annotated[
        int | None,
        option("--fail-above", "N", "Exit with status 1 if there are more findings than this, for checks by machines."),
    ] = None,
    no_duplicates: judging.NoDuplicates = False,
    shard: Shard = None,
    overwrite: Overwrite = False,
) -> None:
    """Find wrong annotations: how probably, of what kind, and where the points should be.

    Each annotation is judged by networks that have not seen it: K are trained on parts of the faces, or, with --quick, a
    shipped model judges them all. DIR then holds the audit: labels/0001.parquet has the proposals, faces.parquet and
    points.parquet how probably each face and each point is wrong. With --shard a share of the faces is looked at, and the same
    command without it judges.

    Examples:
        semalign audit ~/faces --quick
        semalign audit ~/faces --quick --csv findings.csv --fail-above 10
        semalign audit ~/faces --out faces-audit
        semalign audit ~/faces --quick --out faces-audit --shard 1/4
    """
    from semalign.auditing import listing
    from semalign.auditing.judging import audit_part, audit_source
    from semalign.cli import tables
    from semalign.cli.output import write_or_print_json
    from semalign.cli.progress import RichProgress
    from semalign.locks import one_writer

    judges = judging.judging(quick, model, crossfit, recipe, folds, no_duplicates)
    for file in (csv_file, json_file):
        claim_file(file, overwrite)
    source = judging.source(path, scheme, images)
    dataset = source.open()
    out = Path(f"{dataset.name}-audit") if out is None else out
    share = share_of(shard)
    if share is not None and (shard is not None or judges.looks_only):
        missing = audit_part(source, dataset, out, judges, share, progress_of(share, shard))
        if not goes_on(shard, share, missing):
            return
    with one_writer(out):
        result = audit_source(source, dataset, out, judges, overwrite=overwrite, progress=RichProgress())
        judging.prepare(out)
    findings = list(result.findings(least))
    found = listing.rows(result, findings)
    if csv_file is not None:
        listing.write_csv(csv_file, found)
    skipped = result.about["left_out"]
    if json_file is not None:
        write_or_print_json(json_file, {"faces": len(result), "findings": found, "unusable": skipped})
    if str(json_file) != "-":
        tables.print_findings(result, found[:top], len(found), skipped)
        say(f"audit: {out}")
        say(f"next: semalign review {out}")
    if fail_above is not None and len(found) > fail_above:
        raise typer.Exit(1)


COMMANDS: dict[str, Callable[..., None]] = {"audit": audit}
