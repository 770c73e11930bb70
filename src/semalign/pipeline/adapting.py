"""A model adapted to another convention or other landmarks by some annotated faces: what `semalign adapt` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from semalign.core.metrics import landmark_boxes, mean_errors
from semalign.data.crops import box_sides, build_crops, face_boxes
from semalign.data.duplicates import independent_folds, leaky_training_ids
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.inference import Landmarks
from semalign.inference.heatmaps import predict
from semalign.models import pretrained
from semalign.models.adapted import AdaptedSettings
from semalign.models.checkpoint import Model
from semalign.models.kinds import AnySettings
from semalign.pipeline.prepare import Faces, cache_crops
from semalign.pipeline.summary import versions
from semalign.progress import Progress, SilentProgress
from semalign.schemes import LandmarkScheme
from semalign.training.adapting import GAIN, Candidate, Lesson, View, any_landmarks, error_of, same_landmarks, untaught

FEWEST, MOST = 20, 300  # faces that are learned from
FOLDS = 10
STARTS = (1.0, 2.0, 3.5)  # sides of the first squares in which the model looks for the face, in those that it knows
LOOKS = 3  # at most, to find out how the model's box lies in those of other landmarks
SETTLED = 0.08, 0.05  # by how much side and middle of the view may differ from what was found, and stay


@dataclass(frozen=True, eq=False)
class Adapted:
    """An adapted model and how it was chosen.

    Attributes:
        model: the one that was chosen; the model itself where nothing is gained.
        method: in words.
        errors: of all methods in %, on faces held out, by `metric`; the simplest first.
        metric: its name.
        faces: that were learned from.
        notes: on the data, in sentences.
        gained: whether the model is another one than before.
    """

    model: Model
    method: str
    errors: dict[str, float]
    metric: str
    faces: int
    notes: tuple[str, ...]
    gained: bool


def adapt(
    model: str | Path,
    data: Path,
    *,
    scheme: LandmarkScheme | None = None,
    images: Path | None = None,
    terms: str | None = None,
    seed: int = 0,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Adapted:
    """Adapt a model to the annotations of some faces; the caller writes it (`semalign.models.checkpoint.save_model`).

    Of the same landmarks the model as it is and label adaptations are judged; of any landmarks maps from what the model and
    the face mesh find. Test faces of the data, and training faces of the same photographs, are not looked at.

    Args:
        model: a shipped model's name or a model file.
        data: annotated faces.
        scheme: another landmark scheme than the data's own.
        images: folder of a document's pictures.
        terms: of the data, written into the model beside those of the adapted one.
        seed: of the folds, and of the choice where there are more than `MOST` faces.
        keep_going: leave out faces that cannot be read.
        progress: told what goes on.

    Raises:
        SemalignError: a model or data that cannot be read, a model that was adapted before or is exported, too few faces, a
            landmark that too few faces have, or faces on which the model finds nothing.
    """
    progress = progress or SilentProgress()
    base = pretrained.load(model)
    _refuse_unfit(model, base)
    dataset = open_dataset(data, scheme, keep_going=keep_going, images=images)
    train, notes = _faces_to_learn_from(dataset, seed, keep_going)
    view = View()
    same = base.scheme == train.scheme
    if not same and not base.scheme.names_eyes:
        raise SemalignError(
            f"{data}: has the landmarks {train.scheme.name!r}, {model} finds {base.scheme.name!r} and names no eyes; "
            "only models of faces learn other landmarks."
        )
    seen = cache_crops(train, base.crop, base.input_size, keep_going, progress, "crops")
    train = seen.dataset
    _refuse_too_few(data, train)
    folds = independent_folds(train, FOLDS, seed)
    candidates: list[Candidate] = []
    if same:
        found = _found(base, seen, progress)
        candidates += same_landmarks(base, found, train.points(), folds)
    if base.scheme.names_eyes:
        view = view if same else _found_view(base, train, progress)
        network, crop = untaught(base, train.scheme, view)
        crops = cache_crops(train, replace(crop, margin=1.0), network.input_size, False, progress, "crops").crops
        with progress.stage("looking at the faces", len(train)) as advance:
            lesson = Lesson(network, crops, train.points(), train.scheme, folds, advance)
        with progress.stage("learning", train.scheme.count) as advance:
            candidates += any_landmarks(lesson, crop, advance)
    chosen = _chosen(candidates)
    _refuse_blind(model, chosen, train)
    errors = {one.method: one.error for one in candidates}
    assert chosen.model is not None
    made = chosen.model()
    gained = made is not base
    about = dict(base.about)
    if gained:
        about = _about(model, base, train, chosen, errors, view, terms, seed)
    metric = next(iter(mean_errors(train.points(), train.points(), train.scheme)))
    return Adapted(
        replace(made, about=about), chosen.method, errors, metric, len(train), (*train.notes, *notes), gained
    )


def _refuse_unfit(name: str | Path, model: Model) -> None:
    settings = model.network.settings
    if isinstance(settings, AdaptedSettings):
        before = model.about.get("adapted", {}).get("model", "the model it was made of")
        raise SemalignError(f"{name}: was adapted already; adapt {before} instead.")
    assert isinstance(settings, AnySettings)  # all that a file holds


def _faces_to_learn_from(dataset: Dataset, seed: int, keep_going: bool) -> tuple[Dataset, list[str]]:
    """The training faces, `MOST` at most, and sentences on what was left out."""
    notes = []
    train = dataset.select("train")
    if len(train) < len(dataset):
        notes.append(f"{len(dataset) - len(train)} test faces of the data are not looked at.")
    if len(train) > MOST:
        drawn = set(np.random.default_rng(seed).permutation(len(train))[:MOST].tolist())
        notes.append(f"Of {len(train)} faces {MOST} were drawn; to learn from all of them, train a model.")
        train = train.select(exclude={name for row, name in enumerate(train.ids()) if row not in drawn})
    if len(train) and dataset.select("test").samples:
        ids = set(train.ids()) | set(dataset.select("test").ids())
        leaky = set(leaky_training_ids(dataset.select(exclude=set(dataset.ids()) - ids), strict=not keep_going)) & set(
            train.ids()
        )
        if leaky:
            notes.append(f"{len(leaky)} faces whose photograph is also a test face were left out.")
            train = train.select(exclude=leaky)
    return train, notes


def _refuse_too_few(data: Path, train: Dataset) -> None:
    if len(train) < FEWEST:
        raise SemalignError(
            f"{data}: has {len(train)} faces to learn from; annotate {FEWEST} at least, 50 to 200 are better."
        )
    have = (~np.isnan(train.points()).any(axis=2)).sum(axis=0)
    if have.min() < FEWEST:
        rare = int(have.argmin())
        raise SemalignError(
            f"{data}: the landmark {train.scheme.landmarks[rare]!r} is annotated in {have[rare]} faces; annotate it in "
            f"{FEWEST} at least, or leave it out of the scheme."
        )


def _found_view(model: Model, faces: Dataset, progress: Progress) -> View:
    """Where the box of the model's landmarks lies in those of others, which may be the eyes' or the mouth's alone."""

    def look(view: View) -> Landmarks:
        crop = replace(model.crop, scale=model.crop.scale * view.side, margin=1.0)
        crops = build_crops(_moved(faces, view).samples, crop, model.network.input_size)
        advance(1)
        return predict(model.network, crops, model.sigma, model.scheme)

    boxes = face_boxes(faces.samples)
    with progress.stage("where the faces lie", len(STARTS) + LOOKS) as advance:
        seen = {View(side): look(View(side)) for side in STARTS}
        view = max(seen, key=lambda start: float(seen[start].confidence.mean()))
        found = seen[view]
        for _ in range(LOOKS):
            new = _view(landmark_boxes(found.points), boxes)
            moves = [abs(a - b) for a, b in zip(new.shift, view.shift, strict=True)]
            if abs(new.side / view.side - 1) < SETTLED[0] and max(moves) < SETTLED[1] * new.side:
                break
            view, found = new, look(new)
    return view


def _view(own: np.ndarray, boxes: np.ndarray) -> View:
    """Where the model's boxes (b, 4) lie in others, in the median."""
    sides = box_sides(boxes)
    x, y = np.median((own[:, :2] + own[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / sides[:, None], axis=0)
    return View(float(np.median(box_sides(own) / sides)), (float(x), float(y)))


def _moved(faces: Dataset, view: View) -> Dataset:
    """The faces with their boxes moved as the view says."""
    if view == View():
        return faces
    boxes = face_boxes(faces.samples)
    steps = np.tile(np.array(view.shift), 2) * box_sides(boxes)[:, None]
    samples = tuple(
        replace(sample, box=tuple(box)) for sample, box in zip(faces.samples, (boxes + steps).tolist(), strict=True)
    )
    return replace(faces, samples=samples)


def _found(model: Model, faces: Faces, progress: Progress) -> np.ndarray:
    """What the model's network finds, without its label adaptation."""
    with progress.stage("the model as it is", len(faces.dataset)) as advance:
        return predict(model.network, faces.crops, model.sigma, model.scheme, tta=model.tta, advance=advance).points


def _chosen(candidates: list[Candidate]) -> Candidate:
    """The one with the least error; a later one, which is less simple, only if it gains something over the best before."""
    made = [one for one in candidates if one.model is not None]
    best = made[0]
    for one in made[1:]:
        if one.error < GAIN * best.error:
            best = one
    return best


def _refuse_blind(name: str | Path, chosen: Candidate, train: Dataset) -> None:
    """Refuse faces on which the mean face, put into their boxes, is as good."""
    points, boxes = train.points(), face_boxes(train.samples)
    sides = box_sides(boxes)[:, None, None]
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    mean = np.nanmean((points - middles) / sides, axis=0)
    plain = error_of(mean * sides + middles, points, train.scheme)
    if not chosen.error < plain:
        raise SemalignError(
            f"{name}: finds nothing on these faces: its error is {chosen.error:.1f} %, that of the mean face in their boxes "
            f"{plain:.1f} %; check pictures and annotations with 'semalign data check'."
        )


def _about(
    name: str | Path,
    base: Model,
    train: Dataset,
    chosen: Candidate,
    errors: dict[str, float],
    view: View,
    terms: str | None,
    seed: int,
) -> dict[str, Any]:
    """What the model file says of itself."""
    own = str(base.about.get("terms", "those of the model it was made of, which says none"))
    data = terms or "those of the data"
    return {
        "data": train.name,
        "train": train.subsets(),
        "seed": seed,
        "versions": versions(),
        "adapted": {
            "model": pretrained.resolve(name).stem
            if str(name) in (*pretrained.available(), *pretrained.NAMES)
            else Path(name).name,
            "model_about": {key: value for key, value in base.about.items() if key != "recipe_text"},
            "faces": len(train),
            "method": chosen.method,
            "errors": errors,
            **({} if view == View() else {"face": {"side": view.side, "shift": list(view.shift)}}),
        },
        "terms": f"adapted model: {own}; the {len(train)} faces of {train.name} that it was adapted on: {data}",
    }
