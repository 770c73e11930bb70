"""How much of what there is to gain do the first faces and points of a review bring?

    semalign audit 300w --crossfit crossfit --out audit
    python benchmarks/queues.py --audit audit --annotators lfpw_annotators.csv

The faces are those that three workers marked. A review accepts the proposals of the first part of a queue. `gain`: how much
nearer the labels then are to the workers' mean, as a share of what accepting all brings (mean distance after each point's
median offset, % of the outer eye corners' distance: `plain` of `semalign.evaluation.worth`). Only the 19 shared points count,
and only they are in the queue of points. Queues: by `probability` of being wrong, by the way from annotation to proposal
(`move`), by the gain that annotation, proposal and its spread let `expect`, at `random`. `fitted` is a regression on all of
these and on the landmark, fitted to the true gain of the same faces, and `true` knows that gain: no queue can do better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import Row, finish, run
from scipy.special import ive

from semalign.auditing import read_audit
from semalign.evaluation.annotators import LANDMARKS, read_annotators
from semalign.evaluation.worth import Workers, workers_of

PARTS = (0.01, 0.05, 0.1, 0.2, 0.5)
SEED = 0


def main(
    audit: Annotated[Path, typer.Option(help="Folder of a finished audit of 300W.")],
    annotators: Annotated[Path, typer.Option(help="CSV file of the three annotators.")],
) -> None:
    found, marks = read_audit(audit), read_annotators(annotators)
    rows = np.array([row for row, name in enumerate(found.ids) if name in set(marks.ids)])
    annotated, proposed, spread = found.annotations[rows], found.proposals[rows], found.spread[rows]
    workers = workers_of([found.ids[row] for row in rows], annotated, marks)
    shared = list(LANDMARKS)
    size = np.linalg.norm(annotated[:, 36] - annotated[:, 45], axis=1)[:, None]
    move = np.linalg.norm(proposed - annotated, axis=2) / size
    deviation = np.sqrt((spread**2).mean(axis=2)) / size
    keys = {
        "probability": found.point_probability[rows][:, shared],
        "move": move[:, shared],
        "expect": (_distance(move, deviation) - _distance(np.zeros_like(move), deviation))[:, shared],
        "random": np.random.default_rng(SEED).random((len(rows), len(shared))),
    }
    true = _errors(workers, annotated) - _errors(workers, proposed)
    keys |= {"fitted": _fitted(keys, deviation[:, shared], true), "true": true}
    finish("queues", [row for name, key in keys.items() for row in _rows(name, key, true)], digits=3)


def _errors(workers: Workers, points: np.ndarray) -> np.ndarray:
    """Distances (f, 19) from the workers' mean."""
    return np.asarray(np.linalg.norm(workers.from_mean(points), axis=-1))


def _distance(away: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Mean distance of a Gaussian's points from one that is so far from its middle (Rice)."""
    x = away**2 / (2 * deviation**2)
    found: np.ndarray = deviation * np.sqrt(np.pi / 2) * ((1 + x) * ive(0, x / 2) + x * ive(1, x / 2))
    return found


def _fitted(keys: dict[str, np.ndarray], deviation: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The gain that a linear regression gives, on the faces that it was fitted to."""
    features = [keys["probability"], keys["move"], keys["move"] ** 2, keys["expect"], deviation]
    landmark = np.tile(np.eye(true.shape[1]), (len(true), 1))
    x = np.column_stack([*(one.ravel() for one in features), landmark])
    fitted: np.ndarray = (x @ np.linalg.lstsq(x, true.ravel(), rcond=None)[0]).reshape(true.shape)
    return fitted


def _rows(name: str, key: np.ndarray, true: np.ndarray) -> list[Row]:
    points, faces = true.ravel()[np.argsort(-key.ravel())], true.sum(axis=1)[np.argsort(-key.sum(axis=1))]
    found = []
    for queue, gains in (("points", points), ("faces", faces)):
        for part in PARTS:
            gain = gains[: round(part * len(gains))].sum() / true.sum()
            found.append({"queue": queue, "by": name, "faces": len(true), "part": part, "gain": float(gain)})
    return found


if __name__ == "__main__":
    run(main)
