"""How large a detector's errors are, measured on faces that it was not trained on, and what it says where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from semalign.core.metrics import landmark_boxes
from semalign.data.crops import build_crops
from semalign.data.images import read_image
from semalign.data.samples import Dataset
from semalign.detect.centerface_network import look
from semalign.errors import SemalignError
from semalign.inference import Landmarker, Landmarks
from semalign.inference.landmarks import joined
from semalign.inference.torch_backend import quick_precision
from semalign.models.checkpoint import Model
from semalign.models.correction import ShapeCorrection
from semalign.pipeline.witnesses import CrossFitted
from semalign.progress import Progress, SilentProgress
from semalign.searches.builders import readable
from semalign.training.error_scale import PASSES, measure_errors, see_unseen_faces
from semalign.training.hidden_faces import HiddenFacesSettings
from semalign.training.shape_correction import SeenFaces, together

HINT = 0.1  # score of the face finder from which a place may hold a face
SIDES, TRIES = (0.12, 0.5), 20  # of squares, in shorter sides of the photograph; how many are tried in each

Group = tuple[Model, Dataset]  # a network, and faces that it has not seen


def left_out(crossfit: Path, faces: Dataset) -> Iterator[Group]:
    """Each network of a cross-fitting with those of the faces that it was trained without.

    Args:
        crossfit: folder that `semalign crossfit` has filled.
        faces: of the data set that it was trained on.

    Raises:
        SemalignError: it holds no finished cross-fitting, or none of the faces is in a fold.
    """
    fitted = CrossFitted(crossfit)
    models, _ = fitted.kinds[0]
    fold = np.array([fitted.folds.get(name, -1) for name in faces.ids()])
    if not (fold >= 0).any():
        raise SemalignError(
            f"{crossfit}: is a cross-fitting of other faces; give one that was made with this data set."
        )
    for index, model in enumerate(models):
        own = [name for name, place in zip(faces.ids(), fold, strict=True) if place == index]
        if own:
            yield model, faces.select(exclude=set(faces.ids()) - set(own))


def with_errors(
    correction: ShapeCorrection,
    groups: Iterator[Group],
    hiding: HiddenFacesSettings,
    seed: int,
    progress: Progress | None = None,
) -> ShapeCorrection:
    """A correction that also says how large errors are.

    Args:
        correction: of a landmark network.
        groups: that network and faces that it has not seen, or networks of its kind that have not seen theirs.
        hiding: how faces are hidden; each is looked at once bare and once behind something.
        seed: of everything random.
        progress: is told what is done.

    Raises:
        SemalignError: there is no face whose landmarks are all there.
    """
    progress = progress or SilentProgress()
    seen: list[SeenFaces] = []
    empty: list[Landmarks] = []
    for model, faces in groups:
        there = readable(faces, model.crop, model.input_size)
        there = there.select(exclude={s.id for s in there.samples if not np.isfinite(s.points).all()})
        if not len(there):
            continue
        own = build_crops(there.samples, model.crop, model.input_size)
        precision = quick_precision(model.network.device)
        with progress.stage("unseen faces", PASSES * len(own)) as advance:
            seen.append(see_unseen_faces(model, own, own.to_crop(there.points()), hiding, seed, precision, advance))
        with progress.stage("squares without a face", len(there)) as advance:
            empty += without_face(model, there, seed, advance)
    if not seen:
        raise SemalignError("no unseen face has all of its landmarks; errors cannot be measured.")
    errors = measure_errors(correction, together(seen), joined(empty) if empty else None)
    return replace(correction, errors=errors)


def without_face(model: Model, faces: Dataset, seed: int, advance: Callable[[int], None]) -> Iterator[Landmarks]:
    """What a model finds in a square of each photograph where nobody annotated a face and the finder sees no hint of one."""
    rng, landmarker = np.random.default_rng(seed), Landmarker(model, model.network.device)
    for sample in faces.samples:
        picture = read_image(sample.image)
        height, width = picture.shape[:2]
        sightings = look(picture, HINT)
        known = landmark_boxes(sample.points[None])
        low = np.concatenate([known[:, :2], sightings.centre - sightings.size / 2])
        high = np.concatenate([known[:, 2:], sightings.centre + sightings.size / 2])
        for _ in range(TRIES):
            side = rng.uniform(*SIDES) * min(height, width)
            corner = rng.uniform(0, [width - side, height - side])
            if ((low > corner + side) | (high < corner)).any(axis=1).all():
                box = np.concatenate([corner, corner + side])
                yield landmarker([picture], [box[None]])[0]
                break
        advance(1)
