"""How much time and memory work takes as a data set grows from a thousand faces to a million.

    python benchmarks/scale.py [--part store] [--faces 1000 10000 100000 1000000] [--folder DIR]

One dated CSV a part, scale-PART, with a row for each step and number of faces. A step prepares what it is given, which is not
timed, and then does its work, in a process of its own: `seconds` by the clock, `processor` what all threads spent,
`before_mb` the memory with which the work began (Python, libraries and what the step is given), `peak_mb` the most that the
process ever had, preparation included (`ru_maxrss`), `folder_mb` what lies on disk afterwards. Steps of a size follow each
other in one folder, which is emptied before and deleted afterwards. Data are generated: 68 random points a face, so that
nothing can be compressed, and names of 32 letters.

- store: label versions (`semalign.data.LabelStore`) are written from arrays, appended from arrays and by parts, and read
  whole, one column, a thousand faces, and all by parts.

A further part is a mapping from names of steps to functions (folder, faces) that prepare and give the work, listed in PARTS.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from harness import Row, finish, run, track

if TYPE_CHECKING:
    from semalign.data import LabelPart, LabelStore, LabelVersion

LANDMARKS = 68
SOME = 1000  # faces of a part
COLUMNS = ("ids", "points", "prior_cost", "likelihood_cost", "movement", "confidence", "spread", "visibility")
SIZES = (1000, 10_000, 100_000, 1_000_000)

Work = Callable[[], object]
Step = Callable[[Path, int], Work]  # of a folder and the number of faces


def main(
    part: Annotated[list[str] | None, typer.Option(help="What is measured; default: everything.")] = None,
    faces: Annotated[list[int], typer.Option(help="How many, each by itself.")] = list(SIZES),  # noqa: B006
    folder: Annotated[
        Path | None, typer.Option(help="Where data lie meanwhile; default: the temporary folder.")
    ] = None,
) -> None:
    for name in part or list(PARTS):
        if name not in PARTS:
            raise typer.BadParameter(f"there is no part {name}; choose from {', '.join(PARTS)}.")
        steps = [(count, step) for count in faces for step in PARTS[name]]
        rows: list[Row] = []
        with TemporaryDirectory(prefix=f"semalign-scale-{name}-", dir=folder) as scratch:
            for count, step in track(steps, name):
                place = Path(scratch) / str(count)
                place.mkdir(exist_ok=True)
                rows.append({"step": step, "faces": count} | measured(name, step, place, count))
                if step == list(PARTS[name])[-1]:
                    shutil.rmtree(place)
        finish(f"scale-{name}", rows)


def measured(part: str, step: str, folder: Path, faces: int) -> Row:
    """What a step took, measured in a process of its own; nothing but a word if it was killed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            row = pool.submit(measure, part, step, folder, faces).result()
        except BrokenProcessPool:
            return {"note": "killed, as for want of memory"}
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return row | {"folder_mb": sum(sizes) / 1e6}


def measure(part: str, step: str, folder: Path, faces: int) -> Row:
    """Prepare a step and do it, in this process."""
    work = PARTS[part][step](folder, faces)
    before, clock, processor = resident(), time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - clock,
        "processor": time.process_time() - processor,
        "before_mb": before,
        "peak_mb": peak(),
    }


def peak() -> float:
    """The most memory that this process has had, MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def resident() -> float:
    """The memory that this process has now, MB; what it had at most where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / 1e6


def names(start: int, stop: int) -> tuple[str, ...]:
    """Ids of generated faces."""
    return tuple(f"people/{index // 1000:05d}/image_{index:09d}.jpg" for index in range(start, stop))


def points(start: int, stop: int) -> np.ndarray:
    """Of generated faces (b, 68, 2): the same for the same faces."""
    found = np.empty((stop - start, LANDMARKS, 2))
    for at in range(start, stop, SOME):
        some = found[at - start : at - start + SOME]
        some[:] = np.random.default_rng(at).uniform(50, 300, some.shape)
    return found


def store_in(folder: Path) -> LabelStore:
    """The label store of the steps, with all that it imports."""
    import pyarrow.parquet  # noqa: F401

    from semalign.data import LabelStore

    return LabelStore(folder)


def write(folder: Path, faces: int) -> Work:
    """Version 0 from arrays."""
    store, ids, annotations = store_in(folder), names(0, faces), points(0, faces)
    return lambda: store.append(ids, annotations, iteration=0)


def append(folder: Path, faces: int) -> Work:
    """Version 1 from arrays."""
    store, ids, found = store_in(folder), names(0, faces), points(0, faces)
    found += 1
    return lambda: store.append(ids, found, iteration=1)


def append_parts(folder: Path, faces: int) -> Work:
    """Version 2 by parts, with all columns."""
    from semalign.data import LabelPart

    store = store_in(folder)

    def parts() -> Iterator[LabelPart]:
        for start in range(0, faces, SOME):
            stop = min(start + SOME, faces)
            found = points(start, stop)
            costs = found[..., 0] + 1, found[..., 1] + 1
            yield LabelPart(names(start, stop), found + 2, *costs, confidence=found[..., 0] / 300, spread=found / 100)

    return lambda: store.append_parts(parts(), iteration=2)


def read(columns: tuple[str, ...], parts: Callable[[LabelVersion], Iterator[LabelVersion]]) -> Step:
    """Columns of version 2, of some parts of it."""

    def prepared(folder: Path, faces: int) -> Work:
        store = store_in(folder)

        def work() -> None:
            for part in parts(store.read(2)):
                for name in columns:
                    getattr(part, name)

        return work

    return prepared


STORE: Mapping[str, Step] = {
    "write": write,
    "append": append,
    "append by parts, all columns": append_parts,
    "read ids and points": read(("ids", "points"), lambda version: iter((version,))),
    "read one column": read(("confidence",), lambda version: iter((version,))),
    "read a thousand faces, all columns": read(
        COLUMNS, lambda version: iter((version.part(version.shape[0] // 2, version.shape[0] // 2 + SOME),))
    ),
    "read by parts, all columns": read(COLUMNS, lambda version: version.parts()),
}
PARTS: Mapping[str, Mapping[str, Step]] = {"store": STORE}

if __name__ == "__main__":
    run(main)
