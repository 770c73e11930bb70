"""What a state of `paper_size.py` says: a row for each network and training, and one for all seeds together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from faces import Faces, read_faces
from state import JSON, State

from semalign.core.metrics import mean_errors, nme_interpupil
from semalign.errors import SemalignError
from semalign.evaluation.annotators import residual_distances
from semalign.evaluation.bootstrap import paired_bootstrap
from semalign.files import read_json

sys.path.append(str(Path(__file__).resolve().parents[1]))
from results import FOLDER, finish

BASELINE = "annotations"


def finish_table(folder: Path, packed: Path, name: str, results: Path | None) -> None:
    """Print the rows and write them to benchmarks/results, with the card's name for hardware."""
    stored = read_json(folder / JSON, "give the folder that a call left behind")
    state, faces = State(folder, stored["origin"]), read_faces(packed)
    if faces.name != stored["origin"]["data"]:
        raise SemalignError(f"{packed}: holds {faces.name}, but {folder} was trained on {stored['origin']['data']}.")
    rows = rows_of(state, faces)
    if not rows:
        raise SemalignError(f"{folder}: holds no finished training; call 'run' again with this state.")
    machine = state.content["machines"][-1]
    versions = {column: machine[column] for column in ("python", "torch", "numpy")}
    finish(name, [versions | row for row in rows], digits=3, hardware=machine["device"], folder=results or FOLDER)


def rows_of(state: State, faces: Faces) -> list[dict[str, Any]]:
    """A row for each finished training, then the means over seeds."""
    train, test = faces.take(np.flatnonzero(~faces.test)), faces.take(np.flatnonzero(faces.test))
    rows = []
    for key, about in state.content["arms"].items():
        name, arm = key.split("/")
        noise, seed = name.removeprefix("noise").split("-seed")
        last, start = about["log"][-1], state.content["starts"][name]
        row: dict[str, Any] = {
            "data": faces.name,
            "size": state.content["origin"]["size"],
            "measured against": "annotations" if faces.truth is None else "truth",
            "noise": int(noise),
            "seed": int(seed),
            "arm": arm,
            "epochs": f"{start['epochs']} + {about['epochs']}",
        }
        row |= {column: last.get(column, "") for column in ("train_nme_interpupil", "train_truth_nme_interpupil")}
        row |= test_errors(state, key, test)
        if f"{name}/{BASELINE}/test" in state.arrays and arm != BASELINE:
            row |= against(state, key, f"{name}/{BASELINE}", test)
        row |= {column: last.get(column, "") for column in ("moved_nme_interpupil", "labels_truth_nme_interpupil")}
        rows.append(row | annotator_distances(state, key, train))
    return rows + over_seeds(rows)


def test_errors(state: State, key: str, test: Faces) -> dict[str, float]:
    """On the test faces, with sub-pixels and at the highest pixel."""
    result = {}
    for column, name in {"": "test", "_argmax": "test-argmax"}.items():
        errors = mean_errors(state.arrays[f"{key}/{name}"].astype(np.float64), test.reference, test.scheme)
        result |= {f"{figure}{column}": value for figure, value in errors.items()}
    return result


def against(state: State, key: str, baseline: str, test: Faces) -> dict[str, float]:
    """The difference to training on the annotations, inter-pupil, with its paired 95 % interval over test faces."""
    own, other = (
        nme_interpupil(state.arrays[f"{name}/test"].astype(np.float64), test.reference, test.scheme)
        for name in (key, baseline)
    )
    difference = paired_bootstrap(own, other, np.random.default_rng(0))
    return {"difference": difference.mean, "low": difference.low, "high": difference.high}


def annotator_distances(state: State, key: str, train: Faces) -> dict[str, float | str]:
    """How far labels and the network's predictions on the marked training faces are from three people's mean, in %."""
    if train.marks is None:
        return {}
    rows = [row for row, name in enumerate(train.ids) if name in set(train.marks.ids)]
    marked = train.take(np.array(rows))
    result: dict[str, float | str] = {}
    for column, name in {"labels": "labels", "network": "train"}.items():
        points = state.arrays[f"{key}/{name}"].astype(np.float64)
        residual = residual_distances(points, marked.ids, train.marks, marked.points)[1]
        result[f"{column} to annotators"] = float(residual.mean())
    return result


def over_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each level of noise and arm with several seeds: means, and the spread of error and difference."""
    result = []
    for noise, arm in dict.fromkeys((row["noise"], row["arm"]) for row in rows):
        group = [row for row in rows if (row["noise"], row["arm"]) == (noise, arm)]
        if len(group) < 2:
            continue
        row = dict(group[0]) | {"seed": f"mean of {len(group)}", "low": "", "high": ""}
        for column, value in group[0].items():
            if isinstance(value, float) and column not in ("low", "high"):
                row[column] = float(np.mean([other[column] for other in group]))
        for column in ("nme_interpupil", "difference"):
            if column in row:
                row[f"{column}, sd"] = float(np.std([other[column] for other in group], ddof=1))
        result.append(row)
    return result
