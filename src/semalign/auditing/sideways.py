"""Whether all points of a data set lie to one side of where faces are, which no comparison within the set can tell.

A face and its mirror image are equally likely. The face mesh looks at both, and what its points are in the landmarks' terms
(`semalign.core.translation`) is made alike for both here, so that it cannot be off to one side, whatever its own teachers
did. Landmarks that are mirror partners must then lie as far left of it as right of it, over a pair and over many faces. What
is left over is a shift of the annotations. Upwards there is no such symmetry, and nothing is said.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from safetensors import safe_open

from semalign.auditing.shift import FEWEST, Shift
from semalign.core.adaptation import drawn
from semalign.core.metrics import landmark_boxes
from semalign.core.translation import Translation
from semalign.data.crops import CropSettings, build_crops
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.inference.meshes import WEIGHTS, meshes_of
from semalign.models import pretrained
from semalign.models.arrays import load_arrays
from semalign.models.mesh_translation import translation_in
from semalign.progress import Progress
from semalign.schemes import LandmarkScheme, load_scheme

MOST = 500  # faces that are looked at; of more so many are drawn
SEEN, SIDE = CropSettings(), 128  # what the mesh looks at first, and its pixels
CHEEKS = (234, 454)  # vertices of the mesh, left and right in the image
TURNED = 0.5  # sine of the turn from which a face tells nothing
ASTRAY = 0.15  # mean distance from the mesh, in face sizes, from which the mesh has not seen the face
BENDING = 1.345  # deviations from which a face counts less, as Huber has it


def whole_shift(dataset: Dataset, good: Bool[np.ndarray, " b"], progress: Progress) -> Shift | None:
    """The shift of a set's faces; None where the landmarks are not those that the mesh is known in, or too few faces tell.

    Args:
        dataset: the faces; those whose pictures cannot be read are not heard.
        good: faces that are heard.
        progress: told what goes on, also where nothing can be told as no picture can be read.
    """
    known = load_scheme("ibug68")
    if dataset.scheme.count != known.count or dataset.scheme.flip_index != known.flip_index:
        return None
    rows = np.flatnonzero(good)
    rows = rows[drawn(len(rows), MOST)]
    if len(rows) < FEWEST:
        return None
    samples, unread = [dataset.samples[row] for row in rows], set[str]()
    try:
        crops = build_crops(samples, SEEN, SIDE, bad=lambda name, why: unread.add(name))
    except SemalignError as error:
        progress.say(f"Whether all points lie to one side is not told: {error}")
        return None
    rows = rows[[sample.id not in unread for sample in samples]]
    with progress.stage("mirror images", len(rows)) as advance:
        meshes = meshes_of(crops, advance=advance)
    return measured(dataset.points()[rows], meshes, dataset.scheme)


def measured(
    points: Float[np.ndarray, "b n 2"], meshes: Float[np.ndarray, "b 478 3"], scheme: LandmarkScheme
) -> Shift | None:
    """The shift of annotations (image frame, NaN where absent) from the meshes of their faces; None where too few tell."""
    return compared(points, symmetric_landmarks(meshes, scheme), axes_of(meshes), scheme)


def compared(
    points: Float[np.ndarray, "b n 2"],
    said: Float[np.ndarray, "b n 2"],
    axis: Float[np.ndarray, "b 3"],
    scheme: LandmarkScheme,
) -> Shift | None:
    """As `measured`, by what the meshes say in the landmarks' terms, and the lines from cheek to cheek, of length 1."""
    box = landmark_boxes(said)
    sizes = (box[:, 2:] - box[:, :2]).max(axis=1)
    with np.errstate(invalid="ignore"):
        apart = points - said
        off = np.linalg.norm(apart, axis=2)
        missing = np.isnan(off)
        away = np.where(missing, 0.0, off).sum(axis=1) / np.maximum((~missing).sum(axis=1), 1) / sizes
    sideways = (apart[..., 0] + apart[:, list(scheme.flip_index), 0]) / 2
    tells = (away < ASTRAY) & (np.abs(axis[:, 2]) < TURNED) & (np.isfinite(sideways).sum(axis=1) >= scheme.count / 2)
    if tells.sum() < FEWEST:
        return None
    offsets, sizes, axis = np.nanmedian(sideways[tells], axis=1) / sizes[tells], sizes[tells], axis[tells]
    typical = float(np.median(sizes))
    # Differences grow with the face, so all is in face sizes; what turns a face to one side may move its points there.
    pixels, turns = 1 / sizes, (axis[:, 1], axis[:, 2])
    alone, error = _fit(np.stack([pixels, *turns], axis=1), offsets)
    parts, errors = _fit(np.stack([pixels, np.ones_like(sizes), *turns], axis=1), offsets)
    return Shift(
        right=float(alone[0]),
        error=float(error[0]),
        faces=len(sizes),
        size=typical,
        constant=float(parts[0]),
        constant_error=float(errors[0]),
        growing=float(parts[1]) * typical,
        growing_error=float(errors[1]) * typical,
    )


def axes_of(meshes: Float[np.ndarray, "b 478 3"]) -> Float[np.ndarray, "b 3"]:
    """The line from the left cheek in the image to the right one, of length 1: how faces are turned."""
    axis = meshes[:, CHEEKS[1]] - meshes[:, CHEEKS[0]]
    found: np.ndarray = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    return found


def symmetric_landmarks(meshes: Float[np.ndarray, "b 478 3"], scheme: LandmarkScheme) -> Float[np.ndarray, "b n 2"]:
    """What meshes are in the landmarks' terms, alike for a face and its mirror image, in the frames of the meshes."""
    translation, exchange = _translation(), _exchange()
    mirrored = meshes[:, exchange] * (-1, 1, 1)
    back = translation(mirrored)[:, list(scheme.flip_index)] * (-1, 1)
    found: np.ndarray = (translation(meshes) + back) / 2
    return found


@lru_cache(maxsize=1)
def _translation() -> Translation:
    """The default model's."""
    found = translation_in(load_arrays(pretrained.resolve("default"))[0])
    assert found is not None
    return found


@lru_cache(maxsize=1)
def _exchange() -> np.ndarray:
    """Which points of a mesh change places in a mirror."""
    with safe_open(WEIGHTS.with_suffix(".safetensors"), "np") as file:
        return np.asarray(file.get_tensor("mirror"), np.int64)


def _fit(
    features: Float[np.ndarray, "b f"], values: Float[np.ndarray, " b"]
) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Coefficients of a linear fit in which faces that lie far off count less, and their standard errors."""
    weights = np.ones(len(values))
    for _ in range(30):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(features * root[:, None], values * root, rcond=None)[0]
        rest = values - features @ found
        bend = BENDING * max(1.4826 * float(np.median(np.abs(rest))), 1e-9)
        weights = np.minimum(1.0, bend / np.maximum(np.abs(rest), 1e-12))
    inverse = np.linalg.pinv((features * (np.abs(rest) < bend)[:, None]).T @ features)
    spread = np.square(np.clip(rest, -bend, bend)) * len(values) / max(len(values) - features.shape[1], 1)
    covariance = inverse @ (features * spread[:, None]).T @ features @ inverse
    return found, np.sqrt(np.diag(covariance))
