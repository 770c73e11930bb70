"""The command that adapts a model to some annotated faces."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from semalign.cli.export import named
from semalign.cli.judging import Images, Scheme
from semalign.cli.options import AsJson, Data, KeepGoing, Model, Overwrite, one_line, option
from semalign.cli.output import claim_file, print_json, say

if TYPE_CHECKING:
    from semalign.pipeline.adapting import Adapted


def adapt(
    model: Model,
    data: Data,
    out: Annotated[
        Path,
        option("--out", "FILE", "Model file to write, such as mine.safetensors; the ending is added.", default=True),
    ] = Path("adapted.safetensors"),
    scheme: Scheme = None,
    images: Images = None,
    terms: Annotated[
        str | None, option("--terms", "TEXT", "Terms of the data, written into the file beside the model's.")
    ] = None,
    seed: Annotated[int, option("--seed", "S", "Seed of the folds.", default=True, min=0)] = 0,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Adapt a trained model to your convention, or to other landmarks, by 50 to 200 annotated faces.

    The faces may have the model's landmarks, marked by other rules, or landmarks of another scheme, also one of your own
    (scheme.toml in their folder). How it is done is chosen on faces that were held out, of which the error is printed. Where
    nothing is gained, nothing is written. It takes a minute or two of two cores. All commands take the file as a model.

    Examples:
        semalign adapt default --data ~/faces --out mine
        semalign predict photo.jpg --model mine.safetensors
    """
    from semalign.cli.progress import RichProgress
    from semalign.locks import one_writer_of
    from semalign.models.checkpoint import save_model
    from semalign.pipeline.adapting import adapt as make
    from semalign.schemes import load_scheme

    file = named(out, "safetensors")
    claim_file(file, overwrite)
    begun = time.monotonic()
    with one_writer_of(file):
        made = make(
            model,
            data,
            scheme=load_scheme(scheme) if scheme else None,
            images=images,
            terms=terms,
            seed=seed,
            keep_going=keep_going,
            progress=RichProgress(),
        )
        if made.gained:
            save_model(file, made.model)
    if as_json:
        print_json(
            {
                "file": str(file) if made.gained else None,
                "method": made.method,
                "metric": made.metric,
                "errors": made.errors,
                "faces": made.faces,
                "scheme": made.model.scheme.name,
                "seconds": round(time.monotonic() - begun, 1),
                "notes": list(made.notes),
            }
        )
        return
    for line in _summary(made, file, model):
        say(one_line(line))


def _summary(made: Adapted, file: Path, model: str) -> list[str]:
    """How well each method does, which one was taken, what to do next."""
    scheme = made.model.scheme
    lines = [f"note: {note}" for note in made.notes]
    lines.append(f"{made.faces} faces, {scheme.count} landmarks; mean error on faces held out, {made.metric} in %:")
    for method, error in made.errors.items():
        lines.append(f"  {error:5.2f}  {method}{'  <- taken' if method == made.method else ''}")
    if not made.gained:
        return [*lines, f"nothing is gained: {model} is as good as it is, and no file was written"]
    return [*lines, f"model: {file}", f"next: semalign predict PHOTO --model {shlex.quote(str(file))}"]


COMMANDS: dict[str, Callable[..., None]] = {"adapt": adapt}
