"""How fast synthetic faces are made, and how much two synthetic annotators disagree.

    python benchmarks/synthesis.py

writes benchmarks/results/synthesis_<date>.csv (faces a second on one core: drawing alone, and the whole data set with
its files) and annotation_noise_<date>.csv (differences in % of the outer-eye distance, beside those that were measured
on 61 photographs that 300W holds twice, each annotated twice).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import numpy as np
import typer
from harness import Row, finish, in_turn, run

from semalign.evaluation.labels import label_error
from semalign.schemes import load_scheme
from semalign.synthetic import (
    FaceSettings,
    NoiseSettings,
    SynthesisSettings,
    annotate,
    face_of,
    make_annotators,
    render_face,
    write_dataset,
)

MEASURED = {  # on the duplicates inside 300W: mean, along the curve, across it; what was not measured is missing
    "all": {"mean": 2.96},
    "contour": {"mean": 5.99, "along": 5.59, "across": 1.33},
    "brows": {"mean": 2.62},
    "nose": {"mean": 1.68},
    "eyes": {"mean": 1.45},
    "mouth": {"mean": 2.03},
}


def main(
    faces: Annotated[int, typer.Option(help="Faces a repeat.")] = 100,
    repeats: Annotated[int, typer.Option(help="Repeats, of which the median counts.")] = 7,
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 128,
    pairs: Annotated[int, typer.Option(help="Faces that are annotated twice.")] = 500,
) -> None:
    cv2.setNumThreads(1)
    kinds = {"draw": draw, "write": write}
    finish("synthesis", [speed_of(name, make, faces, repeats, size) for name, make in kinds.items()], digits=1)
    finish("annotation_noise", disagreement(pairs))


def draw(faces: int, size: int, folder: Path) -> None:
    """Draw faces and throw them away."""
    settings = FaceSettings(size=size)
    for index in range(faces):
        render_face(np.random.default_rng([0, index]), settings)


def write(faces: int, size: int, folder: Path) -> None:
    """Write a data set of faces with annotations and truth."""
    write_dataset(folder, SynthesisSettings(count=faces, test_count=faces // 5, face=FaceSettings(size=size)))


def speed_of(what: str, make: Callable[[int, int, Path], None], faces: int, repeats: int, size: int) -> Row:
    """Faces a second, median and range of the repeats.

    Processor time is what the bar of 100 faces a second and core is about; the clock also counts waiting for the disk and
    for other programs.
    """
    with tempfile.TemporaryDirectory() as folder:
        timing = in_turn({what: make}, repeats, lambda turn: (faces, size, Path(folder) / str(turn)))[what]
    by_processor = [faces / seconds for seconds in timing.processor]
    return {
        "what": what,
        "size": size,
        "faces": faces,
        "repeats": repeats,
        "faces_per_core_second": round(median(by_processor), 1),
        "slowest": round(min(by_processor), 1),
        "fastest": round(max(by_processor), 1),
        "faces_per_clock_second": round(median(faces / seconds for seconds in timing.clock), 1),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "",
    }


def disagreement(count: int, seed: int = 1) -> list[Row]:
    """Mean difference of two annotations of the same face by annotators drawn as for a data set, by region."""
    noise, settings, scheme = NoiseSettings(), SynthesisSettings(), load_scheme("ibug68")
    people = make_annotators(settings.annotators, seed, noise)
    first, second = (np.empty((count, scheme.count, 2)) for _ in range(2))
    for index in range(count):
        face, rng = face_of(seed, index, settings), np.random.default_rng([seed, index, 3])
        for points in (first, second):
            points[index] = annotate(face, people[int(rng.integers(len(people)))], rng, noise)
    error = label_error(second, first, scheme)
    groups = {"all": {"mean": error["all"], "along": error["along"], "across": error["across"]}, **error["regions"]}
    return [
        {
            "region": name,
            "faces": count,
            **{key: round(value, 2) for key, value in group.items()},
            **{f"{key}_in_300w": MEASURED[name].get(key, "") for key in ("mean", "along", "across")},
        }
        for name, group in groups.items()
    ]


if __name__ == "__main__":
    run(main)
