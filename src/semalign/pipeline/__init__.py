"""Recipes and runs: all stages in order."""

from semalign.parts import Share, parse_share
from semalign.pipeline.commands import align, search, search_part, train
from semalign.pipeline.cross_fitting import crossfit
from semalign.pipeline.evaluate import evaluate_model, evaluate_part
from semalign.pipeline.recipe import Recipe, dump_recipe, load_recipe, recipe_text, shipped_recipes
from semalign.pipeline.run import run
from semalign.progress import Progress, SilentProgress

__all__ = [
    "Progress",
    "Recipe",
    "Share",
    "SilentProgress",
    "align",
    "crossfit",
    "dump_recipe",
    "evaluate_model",
    "evaluate_part",
    "load_recipe",
    "parse_share",
    "recipe_text",
    "run",
    "search",
    "search_part",
    "shipped_recipes",
    "train",
]
