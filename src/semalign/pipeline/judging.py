"""By which recipe networks are trained that judge annotations, where none is named: that of `semalign audit`."""

from __future__ import annotations

from dataclasses import replace

from semalign.data.samples import Dataset
from semalign.pipeline.recipe import Recipe, load_recipe
from semalign.schemes import LandmarkScheme

FACES, ANY = "300w-crossfit", "any-crossfit"
FOLDS = {FACES: 4, ANY: 6}
PICTURES = 200  # that the epochs of `ANY` are for
FEWEST_EPOCHS = 20  # however many pictures there are


def judging_recipe(faces: Dataset) -> Recipe:
    """The recipe for these faces or objects: `FACES` where the landmark scheme has eyes, else `ANY`.

    The more pictures there are beyond `PICTURES`, the fewer epochs `ANY` takes, down to `FEWEST_EPOCHS`, so that the time
    is much the same up to about a thousand pictures.
    """
    recipe = load_recipe(judging_recipe_name(faces.scheme))
    if recipe.name != ANY:
        return recipe
    wanted = round(recipe.start.epochs * PICTURES / max(len(faces), PICTURES))
    epochs = max(wanted, min(FEWEST_EPOCHS, recipe.start.epochs))
    return replace(recipe, start=replace(recipe.start, epochs=epochs))


def judging_recipe_name(scheme: LandmarkScheme) -> str:
    """Name of the recipe for such landmarks."""
    return FACES if scheme.names_eyes else ANY


def all_training(faces: Dataset) -> Dataset:
    """The same with every face to be learned from, in its turn, whatever its split."""
    return replace(faces, samples=tuple(replace(sample, split="train") for sample in faces.samples))
