"""What a state of `paper_size.py` says: a row for each network and training, for all seeds together, and curves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faces import Faces, read_faces
from state import JSON, Record, State

from semalign.core.metrics import mean_errors, nme_interpupil
from semalign.errors import SemalignError
from semalign.evaluation.annotators import residual_distances
from semalign.evaluation.bootstrap import paired_bootstrap
from semalign.files import read_json

sys.path.append(str(Path(__file__).resolve().parents[1]))
from harness import finish, write_results

BASELINE = "annotations"
TRAINING = ("train_nme_interpupil", "train_truth_nme_interpupil")  # columns from the logs
LABELS = ("moved_nme_interpupil", "labels_truth_nme_interpupil")


def finish_table(folder: Path, packed: Path, name: str) -> None:
    """Print the rows and write them to benchmarks/results, with the card's name for hardware where there was one."""
    stored = read_json(folder / JSON, "give the folder that a call left behind")
    state, faces = State(folder, stored["origin"]), read_faces(packed)
    if faces.name != stored["origin"]["data"]:
        raise SemalignError(f"{packed}: holds {faces.name}, but {folder} was trained on {stored['origin']['data']}.")
    rows = rows_of(state, faces)
    if not state.content["arms"]:
        raise SemalignError(f"{folder}: holds no finished training; call 'run' again with this state.")
    machine = state.content["machines"][-1]
    versions = {column: machine[column] for column in ("python", "torch", "numpy")}
    card = not machine["device"].endswith("CPU threads")  # what was trained on a CPU is tabled there
    hardware = machine["device"] if card else None
    finish(name, [versions | row for row in rows], digits=3, hardware=hardware)
    curves = write_results(f"{name}-curves", [versions | row for row in curves_of(state)], hardware)
    print(f"written: {curves}")


def rows_of(state: State, faces: Faces) -> list[dict[str, Any]]:
    """A row for each finished training, then the means over seeds."""
    train, test = faces.take(np.flatnonzero(~faces.test)), faces.take(np.flatnonzero(faces.test))
    rows = []
    for name, start in state.content["starts"].items():
        last = start["log"][-1]
        row = about(state, faces, name, "start", str(start["epochs"])) | told(last, TRAINING)
        rows.append(row | {column: last[f"test_{column}"] for column in ("nme_interpupil", "nme_interocular")})
    for key, stage in state.content["arms"].items():
        name, arm = key.split("/")
        last, before = stage["log"][-1], state.content["starts"][name]["epochs"]
        row = about(state, faces, name, arm, f"{before} + {stage['epochs']}") | told(last, TRAINING)
        row |= test_errors(state, key, test)
        if f"{name}/{BASELINE}/test" in state.arrays and arm != BASELINE:
            row |= against(state, key, f"{name}/{BASELINE}", test)
        rows.append(row | told(last, LABELS) | annotator_distances(state, key, train))
    return rows + over_seeds(rows)


def about(state: State, faces: Faces, name: str, arm: str, epochs: str) -> dict[str, Any]:
    """What a row is of."""
    noise, seed = name.removeprefix("noise").split("-seed")
    return {
        "data": faces.name,
        "size": state.content["origin"]["size"],
        "measured against": "annotations" if faces.truth is None else "truth",
        "noise": int(noise),
        "seed": int(seed),
        "arm": arm,
        "epochs": epochs,
    }


def told(record: Record, columns: Sequence[str]) -> dict[str, Any]:
    """Some figures of a log's record; empty where it lacks them."""
    return {column: record.get(column, "") for column in columns}


def curves_of(state: State) -> list[dict[str, Any]]:
    """Training and test error of every training, epoch by epoch as far as they were looked at."""
    starts = ((name, "start", about["log"]) for name, about in state.content["starts"].items())
    arms = ((*key.split("/"), about["log"]) for key, about in state.content["arms"].items())
    return [{"network": name, "stage": stage} | record for name, stage, log in (*starts, *arms) for record in log]


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
    marked = train.take(train.marked)
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
