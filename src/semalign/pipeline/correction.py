"""A correction for hidden landmarks, made for a detector from faces that it may have been trained on.

Beside the file that is made lies, until it is finished, a folder with what is done:

    FILE.parts/begun.json           whose folder it is
    FILE.parts/KEY/seen-*.npz       what the network finds in them, some hundred a file
    FILE.parts/KEY/weights.*        the weights' training after its last epoch

KEY is another one for another model, other faces or settings: what is begun goes on only where the result is the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.crops import CropCache
from semalign.data.duplicates import leaky_training_ids
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import is_new, remove_leftovers, write_json
from semalign.inference.torch_backend import quick_precision
from semalign.locks import writes_file
from semalign.models import pretrained
from semalign.models.correction import SUFFIX, save_correction
from semalign.pipeline.prepare import cache_crops
from semalign.pipeline.summary import versions
from semalign.pipeline.unseen import Group, left_out, with_errors
from semalign.progress import Progress, SilentProgress
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces
from semalign.training.shape_correction import ShapeCorrectionSettings, fit_shape_correction

FEWEST = 20  # faces
BEGUN, WEIGHTS = "begun.json", "weights.safetensors"  # of the folder of what is done


def beside(model: str | Path) -> Path:
    """Where the correction of a model file lies, so that `semalign predict` finds it.

    Raises:
        SemalignError: a shipped model's name, which is no file of the user's.
    """
    path = pretrained.resolve(model)
    if path in pretrained.available().values():
        raise SemalignError(f"{model}: ships with the package; say with --out where its correction is to be written.")
    return path.with_suffix(SUFFIX)


@writes_file("out")
def make_correction(
    model: str | Path,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    hiding: HiddenFacesSettings | None = None,
    fitting: ShapeCorrectionSettings | None = None,
    unseen: Path | None = None,
    unseen_by: str | Path | None = None,
    crossfit: Path | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Make the correction of a model and write it; returns its file. Broken off, the same call goes on to the same bits.

    Args:
        model: a shipped model's name or a model file.
        data: annotated faces of its landmarks; test faces and photographs that show the same are left out.
        out: the file to write.
        seed: of everything random.
        hiding: how faces are hidden.
        fitting: how the correction is fitted.
        unseen: annotated faces that the model was not trained on: by these the correction also says how large errors are.
        unseen_by: the model that has not seen them, one of the model's recipe, as long trained: by default the model itself.
        crossfit: for the same, networks of the model's kind, each trained without a part of `data` (`semalign crossfit`).
        keep_going: leave out faces that cannot be read.
        progress: is told what is done.

    Raises:
        SemalignError: no such model, an exported one, data of another scheme, or too few faces whose landmarks are all there;
            no finished cross-fitting of these faces; both `unseen` and `crossfit`; `unseen_by` alone, or of other landmarks.
    """
    if unseen_by is not None and unseen is None:
        raise SemalignError("--unseen-by: says which model has not seen the faces of --unseen; give these, too.")
    if unseen is not None and crossfit is not None:
        raise SemalignError(
            "--unseen and --crossfit: errors are measured on the one or by the other; give one of them."
        )
    progress = progress or SilentProgress()
    hiding, fitting = hiding or HiddenFacesSettings(), fitting or ShapeCorrectionSettings()
    loaded = pretrained.load(model)
    stranger = loaded if unseen_by is None else pretrained.load(unseen_by, loaded.scheme)
    dataset = open_dataset(data, loaded.scheme, keep_going=keep_going)
    train = dataset.select("train")
    train = train.select(exclude=set(leaky_training_ids(dataset, strict=not keep_going)) & set(train.ids()))
    _complete(train, data)
    parts = parts_of(out)
    if is_new(parts / BEGUN, "begun correction", resume=True):
        write_json(parts / BEGUN, {"made_by": "semalign correction"})
    remove_leftovers(parts)
    faces = cache_crops(train, loaded.crop, loaded.input_size, keep_going, progress, "crops")
    there = _complete(faces.dataset, data)
    crops, labels = faces.crops.take(there), faces.crops.to_crop(faces.dataset.points())[there]
    precision = quick_precision(loaded.network.device)
    asked = [seed, asdict(hiding), asdict(fitting), precision, versions(), loaded.tta, len(crops)]
    kept = parts / _key(pretrained.resolve(model), crops, labels, asked)
    with progress.stage("hidden faces", len(crops) * hiding.passes) as advance:
        seen = see_hidden_faces(loaded, crops, labels, hiding, seed, precision=precision, advance=advance, kept=kept)
    about = {
        "data": data.name,
        "train": faces.dataset.subsets(),
        "seed": seed,
        "versions": versions(),
        "hiding": asdict(hiding),
        "fitting": asdict(fitting),
        **{key: loaded.about[key] for key in ("terms",) if key in loaded.about},
    }
    sides = 2 if loaded.scheme.mirrors else 1
    with progress.stage("weights", fitting.epochs * sides * len(seen.points)) as advance:
        weights = kept / WEIGHTS
        made = fit_shape_correction(labels, seen, loaded.scheme, fitting, seed, loaded.about, about, advance, weights)
    groups: Iterator[Group] | None = None
    if unseen is not None:
        groups = iter([(stranger, open_dataset(unseen, loaded.scheme, keep_going=keep_going))])
    elif crossfit is not None:
        groups = left_out(crossfit, faces.dataset)
    if groups is not None:
        made = with_errors(made, groups, hiding, seed, progress)
    save_correction(out, made)
    shutil.rmtree(parts, ignore_errors=True)
    return out


def parts_of(out: Path) -> Path:
    """Where what is done lies until the file is finished."""
    return out.with_name(f"{out.name}.parts")


def _complete(faces: Dataset, data: Path) -> np.ndarray:
    """Rows of the faces whose landmarks are all there.

    Raises:
        SemalignError: they are too few.
    """
    there = np.flatnonzero(np.isfinite(faces.points()).all(axis=(1, 2)))
    if len(there) < FEWEST:
        raise SemalignError(
            f"{data}: has {len(there)} training faces whose landmarks are all there; a correction needs {FEWEST} or more."
        )
    return there


def _key(model: Path, crops: CropCache, labels: np.ndarray, asked: list[Any]) -> str:
    """A name that changes with anything on which the correction depends."""
    digest = hashlib.sha256(model.read_bytes())
    digest.update(json.dumps(asked, sort_keys=True).encode())
    for array in (crops.images, labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
