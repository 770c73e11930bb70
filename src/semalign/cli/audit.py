"""Find wrong annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from semalign.cli.options import JsonFile, Overwrite, argument, flag, option
from semalign.cli.output import claim_file, say


def audit(
    path: Annotated[Path, argument("PATH", "Data set: 300W or another known one, or images with .pts files.")],
    out: Annotated[
        Path | None, option("--out", "DIR", "Folder of the audit.", default="the data set's name and '-audit'")
    ] = None,
    quick: Annotated[
        bool,
        flag("--quick", "Judge by a model that is there (--model) instead of networks trained on the other faces."),
    ] = False,
    model: Annotated[str, option("--model", "MODEL", "Model that judges with --quick.", default=True)] = "default",
    crossfit: Annotated[
        Path | None, option("--crossfit", "DIR", "Networks of a finished 'semalign crossfit' on these faces.")
    ] = None,
    recipe: Annotated[
        str, option("--recipe", "RECIPE", "How the networks are trained, without --quick.", default=True)
    ] = "300w-crossfit",
    folds: Annotated[
        int, option("--folds", "K", "Networks that are trained, without --quick.", default=True, min=2)
    ] = 4,
    scheme: Annotated[
        str | None,
        option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="the data's own"),
    ] = None,
    top: Annotated[int, option("--top", "N", "Findings that are printed.", default=True, min=0)] = 20,
    csv_file: Annotated[Path | None, option("--csv", "FILE", "Write all findings to this CSV file, too.")] = None,
    json_file: JsonFile = None,
    least: Annotated[
        float, option("--least", "P", "Probability from which a finding is listed.", default=True, min=0.0, max=1.0)
    ] = 0.5,
    fail_above: Annotated[
        int | None,
        option("--fail-above", "N", "Exit with status 1 if there are more findings than this, for checks by machines."),
    ] = None,
    no_duplicates: Annotated[bool, flag("--no-duplicates", "Do not look for copies of photographs.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find wrong annotations: how probably, of what kind, and where the points should be.

    Each annotation is judged by networks that have not seen it: K are trained on parts of the faces, or, with --quick, a
    shipped model judges them all. DIR then holds the audit: labels/0001.parquet has the proposals, faces.parquet and
    points.parquet how probably each face and each point is wrong.

    Examples:
        semalign audit ~/faces --quick
        semalign audit ~/faces --quick --csv findings.csv --fail-above 10
        semalign audit ~/faces --out faces-audit
    """
    from semalign.auditing import listing
    from semalign.auditing.run import audit as make
    from semalign.cli import tables
    from semalign.cli.output import write_or_print_json
    from semalign.cli.progress import RichProgress
    from semalign.data import open_dataset
    from semalign.schemes import load_scheme

    for file in (csv_file, json_file):
        claim_file(file, overwrite)
    dataset = open_dataset(path, load_scheme(scheme) if scheme else None, keep_going=True)
    out = Path(f"{dataset.name}-audit") if out is None else out
    result = make(
        dataset,
        quick=quick,
        model=model,
        crossfit=crossfit,
        recipe=recipe,
        folds=folds,
        scheme=scheme,
        source=path,
        out=out,
        overwrite=overwrite,
        duplicates=not no_duplicates,
        progress=RichProgress(),
    )
    findings = list(result.findings(least))
    found = listing.rows(result, findings)
    if csv_file is not None:
        listing.write_csv(csv_file, found)
    skipped = [{"image": name, "why": why} for name, why in dataset.skipped]
    if json_file is not None:
        write_or_print_json(json_file, {"faces": len(result), "findings": found, "unusable": skipped})
    if str(json_file) != "-":
        tables.print_findings(result, found[:top], len(found), skipped)
        say(f"audit: {out}")
    if fail_above is not None and len(found) > fail_above:
        raise typer.Exit(1)


COMMANDS: dict[str, Callable[..., None]] = {"audit": audit}
