"""Options of the commands that judge annotations: by whom, of which landmarks, with which pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from semalign.cli.options import argument, flag, option

if TYPE_CHECKING:
    from semalign.auditing.judging import Judging, Source

DataPath = Annotated[
    Path,
    argument("PATH", "Data set: 300W or another known one, images with .pts files, or a file of CVAT, COCO, LabelMe …"),
]
Quick = Annotated[
    bool, flag("--quick", "Judge by a model that is there (--model) instead of networks trained on the other faces.")
]
Model = Annotated[str, option("--model", "MODEL", "Model that judges with --quick.", default=True)]
Crossfit = Annotated[
    Path | None, option("--crossfit", "DIR", "Networks of a finished 'semalign crossfit' on these faces.")
]
RecipeOfNetworks = Annotated[
    str | None,
    option(
        "--recipe",
        "RECIPE",
        "How the networks are trained, without --quick.",
        default="300w-crossfit for faces, any-crossfit for other landmarks",
    ),
]
Folds = Annotated[
    int | None,
    option("--folds", "K", "Networks that are trained, without --quick.", default="4 for faces, or 6", min=2),
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


def source(path: Path, scheme: str | None, images: Path | None) -> Source:
    """A data set as the options give it."""
    from semalign.auditing.judging import Source
    from semalign.schemes import load_scheme

    return Source(path, load_scheme(scheme) if scheme else None, images)


def judging(
    quick: bool, model: str, crossfit: Path | None, recipe: str | None, folds: int | None, no_duplicates: bool
) -> Judging:
    """Who judges, as the options say."""
    from semalign.auditing.judging import Judging

    return Judging(quick, model, crossfit, recipe, folds, not no_duplicates)


def prepare(folder: Path) -> None:
    """Prepare what the review page needs of an audit, so that it opens at once."""
    from semalign.cli.output import say
    from semalign.review.index import open_index

    open_index(folder, lambda text: say(text, err=True))
