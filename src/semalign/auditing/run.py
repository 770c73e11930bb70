"""An audit by one call: what `semalign audit` does, for programs."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from semalign.auditing.judging import Judging, Source, audit_source
from semalign.auditing.result import Audit
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.progress import Progress
from semalign.schemes import load_scheme


def audit(
    data: str | Path | Dataset,
    *,
    quick: bool = False,
    model: str = "default",
    crossfit: str | Path | None = None,
    recipe: str | None = None,
    folds: int | None = None,
    scheme: str | Path | None = None,
    images: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    duplicates: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """How probably each annotation is wrong, in which way, and where it should be: what `semalign audit` does.

    Faces that cannot be read are left out.

    Args:
        data: a data set, or where `open_dataset` finds one. All its faces are judged, whatever their split.
        quick: judge by `model` instead of networks that are trained on the other faces.
        model: shipped model or model file that judges with `quick`.
        crossfit: folder of a finished `crossfit` of these faces, whose networks judge.
        recipe: how networks are trained, without `quick` and `crossfit`: name or file; None = one that suits the landmarks.
        folds: how many networks are trained; None = as many as suit it.
        scheme: landmark scheme, a shipped name or a TOML file; None = the data's own. Not beside an open data set.
        images: folder of a document's pictures, as `open_dataset` takes it. Not beside an open data set.
        out: new or empty folder for the audit, its crops and networks; what was interrupted is continued there. None =
            nothing is kept, which is not for networks that are trained.
        overwrite: replace an audit that is in `out`.
        duplicates: also find copies of photographs and compare their annotations; reads every picture once more.
        progress: told what goes on; None = nobody is.

    Raises:
        SemalignError: bad input, too few faces, another landmark scheme than the networks', a folder that holds something else,
            or an argument that would be ignored beside another.
    """
    judges = Judging(quick, model, None if crossfit is None else Path(crossfit), recipe, folds, duplicates)
    if not quick and crossfit is None and out is None:
        raise SemalignError(
            "networks that are trained for an audit need a folder, where they can be continued; give out=FOLDER, "
            "or quick=True for a model that is there."
        )
    if isinstance(data, Dataset):
        for name, value in (("scheme", scheme), ("images", images)):
            if value is not None:
                raise SemalignError(f"{data.root}: takes no {name} beside an open data set; give it to open_dataset.")
    given = (data.source or data.root) if isinstance(data, Dataset) else Path(data)
    source = Source(given, load_scheme(scheme) if scheme else None, None if images is None else Path(images))
    dataset = data if isinstance(data, Dataset) else source.open()
    if out is not None:
        return audit_source(source, dataset, Path(out), judges, overwrite=overwrite, progress=progress)
    with TemporaryDirectory(prefix="semalign-audit-", ignore_cleanup_errors=True) as folder:
        return audit_source(source, dataset, Path(folder) / "audit", judges, progress=progress)
