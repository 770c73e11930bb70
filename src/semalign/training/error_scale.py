"""Measuring what a correction's doubts come to, on faces that the landmark network has not seen, and where there is no face.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from semalign.core.error_scale import ErrorScale, fit_error_scale
from semalign.data.crops import CropCache
from semalign.inference.landmarks import Landmarks
from semalign.models.checkpoint import Model
from semalign.models.correction import Errors, Presence, ShapeCorrection, seen_of_boxes
from semalign.shapes import Float
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces
from semalign.training.shape_correction import SeenFaces

RIDGE, NEWTON = 1e-4, 25
PASSES = 2  # over the faces: bare, and with something in front


def see_unseen_faces(
    model: Model,
    crops: CropCache,
    labels: Float[np.ndarray, "b n 2"],
    hiding: HiddenFacesSettings,
    seed: int,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> SeenFaces:
    """What a network finds in faces that it was not trained on, bare and partly hidden; arguments as of `see_hidden_faces`.

    The label adaptation is the model's own, which has not seen these faces either.
    """
    bare = replace(model, adaptation=None)
    seen = see_hidden_faces(
        bare, crops, labels, replace(hiding, passes=PASSES), seed, precision=precision, advance=advance
    )
    return seen if model.adaptation is None else replace(seen, points=model.adaptation.corrected(seen.points))


def measure_errors(correction: ShapeCorrection, seen: SeenFaces, empty: Landmarks | None) -> Errors:
    """What the doubts come to.

    Args:
        correction: of the landmark network.
        seen: faces that it has not seen.
        empty: what it finds where there is no face; None where there is no such place.
    """

    def scale(move: bool) -> ErrorScale:
        told = correction.doubts(seen.points, seen.confidence, seen.spread, move)
        return fit_error_scale(told.frames.to_mean(told.points) - told.frames.to_mean(seen.labels), told.doubt)

    if empty is None:
        return Errors(scale(False), scale(True))
    boxes = [
        seen_of_boxes(one.confidence, correction.doubts(one.points, one.confidence, one.spread, False).doubt)
        for one in (empty, seen)
    ]
    return Errors(scale(False), scale(True), fit_presence(*boxes))


def fit_presence(empty: Float[np.ndarray, "a 2"], faces: Float[np.ndarray, "b 2"]) -> Presence:
    """By logistic regression in which those without a face weigh as much as those with one (Newton's method, penalised)."""
    seen, there = np.concatenate([empty, faces]), np.repeat([0.0, 1.0], [len(empty), len(faces)])
    weight = np.repeat([0.5 / max(len(empty), 1), 0.5 / max(len(faces), 1)], [len(empty), len(faces)])
    middle, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
    inputs = np.concatenate([(seen - middle) / scale, np.ones((len(seen), 1))], axis=1)
    found = np.zeros(3)
    for _ in range(NEWTON):
        chance = 1 / (1 + np.exp(-inputs @ found))
        slope = inputs.T @ (weight * (chance - there)) + RIDGE * found
        curve = inputs.T @ ((weight * chance * (1 - chance))[:, None] * inputs) + RIDGE * np.eye(3)
        found = found - np.linalg.solve(curve, slope)
    weights = found[:2] / scale
    return Presence(weights, float(found[2] - weights @ middle))
