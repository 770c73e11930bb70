"""The command that makes a correction for hidden landmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from semalign.cli.options import Data, KeepGoing, Model, Overwrite, option
from semalign.cli.output import claim_file, say


def correction(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, option("--out", "FILE", "File to write.", default="beside the model's, where predict finds it")
    ] = None,
    passes: Annotated[
        int, option("--passes", "N", "How often each face is looked at, hidden in another way.", default=True, min=2)
    ] = 6,
    epochs: Annotated[int, option("--epochs", "N", "Epochs of the weights' training.", default=True, min=1)] = 6,
    seed: Annotated[int, option("--seed", "S", "Seed of everything random.", default=True)] = 0,
    unseen: Annotated[
        Path | None,
        option(
            "--unseen",
            "PATH",
            "Annotated faces that MODEL (or that of --unseen-by) was not trained on; FILE then also says how large errors are.",
        ),
    ] = None,
    unseen_by: Annotated[
        str | None,
        option(
            "--unseen-by",
            "MODEL",
            "The model that was not trained on these faces: one of MODEL's recipe.",
            default="MODEL itself",
        ),
    ] = None,
    crossfit: Annotated[
        Path | None,
        option(
            "--crossfit", "DIR", "For the same, a finished `semalign crossfit` of MODEL's recipe and this data set."
        ),
    ] = None,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
) -> None:
    """Make the correction for hidden landmarks of a detector of your own, for `semalign predict --correct`.

    The detector looks at annotated faces, which may be those that it was trained on, bare and with things in front of them;
    from what it finds the correction learns which landmarks to trust. 2000 faces take ten minutes of one core. Broken off,
    the same command goes on: until FILE is finished, FILE.parts has what is done.

    With --unseen or --crossfit, results have an `uncertainty`, too: the standard deviation of each landmark's error along x and
    along y, in pixels, as it is on faces that the detector does not know.

    Examples:
        semalign correction runs/mine/aligned/model.safetensors --data ~/300w
        semalign correction default --data ~/300w --out default.correction.safetensors
    """
    from semalign.cli.progress import RichProgress
    from semalign.pipeline.correction import beside, make_correction
    from semalign.training.hidden_faces import HiddenFacesSettings
    from semalign.training.shape_correction import ShapeCorrectionSettings

    file = beside(model) if out is None else out
    claim_file(file, overwrite)
    made = make_correction(
        model,
        data,
        file,
        seed=seed,
        hiding=HiddenFacesSettings(passes=passes),
        fitting=ShapeCorrectionSettings(epochs=epochs),
        unseen=unseen,
        unseen_by=unseen_by,
        crossfit=crossfit,
        keep_going=keep_going,
        progress=RichProgress(),
    )
    say(f"correction: {made}")


COMMANDS: dict[str, Callable[..., None]] = {"correction": correction}
