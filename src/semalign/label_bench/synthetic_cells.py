"""The cells on synthetic faces: networks are trained on noisy annotations, and the truth is known.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from semalign.cores import usable_cores
from semalign.data.crops import CropCache, build_crops
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset
from semalign.data.truth import read_visible
from semalign.label_bench.cells import (
    Cell,
    Figures,
    figures_against_truth,
    figures_of_halves,
    noisy,
    with_annotations,
)
from semalign.label_bench.scores import Truth
from semalign.label_bench.settings import BenchSettings
from semalign.pipeline.cross_fitting import evidence_out_of_fold, train_without_folds
from semalign.pipeline.held_out import deal, train_detector
from semalign.pipeline.job import Job
from semalign.pipeline.prepare import Faces, cache_crops
from semalign.pipeline.recipe import Recipe, load_recipe
from semalign.pipeline.witnesses import Remembered
from semalign.progress import Progress, counted
from semalign.searches import Evidence, Joint, NetworkEvidence
from semalign.synthetic import SynthesisSettings, write_dataset
from semalign.synthetic.settings import FaceSettings

NETWORKS = 2  # that judge a face, as many as an error model takes


@dataclass(frozen=True, eq=False)
class SyntheticFaces:
    """Cells on drawn faces, of which all share the pictures.

    Args:
        folder: for the pictures.
        settings: of the bench.
        progress: told what goes on.
    """

    folder: Path
    settings: BenchSettings
    progress: Progress

    def cells(self) -> list[Cell]:
        """A cell for each noise, level and number of faces, and one for two halves of the faces."""
        settings = self.settings
        found = []
        for count in settings.faces:
            for kind in settings.noises:
                for level in settings.levels:
                    name = f"truth-{kind}-{level:g}-{count}"
                    measure = partial(self._measure, kind, level, count, name)
                    found.append(Cell(name, self._about("truth", kind, level), measure))
        kind, level = settings.noises[0], settings.halves_level
        found.append(Cell("halves-synthetic", self._about("halves", kind, level), partial(self._halves, kind, level)))
        return found

    def _about(self, part: str, kind: str, level: float) -> Figures:
        return {"part": part, "data": "synthetic", "evidence": "trained on them", "noise": kind, "level": level}

    @cached_property
    def recipe(self) -> Recipe:
        """How networks are trained."""
        settings = self.settings
        return load_recipe(settings.recipe, (*settings.changes, f"seed={settings.seed}"))

    @cached_property
    def faces(self) -> Dataset:
        """All faces; drawn where they are not there."""
        count = max(self.settings.faces)
        look = self.recipe.synthesis.face if self.recipe.synthesis else FaceSettings()
        drawn = SynthesisSettings(count=count, seed=self.settings.seed, test_count=0, face=look)
        with self.progress.stage("synthetic faces", count) as advance:
            return open_dataset(write_dataset(self.folder, drawn, counted(advance), workers=usable_cores()))

    def _noisy(self, kind: str, level: float, count: int, name: str) -> Dataset:
        """The first faces, as people with such noise would annotate them."""
        faces = replace(self.faces, samples=self.faces.samples[:count])
        seen = read_visible(self.folder, faces.scheme.count)
        visible = np.stack([seen[one] for one in faces.ids()])
        return with_annotations(faces, noisy(_truth(faces), kind, level, self.settings.seed, name, visible))

    def _job(self, faces: Dataset, folder: Path) -> Job:
        recipe = self.recipe
        size = recipe.network.input_size
        made = cache_crops(faces, recipe.crop, size, False, self.progress, "crops of the faces")
        nobody = faces.select(exclude=frozenset(faces.ids()))
        none = Faces(nobody, build_crops((), recipe.crop, size))
        return Job(recipe, made, none, self.progress, {"recipe": recipe.name, "seed": recipe.seed})

    def _measure(self, kind: str, level: float, count: int, name: str, folder: Path) -> Figures:
        faces = self._noisy(kind, level, count, name)
        job = self._job(faces, folder)
        fold = deal(job, self.settings.folds, "folds")
        models = train_without_folds(job, folder, fold)
        evidence = Remembered(evidence_out_of_fold(job, models, fold))
        return figures_against_truth(Truth(_truth(faces), faces.points(), faces.scheme), evidence, self.settings)

    def _halves(self, kind: str, level: float, folder: Path) -> Figures:
        job = self._job(self._noisy(kind, level, max(self.settings.faces), "halves"), folder)
        fold = deal(job, 3, "faces")
        return figures_of_halves(_Trained(job, folder), job.train.dataset, fold, self.settings)


@dataclass(frozen=True, eq=False)
class _Trained:
    """Evidence of networks that are trained on the faces to learn from, all of which are the job's."""

    job: Job
    folder: Path
    name = "trained on them"
    learns = True

    def notes(self, judge: Dataset) -> list[str]:
        return []

    def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
        known, asked = frozenset(learn.ids()), frozenset(judge.ids())
        names = self.job.train.dataset.ids()
        others = np.array([name not in known for name in names])
        crops: CropCache = self.job.train.crops.take(np.flatnonzero([name in asked for name in names]))
        parts = []
        for index in range(NETWORKS):
            title = f"network {index + 1} of the faces from {learn.ids()[0]}"
            job = self.job.without(others, f"the others, {title}")
            job = replace(job, recipe=replace(job.recipe, seed=job.recipe.seed + index))
            place = self.folder / "networks" / f"{names.index(learn.ids()[0])}-{index + 1}"
            network = train_detector(job, place).network
            parts.append(NetworkEvidence(network, crops, job.sigma, job.scheme, job.recipe.alternation.tta))
        return Joint(parts)


def clear(folder: Path) -> None:
    """Delete what a cell needed on the way."""
    shutil.rmtree(folder, ignore_errors=True)


def _truth(faces: Dataset) -> np.ndarray:
    """(b, n, 2) in the image frames."""
    truth = faces.truth or {}
    return np.stack([truth[name] for name in faces.ids()])
