"""Synthetic faces written as an ordinary data set: the folder layout of 300W, with the truth in a file beside it.

    OUT/helen/trainset/synthetic_000001.jpg, .pts ...   training faces, annotated by the synthetic annotators
    OUT/lfpw/testset/synthetic_....jpg, .pts            test faces, annotated in the same way
    OUT/truth.parquet                                   the exact points and who annotated
    OUT/synthetic.json                                  the settings; written last, so a folder without it is unfinished
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from semalign.data.pts import write_pts
from semalign.errors import SemalignError
from semalign.files import atomic_path, write_bytes, write_json
from semalign.synthetic.annotators import annotate, make_annotators
from semalign.synthetic.render import Face, render_face
from semalign.synthetic.settings import SynthesisSettings

FORMAT = 1
DONE, STARTED, TRUTH = "synthetic.json", "synthetic.started.json", "truth.parquet"
TRAIN_FOLDER, TEST_FOLDER = "helen/trainset", "lfpw/testset"
Row = tuple[str, np.ndarray, np.ndarray, int]  # image, points, visible, annotator


def face_of(seed: int, index: int, settings: SynthesisSettings) -> Face:
    """Face `index` (from 0) of a seed: a function of these and the face settings alone."""
    return render_face(np.random.default_rng([seed, index]), settings.face)


def write_dataset(
    out: Path, settings: SynthesisSettings, progress: Callable[[int, int], None] | None = None, workers: int = 1
) -> Path:
    """Write the data set and return its folder; an unfinished one of the same settings is completed, a finished one kept.

    The files hold the same bytes whatever the number of worker processes. `progress` is called with (faces done, faces in all).

    Raises:
        SemalignError: settings that make no sense; a folder that holds something else or cannot be written.
    """
    out = Path(out)
    _check(settings)
    description = {
        "format": FORMAT,
        "scheme": "ibug68",
        "seed": settings.seed,
        "count": settings.count,
        "settings": asdict(settings),
    }
    if _claim(out, description):
        return out
    rows: list[Row] = []
    for row in _rows(out, settings, workers):
        rows.append(row)
        if progress is not None:
            progress(len(rows), settings.count)
    with atomic_path(out / TRUTH) as temporary:
        pq.write_table(_truth_table(rows), temporary)
    write_json(out / DONE, description)
    (out / STARTED).unlink(missing_ok=True)
    return out


def image_id(index: int, settings: SynthesisSettings) -> str:
    """Path of face `index` (from 0) relative to the data set's folder."""
    folder = TEST_FOLDER if index >= settings.count - settings.test_count else TRAIN_FOLDER
    return f"{folder}/synthetic_{index + 1:06d}.{settings.image_format}"


def _check(settings: SynthesisSettings) -> None:
    if settings.count < 1:
        raise SemalignError(f"count: {settings.count} faces cannot be made; ask for at least 1.")
    if not 0 <= settings.test_count <= settings.count:
        raise SemalignError(f"test_count: {settings.test_count} test faces of {settings.count} in all; choose 0 to {settings.count}.")
    if settings.seed < 0:
        raise SemalignError(f"seed: {settings.seed} is negative; choose 0 or more.")
    if settings.annotators < 1:
        raise SemalignError(f"annotators: {settings.annotators} annotators cannot annotate; choose at least 1.")
    if settings.image_format not in ("jpg", "png"):
        raise SemalignError(f"image_format: {settings.image_format!r} is unknown; choose 'jpg' or 'png'.")
    if settings.face.size < 32:
        raise SemalignError(f"size: faces of {settings.face.size} px are too small to draw; choose at least 32.")


def _claim(out: Path, description: dict[str, Any]) -> bool:
    """Make the folder ours; True if it already holds the finished data set."""
    plain = json.loads(json.dumps(description))
    for name in (DONE, STARTED):
        if (out / name).is_file():
            if _read_json(out / name) != plain:
                raise SemalignError(f"{out}: holds a synthetic data set of other settings; choose another folder or delete it first.")
            return name == DONE
    try:
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise SemalignError(f"{out}: cannot be read ({error.strerror}); choose another folder.") from error
    if occupied:
        raise SemalignError(f"{out}: is not empty and holds no synthetic data set; choose a new or an empty folder.")
    write_json(out / STARTED, description)
    return False


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SemalignError(f"{path}: cannot be read as JSON ({error}); delete the data set's folder and make it again.") from error


def _rows(out: Path, settings: SynthesisSettings, workers: int) -> Iterator[Row]:
    write = partial(_write_face, out, settings)
    if workers <= 1:
        yield from map(write, range(settings.count))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(write, range(settings.count), chunksize=16)


def _write_face(out: Path, settings: SynthesisSettings, index: int) -> Row:
    face = face_of(settings.seed, index, settings)
    rng = np.random.default_rng([settings.seed, index, 2])
    people = make_annotators(settings.annotators, settings.seed, settings.noise)
    person = people[int(rng.integers(len(people)))]
    name = image_id(index, settings)
    write_bytes(out / name, _encode(face.image, settings))
    write_pts((out / name).with_suffix(".pts"), annotate(face, person, rng, settings.noise))
    return name, face.points, face.visible, person.index


def _encode(image: np.ndarray, settings: SynthesisSettings) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality] if settings.image_format == "jpg" else []
    _, data = cv2.imencode(f".{settings.image_format}", image[..., ::-1], options)
    return data.tobytes()


def _truth_table(rows: list[Row]) -> pa.Table:
    names, points, visible, annotators = zip(*rows, strict=True)
    count = len(points[0])
    stacked = np.concatenate(points)
    return pa.table(
        {
            "image": pa.array(np.repeat(np.array(names, object), count), pa.string()),
            "landmark": pa.array(np.tile(np.arange(count, dtype=np.int16), len(rows))),
            "x": pa.array(stacked[:, 0]),
            "y": pa.array(stacked[:, 1]),
            "visible": pa.array(np.concatenate(visible)),
            "annotator": pa.array(np.repeat(np.array(annotators, np.int16), count)),
        }
    )
