"""Make the correction for hidden landmarks that ships with a detector (`semalign predict --correct`).

    python benchmarks/make_correction.py default --data 300w --out src/semalign/pretrained/corrections/300w-detector.safetensors

The detector looks at its training faces six times: as they are, and five times with a block, a piece of another face's crop or
a round piece of one in front of up to half of the face. The shape prior is that of the annotations. A quarter of an hour on
one core.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, faces_of, run

from semalign import __version__
from semalign.cli.progress import RichProgress
from semalign.data import open_dataset
from semalign.data.duplicates import leaky_training_ids
from semalign.inference.backend import quick_precision
from semalign.models import pretrained
from semalign.models.correction import save_correction
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces
from semalign.training.shape_correction import ShapeCorrectionSettings, fit_shape_correction


def main(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model or a model file.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    seed: int = 0,
) -> None:
    loaded = pretrained.load(model)
    dataset = open_dataset(data, loaded.scheme, keep_going=True)
    train = dataset.select("train", exclude=leaky_training_ids(dataset))
    settings, fitting = HiddenFacesSettings(), ShapeCorrectionSettings()
    progress = RichProgress()
    with tempfile.TemporaryDirectory() as folder:
        faces = faces_of(train, loaded.crop, loaded.input_size, Path(folder))
        labels = faces.crops.to_crop(faces.dataset.points())
        there = np.flatnonzero(np.isfinite(labels).all(axis=(1, 2)))
        crops, labels = faces.crops.take(there), labels[there]
        with progress.stage("looking", len(crops) * settings.passes) as advance:
            precision = quick_precision(loaded.network.device)
            seen = see_hidden_faces(loaded, crops, labels, settings, seed, precision=precision, advance=advance)
    about = {
        "data": data.name,
        "train": faces.dataset.subsets(),
        "seed": seed,
        "semalign": __version__,
        "settings": {**asdict(settings), **asdict(fitting)},
        **{key: loaded.about[key] for key in ("terms",) if key in loaded.about},
    }
    with progress.stage("learning", fitting.epochs * 2 * len(seen.points)) as advance:
        made = fit_shape_correction(labels, seen, loaded.scheme, fitting, seed, loaded.about, about, advance)
    save_correction(out, made)
    print(f"written: {out}, {out.stat().st_size} bytes")


if __name__ == "__main__":
    run(main)
