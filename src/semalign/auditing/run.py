"""An audit of a data set by networks that are chosen by name, or trained first: what `semalign audit` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from semalign import pipeline
from semalign.auditing import make
from semalign.auditing.result import ABOUT, Audit, write_audit
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import refuse_occupied
from semalign.pipeline.progress import Progress, SilentProgress
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.witnesses import CrossFitted, EvidenceBuilder, ShippedModel
from semalign.schemes import load_scheme

NETWORKS, CROPS = "crossfit", "crops"  # in the audit's folder
RECIPE, FOLDS = "300w-crossfit", 4


def audit(
    data: str | Path | Dataset,
    *,
    quick: bool = False,
    model: str = "default",
    crossfit: str | Path | None = None,
    recipe: str | Recipe = RECIPE,
    folds: int = FOLDS,
    scheme: str | Path | None = None,
    images: str | Path | None = None,
    source: str | Path | None = None,
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
        recipe: how networks are trained, without `quick` and `crossfit`: a `Recipe`, or the name or file of one.
        folds: how many networks are trained.
        scheme: landmark scheme, a shipped name or a TOML file; None = the data's own.
        images: folder of a document's pictures, as `open_dataset` takes it.
        source: where the faces to train on are read, for a data set that is open; None = its folder.
        out: new or empty folder for the audit, its crops and networks; what was interrupted is continued there. None =
            nothing is kept, which is not for networks that are trained.
        overwrite: replace an audit that is in `out`.
        duplicates: also find copies of photographs and compare their annotations; reads every picture once more.
        progress: told what goes on; None = nobody is.

    Raises:
        SemalignError: bad input, too few faces, another landmark scheme than the networks', or a folder that holds
            something else.
    """
    trains = not quick and crossfit is None
    if trains and out is None:
        raise SemalignError(
            "networks that are trained for an audit need a folder, where they can be continued; give out=FOLDER, "
            "or quick=True for a model that is there."
        )
    if trains and images is not None:
        raise SemalignError(
            f"networks are not trained on pictures that are elsewhere (images={images}); put them beside the document, "
            "or give quick=True."
        )
    dataset = data if isinstance(data, Dataset) else _opened(data, scheme, images)
    progress = progress or SilentProgress()
    builder: EvidenceBuilder
    with _place(out, overwrite) as folder:
        if quick:
            builder = ShippedModel(model, folder / CROPS)
        else:
            if crossfit is None:
                read = source or (dataset.root if isinstance(data, Dataset) else data)
                crossfit = _trained(dataset, Path(read), folder / NETWORKS, _recipe(recipe, scheme), folds, progress)
            builder = CrossFitted(Path(crossfit), folder / CROPS)
        made = make.audit(dataset, builder, duplicates=duplicates, progress=progress)
        if out is not None:
            write_audit(made, out)
    return made


def _opened(path: str | Path, scheme: str | Path | None, images: str | Path | None) -> Dataset:
    return open_dataset(path, None if scheme is None else load_scheme(scheme), keep_going=True, images=images)


@contextmanager
def _place(out: str | Path | None, overwrite: bool) -> Iterator[Path]:
    """The folder for what an audit makes: `out`, or one that is gone afterwards.

    Raises:
        SemalignError: `out` holds an audit that may not be replaced, or something else.
    """
    if out is None:
        with TemporaryDirectory(prefix="semalign-audit-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    out = Path(out)
    if (out / ABOUT).is_file() and not overwrite:
        raise SemalignError(
            f"{out}: holds an audit already; give --overwrite to replace it, or another folder with --out."
        )
    if not (out / ABOUT).is_file() and not (out / NETWORKS).is_dir():
        refuse_occupied(out, "audit")
    yield out


def _recipe(recipe: str | Recipe, scheme: str | Path | None) -> Recipe:
    """The recipe, for the landmarks that are asked for."""
    chosen = recipe if isinstance(recipe, Recipe) else pipeline.load_recipe(recipe)
    return chosen if scheme is None else replace(chosen, data=replace(chosen.data, scheme=str(scheme)))


def _trained(dataset: Dataset, source: Path, out: Path, recipe: Recipe, folds: int, progress: Progress) -> Path:
    """The folder of networks that are trained on the faces of `source`, which are those of the data set.

    Raises:
        SemalignError: they are others, so that the networks would judge faces that they have seen.
    """
    there = set(open_dataset(source, dataset.scheme, keep_going=True).ids())
    if strange := [name for name in dataset.ids() if name not in there]:
        raise SemalignError(
            f"{source}: has no face {strange[0]}, which is to be judged; give the path that the data set was opened from."
        )
    pipeline.crossfit(recipe, source, out, folds=folds, resume=True, keep_going=True, progress=progress)
    return out
