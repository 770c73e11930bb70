"""Write a data set once more without what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from semalign.cli.judging import (
    CrossFit,
    DataPath,
    Folds,
    Images,
    JudgingRecipe,
    Least,
    NoDuplicates,
    Quick,
    QuickModel,
    Scheme,
)
from semalign.cli.options import AsJson, flag, one_line, option
from semalign.cli.output import print_json, say

if TYPE_CHECKING:
    from semalign.auditing.cleaning import Cleaned


def clean(
    path: DataPath,
    out: Annotated[
        Path | None, option("--out", "DIR", "Folder that is written.", default="the data set's name and '-clean'")
    ] = None,
    accept: Annotated[
        str,
        option(
            "--accept",
            "WHICH",
            "auto: what is probably wrong; all: every point; none: nothing; reviewed: what people decided.",
            default=True,
        ),
    ] = "auto",
    audit: Annotated[
        Path | None, option("--audit", "DIR", "Audit of this data set.", default="that in DIR, or a new one")
    ] = None,
    quick: Quick = False,
    model: QuickModel = "default",
    crossfit: CrossFit = None,
    recipe: JudgingRecipe = None,
    folds: Folds = None,
    scheme: Scheme = None,
    images: Images = None,
    least: Least = 0.5,
    no_duplicates: NoDuplicates = False,
    overwrite: Annotated[
        bool, flag("--overwrite", "Replace what an earlier call wrote; its audit and decisions are kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a data set once more, in its own format, without what is wrong with it. PATH is only read.

    DIR then has the audit, the data set in 'cleaned', every point that was moved in changes.csv, and provenance.json. What was
    not moved keeps its digits. To decide yourself: clean with --accept none, 'semalign review DIR', then press Export on the
    page, or clean again with --accept reviewed --overwrite.

    Examples:
        semalign clean faces/annotations.xml --quick
        semalign clean faces --quick --accept none --out checked
        semalign clean faces --out checked --accept reviewed --overwrite
    """
    from semalign.auditing import read_audit
    from semalign.auditing.cleaning import ACCEPTED, AUDIT, PROVENANCE, Accept
    from semalign.auditing.cleaning import clean as write
    from semalign.auditing.result import ABOUT
    from semalign.auditing.run import Judging, audit_source
    from semalign.auditing.source import Source, refuse_other
    from semalign.cli.progress import RichProgress
    from semalign.data import refuse_read_only
    from semalign.errors import SemalignError
    from semalign.schemes import load_scheme

    if accept not in ACCEPTED:
        raise SemalignError(f"--accept {accept!r} is unknown; choose from {', '.join(ACCEPTED)}.")
    chosen: Accept = accept
    refuse_read_only(path)
    source = Source(path, load_scheme(scheme) if scheme else None, images)
    dataset = source.opened()
    out = Path(f"{dataset.name}-clean") if out is None else out
    source.refuse_within(out)
    if (out / PROVENANCE).is_file() and not overwrite:
        raise SemalignError(
            f"{out}: holds a cleaned data set already; give --overwrite to replace it, or another folder with --out."
        )
    place = audit or out / AUDIT
    if audit is not None or (place / ABOUT).is_file():
        found = read_audit(place)
        refuse_other(found, dataset, place)
        say(one_line(f"audit: {place}, which was there"))
    elif chosen == "reviewed":
        raise SemalignError(f"{place}: holds no audit that people have reviewed; name its folder with --audit.")
    else:
        judging = Judging(quick, model, crossfit, recipe or "", folds or 0, not no_duplicates)
        found = audit_source(source, dataset, judging, place, progress=RichProgress())
    done = write(found, source, out, chosen, decisions=place, least=least)
    _tell(done, len(found), as_json, chosen, place, list(dataset.skipped))


def _tell(done: Cleaned, faces: int, as_json: bool, accept: str, audit: Path, skipped: list[tuple[str, str]]) -> None:
    from semalign.auditing.cleaning import read_provenance
    from semalign.files import shown

    if as_json:
        unusable = [{"image": shown(name), "why": shown(why)} for name, why in skipped]
        print_json(
            read_provenance(done.out) | {"out": shown(done.out), "notes": list(done.notes), "unusable": unusable}
        )
        return
    say(one_line(f"{done.points} points moved, in {done.faces} of {faces} faces: {done.out}"))
    for note in done.notes:
        say(one_line(f"note: {note}"))
    for _, why in skipped:
        say(one_line(f"left as it is: {why}"), err=True)
    if accept != "reviewed":
        say(one_line(f"to look at it: semalign review {audit}"))


COMMANDS: dict[str, Callable[..., None]] = {"clean": clean}
