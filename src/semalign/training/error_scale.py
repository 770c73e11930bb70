"""Measuring what a correction's doubts come to, on faces that the landmark network has not seen.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from semalign.core.error_scale import ErrorScale, fit_error_scale
from semalign.data.crops import CropCache
from semalign.models.checkpoint import Model
from semalign.models.correction import Errors, ShapeCorrection
from semalign.shapes import Float
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces
from semalign.training.shape_correction import SeenFaces

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


def measure_errors(correction: ShapeCorrection, seen: SeenFaces) -> Errors:
    """How large the errors of the found and of the corrected points are; seen: faces that the network has not seen."""

    def scale(move: bool) -> ErrorScale:
        told = correction.doubts(seen.points, seen.confidence, seen.spread, move)
        return fit_error_scale(told.frames.to_mean(told.points) - told.frames.to_mean(seen.labels), told.doubt)

    return Errors(scale(False), scale(True))
