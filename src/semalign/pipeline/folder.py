"""The folder of a run or a training: whose it is, and that what resumes it is what began it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import is_new, read_json, write_json, write_text
from semalign.models import pretrained
from semalign.pipeline.recipe import Recipe, dump_recipe, load_recipe
from semalign.report import write_report
from semalign.training.trainer import make_accelerator

RECIPE = "recipe.toml"
ORIGIN = "origin.json"
FACES = "training faces"
SUMMARY = "summary.json"  # there is one once a run is finished


def claim(out: Path, recipe: Recipe, resume: bool) -> None:
    """Make the folder this run's own.

    Raises:
        SemalignError: it holds another run, or one and `resume` was not asked for, or something else.
    """
    accelerator = make_accelerator()
    if accelerator.is_main_process:
        path = out / RECIPE
        if is_new(path, "run", resume):
            write_text(path, dump_recipe(recipe))
        elif load_recipe(path) != recipe:
            raise SemalignError(f"{out}: holds a run of other settings (its {RECIPE} differs); choose another folder.")
    accelerator.wait_for_everyone()


def same_origin(
    out: Path, faces: Dataset, trained: str | Path | None = None, teachers: Sequence[str | Path] = ()
) -> None:
    """Note what a run is made from beside its settings; where that is noted already, it must be the same.

    Args:
        out: the claimed folder.
        faces: the training faces; their ids and annotations count, not where they lie.
        trained: the model that training starts from, a file or a shipped name; None for random weights.
        teachers: likewise, of those that are learned from.

    Raises:
        SemalignError: the folder was begun with other faces or models, or its note is damaged.
    """
    accelerator = make_accelerator()
    if accelerator.is_main_process:
        path = out / ORIGIN
        models = {} if trained is None else {"model to start from": trained}
        models |= {f"teacher {index}": teacher for index, teacher in enumerate(teachers, start=1)}
        origin = {FACES: digest_of_faces(faces)} | {what: _digest(given) for what, given in models.items()}
        if not path.is_file():
            write_json(path, origin)
        else:
            before = read_json(path, "delete it to continue without this check")
            before = before if isinstance(before, dict) else {}
            changed = sorted(key for key in before.keys() | origin.keys() if before.get(key) != origin.get(key))
            if changed:
                raise SemalignError(
                    f"{out}: was begun with a different choice of {' and '.join(changed)} ({ORIGIN}); "
                    "give the same ones to continue, or choose another folder."
                )
    accelerator.wait_for_everyone()


def digest_of_faces(faces: Dataset) -> str:
    """A text that changes with the ids and the annotations of the faces, not with where they lie."""
    digest = hashlib.sha256(json.dumps(faces.ids()).encode())
    digest.update(faces.points().astype("<f8").tobytes())
    return digest.hexdigest()


def _digest(model: str | Path) -> str:
    return hashlib.sha256(pretrained.resolve(model).read_bytes()).hexdigest()


def nth(folder: Path, repeat: int) -> Path:
    """The folder of a repeat: NAME, NAME-2, NAME-3, ..."""
    return folder if repeat == 0 else folder.with_name(f"{folder.name}-{repeat + 1}")


def read_summary(out: Path) -> dict[str, Any]:
    """What a finished run's summary.json holds; its report is written where it is missing."""
    summary: dict[str, Any] = read_json(out / SUMMARY, "delete it and run again with --resume")
    if not (out / "report.html").is_file():
        write_report(out)
    return summary
