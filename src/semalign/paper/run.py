"""A reproduction: the tables and figures that are asked for, from one cache of experiments, in one folder.

OUT/reproduce.json    size, seed, data and every setting; a folder of others is refused
OUT/asked.json        tables and figures that were asked for so far, all of which the page shows
OUT/calls.json        what each call that came to its end showed, and how long it took
OUT/report.html       the page
OUT/tables/*.csv      a file for each table
OUT/data              synthetic data
OUT/work              the experiments
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semalign.errors import SemalignError
from semalign.files import is_new, read_json, write_json
from semalign.locks import writes_into
from semalign.paper.figures import FIGURES
from semalign.paper.lab import Lab
from semalign.paper.page import write_csv, write_page
from semalign.paper.protocols import NAMES
from semalign.paper.sizes import Size, load_size
from semalign.paper.tables import TABLES
from semalign.progress import Progress, SilentProgress
from semalign.report.theme import drawing

DESCRIPTION, ASKED, CALLS = "reproduce.json", "asked.json", "calls.json"
REMEDY = "choose another folder"  # where one of them cannot be read
ALL = "all"
KNOWN = (*TABLES, *FIGURES)
NEEDED = {"table3": "aflw", "table4": "300vw", "table8": "300vw", "table9": "300vw", "figure5": "300vw"}  # others: 300w


@writes_into("out")
def reproduce(
    names: Sequence[str],
    out: Path,
    *,
    size: str = "small",
    seed: int = 0,
    data: Mapping[str, Path] | None = None,
    real_only: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Make tables and figures of the paper anew, with whatever experiments they need and no others.

    Args:
        names: 'table2' to 'table9', 'figure1' to 'figure8', or 'all'; none = all.
        out: the folder for everything.
        size: 'tiny', 'small', 'compact' or 'paper'.
        seed: of synthetic data, networks and draws.
        data: folders of real data: '300w', 'aflw', '300vw'; synthetic data stand in for what is missing.
        real_only: leave out tables, rows and figures for which no real data is given.
        resume: continue what is in `out`, or add tables and figures to it.
        progress: told what goes on.

    Returns:
        The page's path.

    Raises:
        SemalignError: an unknown table, size or data set, bad data, no real data where only such is wanted, or a folder that
            holds something else.
    """
    begin = time.perf_counter()
    out, data, progress = Path(out), dict(data or {}), progress or SilentProgress()
    wanted = resolve(names)
    for name in data:
        if name not in NAMES:
            raise SemalignError(f"--data {name}: is no data set of the paper; name one of {', '.join(NAMES)}.")
    if real_only:
        wanted = _with_data(wanted, data)
    settings = load_size(size)
    _claim(out, _description(settings, seed, data), resume)
    wanted = _asked(out, wanted)
    lab = Lab(out, settings, seed, data, progress, real_only)
    tables, figures = [], []
    with progress.stage("tables and figures", len(wanted)) as advance, drawing():
        for name in wanted:
            if name in TABLES:
                tables.append(TABLES[name](lab))
                write_csv(out / "tables" / f"{name}.csv", tables[-1])
            else:
                figures.append(FIGURES[name](lab))
            advance(1, name)
    seconds = time.perf_counter() - begin
    calls = read_json(out / CALLS, REMEDY) if (out / CALLS).is_file() else []
    write_json(out / CALLS, [*calls, {"asked": list(wanted), "seconds": round(seconds, 1)}])
    return write_page(out, size, seed, tables, figures, seconds)


def resolve(names: Sequence[str]) -> tuple[str, ...]:
    """Names of tables and figures in the paper's order, each once.

    Raises:
        SemalignError: a name that is neither.
    """
    wanted = [name.lower() for name in names] or [ALL]
    for name in wanted:
        if name not in (*KNOWN, ALL):
            raise SemalignError(f"there is no table or figure {name!r}; choose from {', '.join(KNOWN)} or {ALL}.")
    return KNOWN if ALL in wanted else tuple(name for name in KNOWN if name in wanted)


def _with_data(wanted: tuple[str, ...], data: Mapping[str, Path]) -> tuple[str, ...]:
    """Those of the names whose data set is given.

    Raises:
        SemalignError: there are none.
    """
    kept = tuple(name for name in wanted if NEEDED.get(name, "300w") in data)
    if not kept:
        needed = sorted({NEEDED.get(name, "300w") for name in wanted})
        raise SemalignError(
            f"only what real data are given for is wanted, and none are; add {' or '.join(f'--data {n}=PATH' for n in needed)}."
        )
    return kept


def _description(size: Size, seed: int, data: Mapping[str, Path]) -> dict[str, Any]:
    """What decides about every experiment, as JSON gives it back."""
    places = {name: str(Path(path).resolve()) for name, path in sorted(data.items())}
    described = {"size": size.name, "seed": seed, "data": places, "settings": asdict(size)}
    result: dict[str, Any] = json.loads(json.dumps(described))
    return result


def _claim(out: Path, description: dict[str, Any], resume: bool) -> None:
    """Make the folder this reproduction's own.

    Raises:
        SemalignError: it holds another one, or this one and `resume` was not asked for, or something else.
    """
    path = out / DESCRIPTION
    if is_new(path, "reproduction", resume):
        write_json(path, description)
        return
    if read_json(path, REMEDY) != description:
        raise SemalignError(
            f"{out}: holds a reproduction of another size, seed or data ({DESCRIPTION} differs); choose another folder."
        )


def _asked(out: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """What is asked for now or was before, in the paper's order."""
    path = out / ASKED
    before = read_json(path, REMEDY) if path.is_file() else []
    everything = [name for name in KNOWN if name in wanted or name in before]
    write_json(path, everything)
    return tuple(everything)
