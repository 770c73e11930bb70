"""Which recipes fit which models: what a model fixes, and which teachers can teach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semalign.core.sizes import REFERENCE
from semalign.errors import SemalignError
from semalign.models import pretrained
from semalign.models.adapted import AdaptedSettings
from semalign.models.arrays import load_arrays
from semalign.models.checkpoint import Model
from semalign.models.kinds import continued
from semalign.pipeline.prepare import same_scheme
from semalign.pipeline.recipe import Recipe, parse_recipe
from semalign.schemes import LandmarkScheme


def fitting_recipe(recipe: Recipe | None, model: Model, any_scheme: bool = False) -> Recipe:
    """The recipe, or the model's own, with what the model fixes put in; a recipe can make its resampling smooth.

    The recipe must be for the model's landmarks, unless `any_scheme` says that the model's count in any case.
    """
    if recipe is None:
        recipe = _stored_recipe(model.about, ())
    network = continued(model.network.settings, recipe.network)
    heatmap = replace(recipe.heatmap, sigma=_sigma(model))
    fitting = replace(recipe, network=network, crop=model.crop, heatmap=heatmap)
    return fitting if any_scheme else same_scheme(model.scheme, fitting)


def own_recipe(model: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that is stored in a model's file.

    Args:
        model: shipped model or model file.
        overrides: changes of it, as of `load_recipe`.

    Raises:
        SemalignError: there is none; or as `load_recipe` and `semalign.models.arrays.load_arrays`.
    """
    path = pretrained.resolve(model)
    return _stored_recipe(load_arrays(path)[1]["about"], overrides)


def _stored_recipe(about: Mapping[str, Any], overrides: Sequence[str]) -> Recipe:
    """That of a model which says this of itself."""
    text = str(about.get("recipe_text", ""))
    if not text:
        raise SemalignError("the model does not say how it was trained; name a recipe with --recipe.")
    return parse_recipe(text, "the model's own recipe", overrides=overrides, upgrade=True)


def refuse_adapted(model: Model) -> None:
    """Raise a SemalignError if a model is an adapted one, whose weights no training changes."""
    if isinstance(model.network.settings, AdaptedSettings):
        raise SemalignError(
            "an adapted model cannot be trained further; train the model that it was made of, or adapt that to more faces."
        )


def fitted_to_scheme(recipe: Recipe, scheme: LandmarkScheme) -> tuple[Recipe, list[str]]:
    """The recipe without what a landmark scheme does not allow, and a sentence on each such thing."""
    notes = []
    if not scheme.mirrors:
        notes.append(
            f"The scheme {scheme.name} has no left-right pairs: pictures are not mirrored, in training and in use; "
            "add its pairs for better detectors."
        )
        recipe = replace(
            recipe,
            augmentation=replace(recipe.augmentation, flip=0.0),
            decoding=replace(recipe.decoding, tta=1),
            alternation=replace(recipe.alternation, tta=1),
        )
    if not scheme.names_eyes and recipe.alternation.mesh:
        notes.append(f"The scheme {scheme.name} names no eyes: the face mesh is not heard.")
        recipe = replace(recipe, alternation=replace(recipe.alternation, mesh=False))
    return recipe, notes + normaliser_note(scheme)


def normaliser_note(scheme: LandmarkScheme) -> list[str]:
    """A sentence if errors are by the face box, for want of the eyes; none otherwise."""
    if scheme.names_eyes:
        return []
    return [
        f"The scheme {scheme.name} names neither pupils nor outer eye corners: errors are in % of the face box (nme_box)."
    ]


def refuse_unfit_teachers(teachers: Mapping[str | Path, Model], recipe: Recipe) -> None:
    """Raise a SemalignError if a recipe cannot be taught by these teachers."""
    if teachers and recipe.label_adaptation.held_out:
        raise SemalignError(
            "label_adaptation.held_out: a teacher tells the further networks of the faces that they must not see; set it to 0."
        )
    for name, teacher in teachers.items():
        same_scheme(teacher.scheme, recipe)
        fixed = {
            "heatmap.sigma": (_sigma(teacher), recipe.heatmap.sigma),
            "crop.scale": (teacher.crop.scale, recipe.crop.scale),
        }
        for setting, (own, wanted) in fixed.items():
            if not math.isclose(own, wanted, rel_tol=1e-3):
                raise SemalignError(
                    f"{name}: was trained with {setting}={own:g}, the recipe has {wanted:g}; "
                    "set it to the teacher's, or choose another teacher."
                )


def _sigma(model: Model) -> float:
    """The σ of a model's Gaussians as recipes have it, in pixels of a 256×256 heatmap."""
    return model.sigma * REFERENCE / model.network.heatmap_size
