"""An audit of a data set: by networks that are trained for it on the other faces, or by a model that is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from semalign import pipeline
from semalign.auditing.make import audit, refuse_few
from semalign.auditing.result import ABOUT, Audit, write_audit
from semalign.auditing.source import Source
from semalign.data import Dataset
from semalign.errors import SemalignError
from semalign.files import refuse_occupied
from semalign.pipeline.progress import Progress
from semalign.pipeline.witnesses import CrossFitted, EvidenceBuilder, ShippedModel

NETWORKS = "crossfit"  # folder in the audit's


@dataclass(frozen=True)
class Judging:
    """Who judges annotations.

    Attributes:
        quick: a model that is there, instead of networks trained on the other faces.
        model: name of that model, or a model file.
        crossfit: folder of a finished cross-fitting on the same faces, whose networks judge.
        recipe: how networks are trained.
        folds: how many.
        duplicates: also look for copies of photographs.
    """

    quick: bool = False
    model: str = "default"
    crossfit: Path | None = None
    recipe: str = "300w-crossfit"
    folds: int = 4
    duplicates: bool = True


def audit_source(
    source: Source, dataset: Dataset, judging: Judging, out: Path | None, *, overwrite: bool = False, progress: Progress
) -> Audit:
    """Audit a data set, and write the audit into a folder.

    Args:
        source: of the data set.
        dataset: opened from it.
        judging: who judges.
        out: new or empty folder, or one with an audit that was interrupted; None = nothing is written.
        overwrite: replace an audit that is there.
        progress: told what goes on.

    Raises:
        SemalignError: too few faces, another landmark scheme than the model's, an audit that is there already, or a file that
            cannot be read or written.
    """
    refuse_few(dataset)
    if out is None:
        with TemporaryDirectory() as folder:
            return _made(source, dataset, judging, Path(folder), progress)
    if (out / ABOUT).is_file() and not overwrite:
        raise SemalignError(
            f"{out}: holds an audit already; give --overwrite to replace it, or another folder with --out."
        )
    if not (out / ABOUT).is_file() and not (out / NETWORKS).is_dir():
        refuse_occupied(out, "audit")
    found = _made(source, dataset, judging, out, progress)
    write_audit(found, out)
    return found


def _made(source: Source, dataset: Dataset, judging: Judging, folder: Path, progress: Progress) -> Audit:
    builder: EvidenceBuilder
    if judging.quick:
        builder = ShippedModel(judging.model, folder / "crops")
    else:
        builder = CrossFitted(judging.crossfit or _trained(source, judging, folder, progress), folder / "crops")
    found = audit(dataset, builder, duplicates=judging.duplicates, progress=progress)
    return replace(found, about=found.about | {"source": source.said()})


def _trained(source: Source, judging: Judging, folder: Path, progress: Progress) -> Path:
    recipe = pipeline.load_recipe(judging.recipe)
    networks = folder / NETWORKS
    pipeline.crossfit(
        recipe, source.path, networks, folds=judging.folds, resume=True, keep_going=True, progress=progress
    )
    return networks
