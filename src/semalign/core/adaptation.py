"""What a network does systematically differently from the annotators, as a function of the face's shape: its label adaptation.

On average over many faces the annotations are where the landmark is by definition; a network's predictions are not: they lag
behind in turned faces, shrink the eyes, and so on. Labels that follow such predictions drift into the network's own bias,
and a network trained on them confirms it. This part can be told from the annotators' noise, because it depends on pose and
expression and the noise does not: it is what a regression of (prediction - annotation) on the shape explains.

The field calls this regression label adaptation (Wood et al., Fake It Till You Make It, ICCV 2021) or bias correction. Learned
once training is over, it brings a detector's points to where its annotators mark (`LinearAdaptation.corrected`).

Shape legend: b faces, n landmarks, k components, m = 2n coordinates (all x, then all y), j = k + 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from semalign.core.similarity import similarity, to_complex, to_points

FACES_PER_COMPONENT = 20  # fewer faces for a component than this would fit noise
MOST_FACES = 20_000  # that are learned from; of more so many are drawn, so that memory does not grow with them
CHUNK = 4096  # faces at once


@dataclass(frozen=True, eq=False)
class LinearAdaptation:
    """By how much predictions of a shape differ from the annotations on average.

    A face's predicted shape is turned, scaled and shifted onto `mean`; its scores on k principal components of the
    predicted shapes, and a constant, give the offsets of all landmarks in that frame.
    """

    mean: Float[np.ndarray, "n 2"]
    components: Float[np.ndarray, "m k"]  # columns; scores have variance 1 over the faces they were learned from
    centre: Float[np.ndarray, " k"]  # the mean shape's scores
    coefficients: Float[np.ndarray, "j n 2"]  # the constant first

    @property
    def count(self) -> int:
        """Number of components."""
        return self.components.shape[1]

    def offsets(self, predicted: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
        """Prediction minus annotation, as is usual for such shapes, in the frames of the points (any similar one)."""
        found = np.empty_like(predicted)
        for start in range(0, len(predicted), CHUNK):
            part = slice(start, start + CHUNK)
            scores, frames = shape_scores(predicted[part], self.mean, self.components, self.centre)
            features = np.concatenate([np.ones((len(scores), 1)), scores], axis=1)
            found[part] = to_points((features @ to_complex(self.coefficients)) * frames)
        return found

    def shortened(self, count: int) -> LinearAdaptation:
        """With the first components alone: what a fit with so many gives, for the components are uncorrelated."""
        return LinearAdaptation(
            self.mean, self.components[:, :count], self.centre[:count], self.coefficients[: count + 1]
        )

    def corrected(self, predicted: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b n 2"]:
        """The predictions without what is systematic."""
        return predicted - self.offsets(predicted)


def fit_linear_adaptation(
    predicted: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], count: int
) -> LinearAdaptation:
    """The label adaptation of a network, by least squares.

    The differences, in the face's own frame, are regressed on a constant and the first principal components of the
    *predicted* shapes: these do not hold the annotator's noise in that face, so that it stays in the residual.

    Args:
        predicted: points of any frame.
        annotated: points of the same frames, NaN where absent; each landmark is learned from the faces that have it.
        count: of components; 0 leaves the mean offset. At most one for every 20 faces is used.
    """
    rows = drawn(len(predicted), MOST_FACES)
    predicted, annotated = predicted[rows], annotated[rows]
    shapes = to_complex(predicted)
    aligned, frames, mean = aligned_shapes(shapes)
    flat = flat_shapes(aligned)
    middle = flat.mean(axis=0)
    left, values, right = np.linalg.svd(flat - middle, full_matrices=False)
    kept = min(count, len(shapes) // FACES_PER_COMPONENT, int((values > 1e-9 * max(values[0], 1e-300)).sum()))
    components = right[:kept].T * (np.sqrt(len(flat)) / values[:kept])
    features = np.concatenate([np.ones((len(flat), 1)), left[:, :kept] * np.sqrt(len(flat))], axis=1)
    difference = (shapes - to_complex(annotated)) / frames
    coefficients = _least_squares(features, difference)
    return LinearAdaptation(to_points(mean), components, middle @ components, to_points(coefficients))


def _least_squares(
    features: Float[np.ndarray, "b j"], wanted: Complex[np.ndarray, "b n"]
) -> Complex[np.ndarray, "j n"]:
    """Coefficients for each landmark, from the faces that have it; for one that few have, their mean alone."""
    absent = np.isnan(wanted)
    coefficients = np.linalg.lstsq(features, np.where(absent, 0.0, wanted), rcond=None)[0]
    for landmark in np.flatnonzero(absent.any(axis=0)):
        there = ~absent[:, landmark]
        used = features.shape[1] if there.sum() >= FACES_PER_COMPONENT * features.shape[1] else min(1, there.sum())
        coefficients[:, landmark] = 0.0
        coefficients[:used, landmark] = np.linalg.lstsq(features[there, :used], wanted[there, landmark], rcond=None)[0]
    return coefficients


def drawn(count: int, most: int, seed: int = 0) -> Int[np.ndarray, " k"] | slice:
    """Rows of `most` of so many faces, in order; all of them where there are no more."""
    return slice(None) if count <= most else np.sort(np.random.default_rng(seed).permutation(count)[:most])


def systematic_offsets(
    predicted: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], count: int
) -> Float[np.ndarray, "b n 2"]:
    """For each of these faces, by how much predictions of faces of its shape differ from the annotations on average."""
    return fit_linear_adaptation(predicted, annotated, count).offsets(predicted)


def choose_components(
    predicted: Float[np.ndarray, "b n 2"],
    annotated: Float[np.ndarray, "b n 2"],
    candidates: Sequence[int],
    folds: int = 5,
    seed: int = 0,
    judged_by: Float[np.ndarray, "b n 2"] | None = None,
) -> int:
    """How many components bring a fold nearest to what it is judged by, when they are learned on the other folds.

    Distances count in units of the face's size. Of equal ones the first candidate wins.

    Args:
        predicted: points of any frame.
        annotated: what the label adaptations are learned from.
        candidates: numbers of components.
        folds: of the faces.
        seed: of the folds.
        judged_by: default: `annotated`. Labels found with the network's help resemble it in every detail, so that more
            components always bring it nearer to them; annotations do not.

    Raises:
        ValueError: there is no candidate.
    """
    rows = drawn(len(predicted), MOST_FACES)
    predicted, annotated = predicted[rows], annotated[rows]
    judged_by = None if judged_by is None else judged_by[rows]
    fold = np.random.default_rng(seed).permutation(len(predicted)) % min(folds, len(predicted))
    reference = annotated if judged_by is None else judged_by
    size = np.abs(aligned_shapes(to_complex(predicted))[1])
    errors = dict.fromkeys(candidates, 0.0)
    for index in np.unique(fold):
        rest, part = fold != index, fold == index
        if not rest.any():
            continue
        whole = fit_linear_adaptation(predicted[rest], annotated[rest], max(candidates))
        for count in errors:
            found = whole.shortened(count).corrected(predicted[part])
            errors[count] += float(np.nansum(np.linalg.norm(found - reference[part], axis=2) / size[part]))
    return min(errors, key=errors.__getitem__)


def aligned_shapes(
    shapes: Complex[np.ndarray, "b n"], iterations: int = 5
) -> tuple[Complex[np.ndarray, "b n"], Complex[np.ndarray, "b 1"], Complex[np.ndarray, " n"]]:
    """Centred shapes turned and scaled onto their mean, the turn and scale of each face, and the mean.

    The number of steps is fixed and the mean is not set upright: where shapes have next to nothing in common, as an
    untrained network's, rounding would decide both.
    """
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    mean = centred[0] / np.sqrt((np.abs(centred[0]) ** 2).mean())
    for _ in range(iterations):
        mean = (centred / similarity(centred, mean)).mean(axis=0)
        mean /= np.sqrt((np.abs(mean) ** 2).mean())
    frames = similarity(centred, mean)
    return centred / frames, frames, mean


def shape_scores(
    predicted: Float[np.ndarray, "b n 2"],
    mean: Float[np.ndarray, "n 2"],
    axes: Float[np.ndarray, "m k"],
    centre: Float[np.ndarray, " k"],
) -> tuple[Float[np.ndarray, "b k"], Complex[np.ndarray, "b 1"]]:
    """Each shape's scores on axes of the shape space, from `centre`, once it is moved onto the mean; and its turn and scale."""
    shapes = to_complex(predicted)
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    frames = similarity(centred, to_complex(mean))
    return product(flat_shapes(centred / frames), axes) - centre, frames


def product(a: Float[np.ndarray, "i j"], b: Float[np.ndarray, "j k"]) -> Float[np.ndarray, "i k"]:
    """A @ b by PyTorch where that is loaded, for it keeps to the number of threads that it was told; else by NumPy.

    The threads of numpy's library wait for each other busily, so that two callers on two cores take fifty times as long.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return a @ b
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def flat_shapes(shapes: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, "b m"]:
    """All x, then all y."""
    return np.concatenate([shapes.real, shapes.imag], axis=1)
