"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def argument(metavar: str, text: str) -> Any:
    """A positional argument."""
    return typer.Argument(metavar=metavar, help=text, show_default=False)


def option(name: str, metavar: str, text: str, default: str | bool = False, **more: Any) -> Any:
    """An option with a value; `default` says what holds without it, True = the parameter's own default."""
    return typer.Option(name, metavar=metavar, help=text, show_default=default, **more)


def flag(name: str, text: str) -> Any:
    """An option without a value."""
    return typer.Option(name, metavar="", help=text, show_default=False)


RecipeName = Annotated[
    str, argument("RECIPE", "A shipped recipe by its name (see `semalign recipes`), or a TOML file.")
]
OtherRecipe = Annotated[
    str | None, option("--recipe", "RECIPE", "Settings of this recipe, not those stored in the model.")
]
Model = Annotated[
    str,
    argument(
        "MODEL", "A model file, such as aligned/model.safetensors of a run, or a shipped model (`semalign models`)."
    ),
]
Data = Annotated[
    Path,
    option(
        "--data",
        "PATH",
        "Data set: 300W or another known one, images with .pts files, or a file of CVAT, COCO, LabelMe …",
    ),
]
RecipeData = Annotated[
    Path | None,
    option(
        "--data",
        "PATH",
        "Data set: 300W or another known one, images with .pts files, or a file of CVAT, COCO … A recipe for synthetic "
        "faces makes its own.",
    ),
]
Out = Annotated[Path, option("--out", "DIR", "Folder for everything that is written.")]
Resume = Annotated[
    bool, flag("--resume", "Continue what was started in DIR exactly where it stopped; start it if nothing was.")
]
Shard = Annotated[
    str | None,
    option("--shard", "I/N", "Do the I-th of N shares of the work alone, for the jobs of an array: 1/4 to 4/4."),
]
KeepGoing = Annotated[
    bool, flag("--keep-going", "Leave out bad samples and list them at the end, instead of stopping at the first.")
]
Set = Annotated[
    list[str] | None,
    option("--set", "KEY=VALUE", "Change a setting of the recipe, as start.epochs=20; may be given several times."),
]
AsJson = Annotated[bool, flag("--json", "Print JSON instead of a table.")]
JsonFile = Annotated[
    Path | None,
    option(
        "--json", "[FILE]", "Print everything as JSON instead of a table, or write it to this file beside the table."
    ),
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace the file that is to be written if it is there already.")]
Seed = Annotated[int | None, option("--seed", "S", "Seed of everything random, instead of the recipe's.")]


Holdout = Annotated[
    float | None,
    option(
        "--holdout",
        "SHARE",
        "Where the data set has no test faces: hold out this share of its photographs to measure on; 0 = train on all.",
        default="the recipe's, 0.1",
        min=0.0,
    ),
]


def complain(message: str, colour: str = typer.colors.RED) -> None:
    """Print a sentence on standard error: coloured on a terminal unless NO_COLOR is set, and always as one line."""
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        typer.echo(one_line(message), err=True)
    else:
        typer.secho(one_line(message), fg=colour, err=True)


def with_options(sentence: str) -> str:
    """An error's sentence with arguments of Python as options: overwrite=True as --overwrite, out=FOLDER as --out FOLDER."""
    return re.sub(
        r"(?<=\s)([a-z_]+)=(True|FOLDER|NAME)\b",
        lambda found: "--" + found[1].replace("_", "-") + ("" if found[2] == "True" else f" {found[2]}"),
        sentence,
    )


def one_line(text: str) -> str:
    """A text with names of files in it as one line: what is not printable is written as Python writes it."""
    from semalign.files import shown

    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown(text)
    )


def overrides(settings: list[str] | None, seed: int | None, holdout: float | None = None) -> tuple[str, ...]:
    """The changes to a recipe that --set, --seed and --holdout ask for, as `key=value` strings."""
    asked = {"seed": seed, "data.holdout": holdout}
    return (*(settings or ()), *(f"{key}={value}" for key, value in asked.items() if value is not None))
