"""What `semalign predict --correct` gains on faces behind things, and whether it tells hidden landmarks from visible ones.

    python benchmarks/correct.py --data 300w
    python benchmarks/correct.py --data 300w --annotators lfpw_annotators.csv

In front of each test face a block, a piece of another photograph or a round piece of one hides 0, 10, 20, 30 or 40 % of the
landmarks' hull; in `drawn` it is a hand, a microphone, strands of hair, a card or a scarf, which no correction was fitted on.
The detector gets the annotated boxes and refines once. Errors are inter-ocular, in %, over all, the hidden and the visible
landmarks, with and without the correction on the same pictures; intervals are of the mean difference over faces. `onnx` is the
exported model, whose peaks have no spread. A second table, `correct-visibility`, sets the stated probability of being visible
against the share that is, over all these pictures; of the real faces of --annotators, which are training faces, the majority
of three people says which landmarks are hidden, and only how well the two are told apart counts. The first row also has what
the correction of one face costs, in the processor's milliseconds.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from harness import DataFolder, ModelName, Row, finish, in_turn, run, track

from semalign.core.metrics import distances, interocular
from semalign.data import Dataset, open_dataset
from semalign.data.images import open_picture
from semalign.detect import Detector, DetectorSettings
from semalign.evaluation.annotators import LANDMARKS, SHARED
from semalign.evaluation.bootstrap import paired_bootstrap
from semalign.export import export_onnx
from semalign.models import pretrained
from semalign.synthetic.occlusion import draw_something, paste_something

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
DRAWN = "drawn"
BATCH = 16  # pictures at a time
BINS = 10
TURNS = 200  # of the timing


@dataclass(frozen=True, eq=False)
class Hidden:
    """The test faces behind something."""

    name: str
    pictures: list[np.ndarray]
    hidden: np.ndarray  # (b, n) bool


def main(
    data: DataFolder,
    model: ModelName = "default",
    annotators: Annotated[Path | None, typer.Option(help="CSV file of LFPW's three annotators.")] = None,
    seed: int = 0,
) -> None:
    dataset = open_dataset(data, keep_going=True)
    test = dataset.select("test")
    boxes = np.stack([_box(points) for points in test.points()])
    cases = list(_cases(test, seed))
    rows: list[Row] = []
    calibration: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "model.onnx"
        export_onnx(exported, pretrained.load(model))
        for runtime, source in (("pytorch", model), ("onnx", str(exported))):
            plain, correcting = (
                Detector.from_pretrained(source, "cpu", settings=DetectorSettings(correct=correct))
                for correct in (False, True)
            )
            stated: list[np.ndarray] = []
            for case in track(cases, runtime):
                bare, visible = _found(plain, case.pictures, boxes)
                corrected, _ = _found(correcting, case.pictures, boxes)
                rows.append({"runtime": runtime, **_row(case, bare, corrected, visible, test, seed)})
                stated.append(visible)
            calibration += _calibration(runtime, np.concatenate(stated), np.concatenate([c.hidden for c in cases]))
            if annotators is not None:
                rows.append({"runtime": runtime, **_real(plain, dataset, annotators)})
    rows[0] |= _timing(plain, test.points()[:1])
    finish("correct", rows, digits=3)
    finish("correct-visibility", calibration, digits=3)


def _box(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _cases(test: Dataset, seed: int) -> Iterator[Hidden]:
    pictures = [open_picture(sample.image).pixels for sample in test.samples]
    points = test.points()
    for number, share in enumerate((*SHARES, None)):
        made = []
        for row, (picture, own) in enumerate(zip(pictures, points, strict=True)):
            rng = np.random.default_rng([seed, number, row])
            if share is None:
                made.append(draw_something(rng, picture, own, test.scheme))
            else:
                made.append(paste_something(rng, picture, own, share, pictures[int(rng.integers(len(pictures)))]))
        name = DRAWN if share is None else f"{100 * share:.0f} %"
        yield Hidden(name, [item.picture for item in made], np.stack([item.hidden for item in made]))


def _found(detector: Detector, pictures: Sequence[np.ndarray], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (b, n, 2) and probabilities (b, n) of being visible."""
    faces = []
    for start in range(0, len(pictures), BATCH):
        part = slice(start, start + BATCH)
        faces += [found[0] for found in detector.batch(pictures[part], [box[None] for box in boxes[part]])]
    return np.stack([face.points for face in faces]), np.stack([_known(face.visibility) for face in faces])


def _known(visibility: np.ndarray | None) -> np.ndarray:
    if visibility is None:
        raise ValueError("the model has no correction, which tells what is visible")
    return visibility


def _row(case: Hidden, bare: np.ndarray, corrected: np.ndarray, visible: np.ndarray, test: Dataset, seed: int) -> Row:
    truth = test.points()
    by = interocular(truth, test.scheme)[:, None]
    before, after = (100 * distances(points, truth) / by for points in (bare, corrected))
    gain = paired_bootstrap(after.mean(axis=1), before.mean(axis=1), np.random.default_rng(seed))
    row: Row = {"in front": case.name, "faces": len(truth), "hidden, %": 100 * float(case.hidden.mean())}
    for name, chosen in (("all", np.ones_like(case.hidden)), ("hidden", case.hidden), ("visible", ~case.hidden)):
        if chosen.any():
            row |= {name: float(before[chosen].mean()), f"{name}, corrected": float(after[chosen].mean())}
    row |= {"difference": gain.mean, "from": gain.low, "to": gain.high}
    failed = [100 * float((errors.mean(axis=1) > 8).mean()) for errors in (before, after)]
    row |= {"beyond 8 %, %": failed[0], "beyond 8 %, corrected": failed[1]}
    if case.hidden.any():
        row |= _told_apart(visible, case.hidden)
    return row


def _told_apart(visible: np.ndarray, hidden: np.ndarray) -> Row:
    return {
        "AUC": auc_of(visible[~hidden], visible[hidden]),
        "Brier": float(((visible - ~hidden) ** 2).mean()),
        "said hidden, % of hidden": 100 * float((visible[hidden] < 0.5).mean()),
        "said hidden, % of visible": 100 * float((visible[~hidden] < 0.5).mean()),
    }


def auc_of(positive: np.ndarray, negative: np.ndarray) -> float:
    """The share of pairs of a positive and a negative value in which the positive one is larger."""
    order = np.sort(negative)
    below = (np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")) / 2
    return float(below.mean() / len(order))


def _timing(detector: Detector, points: np.ndarray) -> Row:
    """Milliseconds of the processor that a correction takes for the landmarks of one face."""
    correction = detector.landmarker.correction
    if correction is None:
        raise ValueError("the model has no correction")
    sure, wide = np.full(points.shape[:2], 0.8), np.full(points.shape, 3.0)
    forms = {
        "visibility alone, ms": lambda: correction(points, sure, wide, False),
        "visibility and points, ms": lambda: correction(points, sure, wide, True),
    }
    timed = in_turn(forms, TURNS)
    return {name: 1000 * median(timing.processor) for name, timing in timed.items()}


def _calibration(runtime: str, visible: np.ndarray, hidden: np.ndarray) -> list[Row]:
    """Equal steps of the probability: what is said, and what is."""
    step = np.minimum((visible * BINS).astype(int), BINS - 1)
    rows: list[Row] = []
    for index in range(BINS):
        chosen = step == index
        if chosen.any():
            said, true = float(visible[chosen].mean()), float((~hidden[chosen]).mean())
            rows.append(
                {"runtime": runtime, "landmarks": int(chosen.sum()), "said to be visible": said, "visible": true}
            )
    shares = np.array([row["landmarks"] for row in rows]) / visible.size
    apart = np.array([abs(row["said to be visible"] - row["visible"]) for row in rows])
    rows.append({"runtime": runtime, "landmarks": visible.size, "expected calibration error": float(shares @ apart)})
    return rows


def _real(detector: Detector, dataset: Dataset, annotators: Path) -> Row:
    """How well what people call hidden is told from the rest, on faces that the detector was trained on."""
    votes: dict[str, list[list[bool]]] = {}
    with annotators.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            votes.setdefault(line["file"], []).append([line[f"v{point}"] != "0" for point in SHARED])
    samples = [sample for sample in dataset.samples if sample.id in votes]
    pictures = [open_picture(sample.image).pixels for sample in samples]
    _, visible = _found(detector, pictures, np.stack([_box(sample.points) for sample in samples]))
    hidden = np.stack([np.mean(votes[sample.id], axis=0) > 0.5 for sample in samples])
    chosen = visible[:, LANDMARKS]
    return {
        "in front": "what people call hidden",
        "faces": len(samples),
        "hidden, %": 100 * float(hidden.mean()),
        "AUC": auc_of(chosen[~hidden], chosen[hidden]),
    }


if __name__ == "__main__":
    run(main)
