"""The whole face painted as a flat picture of the front view, light included."""

from __future__ import annotations

import numpy as np

from semalign.synthetic import features, skin
from semalign.synthetic.anatomy import Anatomy
from semalign.synthetic.picture import Picture
from semalign.synthetic.surface import HeightField
from semalign.synthetic.traits import Traits


def paint_face(
    rng: np.random.Generator, anatomy: Anatomy, height: HeightField, traits: Traits, texel: float
) -> tuple[Picture, Picture]:
    """The painted face, and a mask of the same place that is 255 where something painted hides it (dark glasses).

    Nothing painted marks a place along a smooth edge, so that its landmarks are as hard to find there as on a
    photograph.
    """
    look, expression = traits.look, traits.expression
    picture = skin.bare_skin(rng, texel, look)
    hidden = picture.like(0, channels=1)
    skin.soft_shapes(picture, anatomy, traits)
    skin.beard(rng, picture, anatomy, look)
    features.nostrils(picture, anatomy, traits.identity, look)
    features.eyes(picture, anatomy, expression, look)
    features.brows(rng, picture, anatomy, traits.identity, look)
    features.mouth(picture, anatomy, look)
    skin.light_up(picture, height, traits.light, traits.pose)
    features.catchlights(picture, anatomy, expression, traits.light)
    if look.glasses != "none":
        features.glasses(rng, picture, hidden, anatomy, look)
    return picture, hidden
