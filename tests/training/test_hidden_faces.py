"""What a network finds in faces behind things: in the frame of the labels, bare first, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from dots import SCHEME, Dots

from semalign.core.adaptation import fit_linear_adaptation
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache, CropSettings, crop_maps, cut
from semalign.models.checkpoint import Model
from semalign.training.hidden_faces import HiddenFacesSettings, see_hidden_faces

PLAIN = AugmentationSettings(
    rotation=0.0, scale=0.0, shift=0.0, flip=0.0, brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0,
    occlusion=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def dots() -> Dots:
    return Dots()


def faces(dots: Dots, model: Model) -> tuple[CropCache, np.ndarray]:
    places = [(60, 60, 40.0), (90, 70, 50.0), (100, 60, 60.0), (50, 80, 36.0), (80, 80, 44.0)]
    points = [dots.points(*place) for place in places]
    maps, size = crop_maps(np.array([dots.box(face) for face in points]), CropSettings(), model.input_size)
    images = np.stack([cut(dots.picture([face]), matrix, size) for face, matrix in zip(points, maps, strict=True)])
    crops = CropCache(tuple("abcde"), images, maps, model.input_size)
    return crops, crops.to_crop(np.stack(points))


def test_bare_faces_are_found_where_the_labels_are(dots: Dots):
    model = dots.model()
    crops, labels = faces(dots, model)
    done: list[int] = []
    seen = see_hidden_faces(model, crops, labels, HiddenFacesSettings(passes=1), 0, batch_size=2, advance=done.append)
    assert sum(done) == 5 and not seen.hidden.any()
    assert np.abs(seen.points - seen.labels).max() < 1.0
    assert seen.spread is not None and (seen.spread > 0).all()
    plain = see_hidden_faces(model, crops, labels, HiddenFacesSettings(passes=1, augmentation=PLAIN), 0)
    inset = (crops.images.shape[1] - crops.input_size) / 2
    assert np.allclose(plain.labels, labels - inset)


def test_later_passes_hide_landmarks_which_then_are_lost(dots: Dots):
    model = dots.model()
    crops, labels = faces(dots, model)
    settings = HiddenFacesSettings(passes=6, augmentation=PLAIN)
    seen, again = (see_hidden_faces(model, crops, labels, settings, 3) for _ in range(2))
    assert seen.points.shape == (30, 3, 2)
    assert not seen.hidden[:5].any() and seen.hidden[5:].any()
    assert np.array_equal(seen.points, again.points) and np.array_equal(seen.hidden, again.hidden)
    missed = np.linalg.norm(seen.points - seen.labels, axis=2)
    assert missed[seen.hidden].mean() > 3 * missed[~seen.hidden].mean()


def test_a_label_adaptation_is_learned_from_other_faces(dots: Dots):
    """One that knows the labels of these very faces is not used as it is."""
    bare = dots.model()
    crops, labels = faces(dots, bare)
    off = labels + 4.0
    knows = Model(
        bare.network,
        SCHEME,
        bare.crop,
        bare.sigma,
        adaptation=fit_linear_adaptation(np.zeros((5, 3, 2)) + labels, off, 0),
    )
    settings = HiddenFacesSettings(passes=1, augmentation=PLAIN)
    seen = see_hidden_faces(knows, crops, off, settings, 0)
    assert np.abs(seen.points - seen.labels).max() < 2.0


@pytest.mark.parametrize(
    "wrong", [{"passes": 0}, {"most": 0.0}, {"augmentation": AugmentationSettings(flip=0.5, occlusion=0.0)}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|mirrored faces"):
        HiddenFacesSettings(**wrong)
