"""Recipes and runs: all stages in order."""

from semalign.pipeline.commands import align, search, train
from semalign.pipeline.cross_fitting import crossfit
from semalign.pipeline.evaluate import evaluate_model
from semalign.pipeline.recipe import Recipe, dump_recipe, load_recipe, recipe_text, shipped_recipes
from semalign.pipeline.run import run
from semalign.progress import Progress, SilentProgress

__all__ = [
    "Progress",
    "Recipe",
    "SilentProgress",
    "align",
    "crossfit",
    "dump_recipe",
    "evaluate_model",
    "load_recipe",
    "recipe_text",
    "run",
    "search",
    "shipped_recipes",
    "train",
]
