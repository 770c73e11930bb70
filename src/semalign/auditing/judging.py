"""From a data set as a person gives it to an audit in a folder: who judges, and whether it is one of the same annotations.

What trains and judges is imported when it is needed, so that a page on an audit opens without it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semalign.auditing.looks import Looks
from semalign.auditing.result import ABOUT, FACES, LABELS, POINTS, Audit, read_audit, write_audit
from semalign.data.cache import say_of_old_crops
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.extras import needs_training
from semalign.files import refuse_occupied, write_json
from semalign.inference.onnx import OnnxBackend
from semalign.locks import among_others, writes_into
from semalign.models import pretrained
from semalign.parts import Share
from semalign.progress import Progress, SilentProgress
from semalign.schemes import LandmarkScheme

if TYPE_CHECKING:
    from semalign.searches.builders import EvidenceBuilder

NETWORKS = "crossfit"  # in the audit's folder: networks that were trained for it
BEGUN = "begun.json"  # says whose the folder is while an audit is written
CROPS = "crops"  # what older versions kept there
LOOKS = "parts"  # in the audit's folder: what several processes saw
MODEL = "default"  # that judges where none is named
SOURCE, ASKED = "source", "asked"  # keys of `Audit.about`: what was judged, and by whom


@dataclass(frozen=True)
class Judging:
    """How annotations are judged.

    Attributes:
        quick: by a model that is there, instead of networks that are trained on the other faces.
        model: shipped model or model file that judges if `quick`.
        crossfit: folder of a finished `semalign crossfit` on these faces, whose networks judge.
        recipe: how networks are trained where neither is given; None = by the one that suits the landmarks.
        folds: how many; None = as many as suit it.
        duplicates: also look for copies of photographs.

    Raises:
        SemalignError: one of them would be ignored beside another.
    """

    quick: bool = False
    model: str = MODEL
    crossfit: Path | None = None
    recipe: str | None = None
    folds: int | None = None
    duplicates: bool = True

    def __post_init__(self) -> None:
        model = None if self.quick or self.model == MODEL else self.model
        given = {"model": model, "crossfit": self.crossfit, "recipe": self.recipe, "folds": self.folds}
        judges = "quick" if self.quick else "crossfit"
        others = [name for name, value in given.items() if value is not None and name != judges]
        if others and (self.quick or self.crossfit is not None):
            raise SemalignError(f"{' and '.join(others)} would be ignored beside {judges}; leave out one or the other.")
        if model is not None:
            raise SemalignError("model would be ignored without quick; give both or neither.")

    @property
    def looks_only(self) -> bool:
        """Whether the networks that judge are there, so that nothing is trained."""
        return self.quick or self.crossfit is not None

    def asked(self) -> dict[str, Any]:
        """What of it counts, for `Audit.about`."""
        if self.quick:
            judges: dict[str, Any] = {"model": self.model}
        elif self.crossfit is not None:
            judges = {"crossfit": os.path.abspath(self.crossfit)}
        else:
            judges = {"recipe": self.recipe, "folds": self.folds}
        return judges | {"duplicates": self.duplicates}


@dataclass(frozen=True)
class Source:
    """A data set as a person gave it.

    Attributes:
        path: folder or document.
        scheme: another landmark scheme than its own.
        images: folder of the pictures that a document names.
    """

    path: Path
    scheme: LandmarkScheme | None = None
    images: Path | None = None

    def open(self, pictures: bool = True) -> Dataset:
        """The data set without bad faces, as `semalign.data.open_dataset`; `pictures`: also without those without a picture."""
        return open_dataset(self.path, self.scheme, keep_going=True, images=self.images, pictures=pictures)

    def about(self) -> dict[str, Any]:
        """For `Audit.about`."""
        images = None if self.images is None else os.path.abspath(self.images)
        return {"path": os.path.abspath(self.path), "scheme_given": self.scheme is not None, "images": images}


def source_of(audit: Audit) -> Source:
    """The data set that was audited, as far as the audit tells.

    Raises:
        SemalignError: it does not.
    """
    said = audit.about.get(SOURCE)
    if not isinstance(said, Mapping):
        said = {"path": audit.about.get("data")}
    if not isinstance(said.get("path"), str):
        raise SemalignError(
            "the audit does not say which data set it is of; clean that with 'semalign clean PATH --audit'."
        )
    images = said.get("images")
    return Source(
        Path(said["path"]), audit.scheme if said.get("scheme_given") else None, None if images is None else Path(images)
    )


@writes_into("out")
def audit_source(
    source: Source,
    dataset: Dataset,
    out: Path,
    judging: Judging,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Audit:
    """A new audit, written into its folder; networks whose training was broken off are trained on.

    Args:
        source: as it was given.
        dataset: what it is, opened.
        out: new folder, or that of an audit.
        judging: who judges.
        overwrite: replace an audit that is there; people's decisions stay.
        progress: told what goes on.

    Raises:
        SemalignError: `out` holds something else, an audit that is not to be replaced, or shares of other work; or as
            `semalign.auditing.make.audit`.
    """
    from semalign.auditing.make import audit as make
    from semalign.auditing.make import refuse_few

    if (out / ABOUT).is_file() and not overwrite:
        raise SemalignError(f"{out}: holds an audit already; give overwrite=True to replace it, or another out=FOLDER.")
    networks = out / NETWORKS
    if not (out / ABOUT).is_file() and not _begun(out):
        refuse_occupied(out, "audit")
    say_of_old_crops(out / CROPS, progress or SilentProgress())
    if judging.quick:
        builder = _quick(judging.model)
    else:
        if judging.crossfit is None:
            refuse_few(dataset)
        with needs_training("an audit by networks that are trained for it (without --quick)"):
            builder = _trained(judging, dataset, networks, progress)
    looks = None
    if (out / LOOKS).is_dir():
        looks = Looks(out / LOOKS, dataset, builder, _weights(judging))
    made = make(dataset, builder, duplicates=judging.duplicates, looks=looks, progress=progress)
    made = replace(made, about=made.about | {SOURCE: source.about(), ASKED: judging.asked()})
    write_json(out / BEGUN, {"made_by": "semalign audit"})
    write_audit(made, out)
    (out / BEGUN).unlink(missing_ok=True)
    shutil.rmtree(out / LOOKS, ignore_errors=True)
    return made


def audit_part(
    source: Source, dataset: Dataset, out: Path, judging: Judging, share: Share, progress: Progress | None = None
) -> int:
    """The share of one process in an audit that several do at the same time or one after the other, on one file system.

    It looks at its faces and leaves what was seen in `out`; `audit_source`, once all are done, judges by it, and does what is
    missing. The other arguments are those of `audit_source`, and must be the same for all.

    Returns:
        How many parts are still missing, of all shares.

    Raises:
        SemalignError: networks would have to be trained first; or as `audit_source`.
    """
    from semalign.auditing.make import refuse_few

    if not judging.looks_only:
        raise SemalignError(
            "shares are of looking at the faces, not of training networks for it; give quick=True, or train them with "
            "'semalign crossfit' and give its folder with crossfit=FOLDER."
        )
    with among_others(out):
        if (out / ABOUT).is_file():
            raise SemalignError(
                f"{out}: holds an audit already; choose another folder for a shared one with out=FOLDER."
            )
        if not _begun(out):
            refuse_occupied(out, "audit")
        refuse_few(dataset)
        if judging.quick:
            builder = _quick(judging.model)
        else:
            with needs_training("an audit by networks of a cross-fitting"):
                builder = _trained(judging, dataset, out / NETWORKS, progress)
        looks = Looks(out / LOOKS, dataset, builder, _weights(judging))
        looks.work(share, progress or SilentProgress())
        return len(looks.parts.missing())


def _weights(judging: Judging) -> list[bytes]:
    """The files of the networks that judge."""
    if judging.quick:
        return [pretrained.resolve(judging.model).read_bytes()]
    return [path.read_bytes() for path in sorted((judging.crossfit or Path()).rglob("model.safetensors"))]


def _quick(model: str) -> EvidenceBuilder:
    """The evidence of a model that is there: a shipped one as it is exported, a model file by PyTorch."""
    if pretrained.exported(model) is None and pretrained.resolve(model).suffix != pretrained.EXPORTED:
        with needs_training(f"{model}: computing a model file"):
            from semalign.pipeline.witnesses import ShippedModel
        return ShippedModel(model)
    from semalign.inference.landmarker import open_model
    from semalign.searches.builders import ExportedModel

    opened = open_model(model, exported=True)
    assert isinstance(opened, OnnxBackend)
    return ExportedModel(model, opened)


def _trained(judging: Judging, dataset: Dataset, networks: Path, progress: Progress | None) -> EvidenceBuilder:
    """The evidence of networks that have not seen the faces, trained first where none are given."""
    from semalign.pipeline import crossfit, load_recipe
    from semalign.pipeline.judging import FOLDS, all_training, judging_recipe, judging_recipe_name
    from semalign.pipeline.witnesses import CrossFitted

    trained = judging.crossfit
    if trained is None:
        recipe = judging_recipe(dataset) if judging.recipe is None else load_recipe(judging.recipe)
        folds = judging.folds or FOLDS[judging_recipe_name(dataset.scheme)]
        faces = all_training(dataset)
        crossfit(recipe, faces, networks, folds=folds, resume=True, keep_going=True, progress=progress)
        trained = networks
    return CrossFitted(trained)


def _begun(folder: Path) -> bool:
    """Whether a folder holds nothing but the beginning of an audit that was broken off."""
    try:
        names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError:
        return False
    unfinished = {BEGUN, CROPS, NETWORKS, LOOKS}
    return bool(names & unfinished) and names <= unfinished | {LABELS, FACES, POINTS}


def audit_there(folder: Path, dataset: Dataset) -> Audit | None:
    """The finished audit in a folder, or None where there is none.

    Raises:
        SemalignError: it cannot be read, or is not one of these annotations.
    """
    if not (folder / ABOUT).is_file():
        return None
    found = read_audit(folder)
    refuse_other(found, folder, dataset)
    return found


def refuse_other(audit: Audit, folder: Path, dataset: Dataset) -> None:
    """Refuse an audit of other annotations. Faces that it has not judged are no reason: they have no verdict.

    Raises:
        SemalignError: another scheme, faces that the data set lacks, or that have other annotations there.
    """
    if audit.scheme.landmarks != dataset.scheme.landmarks:
        raise SemalignError(
            f"{folder}: is an audit of the landmarks {audit.scheme.name} ({audit.scheme.count}) and {dataset.root} has "
            f"{dataset.scheme.name} ({dataset.scheme.count}); give the audit's with scheme=NAME, or make it again."
        )
    rows = {name: row for row, name in enumerate(dataset.ids())}
    lacking = [name for name in audit.ids if name not in rows]
    if lacking:
        raise SemalignError(
            f"{folder}: is an audit of other faces: {dataset.root} has not {len(lacking)} of its {len(audit)}, such as "
            f"{lacking[0]}; give the data set that was audited, or make the audit again."
        )
    points = dataset.points()[[rows[name] for name in audit.ids]]
    same = (points == audit.annotations) | (np.isnan(points) & np.isnan(audit.annotations))
    other = np.flatnonzero(~same.all(axis=(1, 2)))
    if len(other):
        raise SemalignError(
            f"{folder}: is an audit of other annotations: those of {len(other)} of its {len(audit)} faces have changed, "
            f"such as {audit.ids[other[0]]}; make the audit again."
        )
