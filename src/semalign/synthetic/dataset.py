"""Synthetic faces written as an ordinary data set: the folder layout of 300W, with the truth in a file beside it.

OUT/helen/trainset/synthetic_000001.jpg, .pts ...   training faces, annotated by the synthetic annotators
OUT/lfpw/testset/synthetic_....jpg, .pts            test faces, annotated in the same way
OUT/truth.parquet                                   the exact points, whether they are visible, and who annotated
OUT/synthetic.json                                  the settings; written last: a folder without it is unfinished
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from semalign.data.pts import write_pts
from semalign.data.truth import DESCRIPTION, TRUTH, UNFINISHED
from semalign.errors import SemalignError
from semalign.files import (
    atomic_path,
    read_json,
    refuse_occupied,
    remove_leftovers,
    write_error,
    write_json,
    write_text,
)
from semalign.locks import writes_into
from semalign.synthetic.annotators import annotate, make_annotators
from semalign.synthetic.render import SCHEME, Face, render_face
from semalign.synthetic.settings import SynthesisSettings, check_settings
from semalign.synthetic.workers import spread

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
TRAIN_FOLDER, TEST_FOLDER = "helen/trainset", "lfpw/testset"
CHUNK = 16  # faces that a worker process makes at a time


class Row(NamedTuple):
    """What the truth file says about one picture."""

    image: str  # path relative to the data set's folder
    points: np.ndarray  # (n, 2), image frame
    visible: np.ndarray  # (n,) bool
    annotator: int


def face_of(seed: int, index: int, settings: SynthesisSettings) -> Face:
    """Face `index` (from 0) of a seed: a function of these and the face settings alone."""
    return render_face(np.random.default_rng([seed, index]), settings.face)


def write_dataset(
    out: str | Path, settings: SynthesisSettings, progress: Callable[[int, int], None] | None = None, workers: int = 1
) -> Path:
    """Write the data set and return its folder; an unfinished one of these settings is completed, a finished one kept.

    On one machine the files hold the same bytes whatever the number of worker processes, and whether the work was
    interrupted or not. `progress` is called with (faces done, faces in all).

    Raises:
        SemalignError: settings that make no sense; a folder that holds something else or cannot be written.
    """
    out = Path(out)
    check_settings(settings)
    description = {
        "format": FORMAT,
        "scheme": SCHEME.name,
        "seed": settings.seed,
        "count": settings.count,
        "settings": asdict(settings),
    }
    folders = sorted({image_id(index, settings).rpartition("/")[0] for index in (0, settings.count - 1)})
    write = partial(_write_face, out, settings)
    return write_rows(out, description, folders, write, progress, workers)


@writes_into("out")
def write_rows(
    out: Path,
    description: dict[str, Any],
    folders: Sequence[str],
    write: Callable[[int], Row],
    progress: Callable[[int, int], None] | None,
    workers: int,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Write a data set picture by picture and return its folder; an unfinished one is completed, a finished one kept.

    Args:
        out: its folder.
        description: what synthetic.json says; `count` of it is the number of pictures.
        folders: of pictures, in `out`.
        write: writes the picture of a number, from 0, and its annotation; can be pickled.
        progress: called with (pictures done, pictures in all).
        workers: processes.
        texts: of other files, by name.

    Raises:
        SemalignError: a folder that holds something else or cannot be written.
    """
    if _claim(out, description):
        return out
    _make_folders(out, folders)
    for name, text in (texts or {}).items():
        write_text(out / name, text)
    count: int = description["count"]
    rows: list[Row] = []
    for row in map(write, range(count)) if workers <= 1 else spread(write, count, workers, CHUNK):
        rows.append(row)
        if progress is not None:
            progress(len(rows), count)
    import pyarrow.parquet as pq

    with atomic_path(out / TRUTH) as temporary:
        pq.write_table(_truth_table(rows), temporary)
    write_json(out / DESCRIPTION, description)
    (out / UNFINISHED).unlink(missing_ok=True)
    return out


def image_id(index: int, settings: SynthesisSettings) -> str:
    """Path of face `index` (from 0) relative to the data set's folder."""
    folder = TEST_FOLDER if index >= settings.count - settings.test_count else TRAIN_FOLDER
    return f"{folder}/synthetic_{index + 1:06d}.{settings.image_format}"


def _claim(out: Path, description: dict[str, Any]) -> bool:
    """Make the folder ours; True if it already holds the finished data set."""
    plain = json.loads(json.dumps(description))
    for name in (DESCRIPTION, UNFINISHED):
        if (out / name).is_file():
            if read_json(out / name, "delete the data set's folder and make it again") != plain:
                raise SemalignError(
                    f"{out}: holds a synthetic data set of other settings; choose another folder or delete it first."
                )
            if name == DESCRIPTION:
                (out / UNFINISHED).unlink(missing_ok=True)
                return True
            remove_leftovers(out)
            return False
    refuse_occupied(out, "synthetic data set")
    write_json(out / UNFINISHED, description)
    return False


def _make_folders(out: Path, folders: Sequence[str]) -> None:
    for folder in (out / name for name in folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error


def _write_face(out: Path, settings: SynthesisSettings, index: int) -> Row:
    face = face_of(settings.seed, index, settings)
    rng = np.random.default_rng([settings.seed, index, 2])
    people = make_annotators(settings.annotators, settings.seed, settings.noise)
    person = people[int(rng.integers(len(people)))]
    name = image_id(index, settings)
    write_picture(out / name, face.image, settings.jpeg_quality)
    write_pts((out / name).with_suffix(".pts"), annotate(face, person, rng, settings.noise))
    return Row(name, face.points, face.visible, person.index)


def write_picture(path: Path, image: np.ndarray, quality: int) -> None:
    """Write an RGB image, as JPEG or PNG by the path's ending.

    Not atomically, which takes longer: the set as a whole counts from its description on.

    Raises:
        SemalignError: it cannot be written.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, image[..., ::-1], options)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise write_error(path, error) from error


def _truth_table(rows: list[Row]) -> pa.Table:
    """One line per image and landmark: image, landmark, x, y, visible, annotator."""
    import pyarrow as pa

    points, count = np.concatenate([row.points for row in rows]), len(rows[0].points)
    return pa.table(
        {
            "image": pa.array([row.image for row in rows for _ in range(count)], pa.string()),
            "landmark": pa.array(np.tile(np.arange(count, dtype=np.int16), len(rows))),
            "x": pa.array(points[:, 0]),
            "y": pa.array(points[:, 1]),
            "visible": pa.array(np.concatenate([row.visible for row in rows])),
            "annotator": pa.array(np.repeat(np.array([row.annotator for row in rows], np.int16), count)),
        }
    )
