"""What commands print beside their tables, and the files that a person has named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from semalign.cli import progress


def say(text: str, err: bool = False) -> None:
    """Print a line that says what was done, on standard output or standard error; with --quiet nothing."""
    if not progress.is_silent():
        typer.echo(text, err=err)


def print_json(values: Any) -> None:
    """JSON on standard output, for programs."""
    print(json.dumps(values, indent=2, allow_nan=False))


def claim_file(file: Path | None, overwrite: bool) -> None:
    """Refuse a file that is there already, before the work begins; None and - (standard output) are free.

    Raises:
        SemalignError: it is there and `overwrite` was not asked for, or it is a folder.
    """
    from semalign.files import refuse_existing

    if file is not None and str(file) != "-":
        refuse_existing(file, overwrite)


def write_or_print_json(file: Path, values: Any) -> None:
    """JSON into a file, or on standard output if its name is -."""
    from semalign.files import write_json

    if str(file) == "-":
        print_json(values)
    else:
        write_json(file, values)
