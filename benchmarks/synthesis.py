"""How fast synthetic faces are made, and how much two synthetic annotators disagree.

    python benchmarks/synthesis.py

writes benchmarks/results/synthesis_<date>.csv (faces a second on one core: drawing alone, and the whole data set with
its files) and annotation_noise_<date>.csv (differences in % of the outer-eye distance, beside those that were measured
on 61 photographs that 300W holds twice, each annotated twice).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from results import write_results
from rich.console import Console
from rich.table import Table

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
    """Measure both, print them and write them down."""
    cv2.setNumThreads(1)
    speed = [speed_of(name, make, faces, repeats, size) for name, make in (("draw", draw), ("write", write))]
    noise = disagreement(pairs)
    for title, rows in (("Speed on one core", speed), ("Difference of two annotations, %", noise)):
        show(title, rows)
    print(f"written to {write_results('synthesis', speed)} and {write_results('annotation_noise', noise)}")


def draw(faces: int, size: int, folder: Path) -> None:
    """Draw faces and throw them away."""
    settings = FaceSettings(size=size)
    for index in range(faces):
        render_face(np.random.default_rng([0, index]), settings)


def write(faces: int, size: int, folder: Path) -> None:
    """Write a data set of faces with annotations and truth."""
    write_dataset(folder, SynthesisSettings(count=faces, test_count=faces // 5, face=FaceSettings(size=size)))


def speed_of(what: str, make: Callable[[int, int, Path], None], faces: int, repeats: int, size: int) -> dict[str, Any]:
    """Faces a second, median and range of the repeats after one that does not count.

    Processor time is what the bar of 100 faces a second and core is about; the clock also counts waiting for the disk and
    for other programs.
    """
    by_processor, by_clock = [], []
    with tempfile.TemporaryDirectory() as folder:
        make(faces, size, Path(folder) / "first")
        for repeat in range(repeats):
            clock, processor = time.perf_counter(), time.process_time()
            make(faces, size, Path(folder) / str(repeat))
            by_processor.append(faces / (time.process_time() - processor))
            by_clock.append(faces / (time.perf_counter() - clock))
    return {
        "what": what,
        "size": size,
        "faces": faces,
        "repeats": repeats,
        "faces_per_core_second": round(statistics.median(by_processor), 1),
        "slowest": round(min(by_processor), 1),
        "fastest": round(max(by_processor), 1),
        "faces_per_clock_second": round(statistics.median(by_clock), 1),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "",
    }


def disagreement(count: int, seed: int = 1) -> list[dict[str, Any]]:
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


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
