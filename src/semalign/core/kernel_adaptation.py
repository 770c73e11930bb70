"""A label adaptation (see `semalign.core.adaptation`) that is not linear in the shape: a kernel ridge regression.

The offset of a predicted shape is a weighted sum over the training faces, each weighing more the nearer its own predicted
shape is: exp(-distance). Distances are taken in the shape's principal components, each divided by the square root of its
standard deviation (neither as they are, where pose alone would count, nor whitened, where the noise of the last ones would).
It acts as a filter of shapes, too: what no training face's prediction resembles is drawn towards what they do resemble.

Its penalty is found by leaving out each face in turn (the constant stays), which for such a regression needs no second fit
(T. Hastie et al., The Elements of Statistical Learning, Eq. 7.52). Unlike the linear one it nearly knows each of its training
faces, so it is of use for *other* faces only: never to correct the labels that it was learned from.

Shape legend: b faces, n landmarks, t training faces, k components, m = 2n coordinates (all x, then all y), u = t + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semalign.core.adaptation import aligned_shapes, flat_shapes, product, shape_scores
from semalign.core.similarity import to_complex, to_points

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
NARROWNESS = 0.5  # of the kernel: what a face's root mean square distance to the mean shape counts as
FACES = 4000  # at most, for the regression holds a matrix of all pairs of them
CHUNK = 256
FILLS = 30  # rounds in which absent points are filled


@dataclass(frozen=True, eq=False)
class KernelAdaptation:
    """By how much predictions of a shape differ from the annotations, by those of similar shapes.

    A face's predicted shape is turned, scaled and shifted onto `mean`; the nearness of its coordinates `axes` to those of
    the training faces, and a constant, give the offsets of all landmarks in that frame.
    """

    mean: Float[np.ndarray, "n 2"]
    axes: Float[np.ndarray, "m k"]  # of the shape space, scaled so that the kernel is exp(-distance)
    centre: Float[np.ndarray, " k"]  # the mean shape's coordinates
    faces: Float[np.ndarray, "t k"]  # the training faces' coordinates
    coefficients: Float[np.ndarray, "u n 2"]  # the constant first

    def offsets(self, predicted: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
        """Prediction minus annotation, as is usual for such shapes, in the frames of the points (any similar one)."""
        places, frames = shape_scores(predicted, self.mean, self.axes, self.centre)
        constant, weights = self.coefficients[0], self.coefficients[1:].reshape(len(self.faces), -1)
        found = np.empty(predicted.shape)
        for start in range(0, len(places), CHUNK):
            rows = slice(start, start + CHUNK)
            offsets = constant + product(_nearness(places[rows], self.faces), weights).reshape(-1, *constant.shape)
            found[rows] = to_points(to_complex(offsets) * frames[rows])
        return found

    def corrected(self, predicted: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
        """The predictions without what is systematic."""
        return predicted - self.offsets(predicted)


def fit_kernel_adaptation(
    predicted: Float[np.ndarray, "b n 2"],
    annotated: Float[np.ndarray, "b n 2"],
    penalties: Sequence[float] = PENALTIES,
    judged_by: Float[np.ndarray, "b n 2"] | None = None,
    seed: int = 0,
) -> KernelAdaptation:
    """The label adaptation of a network, with the penalty that brings left-out faces nearest to what they are judged by.

    Args:
        predicted: points of any frame, of at least two faces.
        annotated: points of the same frames, NaN where absent.
        penalties: to choose from, all above 0; of equal ones the first wins.
        judged_by: default: `annotated`; see `semalign.core.adaptation.choose_components`.
        seed: of the choice of faces where there are more than `FACES`.

    Raises:
        ValueError: fewer than two faces, or no penalty or one that is not positive.
    """
    if len(predicted) < 2:
        raise ValueError("a kernel label adaptation needs at least two faces")
    if not penalties or min(penalties) <= 0:
        raise ValueError("penalties must be positive")
    reference = annotated if judged_by is None else judged_by
    if len(predicted) > FACES:
        rows = np.sort(np.random.default_rng(seed).permutation(len(predicted))[:FACES])
        predicted, annotated, reference = predicted[rows], annotated[rows], reference[rows]
    shapes = to_complex(predicted)
    aligned, frames, mean = aligned_shapes(shapes)
    flat = flat_shapes(aligned)
    middle = flat.mean(axis=0)
    axes = _axes(flat - middle)
    places = (flat - middle) @ axes
    values, vectors = np.linalg.eigh(_nearness(places, places))
    difference = (shapes - to_complex(annotated)) / frames
    absent = np.isnan(difference)
    constant = np.ma.array(difference, mask=absent).mean(axis=0).filled(0.0)
    centred = np.where(absent, 0.0, difference - constant)
    rotated = vectors.T @ centred
    wanted = (shapes - to_complex(reference)) / frames - constant

    def left_out(penalty: float) -> float:
        shrunk = values / (values + penalty)
        fitted = vectors @ (shrunk[:, None] * rotated)
        residuals = (centred - fitted) / (1 - vectors**2 @ shrunk)[:, None]
        errors = np.abs(wanted - (centred - residuals))
        return float(errors[~np.isnan(errors)].mean()) if absent.any() else float(errors.mean())

    penalty = min(penalties, key=left_out)
    if absent.any():  # what is absent is filled with what is fitted to the rest, until nothing changes any more
        for _ in range(FILLS):
            fitted = vectors @ ((values / (values + penalty))[:, None] * rotated)
            centred = np.where(absent, fitted, centred)
            rotated = vectors.T @ centred
    weights = vectors @ (rotated / (values + penalty)[:, None])
    coefficients = np.concatenate([constant[None], weights])
    return KernelAdaptation(to_points(mean), axes, middle @ axes, places, to_points(coefficients))


def _axes(deviations: Float[np.ndarray, "t m"]) -> Float[np.ndarray, "m k"]:
    """Principal axes over the square roots of their standard deviations, all scaled to the kernel's width."""
    _, values, right = np.linalg.svd(deviations, full_matrices=False)
    kept = int((values > 1e-6 * max(values[0], 1e-300)).sum()) or 1
    axes = right[:kept].T / np.sqrt(np.maximum(values[:kept], 1e-300) / np.sqrt(len(deviations)))
    width = np.sqrt(((deviations @ axes) ** 2).sum(axis=1).mean())
    return axes * (NARROWNESS / max(width, 1e-300))


def _nearness(a: Float[np.ndarray, "b k"], b: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "b t"]:
    """The kernel of all pairs."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * product(a, b.T)
    return np.exp(-np.sqrt(np.maximum(squares, 0)))
