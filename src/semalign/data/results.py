"""What Semalign itself has written, recognised wherever it lies, so that its own results are never read as data."""

from __future__ import annotations

import os
from pathlib import Path

from semalign.errors import SemalignError
from semalign.files import read_json

# What export and clean write beside what they made: when it is finished, and before.
DONE, STARTED = "provenance.json", "provenance.started.json"
CLEANED = "semalign clean"  # what the former of them says of a cleaned data set
PREDICTIONS = ("landmarks.json", "landmarks.jsonl", "landmarks.parquet")
BEGUN = "parts/begun.json"  # where several processes have begun to share out a work, and which one
PREDICTING = "semalign predict"  # what the latter says of a prediction
HEAD = 65536  # bytes at each end of a file in which it says whose it is
RUN = ("origin.json", "summary.json", "crops")  # one of them is beside the recipe.toml of a run or a training
DEPTH = 3  # folders above the one that is given in which predictions are looked for
MADE_BY = {
    "predictions": "written by 'semalign predict'",
    "run": "written by 'semalign run' or 'train'",
    "export": "written by 'semalign labels export'",
    "audit": "written by 'semalign audit'",
    "cleaned": "written by 'semalign clean'",
    "paper": "written by 'semalign reproduce'",
}


def kind_of_results(folder: Path) -> str | None:
    """The key of `MADE_BY` of a folder that Semalign has written; None for any other, also for one that cannot be read."""
    if any(_says(folder / name, b"semalign") for name in PREDICTIONS):
        return "predictions"
    if _says(folder / BEGUN, f'"{PREDICTING}"'.encode()):
        return "predictions"
    if os.path.isfile(folder / "recipe.toml") and any(os.path.exists(folder / name) for name in RUN):
        return "run"
    if any(_says(folder / name, b'"label_version"') for name in (DONE, STARTED)):
        return "export"
    if _says(folder / "audit.json", b'"judges"'):
        return "audit"
    if any(_says(folder / name, f'"{CLEANED}"'.encode()) for name in (DONE, STARTED)):
        return "cleaned"
    if all(os.path.isfile(folder / name) for name in ("reproduce.json", "asked.json")):
        return "paper"
    return None


def exported_version(root: Path) -> int | None:
    """The label version that a data set was exported from, or None for an original.

    Raises:
        SemalignError: its provenance.json cannot be read.
    """
    if not (root / DONE).is_file():
        return None
    data = read_json(root / DONE, "repair or delete it")
    version = data.get("label_version") if isinstance(data, dict) else None
    return version if isinstance(version, int) else None


def refuse_results(folder: Path) -> None:
    """Refuse the results of a prediction, or a folder in them, as data: their points were found, not annotated.

    Raises:
        SemalignError: `folder` is one.
    """
    upright = Path(os.path.abspath(folder))
    for place in (upright, *list(upright.parents)[:DEPTH]):
        if kind_of_results(place) == "predictions":
            raise SemalignError(
                f"{folder}: was written by 'semalign predict' and holds found landmarks, not annotations; "
                "give the folder of the annotated pictures."
            )


def results_note(name: str, kind: str) -> str:
    """The sentence on a folder of results of a kind that was passed over."""
    return f"{name} was {MADE_BY[kind]} and is not read as data."


def _says(path: Path, word: bytes) -> bool:
    """Whether a file has a word in its first or last bytes."""
    try:
        with open(path, "rb") as file:
            if word in file.read(HEAD):
                return True
            file.seek(-min(HEAD, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return word in file.read()
    except OSError:
        return False
