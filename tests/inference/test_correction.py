"""A landmarker with a correction: what it says goes into the landmarks, points move only where that is asked for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from dots import SCHEME, Dots

from semalign.detect import Detector, DetectorSettings
from semalign.errors import SemalignError
from semalign.inference import Landmarker, Landmarks, TorchBackend
from semalign.models.correction import Correction, Judged
from semalign.schemes import LandmarkScheme


@dataclass(frozen=True)
class RedIsHidden:
    """Says that the red point is hidden, and moves it by as many pixels as its faces' spreads are known: none or five."""

    scheme: LandmarkScheme = SCHEME

    def __call__(self, points, confidence, spread, move=True) -> Judged:
        moved = points + np.array([0.0 if spread is None else 5.0, 2.0]) * (np.arange(3) == 0)[:, None] * move
        return Judged(moved, np.where(np.arange(3) == 0, 0.2, confidence))


def test_it_follows_the_protocol():
    assert isinstance(RedIsHidden(), Correction)


def seen(dots: Dots, **options):
    points = dots.points(60, 60, 40.0)
    picture, box = dots.picture([points]), np.array([dots.box(points)])
    return Landmarker(dots.model(), **options)([picture], [box])[0], points


def test_visibility_is_told_and_points_stay_unless_they_are_to_be_corrected(dots: Dots):
    plain, _ = seen(dots)
    told, _ = seen(dots, correction=RedIsHidden())
    moved, _ = seen(dots, correction=RedIsHidden(), correct=True)
    assert plain.visibility is None
    assert np.array_equal(told.points, plain.points)
    assert told.visibility is not None and told.visibility[0, 0] == 0.2
    assert np.allclose(moved.points - plain.points, [[[5, 2], [0, 0], [0, 0]]])
    assert np.allclose(told.take(np.array([0, 0])).visibility, [told.visibility[0]] * 2)


class Exported(TorchBackend):
    """As a model in a graph that ends in points: no spreads."""

    def predict(self, crops, advance=None) -> Landmarks:
        return replace(super().predict(crops, advance), spread=None)


def test_a_runtime_without_spreads_is_corrected_by_what_it_gives(dots: Dots):
    points = dots.points(60, 60, 40.0)
    picture, box = dots.picture([points]), np.array([dots.box(points)])
    plain, corrected = (
        Landmarker(Exported(dots.model()), correction=RedIsHidden(), correct=correct)([picture], [box])[0]
        for correct in (False, True)
    )
    assert plain.visibility is not None and plain.spread is None
    assert np.allclose(corrected.points - plain.points, [[[0, 2], [0, 0], [0, 0]]])


def test_what_cannot_be_corrected_is_refused_in_a_sentence(dots: Dots):
    with pytest.raises(SemalignError, match="this model has no correction for hidden landmarks"):
        Landmarker(dots.model(), correct=True)
    with pytest.raises(SemalignError, match="this model has no correction"):
        Detector(dots.model(), "cpu", settings=DetectorSettings(correct=True))
    other = RedIsHidden(LandmarkScheme("two", ("a", "b")))
    with pytest.raises(SemalignError, match="the correction is for the landmark scheme 'two'"):
        Landmarker(dots.model(), correction=other)


def test_a_detector_gives_visibility_also_after_a_pickle(dots: Dots):
    points = dots.points(60, 60, 40.0)
    picture, box = dots.picture([points]), [dots.box(points)]
    detector = Detector(dots.model(), "cpu", correction=RedIsHidden())
    (face,) = detector(picture, box)
    assert face.visibility is not None and face.visibility[0] == 0.2 and not face.visibility.flags.writeable
    assert face.to_dict()["visibility"] == np.round(face.visibility, 4).tolist()
    (bare,) = Detector(dots.model(), "cpu")(picture, box)
    assert bare.visibility is None and "visibility" not in bare.to_dict()
    for other in (copy.deepcopy(detector.landmarker.correction), pickle.loads(pickle.dumps(RedIsHidden()))):
        assert other == RedIsHidden()


def test_a_refined_face_is_cropped_at_the_corrected_points(dots: Dots):
    """The red point is moved far away at every look, and the box of the second look with it."""
    points = dots.points(80, 80, 40.0)
    picture, box = dots.picture([points]), np.array([dots.box(points)])
    boxes = []

    @dataclass(frozen=True)
    class Far(RedIsHidden):
        def __call__(self, points, confidence, spread, move=True) -> Judged:
            boxes.append(np.ptp(points, axis=1)[0])
            far = points - np.array([30.0, 0.0]) * (np.arange(3) == 0)[:, None] * move
            return Judged(far, confidence)

    settings = DetectorSettings(refinements=1, correct=True)
    (face,) = Detector(dots.model(), "cpu", settings=settings, correction=Far())(picture, box)
    assert len(boxes) == 2
    assert face.points[0, 0] < points[0, 0] - 20
