"""The face mesh of every crop of a data set, by ONNX Runtime.

A first look finds the face in the crop; two more, one of them mirrored, at the face as it was found, upright and as large as
the network was trained on, give the mesh, their mean. All looks are in one graph (`semalign.export.mesh`).

Shape legend: b faces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from semalign.ahead import made_ahead, side_by_side
from semalign.core.affine import invert, transform_points
from semalign.core.translation import Translation
from semalign.cores import usable_cores
from semalign.data.crops import CropCache
from semalign.files import forget
from semalign.inference.processes import computes_alone
from semalign.inference.sessions import open_session

WEIGHTS = Path(__file__).parent.with_name("models") / "face_mesh.onnx"
INPUTS = ("pictures", "first")
BATCH = 8  # faces at once: what is computed of more does not stay in the processor's cache
SIDE = 192  # of the picture that the network sees
FIRST = 1.28  # side of the square looked at first, in sides of the crop's input square


def meshes_of(
    crops: CropCache, batch_size: int = BATCH, advance: Callable[[int], None] | None = None
) -> Float[np.ndarray, "b 478 3"]:
    """The meshes in the image frames, pixels; depth in the same unit.

    Args:
        crops: plain crops of faces.
        batch_size: faces at once.
        advance: told how many more are done.
    """
    found = np.empty((len(crops), 478, 3))
    for rows, mesh in mesh_batches(crops, batch_size):
        found[rows] = mesh
        if advance is not None:
            advance(len(rows))
    return found


def mesh_landmarks(
    crops: CropCache,
    translation: Translation,
    rows: Int[np.ndarray, " b"] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Float[np.ndarray, "b n 2"]:
    """What the meshes say in the landmarks' terms, in the image frames; no mesh is kept. Arguments as of `meshes_of`."""
    found = [np.empty((0, *translation.coefficients.shape[1:]))]
    for batch, mesh in mesh_batches(crops, rows=rows):
        found.append(translation(mesh))
        if advance is not None:
            advance(len(batch))
    return np.concatenate(found)


def mesh_batches(
    crops: CropCache, batch_size: int = BATCH, rows: Int[np.ndarray, " b"] | None = None
) -> Iterator[tuple[np.ndarray, Float[np.ndarray, "b 478 3"]]]:
    """Rows of the crops and their meshes, batch by batch, as `meshes_of`; `rows` are those that are wanted, default all."""
    first = first_look(crops.images.shape[1], crops.input_size)
    wanted = np.arange(len(crops)) if rows is None else rows
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]

    def read(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pictures = np.ascontiguousarray(crops.images[batch].transpose(0, 3, 1, 2))
        forget(crops.images)
        return batch, pictures

    def look(taken: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        batch, pictures = taken
        mesh = session.run(None, dict(zip(INPUTS, (pictures, first), strict=True)))[0].astype(np.float64)
        to_image = invert(crops.image_to_crop[batch])
        depth = mesh[..., 2] * np.hypot(to_image[:, 0, 0], to_image[:, 0, 1])[:, None]
        flat = transform_points(mesh[..., :2], to_image)
        return batch, np.concatenate([flat, depth[..., None]], axis=-1)

    session = _session(os.getpid())
    threads = 1 if computes_alone() or len(batches) < 2 else usable_cores()
    yield from side_by_side(look, made_ahead(read, batches), threads)


def first_look(crop_size: int, input_size: int) -> Float[np.ndarray, "1 2 3"]:
    """The map from crops to the pictures of the first look."""
    side = SIDE / (FIRST * input_size)
    middle = (SIDE - 1) / 2 - (crop_size - 1) / 2 * side
    return np.array([[[side, 0.0, middle], [0.0, side, middle]]])


@lru_cache(maxsize=1)
def _session(process: int) -> Any:
    """ONNX Runtime's session of this process."""
    # One thread for a batch, a batch for each core: several threads for one take twice the processor's time.
    return open_session(WEIGHTS.read_bytes(), WEIGHTS, 1, "install semalign again, for the face mesh came with it")
