"""The commands that show what ships with Semalign: recipes, landmark schemes and models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from semalign.cli.options import argument


def recipes(
    name: Annotated[str | None, argument("[NAME]", "Print this recipe.")] = None,
) -> None:
    """List the shipped recipes, or print one to start a recipe of your own from.

    Examples:
        semalign recipes
        semalign recipes 300w-compact > mine.toml
    """
    from semalign import pipeline

    if name is not None:
        typer.echo(pipeline.recipe_text(name), nl=False)
        return
    for shipped in pipeline.shipped_recipes():
        typer.echo(f"{shipped:<20}{pipeline.load_recipe(shipped).description}")


def schemes() -> None:
    """List the shipped landmark schemes.

    A scheme of your own is a TOML file with the same keys (`semalign scheme new` drafts one); its path is given where a
    scheme's name is.
    """
    from semalign.cli import tables
    from semalign.schemes import load_scheme, shipped_schemes

    tables.print_schemes([load_scheme(name) for name in shipped_schemes()])


def models(
    name: Annotated[str | None, argument("[NAME]", "Print this model's card.")] = None,
) -> None:
    """List the shipped models with their terms, or print the card of one: data, figures, speed, known failures.

    A model's name, or `default`, stands wherever a command asks for a model.

    Examples:
        semalign models
        semalign models default
    """
    from semalign.cli import tables
    from semalign.models import pretrained

    if name is not None:
        typer.echo(pretrained.card(name), nl=False)
        return
    tables.print_models(pretrained.available(), pretrained.DEFAULT)


COMMANDS: dict[str, Callable[..., None]] = {"models": models, "recipes": recipes, "schemes": schemes}
