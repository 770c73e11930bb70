"""A correction for hidden landmarks, made for a detector from faces that it may have been trained on."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from semalign.data.duplicates import leaky_training_ids
from semalign.data.opening import open_dataset
from semalign.errors import SemalignError
from semalign.inference.torch_backend import quick_precision
from semalign.models import pretrained
from semalign.models.correction import SUFFIX, save_correction
from semalign.pipeline.prepare import cache_crops
from semalign.pipeline.summary import versions
from semalign.progress import Progress, SilentProgress
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces
from semalign.training.shape_correction import ShapeCorrectionSettings, fit_shape_correction

FEWEST = 20  # faces


def beside(model: str | Path) -> Path:
    """Where the correction of a model file lies, so that `semalign predict` finds it.

    Raises:
        SemalignError: a shipped model's name, which is no file of the user's.
    """
    path = pretrained.resolve(model)
    if path in pretrained.available().values():
        raise SemalignError(f"{model}: ships with the package; say with --out where its correction is to be written.")
    return path.with_suffix(SUFFIX)


def make_correction(
    model: str | Path,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    hiding: HiddenFacesSettings | None = None,
    fitting: ShapeCorrectionSettings | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Make the correction of a model and write it; returns its file.

    Args:
        model: a shipped model's name or a model file.
        data: annotated faces of its landmarks; test faces and photographs that show the same are left out.
        out: the file to write.
        seed: of everything random.
        hiding: how faces are hidden.
        fitting: how the correction is fitted.
        keep_going: leave out faces that cannot be read.
        progress: is told what is done.

    Raises:
        SemalignError: no such model, an exported one, data of another scheme, or too few faces whose landmarks are all there.
    """
    progress = progress or SilentProgress()
    hiding, fitting = hiding or HiddenFacesSettings(), fitting or ShapeCorrectionSettings()
    loaded = pretrained.load(model)
    dataset = open_dataset(data, loaded.scheme, keep_going=keep_going)
    train = dataset.select("train")
    train = train.select(exclude=set(leaky_training_ids(dataset, strict=not keep_going)) & set(train.ids()))
    with tempfile.TemporaryDirectory(prefix="semalign-") as folder:
        faces = cache_crops(train, loaded.crop, loaded.input_size, Path(folder), keep_going, progress, "crops")
        labels = faces.crops.to_crop(faces.dataset.points())
        there = np.flatnonzero(np.isfinite(labels).all(axis=(1, 2)))
        if len(there) < FEWEST:
            raise SemalignError(
                f"{data}: has {len(there)} training faces whose landmarks are all there; a correction needs {FEWEST} or more."
            )
        crops, labels = faces.crops.take(there), labels[there]
        with progress.stage("hidden faces", len(crops) * hiding.passes) as advance:
            precision = quick_precision(loaded.network.device)
            seen = see_hidden_faces(loaded, crops, labels, hiding, seed, precision=precision, advance=advance)
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
        made = fit_shape_correction(labels, seen, loaded.scheme, fitting, seed, loaded.about, about, advance)
    save_correction(out, made)
    return out
