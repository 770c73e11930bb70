"""What a network does systematically differently from the annotators, as a function of the face's shape.

On average over many faces the annotations are where the landmark is by definition; a network's predictions are not: they lag
behind in turned faces, shrink the eyes, and so on. Labels that follow such predictions drift into the network's own bias,
and a network trained on them confirms it. This part can be told from the annotators' noise, because it depends on pose and
expression and the noise does not: it is what a regression of (prediction - annotation) on the shape explains.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

FACES_PER_MODE = 20  # fewer faces for a mode than this would fit noise


def systematic_offsets(
    predicted: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], modes: int
) -> Float[np.ndarray, "b n 2"]:
    """For each face, by how much the predictions of faces of its shape differ from the annotations on average.

    The differences, in the face's own frame, are regressed by least squares on a constant and the first principal
    components of the *predicted* shapes: these do not hold the annotator's noise in that face, so that it stays in the
    residual.

    Args:
        predicted: points of any frame.
        annotated: points of the same frames, all finite.
        modes: number of components; 0 leaves the mean offset. At most one for every 20 faces is used.

    Returns:
        Offsets in the frames of the points.
    """
    shapes = predicted[..., 0] + 1j * predicted[..., 1]
    aligned, frames = _align(shapes)
    features = _features(aligned, min(modes, len(shapes) // FACES_PER_MODE))
    difference = (annotated[..., 0] + 1j * annotated[..., 1] - shapes) / -frames
    explained = features @ np.linalg.lstsq(features, difference, rcond=None)[0]
    offset = explained * frames
    return np.stack([offset.real, offset.imag], axis=-1)


def _align(
    shapes: Complex[np.ndarray, "b n"], iterations: int = 5
) -> tuple[Complex[np.ndarray, "b n"], Complex[np.ndarray, "b 1"]]:
    """Shapes turned, scaled and shifted onto their mean (Procrustes), and the turn and scale of each face."""
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    mean = centred[0] / np.sqrt((np.abs(centred[0]) ** 2).mean())
    for _ in range(iterations):
        frames = (centred * mean.conj()).sum(axis=1, keepdims=True) / (np.abs(mean) ** 2).sum()
        aligned = centred / frames
        mean = aligned.mean(axis=0)
        mean /= np.sqrt((np.abs(mean) ** 2).mean())
    return aligned, frames


def _features(aligned: Complex[np.ndarray, "b n"], modes: int) -> Float[np.ndarray, "b k"]:
    """A constant and the first principal components' scores, each of variance 1."""
    flat = np.concatenate([aligned.real, aligned.imag], axis=1)
    left, _, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    scores = left[:, :modes] * np.sqrt(len(flat))
    return np.concatenate([np.ones((len(flat), 1)), scores], axis=1)
