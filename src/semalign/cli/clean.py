"""Write a data set once more with better labels."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from semalign.cli import judging
from semalign.cli.options import AsJson, Shard, flag, one_line, option
from semalign.cli.output import print_json, say
from semalign.cli.sharing import goes_on, progress_of, share_of

if TYPE_CHECKING:
    from semalign.auditing import Cleaned


def clean(
    path: judging.DataPath,
    out: Annotated[
        Path | None, option("--out", "DIR", "New folder.", default="the data set's name and '-clean'")
    ] = None,
    accept: Annotated[
        str,
        option(
            "--accept",
            "WHICH",
            "What moves: auto (what is probably wrong), all (every point to its proposal), reviewed (as people decided), none.",
            default=True,
        ),
    ] = "auto",
    least: Annotated[
        float,
        option("--least", "P", "Probability from which auto takes a proposal.", default=True, min=0.0, max=1.0),
    ] = 0.5,
    unshift: Annotated[
        bool,
        flag("--unshift", "Also move all points sideways by the shift of the whole set that the audit tells (origin)."),
    ] = False,
    audit: Annotated[
        Path | None, option("--audit", "DIR", "Use this finished audit of the data set instead of judging again.")
    ] = None,
    quick: judging.Quick = False,
    model: judging.Model = "default",
    crossfit: judging.Crossfit = None,
    recipe: judging.RecipeOfNetworks = None,
    folds: judging.Folds = None,
    scheme: judging.Scheme = None,
    images: judging.Images = None,
    no_duplicates: judging.NoDuplicates = False,
    shard: Shard = None,
    overwrite: Annotated[
        bool, flag("--overwrite", "Replace what DIR holds of this data set; people's decisions on its audit stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a data set once more, in its own format, with wrong annotations mended; the original is only read.

    DIR holds audit/ (see `semalign audit`), labels/ in the format of PATH, changes.csv, a row for each point that moved, and
    provenance.json. Nothing but coordinates that moved is written otherwise than it was. Broken off, the same command goes on.
    With --shard a share of the faces is looked at, and the same command without it does the rest.

    Examples:
        semalign clean ~/faces --quick
        semalign clean annotations.xml --images ~/pictures --quick --out cleaned
        semalign clean ~/faces --audit faces-audit --accept reviewed --out faces-reviewed
    """
    from semalign.auditing.cleaning import clean as make
    from semalign.auditing.cleaning import clean_part
    from semalign.cli.progress import RichProgress
    from semalign.errors import SemalignError
    from semalign.locks import one_writer

    source = judging.source(path, scheme, images)
    judges = judging.judging(quick, model, crossfit, recipe, folds, no_duplicates)
    share = share_of(shard)
    if share is not None and (shard is not None or judges.looks_only):
        if audit is not None or overwrite:
            raise SemalignError("several processes share a new audit; leave --audit and --overwrite out.")
        missing = clean_part(
            path, out, share, judging=judges, scheme=source.scheme, images=images, progress=progress_of(share, shard)
        )
        if not goes_on(shard, share, missing):
            return
    made = make(
        path,
        out,
        accept=accept,
        least=least,
        unshift=unshift,
        judging=judges,
        audit=audit,
        scheme=source.scheme,
        images=images,
        overwrite=overwrite,
        progress=RichProgress(),
    )
    if audit is None:
        with one_writer(made.out):
            judging.prepare(made.audit_folder)
    if as_json:
        print_json(made.provenance)
        return
    for line in _summary(made):
        say(one_line(line))
    for name, why in made.left_out:
        say(one_line(f"not judged, unchanged: {name}: {why}"), err=True)


def _summary(made: Cleaned) -> list[str]:
    """What moved, where it is, what to do next."""
    moved: dict[str, Any] = made.provenance["moved"]
    points, faces = (
        f"{moved['points_moved']:,} of {moved['points']:,}",
        f"{moved['faces_changed']:,} of {moved['faces']:,}",
    )
    lines = [f"{points} points moved, in {faces} faces"]
    if moved["points_moved"]:
        for key, words in (("median", "half of them by more than"), ("largest", "the farthest by")):
            lines[0] += f"; {words} {moved['distance'][key]:.1f} px ({moved['percent'][key]:.1f} % of the face)"
        kinds = ", ".join(f"{kind or 'none'} {count:,}" for kind, count in moved["kinds"].items())
        lines.append(f"points by kind of error: {kinds}")
    return [
        *lines,
        *(f"note: {note}" for note in made.notes),
        f"labels: {made.labels}",
        f"changes: {made.out / 'changes.csv'}",
        f"next: semalign review {shlex.quote(str(made.audit_folder))}",
    ]


COMMANDS: dict[str, Callable[..., None]] = {"clean": clean}
