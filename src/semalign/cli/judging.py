"""Options of the commands that judge annotations, and what is the same for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from semalign.cli.options import argument, flag, option

DataPath = Annotated[
    Path,
    argument(
        "PATH", "Data set: a folder that is known, images with .pts files, or a document such as annotations.xml."
    ),
]
Quick = Annotated[
    bool, flag("--quick", "Judge by a model that is there (--model) instead of networks trained on the other faces.")
]
QuickModel = Annotated[str, option("--model", "MODEL", "Model that judges with --quick.", default=True)]
CrossFit = Annotated[
    Path | None, option("--crossfit", "DIR", "Networks of a finished 'semalign crossfit' on these faces.")
]
JudgingRecipe = Annotated[
    str | None,
    option(
        "--recipe", "RECIPE", "How the networks are trained, without --quick.", default="one that suits the landmarks"
    ),
]
Folds = Annotated[
    int | None,
    option("--folds", "K", "Networks that are trained, without --quick.", default="4 for 68 points, or 6", min=2),
]
Scheme = Annotated[
    str | None, option("--scheme", "NAME", "Landmark scheme: a shipped name or a TOML file.", default="the data's own")
]
Images = Annotated[
    Path | None,
    option(
        "--images", "DIR", "Folder of the pictures that a document names.", default="the document's, or images in it"
    ),
]
NoDuplicates = Annotated[bool, flag("--no-duplicates", "Do not look for copies of photographs.")]
Least = Annotated[
    float, option("--least", "P", "Probability from which a finding is listed.", default=True, min=0.0, max=1.0)
]
