"""Every figure of a finished model on a data set: what `semalign evaluate` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semalign.data.crops import build_crops, face_boxes
from semalign.data.labels import LabelStore
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.evaluation import compare_predictions, evaluate_predictions
from semalign.inference import Landmarker
from semalign.inference.landmarker import open_model
from semalign.models import pretrained
from semalign.models.checkpoint import Model
from semalign.parts import Arrays, Parts, Share
from semalign.pipeline.fitting import normaliser_note
from semalign.pipeline.job import shown
from semalign.pipeline.prepare import cache_crops
from semalign.pipeline.processes import commit_together, folder_for_parts, own_share
from semalign.pipeline.summary import hardware, versions
from semalign.progress import Progress
from semalign.training.trainer import make_accelerator


def evaluate_model(
    model: str | Path,
    data: Path,
    *,
    keep_going: bool = False,
    labels: Path | None = None,
    split: str = "test",
    against: str | Path | None = None,
    parts: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every figure of a model on a data set's test faces, JSON-ready; the processes of `torchrun` share the work.

    Args:
        model: its file (an exported one, too), or the name of a shipped one.
        data: the data set's folder, complete or partial.
        keep_going: leave bad samples out and list them.
        labels: a label folder (its last version) to measure against, instead of the truth (synthetic) or the annotations.
        split: 'test' (all faces where there are no test faces, which the notes say), 'train' or 'all'.
        against: another model for the same landmarks, which `against` of the result compares face by face.
        parts: folder with what processes of `evaluate_part` have done; what is missing is done now. It is kept.
        progress: told what goes on.

    Raises:
        SemalignError: models or data that cannot be read, no faces in the split, models of different landmark schemes.
    """
    progress = shown(progress)
    asked = _asked(model, data, keep_going, split, against)
    loaded, chosen, notes, split = asked.loaded, asked.faces, asked.notes, asked.split
    with folder_for_parts(parts) as folder:
        faces, points = _found(model, loaded, chosen, keep_going, folder, progress, "evaluation")
        reference, source = _reference(faces, labels)
        compared = {}
        if against is not None and asked.other is not None:
            title = "evaluation of the other model"
            _, others = _found(against, asked.other, chosen, keep_going, folder, progress, title)
            compared["against"] = {
                "model": pretrained.resolve(against).name,
                **compare_predictions(points, others, faces, reference),
            }
    return {
        "model": pretrained.resolve(model).name,
        "about": dict(loaded.about),
        "data": {
            "name": faces.name,
            "split": split,
            "subsets": faces.subsets(),
            "notes": notes,
            "skipped": [list(item) for item in faces.skipped],
            "reference": source,
        },
        "versions": versions(),
        "hardware": hardware(),
        **evaluate_predictions(points, faces, truth=reference),
        **compared,
    }


def evaluate_part(
    model: str | Path,
    data: Path,
    parts: Path,
    share: Share,
    *,
    keep_going: bool = False,
    split: str = "test",
    against: str | Path | None = None,
    progress: Progress | None = None,
) -> int:
    """The share of one process in an evaluation that several do; `evaluate_model` puts them together.

    The other arguments are those of `evaluate_model`, and must be the same for all.

    Returns:
        How many parts are still missing, of all shares.

    Raises:
        SemalignError: as of `evaluate_model`.
    """
    progress = shown(progress)
    asked = _asked(model, data, keep_going, split, against)
    works = [_Detecting(model, asked.loaded, asked.faces, keep_going, parts)]
    if against is not None and asked.other is not None:
        works.append(_Detecting(against, asked.other, asked.faces, keep_going, parts))
    for work in works:
        with progress.stage(f"evaluation, shard {share}", len(asked.faces) // share.count) as advance:
            work.parts.work(share, work.do, advance)
    return sum(len(work.parts.missing()) for work in works)


class _Asked(NamedTuple):
    """What is measured on what."""

    loaded: Landmarker
    other: Landmarker | None
    faces: Dataset
    notes: list[str]
    split: str


def _asked(model: str | Path, data: Path, keep_going: bool, split: str, against: str | Path | None) -> _Asked:
    loaded = _landmarker(model)
    other = None if against is None else _landmarker(against)
    if other is not None and other.scheme != loaded.scheme:
        raise SemalignError(
            f"{against}: finds the landmarks {other.scheme.name!r}, {model} finds {loaded.scheme.name!r}; "
            "only models of one scheme can be compared."
        )
    dataset = open_dataset(Path(data), loaded.scheme, keep_going=keep_going)
    chosen = dataset if split == "all" else dataset.select(split="test" if split == "test" else "train")
    notes = list(dataset.notes)
    if not len(chosen) and split == "test":
        chosen, split = dataset, "all"
        notes.append(
            "The data set has no test faces: measured on all, among which are those of training if it was on these."
        )
    notes += normaliser_note(loaded.scheme)
    if not len(chosen):
        raise SemalignError(f"{data}: holds no {split} faces; choose another split or data set.")
    return _Asked(loaded, other, chosen, notes, split)


def _found(
    model: str | Path,
    landmarker: Landmarker,
    dataset: Dataset,
    keep_going: bool,
    folder: Path | None,
    progress: Progress,
    title: str,
) -> tuple[Dataset, np.ndarray]:
    """The faces that could be read, and a model's landmarks on them in the image frame; through parts in a folder."""
    if folder is None:
        return _detected(landmarker, dataset, keep_going, progress, title)
    work = _Detecting(model, landmarker, dataset, keep_going, folder)
    with progress.stage(title, len(dataset) // own_share().count) as advance:
        work.parts.work(own_share(), work.do, advance)
    commit_together([work.parts])
    return work.together()


class _Detecting:
    """A model on some faces, in parts."""

    def __init__(
        self, model: str | Path, landmarker: Landmarker, dataset: Dataset, keep_going: bool, folder: Path
    ) -> None:
        self.landmarker, self.dataset, self.keep_going = landmarker, dataset, keep_going
        images = [(str(sample.image), sample.frame) for sample in dataset.samples]
        weights = np.frombuffer(pretrained.resolve(model).read_bytes(), np.uint8)
        depends = [weights, landmarker.about, dataset.ids(), images, face_boxes(dataset.samples), keep_going]
        self.parts = Parts(folder, depends, len(dataset))

    def do(self, rows: np.ndarray) -> Arrays:
        """Which of some faces could be read, their landmarks, and why the others could not."""
        part = replace(self.dataset, samples=tuple(self.dataset.samples[row] for row in rows), skipped=())
        skipped: dict[str, str] = {}
        bad = skipped.__setitem__ if self.keep_going else None
        points = np.empty((0, self.dataset.scheme.count, 2))
        backend = self.landmarker.backend
        try:
            crops = build_crops(part.samples, backend.crop, backend.input_size, bad=bad)
            points = self.landmarker.on_crops(crops).points
        except SemalignError:
            if len(skipped) < len(part):
                raise
        kept = rows[[name not in skipped for name in part.ids()]]
        return {"kept": kept, "points": points, "skipped": np.array(list(skipped.items()), str).reshape(-1, 2)}

    def together(self) -> tuple[Dataset, np.ndarray]:
        """The faces that could be read, and their landmarks."""
        found = self.parts.collect(("kept", "points", "skipped"))
        skipped = [(str(name), str(why)) for name, why in found["skipped"]]
        if not len(found["kept"]):
            raise SemalignError(
                f"{self.dataset.root}: none of the {len(self.dataset)} images can be read: {skipped[0][1]}"
            )
        samples = tuple(self.dataset.samples[row] for row in found["kept"])
        return replace(self.dataset, samples=samples, skipped=(*self.dataset.skipped, *skipped)), found["points"]


def _detected(
    landmarker: Landmarker, dataset: Dataset, keep_going: bool, progress: Progress, title: str
) -> tuple[Dataset, np.ndarray]:
    """The faces that could be read, and a model's landmarks on them in the image frame."""
    backend = landmarker.backend
    faces = cache_crops(dataset, backend.crop, backend.input_size, keep_going, progress, "crops")
    with progress.stage(title, len(faces.dataset)) as advance:
        return faces.dataset, landmarker.on_crops(faces.crops, advance).points


def _landmarker(model: str | Path) -> Landmarker:
    """On the device of this run, where the model may be computed there."""
    loaded = open_model(model)
    return Landmarker(loaded, make_accelerator().device if isinstance(loaded, Model) else None)


def _reference(faces: Dataset, labels: Path | None) -> tuple[dict[str, np.ndarray] | None, str]:
    """What to measure against, by id (None = the annotations), and its name."""
    if labels is None:
        truth = faces.truth
        return (None if truth is None else dict(truth)), "annotations" if truth is None else "truth"
    version = LabelStore(labels).read()
    known = dict(zip(version.ids, version.points, strict=True))
    missing = [name for name in faces.ids() if name not in known]
    if missing:
        raise SemalignError(
            f"{labels}: has no label for {missing[0]} and {len(missing) - 1} more; label these faces or use another split."
        )
    return known, f"labels, version {version.index}"
