"""The commands that show what ships with Semalign: recipes, landmark schemes and models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from semalign.cli.options import AsJson, argument


def recipes(
    name: Annotated[str | None, argument("[NAME]", "Print this recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped recipes, or print one to start a recipe of your own from.

    Examples:
        semalign recipes
        semalign recipes 300w-compact > mine.toml
    """
    from semalign import pipeline
    from semalign.cli.output import print_json

    if name is not None:
        typer.echo(pipeline.recipe_text(name), nl=False)
        return
    if as_json:
        names = pipeline.shipped_recipes()
        print_json([{"recipe": name, "description": pipeline.load_recipe(name).description} for name in names])
        return
    shipped = pipeline.shipped_recipes()
    width = max(map(len, shipped)) + 2
    for recipe in shipped:
        typer.echo(f"{recipe:<{width}}{pipeline.load_recipe(recipe).description}")


def schemes(as_json: AsJson = False) -> None:
    """List the shipped landmark schemes.

    A scheme of your own is a TOML file with the same keys (`semalign scheme new` drafts one); its path is given where a
    scheme's name is.
    """
    from semalign.cli import tables
    from semalign.cli.output import print_json
    from semalign.schemes import load_scheme, shipped_schemes

    if as_json:
        found = [load_scheme(name) for name in shipped_schemes()]
        print_json([{"scheme": s.name, "landmarks": s.count, "regions": list(s.regions)} for s in found])
        return
    tables.print_schemes([load_scheme(name) for name in shipped_schemes()])


def models(
    name: Annotated[str | None, argument("[NAME]", "Print this model's card.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped models with their terms, or print the card of one: data, figures, speed, known failures.

    A model's name, `default` or `fast` stands wherever a command asks for a model.

    Examples:
        semalign models
        semalign models default
    """
    from semalign.cli import tables
    from semalign.cli.output import print_json
    from semalign.models import pretrained

    if name is not None:
        typer.echo(pretrained.card(name), nl=False)
        return
    if as_json:
        print_json(
            [
                {
                    "model": name,
                    "landmarks": known.scheme.count,
                    "scheme": known.scheme.name,
                    "terms": known.terms,
                }
                for name, known in ((name, pretrained.facts(path)) for name, path in pretrained.available().items())
            ]
        )
        return
    tables.print_models(pretrained.available(), pretrained.NAMES)


COMMANDS: dict[str, Callable[..., None]] = {"models": models, "recipes": recipes, "schemes": schemes}
