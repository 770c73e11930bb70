"""Draft a landmark scheme for points of your own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from semalign.cli.options import Overwrite, argument, option
from semalign.cli.output import claim_file, say


def new(
    sample: Annotated[Path, argument("SAMPLE", "An annotated face: a .pts file, its image, or a folder of them.")],
    out: Annotated[Path, option("--out", "FILE.toml", "The scheme's file.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a landmark scheme for as many points as a sample file holds.

    It can be used at once. Its comments say what to fill in for mirrored pictures and for errors by the eyes' distance.
    Left-right pairs are guessed where the sample is clearly symmetric.

    Example:
        semalign scheme new faces/0001.pts --out own.toml
        semalign data check faces --scheme own.toml
        semalign run 300w-compact --data faces --out runs/own --set data.scheme=own.toml
    """
    from semalign.data.formats.plain import sample_points
    from semalign.errors import SemalignError
    from semalign.files import write_text
    from semalign.schemes import load_scheme
    from semalign.schemes.draft import draft_scheme

    if out.suffix != ".toml":
        raise SemalignError(f"{out}: a scheme is a TOML file; give a name that ends in .toml.")
    claim_file(out, overwrite)
    path, points = sample_points(sample)
    write_text(out, draft_scheme(points, out.stem, str(path)))
    scheme = load_scheme(out)
    pairs = (
        f"{len(scheme.pairs)} left-right pairs guessed, check them" if scheme.pairs else "no left-right pairs guessed"
    )
    say(f"{scheme.count} points, {pairs}: {out}")


COMMANDS: dict[str, Callable[..., None]] = {"new": new}
