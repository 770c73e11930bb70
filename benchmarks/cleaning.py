"""Where does cleaning the labels that a detector is trained on lower its error?

    python benchmarks/cleaning.py --data 300w --annotators lfpw_annotators.csv --out cleaning --threads 2

Tested on the faces of lfpw/trainset that three workers marked, none of which, nor a near-duplicate, is trained on: against the
workers (`semalign.evaluation.worth`: `error` and `worth`, 19 points) and against 300W's own annotations (inter-ocular, 68).
Trained on so many of 300W's other training faces, with their annotations as they are or with noise planted in them. Labels:
the annotations; those found by the paper's search, one pass with the network trained on the annotations; those of `crossfit`
(three networks that have not seen the face, and the face mesh); and the annotations without what was planted. All detectors of
a cell are trained alike, from random weights, without label adaptation.

`--threads 2` works on so many cells at a time, each on one core. A cell that is finished is kept in the folder, so that the
benchmark can be stopped and goes on; with `--cells N` it ends after the first N, and the table has those.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from harness import DataFolder, Row, finish, run, track

STEPS, BATCH = 1000, 16
SEEDS = (0, 1)  # of the detectors; the networks that find labels have the first
SHAPES = {
    "small": "network={input_size=64, heatmap_size=32, stacks=1, width=32, depth=3}",
    "large": "network={input_size=128, heatmap_size=64, stacks=1, width=64, growth=1.5, depth=3}",
}
NOISES = ("as it is", "sliding 3 %", "sliding 6 %", "outliers 5 %")
FACES = (150, 500, 1500)
OUTLIERS, FAR = 0.05, 20.0  # share of points, and how far off they are, % of the outer-eye distance


@dataclass(frozen=True)
class Place:
    """What a worker needs to find everything."""

    data: Path
    annotators: Path
    out: Path


@dataclass(frozen=True)
class Spot:
    """A cell of the map."""

    network: str
    noise: str
    faces: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.noise}-{self.faces}".replace(" ", "_").replace("%", "percent")


def spots() -> list[Spot]:
    """The most telling first."""
    small = [Spot("small", noise, faces) for noise in (NOISES[0], *NOISES[:0:-1]) for faces in FACES]
    return [*small, *(Spot("large", noise, faces) for noise in (NOISES[0], NOISES[2]) for faces in FACES)]


def main(
    data: DataFolder,
    annotators: Annotated[Path, typer.Option(help="CSV file of the three annotators.")],
    out: Annotated[Path, typer.Option(help="Folder for networks and finished cells.")],
    threads: Annotated[int, typer.Option(help="Cells at a time.")] = 2,
    cells: Annotated[int | None, typer.Option(help="Only the first so many cells.")] = None,
) -> None:
    place, wanted = Place(data, annotators, out), spots()[:cells]
    _faces(place)  # what all need is made once
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with ProcessPoolExecutor(threads, get_context("spawn")) as pool:
        found = list(track(pool.map(_measured, [place] * len(wanted), wanted), "cells", len(wanted)))
    finish("cleaning", [row for rows in found for row in rows], digits=3)


def _measured(place: Place, spot: Spot) -> list[Row]:
    from semalign.files import write_json

    path = place.out / "cells" / f"{spot.name}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, list(_faces(place).rows(spot)))
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


@lru_cache(maxsize=1)
def _faces(place: Place) -> _Faces:
    """For all cells of a process."""
    return _Faces(place)


class _Faces:
    """Faces to train and to test on."""

    def __init__(self, place: Place) -> None:
        from semalign.data import open_dataset
        from semalign.data.duplicates import leaky_training_ids
        from semalign.evaluation.annotators import read_annotators
        from semalign.evaluation.worth import workers_of
        from semalign.inference.meshes import meshes_of
        from semalign.label_bench.cells import boxed, complete

        self.place, marks = place, read_annotators(place.annotators)
        faces = complete(open_dataset(place.data, keep_going=True).select(split="train"))
        marked = set(marks.ids)
        samples = tuple(replace(s, split="test" if s.id in marked else "train") for s in faces.samples)
        faces = boxed(replace(faces, samples=samples))
        leaky = set(leaky_training_ids(faces, strict=False))
        self.test, self.pool = faces.select(split="test"), faces.select(split="train", exclude=leaky)
        self.workers = workers_of(self.test.ids(), self.test.points(), marks)
        kept = place.out / "meshes.npy"
        if not kept.is_file():
            place.out.mkdir(parents=True, exist_ok=True)
            np.save(kept, meshes_of(self._crops(self.pool, "small").crops))
        self.meshes = np.load(kept)

    def _recipe(self, network: str, seed: int, faces: int) -> Any:
        from semalign.pipeline import load_recipe

        epochs = math.ceil(STEPS / math.ceil(faces / BATCH))
        changes = [SHAPES[network], f"start.epochs={epochs}", f"seed={seed}", "decoding.tta=1", "alternation.tta=2"]
        none = ["label_adaptation.components=[]", *(["heatmap.sigma=8.0"] if network == "small" else [])]
        return load_recipe("300w-crossfit", [*changes, *none])

    def _crops(self, dataset: Any, network: str) -> Any:
        from harness import faces_of

        recipe = self._recipe(network, 0, FACES[0])
        return faces_of(dataset, recipe.crop, recipe.network.input_size)

    def rows(self, spot: Spot) -> Iterator[Row]:
        """Of one cell; its networks are kept until it is finished."""
        from semalign.pipeline.cross_fitting import search_out_of_fold, train_without_folds
        from semalign.pipeline.held_out import deal
        from semalign.pipeline.searching import Search
        from semalign.searches import Observations

        chosen = np.sort(np.random.default_rng(spot.faces).permutation(len(self.pool))[: spot.faces])
        clean = self._crops(self.pool, spot.network).take(chosen)
        noisy = self._noisy(clean.dataset.points(), spot)
        folder = self.place.out / "work" / spot.name
        job = self._job(spot, clean, noisy, chosen, SEEDS[0])
        labels = {"annotation": noisy}
        first = self._trained(job, folder / f"annotation-{SEEDS[0]}")
        paper = self._paper(job)
        search = Search(paper, first.network, Observations(noisy, noisy), folder / "search")
        labels["paper's search"] = search.find().points
        fold = deal(job, 3, "faces")
        models = train_without_folds(job, folder / "folds", fold)
        labels["crossfit"] = search_out_of_fold(job, folder / "labels", models, fold).points
        if spot.noise != NOISES[0]:
            labels["without what was planted"] = clean.dataset.points()
        for name, points in labels.items():
            for seed in SEEDS:
                again = self._job(spot, clean, points, chosen, seed)
                model = self._trained(again, folder / f"{name}-{seed}".replace(" ", "_"))
                yield vars(spot) | {"labels": name, "seed": seed} | self._figures(model, points, clean, spot.network)

    def _job(self, spot: Spot, faces: Any, labels: np.ndarray, chosen: np.ndarray, seed: int) -> Any:
        from semalign.label_bench.cells import with_annotations
        from semalign.pipeline.job import Job
        from semalign.progress import SilentProgress

        recipe = self._recipe(spot.network, seed, spot.faces)
        train = replace(faces, dataset=with_annotations(faces.dataset, labels))
        return Job(recipe, train, faces.take(np.arange(0)), SilentProgress(), {}, found_meshes=self.meshes[chosen])

    def _paper(self, job: Any) -> Any:
        """The same with the paper's search, with the settings of `300w-compact`."""
        from semalign.pipeline import load_recipe

        other = load_recipe("300w-compact")
        return replace(job, recipe=replace(job.recipe, search=other.search, alternation=other.alternation))

    def _trained(self, job: Any, folder: Path) -> Any:
        from semalign.pipeline.held_out import train_detector

        return train_detector(job, folder)

    def _noisy(self, points: np.ndarray, spot: Spot) -> np.ndarray:
        from semalign.label_bench.cells import noisy

        if spot.noise == NOISES[0]:
            return points
        if spot.noise.startswith("sliding"):
            return noisy(points, "sliding", float(spot.noise.split()[1]), 0, f"cleaning {spot.faces}")
        random = np.random.default_rng([spot.faces, 7])
        size = FAR / 100 * np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)
        angle = random.uniform(0, 2 * np.pi, points.shape[:2])
        off = size[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        return points + np.where(random.random(points.shape[:2])[..., None] < OUTLIERS, off, 0.0)

    def _figures(self, model: Any, labels: np.ndarray, clean: Any, network: str) -> Row:
        from semalign.core.metrics import mean_errors
        from semalign.inference.heatmaps import predict

        test = self._crops(self.test, network)
        found = predict(model.network, test.crops, model.sigma, model.scheme).points
        worth = self.workers.worth(found)
        truth = clean.dataset.points()
        unit = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)[:, None]
        off = np.linalg.norm(labels - truth, axis=-1) / unit
        return {
            "label_distance": 100 * float(np.sqrt((off**2).mean())),
            "nme_interocular": mean_errors(found, self.test.points(), model.scheme)["nme_interocular"],
            "error": worth.error["all"],
            "worth": worth.worth["all"],
            "test_faces": len(self.workers.rows),
        }


if __name__ == "__main__":
    run(main)
