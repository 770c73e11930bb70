"""Find wrong annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semalign.cli.options import JsonFile, Overwrite, argument, flag, option
from semalign.cli.output import claim_file, say

if TYPE_CHECKING:
    from semalign.auditing import Audit
    from semalign.data import Dataset
    from semalign.pipeline.witnesses import EvidenceBuilder


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
        str | None,
        option(
            "--recipe",
            "RECIPE",
            "How the networks are trained, without --quick.",
            default="300w-crossfit for faces, any-crossfit for other landmarks",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        option("--folds", "K", "Networks that are trained, without --quick.", default="4 for faces, or 6", min=2),
    ] = None,
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
    from semalign.cli import tables
    from semalign.cli.output import write_or_print_json
    from semalign.data import open_dataset
    from semalign.schemes import load_scheme

    for file in (csv_file, json_file):
        claim_file(file, overwrite)
    dataset = open_dataset(path, load_scheme(scheme) if scheme else None, keep_going=True)
    out = Path(f"{dataset.name}-audit") if out is None else out
    result = _made(dataset, out, quick, model, crossfit, recipe, folds, not no_duplicates, overwrite)
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


def _made(
    dataset: Dataset,
    out: Path,
    quick: bool,
    model: str,
    crossfit: Path | None,
    recipe: str | None,
    folds: int | None,
    duplicates: bool,
    overwrite: bool,
) -> Audit:
    """A new audit, written into its folder."""
    from semalign import pipeline
    from semalign.auditing import write_audit
    from semalign.auditing.make import audit as make
    from semalign.auditing.make import refuse_few
    from semalign.auditing.result import ABOUT
    from semalign.cli.progress import RichProgress
    from semalign.errors import SemalignError
    from semalign.files import refuse_occupied
    from semalign.pipeline.judging import FOLDS, all_training, judging_recipe, judging_recipe_name
    from semalign.pipeline.witnesses import CrossFitted, ShippedModel

    networks = out / "crossfit"
    if (out / ABOUT).is_file() and not overwrite:
        raise SemalignError(
            f"{out}: holds an audit already; give --overwrite to replace it, or another folder with --out."
        )
    if not (out / ABOUT).is_file() and not networks.is_dir():
        refuse_occupied(out, "audit")
    progress = RichProgress()
    builder: EvidenceBuilder
    if quick:
        builder = ShippedModel(model, out / "crops")
    else:
        if crossfit is None:
            refuse_few(dataset)
            chosen = judging_recipe(dataset) if recipe is None else pipeline.load_recipe(recipe)
            folds = folds or FOLDS[judging_recipe_name(dataset.scheme)]
            faces = all_training(dataset)
            pipeline.crossfit(chosen, faces, networks, folds=folds, resume=True, keep_going=True, progress=progress)
            crossfit = networks
        builder = CrossFitted(crossfit, out / "crops")
    made = make(dataset, builder, duplicates=duplicates, progress=progress)
    write_audit(made, out)
    return made


COMMANDS: dict[str, Callable[..., None]] = {"audit": audit}
