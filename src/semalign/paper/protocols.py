"""The three protocols of the paper: training faces, test faces by column, and the metric under its own name.

Where no real data is given, synthetic faces in the same layout stand in. Their training labels are noisy as people's are,
and the error is measured against the exact points, which real data do not have.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semalign.core import metrics
from semalign.data.cache import say_of_old_crops
from semalign.data.crops import face_boxes
from semalign.data.formats.vw300 import OFFICIAL as VIDEO_LISTS
from semalign.data.formats.vw300 import Vw300
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset, join
from semalign.data.truth import DESCRIPTION
from semalign.errors import SemalignError
from semalign.paper.layouts import write_300vw, write_aflw
from semalign.paper.sizes import ClipCounts, Size
from semalign.pipeline.prepare import Faces, cache_crops, split_faces
from semalign.pipeline.recipe import DataSettings, Recipe
from semalign.progress import Advance, Progress, counted
from semalign.schemes import load_scheme
from semalign.synthetic import Clip, category_settings, render_clip, write_dataset

NAMES = {"300w": "300W", "aflw": "AFLW", "300vw": "300-VW"}
OFFICIAL = {"Com.": 554, "Challenge": 135, "Full": 689, "AFLW-Full": 4386}  # test faces of the complete sets
OFFICIAL_TRAINING = {"300w": 3148, "aflw": 20000}
FULL = {"300w": "Full", "aflw": "AFLW-Full", "300vw": "Category 3"}  # the column that one figure stands for
TRAIN_SEED, HARD_SEED = 1000, 2000  # apart from each other and from the seeds of trainings
SHARED_OUT = 64  # so many faces are worth the start of other processes


@dataclass(frozen=True)
class Metric:
    """An error by its name."""

    name: str
    errors: Callable[[np.ndarray, Faces], np.ndarray]


@dataclass(frozen=True, eq=False)
class Protocol:
    """What a landmark network is trained and tested on.

    Attributes:
        columns: rows of the test faces by the column of the tables.
        coverage: of each column, "complete", "partial (…)" or "synthetic".
        data: the data in words.
        reference: what errors are measured against, in words.
        unit: what is counted, "faces" or "frames".
        notes: on the training faces, and what is partial or was left out.
    """

    name: str
    train: Faces
    test: Faces
    columns: Mapping[str, np.ndarray]
    coverage: Mapping[str, str]
    metric: Metric
    data: str
    reference: str
    unit: str
    notes: tuple[str, ...]


def interpupil_error(points: Float[np.ndarray, "b n 2"], test: Faces) -> Float[np.ndarray, " b"]:
    """The mean distance by that of the pupils: 300W's."""
    return metrics.nme_interpupil(points, test.reference, test.dataset.scheme)


def interocular_error(points: Float[np.ndarray, "b n 2"], test: Faces) -> Float[np.ndarray, " b"]:
    """The mean distance by that of the outer eye corners: what 300-VW's own code computes and its papers call RMSE."""
    return metrics.nme_interocular(points, test.reference, test.dataset.scheme)


def box_error(points: Float[np.ndarray, "b n 2"], test: Faces) -> Float[np.ndarray, " b"]:
    """The mean distance by √(w·h) of the face box: AFLW's."""
    return metrics.nme_box(points, test.reference, face_boxes(test.dataset.samples))


METRICS = {
    "300w": Metric("nme_interpupil, %", interpupil_error),
    "aflw": Metric("nme_box, %", box_error),
    "300vw": Metric("nme_interocular, % (the 300-VW code's 'RMSE')", interocular_error),
}


def make_protocol(
    name: str, size: Size, seed: int, data: Mapping[str, Path], out: Path, progress: Progress
) -> Protocol:
    """A protocol on the data that are given, else on synthetic data made in `out`.

    Args:
        name: "300w", "aflw" or "300vw".
        size: counts of synthetic faces, crops and input size.
        seed: of synthetic data.
        data: folders of real data by name.
        out: for synthetic data.
        progress: told what goes on.

    Raises:
        SemalignError: data that cannot be read, without training or without test faces.
    """
    real = name in data
    opened = {"300w": _faces_300w, "aflw": _faces_aflw, "300vw": _faces_300vw}[name]
    train, test, columns, notes = opened(size, seed, data, out, progress)
    for what, dataset in (("training", train), ("test", test)):
        if not len(dataset):
            raise SemalignError(f"{dataset.root}: holds no {what} faces of {NAMES[name]}; check it with 'data check'.")
    say_of_old_crops(out / "crops", progress)
    faces = [
        cache_crops(part, size.crop, size.network.input_size, False, progress, f"{NAMES[name]}: crops, {what}")
        for part, what in ((train, "training"), (test, "test"))
    ]
    truth = test.truth is not None
    described = f"{len(train)} training {'frames and faces' if name == '300vw' else 'faces'}"
    if real and name in OFFICIAL_TRAINING and len(train) != OFFICIAL_TRAINING[name]:
        described += f" (partial: of the official {OFFICIAL_TRAINING[name]})"
    return Protocol(
        name=name,
        train=faces[0],
        test=faces[1],
        columns={column: rows for column, rows in columns.items() if len(rows)},
        coverage=_coverage(name, real, test, columns, size.clips),
        metric=METRICS[name],
        data=NAMES[name]
        if real
        else f"synthetic {'videos' if name == '300vw' else 'faces'} in the layout of {NAMES[name]}",
        reference="exact points" if truth else "annotations",
        unit="frames" if name == "300vw" else "faces",
        notes=(described + (", with annotators' noise in their labels." if truth else "."), *notes),
    )


def _coverage(
    name: str, real: bool, test: Dataset, columns: Mapping[str, np.ndarray], clips: ClipCounts
) -> dict[str, str]:
    """Whether each column has the official test faces; of 300-VW the official videos."""
    result = {}
    for index, (column, rows) in enumerate(columns.items()):
        have, official, what = len(rows), OFFICIAL.get(column, 0), ""
        if name == "300vw":
            have = len({test.samples[row].image for row in rows})
            official, what = len(VIDEO_LISTS[index + 1].videos), " videos"
        if not real:
            result[column] = "synthetic"
        elif have != official:
            result[column] = f"partial ({have} of {official}{what})"
        else:
            result[column] = "complete"
        if real and name == "300vw" and clips.every > 1:
            result[column] += f", one frame in {clips.every}"
    return result


Opened = tuple[Dataset, Dataset, dict[str, np.ndarray], tuple[str, ...]]


def _faces_300w(size: Size, seed: int, data: Mapping[str, Path], out: Path, progress: Progress) -> Opened:
    """Columns Com., Challenge and Full (all test faces that there are)."""
    if "300w" in data:
        recipe = Recipe(name="300W", data=DataSettings(scheme="ibug68"))
        train, test, notes = split_faces(recipe, data["300w"], keep_going=False)
    else:
        train, test, notes = _synthetic_300w(size, seed, out, progress)
    return train, test, _columns_300w(test), notes


def _columns_300w(test: Dataset) -> dict[str, np.ndarray]:
    groups = np.array([sample.group for sample in test.samples])
    return {
        "Com.": np.flatnonzero(groups == "common"),
        "Challenge": np.flatnonzero(groups == "challenging"),
        "Full": np.arange(len(test)),
    }


def _synthetic_300w(size: Size, seed: int, out: Path, progress: Progress) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """Training and common test faces of one kind, challenging ones of a harder kind."""
    counts = size.faces
    easy = size.synthesis(counts.train, counts.common, counts.easy, TRAIN_SEED + seed)
    hard = size.synthesis(0, counts.challenging, counts.hard, HARD_SEED + seed)
    folders = []
    with progress.stage("300W: synthetic faces", easy.count + hard.count) as advance:
        for name, settings in (("300w", easy), ("300w-challenging", hard)):
            workers = (os.cpu_count() or 1) if settings.count >= SHARED_OUT else 1
            folders.append(write_dataset(out / "data" / name, settings, counted(advance), workers))
    dataset, harder = (open_dataset(folder) for folder in folders)
    test = join(dataset.select(split="test").grouped("common"), harder.grouped("challenging"))
    note = "Challenging faces are turned further, covered and blurred more often than those that were trained on."
    return dataset.select(split="train"), test, (note,)


def _faces_aflw(size: Size, seed: int, data: Mapping[str, Path], out: Path, progress: Progress) -> Opened:
    """The column AFLW-Full."""
    if "aflw" in data:
        folder = data["aflw"]
    else:
        counts = size.faces
        settings = size.synthesis(counts.aflw_train, counts.aflw_test, counts.easy, TRAIN_SEED + seed)
        with progress.stage("AFLW: synthetic faces", settings.count) as advance:
            folder = write_aflw(out / "data" / "aflw", settings, counted(advance))
    dataset = open_dataset(folder, load_scheme("aflw19"))
    test = dataset.select(split="test")
    return dataset.select(split="train"), test, {"AFLW-Full": np.arange(len(test))}, dataset.notes


def _faces_300vw(size: Size, seed: int, data: Mapping[str, Path], out: Path, progress: Progress) -> Opened:
    """Columns Category 1 to 3; trained on the training videos and all of 300W, as the paper does, where there is a 300W."""
    notes: tuple[str, ...] = ()
    if "300vw" in data:
        videos = open_dataset(data["300vw"], reader=Vw300(every=size.clips.every))
        more = open_dataset(data["300w"], load_scheme("ibug68")) if "300w" in data else None
        if more is None:
            notes = ("Trained without 300W, which was not given.",)
    else:
        videos = open_dataset(_synthetic_videos(size.clips, seed, out / "data" / "300vw", progress))
        more = _synthetic_300w(size, seed, out, progress)[0]
    train, test = videos.select(split="train"), videos.select(split="test")
    if more is not None:
        train = join(train, more.grouped("300w"))
    subsets = np.array([sample.subset for sample in test.samples])
    columns = {f"Category {number}": np.flatnonzero(subsets == f"category-{number}") for number in (1, 2, 3)}
    # Which videos of the official lists a synthetic set lacks is nobody's concern.
    return train, test, columns, (*notes, *(videos.notes if "300vw" in data else ()))


def _synthetic_videos(counts: ClipCounts, seed: int, folder: Path, progress: Progress) -> Path:
    """Clips in the layout of 300-VW; an unfinished folder is made anew."""
    if not (folder / DESCRIPTION).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with progress.stage("300-VW: synthetic clips", 3 * (counts.train + counts.test)) as advance:
            first = 1000 * (seed + 1)
            train = _clips(counts, first, counts.train, advance)
            write_300vw(folder, _clips(counts, first + 500, counts.test, advance), train)
    return folder


def _clips(counts: ClipCounts, first_seed: int, number: int, advance: Advance) -> Iterator[Clip]:
    """So many clips of each category."""
    for category in (1, 2, 3):
        settings = category_settings(category)
        settings = replace(
            settings,
            count=counts.frames,
            size=counts.size,
            rate=counts.rate,
            shutter=settings.shutter * counts.rate / settings.rate,  # exposed as long as in a clip of the usual rate
        )
        for index in range(number):
            yield render_clip(settings, first_seed + index)
            advance(1)
