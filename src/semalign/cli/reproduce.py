"""The command that makes the paper's tables and figures anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from semalign.cli.options import Out, Resume, argument, flag, option
from semalign.cli.output import say

Size = Literal["tiny", "small", "compact", "paper"]


def reproduce(
    names: Annotated[
        list[str] | None, argument("[TABLE|FIGURE]...", "As table5 or figure8; 'all', or none, for all of them.")
    ] = None,
    out: Out = ...,  # type: ignore[assignment]
    data: Annotated[
        list[str] | None,
        option(
            "--data", "NAME=PATH", "Real data: 300w=PATH, aflw=PATH, 300vw=PATH; synthetic ones stand in for the rest."
        ),
    ] = None,
    size: Annotated[
        Size, option("--size", "SIZE", "tiny (a trial), small (two cores), compact or paper (a GPU).", default=True)
    ] = "small",
    seed: Annotated[int, option("--seed", "S", "Seed of everything random.", default=True, min=0)] = 0,
    real_only: Annotated[
        bool, flag("--real-only", "Leave out what --data gives no data for, instead of making synthetic ones.")
    ] = False,
    resume: Resume = False,
) -> None:
    """The paper's tables and figures anew: its published figures, and beside them what is measured here.

    DIR then holds report.html, tables/*.csv, and the experiments, which tables share. Each figure of ours says on which
    data it was measured, on which split, whether that is complete, and with which seed. Other tables can be added with
    --resume.

    Examples:
        semalign reproduce all --out runs/paper
        semalign reproduce table5 figure8 --data 300w=~/300w --size compact --out runs/paper-300w
    """
    from semalign.cli.progress import RichProgress
    from semalign.paper import reproduce as make

    page = make(
        names or (), out, size=size, seed=seed, data=named_folders(data or ()), real_only=real_only, resume=resume,
        progress=RichProgress(),
    )  # fmt: skip
    say(f"report: {page}")


def named_folders(pairs: list[str] | tuple[str, ...]) -> dict[str, Path]:
    """Folders by name, from NAME=PATH.

    Raises:
        SemalignError: something of another form, or a name that is given twice.
    """
    from semalign.errors import SemalignError

    folders: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise SemalignError(f"--data {pair}: is not of the form NAME=PATH; write for example 300w=data/300w.")
        if name in folders:
            raise SemalignError(f"--data {pair}: {name} is given twice; name each data set once.")
        folders[name] = Path(path).expanduser()
    return folders


COMMANDS: dict[str, Callable[..., None]] = {"reproduce": reproduce}
