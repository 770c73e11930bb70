"""An audit of a data set: by networks that are trained for it on the other faces, or by a model that is there."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from semalign import pipeline
from semalign.auditing import make
from semalign.auditing.make import refuse_few
from semalign.auditing.result import ABOUT, Audit, write_audit
from semalign.auditing.source import Source
from semalign.data import Dataset
from semalign.data.video import read_pictures
from semalign.errors import SemalignError
from semalign.files import refuse_occupied, write_text
from semalign.pipeline.progress import Progress, SilentProgress
from semalign.pipeline.witnesses import CrossFitted, EvidenceBuilder, ShippedModel
from semalign.schemes import LandmarkScheme, load_scheme, scheme_toml, shipped_schemes

NETWORKS = "crossfit"  # folder in the audit's
FACES, FACES_FOLDS, FACES_SCHEME = "300w-crossfit", 4, "ibug68"  # how networks are trained for these landmarks
ANY, ANY_FOLDS = "any-crossfit", 6  # and for all others


@dataclass(frozen=True)
class Judging:
    """Who judges annotations.

    Attributes:
        quick: a model that is there, instead of networks trained on the other faces.
        model: name of that model, or a model file.
        crossfit: folder of a finished cross-fitting on the same faces, whose networks judge.
        recipe: how networks are trained; "" = by a shipped recipe that suits the landmarks.
        folds: how many; 0 = as many as suit it.
        duplicates: also look for copies of photographs.
    """

    quick: bool = False
    model: str = "default"
    crossfit: Path | None = None
    recipe: str = ""
    folds: int = 0
    duplicates: bool = True


def audit_source(
    source: Source | None,
    dataset: Dataset,
    judging: Judging,
    out: Path | None,
    *,
    overwrite: bool = False,
    progress: Progress,
) -> Audit:
    """Audit a data set, and write the audit into a folder.

    Args:
        source: of the data set; None where it is not known, and nothing has to be trained.
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


def audit(
    data: str | Path | Dataset,
    *,
    quick: bool = False,
    model: str = "default",
    crossfit: str | Path | None = None,
    recipe: str = "",
    folds: int = 0,
    scheme: LandmarkScheme | None = None,
    images: str | Path | None = None,
    duplicates: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Audit:
    """How probably each annotation of a data set is wrong, in which way, and where it should be.

    Args:
        data: folder or document, or a data set that was opened, which needs `quick` or `crossfit`.
        quick: judge by a model that is there, in seconds, instead of training networks on the other faces.
        model: that model: of those that ship, or a model file.
        crossfit: folder of a finished `semalign.crossfit` on the same faces, whose networks judge.
        recipe: how networks are trained; "" = one that suits the landmarks.
        folds: how many; 0 = as many as suit it.
        scheme: landmark scheme; None = the data's own.
        images: folder of the pictures that a document names; None = its own.
        duplicates: also look for copies of photographs.
        out: folder for the audit, for `semalign review` and `clean`; None = nothing is written.
        overwrite: replace an audit that is there.
        progress: told what goes on.

    Returns:
        The audit; `Audit.to_pandas` gives it as data frames.

    Raises:
        SemalignError: bad data, too few faces, another landmark scheme than the model's, or a folder that is occupied.
    """
    judging = Judging(quick, model, None if crossfit is None else Path(crossfit), recipe, folds, duplicates)
    place, told = None if out is None else Path(out), progress or SilentProgress()
    if not isinstance(data, Dataset):
        source = Source(Path(data), scheme, None if images is None else Path(images))
        return audit_source(source, source.opened(), judging, place, overwrite=overwrite, progress=told)
    if not (quick or crossfit):
        raise SemalignError("to train judges the data set's path is needed; give that, or quick=True, or crossfit.")
    return audit_source(None, data, judging, place, overwrite=overwrite, progress=told)


def _made(source: Source | None, dataset: Dataset, judging: Judging, folder: Path, progress: Progress) -> Audit:
    """An audit, without the faces whose pictures turn out to be damaged."""
    try:
        return _judged(source, dataset, judging, folder, progress)
    except SemalignError:
        damaged = _damaged(dataset)
        if not damaged:
            raise
    for why in damaged.values():
        progress.say(f"left out: {why}")
    rest = dataset.select(exclude=frozenset(damaged))
    refuse_few(rest)
    found = _judged(source, rest, judging, folder, progress)
    return replace(found, about=found.about | {"damaged": damaged})


def _damaged(dataset: Dataset) -> dict[str, str]:
    """Faces whose pictures cannot be read, and why."""
    found = {}
    for row, picture in read_pictures(dataset.samples, range(len(dataset))):
        if isinstance(picture, SemalignError):
            found[dataset.samples[row].id] = str(picture)
    return found


def _judged(source: Source | None, dataset: Dataset, judging: Judging, folder: Path, progress: Progress) -> Audit:
    builder: EvidenceBuilder
    if judging.quick:
        builder = ShippedModel(judging.model, folder / "crops")
    else:
        networks = judging.crossfit or _trained(source, dataset, judging, folder, progress)
        builder = CrossFitted(networks, folder / "crops")
    found = make.audit(dataset, builder, duplicates=judging.duplicates, progress=progress)
    return replace(found, about=found.about | {"source": None if source is None else source.said()})


def _trained(source: Source | None, dataset: Dataset, judging: Judging, folder: Path, progress: Progress) -> Path:
    """The folder of a cross-fitting on these faces, which is continued where it was interrupted."""
    assert source is not None
    name = judging.recipe or (FACES if dataset.scheme == load_scheme(FACES_SCHEME) else ANY)
    settings = {"data.scheme": _scheme_name(dataset.scheme, folder), "data.images": str(source.images or "")}
    recipe = pipeline.load_recipe(name, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    folds = judging.folds or (FACES_FOLDS if name == FACES else ANY_FOLDS)
    networks = folder / NETWORKS
    pipeline.crossfit(recipe, source.path, networks, folds=folds, resume=True, keep_going=True, progress=progress)
    return networks


def _scheme_name(scheme: LandmarkScheme, folder: Path) -> str:
    """A shipped scheme's name, or a file with it, as recipes take it."""
    if scheme.name in shipped_schemes() and scheme == load_scheme(scheme.name):
        return scheme.name
    file = folder.absolute() / "scheme.toml"
    write_text(file, scheme_toml(scheme))
    return str(file)
