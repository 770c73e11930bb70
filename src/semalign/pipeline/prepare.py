"""From a recipe and a data set's folder to what training needs: faces to train and to test on, and their crops."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from semalign.data.crops import CropCache, CropSettings, build_crops
from semalign.data.duplicates import leaky_training_ids
from semalign.data.holdout import hold_out
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.pipeline.recipe import Recipe
from semalign.progress import Progress, counted
from semalign.schemes import LandmarkScheme, load_scheme
from semalign.synthetic import write_dataset


@dataclass(frozen=True, eq=False)
class Faces:
    """Some faces, their crops in the same order, and the exact points where they are known."""

    dataset: Dataset
    crops: CropCache

    @property
    def truth(self) -> np.ndarray | None:
        """(b, n, 2) float64, image frame; None for real data."""
        if self.dataset.truth is None:
            return None
        return np.stack([self.dataset.truth[name] for name in self.dataset.ids()])

    @property
    def reference(self) -> np.ndarray:
        """What predictions are measured against: the truth where it is known, else the annotations."""
        return self.dataset.points() if self.truth is None else self.truth

    def take(self, rows: np.ndarray) -> Faces:
        """Some of the faces, in the data set's order, with copies of their crops."""
        rows = np.sort(rows)
        kept = {self.crops.ids[row] for row in rows}
        return Faces(self.dataset.select(exclude=set(self.dataset.ids()) - kept), self.crops.take(rows))


def synthesize_if_wanted(recipe: Recipe, data: Path | Dataset | None, out: Path, progress: Progress) -> Path | Dataset:
    """The data set or its folder: what is given, or a synthetic one made in `out` from the recipe."""
    if data is not None:
        return data if isinstance(data, Dataset) else Path(data)
    if recipe.synthesis is None:
        raise SemalignError(
            f"recipe {recipe.name!r} does not make its own data; give the data set's folder with --data."
        )
    settings = replace(recipe.synthesis, seed=recipe.seed)
    with progress.stage("synthetic faces", settings.count) as advance:
        return write_dataset(out / "data", settings, counted(advance), workers=os.cpu_count() or 1)


def split_faces(
    recipe: Recipe, data: Path | Dataset, keep_going: bool, scheme: LandmarkScheme | None = None, holdout: bool = False
) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """Training faces, test faces, and notes on what is partial or was left out; the scheme is by default the recipe's.

    A data set that is open has its own scheme.

    With `holdout`, a data set without test faces gets some by `data.holdout`; without it, all are training faces.
    """
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = open_dataset(data, scheme or load_scheme(recipe.data.scheme), keep_going=keep_going)
    if dataset.suspicious:
        faces = len({name for name, _ in dataset.suspicious})
        doubt = (
            f"{faces} face{' looks' if faces == 1 else 's look'} suspicious and {'is' if faces == 1 else 'are'} kept"
        )
        why = f"{doubt} ('semalign data check' lists them), for example: {dataset.suspicious[0][1]}"
        dataset = replace(dataset, notes=(*dataset.notes, why))
    if recipe.data.test:
        test = dataset.select(subsets=recipe.data.test)
        train = dataset.select(exclude=frozenset(test.ids())).select(split="train")
        notes = [*dataset.notes, f"Tested on {', '.join(recipe.data.test)}, which was left out of training."]
    else:
        whole, drawn = with_test_faces(dataset, recipe) if holdout else (dataset, [])
        test, train, notes = whole.select(split="test"), whole.select(split="train"), [*dataset.notes, *drawn]
    if recipe.data.leave_out_duplicates and dataset.select(exclude=train.ids()).samples:
        leaky = set(leaky_training_ids(dataset, strict=not keep_going)) & set(train.ids())
        if leaky:
            train = train.select(exclude=leaky)
            notes.append(
                f"{len(leaky)} training faces whose photograph is also a test face were left out: {', '.join(sorted(leaky))}."
            )
    if not len(train):
        raise SemalignError(f"{dataset.root}: holds no training faces; check it with 'semalign data check'.")
    return train, test, tuple(notes)


def with_test_faces(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, list[str]]:
    """The data set with test faces drawn from it where it has none, and a sentence on what was done."""
    if dataset.select(split="test").samples:
        return dataset, []
    held = hold_out(dataset, recipe.data.holdout, recipe.seed)
    test = held.select(split="test").ids()
    if not test:
        why = "--holdout 0" if not recipe.data.holdout else "all faces are of one photograph"
        return dataset, [f"No faces are held out ({why}): detectors are not measured."]
    return held, [
        f"The data set has no test faces: {len(test)} of {len(dataset)} were held out of training to measure detectors "
        f"(--holdout {recipe.data.holdout:g}, by photograph, seed {recipe.seed})."
    ]


def cache_crops(
    dataset: Dataset,
    crop: CropSettings,
    input_size: int,
    keep_going: bool,
    progress: Progress,
    title: str,
) -> Faces:
    """The crops of a data set; with `keep_going`, faces whose image cannot be read are dropped and listed in `skipped`."""
    if not len(dataset):  # a data set may have no test faces
        return Faces(dataset, build_crops((), crop, input_size))
    failed: dict[str, str] = {}
    with progress.stage(title, len(dataset)) as advance:
        crops = build_crops(
            dataset.samples, crop, input_size, counted(advance), failed.__setitem__ if keep_going else None
        )
    if failed:
        dataset = replace(dataset.select(exclude=failed), skipped=(*dataset.skipped, *failed.items()))
    return Faces(dataset, crops)


def same_scheme(model: LandmarkScheme, recipe: Recipe) -> Recipe:
    """The recipe if it is for the model's landmarks, else an error."""
    wanted = load_scheme(recipe.data.scheme)
    if wanted != model:
        raise SemalignError(
            f"recipe {recipe.name!r} is for the landmark scheme {wanted.name!r}, the model for {model.name!r}; "
            "choose another of either."
        )
    return recipe
