"""How much time and memory work takes as a data set grows from a thousand faces to a million.

    python benchmarks/scale.py [--part store] [--faces 1000 10000 100000 1000000] [--folder DIR] [--keep] [--add]
    python benchmarks/scale.py --picture docs/scale.png             draws the last measurements

One dated CSV a part, scale-PART, with a row for each step and number of faces. A step prepares what it is given, which is not
timed, and then does its work, in a process of its own: `seconds` by the clock, `processor` what all its threads and processes
spent, `before_mb` the memory with which the work began (Python, libraries and what the step is given), `peak_mb` the most that
the process ever had, preparation included (VmHWM; of several processes the largest), `folder_mb` what lies on disk
afterwards, `a_second` faces a second of the processor, `ms` its milliseconds a face (by the clock both would tell how busy the
machine is). Steps of a size follow each other in one folder, which is deleted afterwards.

- store: label versions (`semalign.data.LabelStore`) are written from arrays, appended from arrays and by parts, and read
  whole, one column, a thousand faces, and all by parts; 68 random points a face, so that nothing can be compressed.
- open: a folder of pictures with .pts files, and a COCO document of the same (up to 100,000 faces), without decoding pictures.
- check: `semalign data check`.
- copies: copies of photographs are looked for, in a data set that is open.
- crop: crops as `fast` sees them are cut into the cache, found there again, and all read.
- search: `semalign search fast`, first with crops to be cut and then with those, by one process; by 1 and 4 shards.
- clean: `semalign audit --quick --model fast`, and `semalign clean` by that audit.
- predict: `semalign predict FOLDER --model fast` with its usual files: JSON and a picture with the landmarks for each.

All but store are of generated photographs of 96 pixels (`scale_faces.py`), which are deleted afterwards unless --keep is given
with --folder; there they are found again. --add keeps the rows of today's file that are of other sizes or steps. A further
part is a mapping from names of steps to functions (folder, faces) that prepare and give the work, listed in PARTS; the data
set is in `data` beside the step's folder.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import harness
import numpy as np
import typer
from harness import Row, finish, run, track, write_results
from scale_faces import DOCUMENT, FACES, MOST_IN_DOCUMENT, draw, names

from semalign.errors import SemalignError

if TYPE_CHECKING:
    from semalign.data import Dataset, LabelPart, LabelStore, LabelVersion

LANDMARKS = 68
SOME = 1000  # faces of a part
COLUMNS = ("ids", "points", "prior_cost", "likelihood_cost", "movement", "confidence", "spread", "visibility")
SIZES = (1000, 10_000, 100_000, 1_000_000)
MODEL = "fast"
DATA = "data"
DRAWN = {  # of each part the step that is in the picture
    "store": "append by parts, all columns",
    "open": "folder",
    "check": "check",
    "copies": "copies",
    "crop": "cut",
    "search": "one process",
    "clean": "audit",
    "predict": "predict",
}
COLOURS = ("#8a8a8a", "#1f6fb4", "#d1793b", "#5a9e4b", "#8a5fb0", "#c0404a", "#1f9e9e", "#7a5c3a")

Work = Callable[[], list[float] | None]  # gives the most memory of processes that it started, MB
Step = Callable[[Path, int], Work | None]  # of a folder and the number of faces; None: not at this size


def main(
    part: Annotated[list[str] | None, typer.Option(help="What is measured; default: everything.")] = None,
    faces: Annotated[list[int], typer.Option(help="How many, each by itself.")] = list(SIZES),  # noqa: B006
    folder: Annotated[
        Path | None, typer.Option(help="Where data lie meanwhile; default: the temporary folder.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the photographs in --folder.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Keep other rows of today's files.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Where to draw the last measurements.")] = None,
) -> None:
    if picture is not None:
        drawn_measurements(picture)
        return
    for name in part or []:
        if name not in PARTS:
            raise typer.BadParameter(f"there is no part {name}; choose from {', '.join(PARTS)}.")
    if keep and folder is None:
        raise typer.BadParameter("--keep is of the photographs in --folder; give that, too.")
    chosen = part or list(PARTS)
    rows = {name: todays(name) if add else [] for name in chosen}
    with TemporaryDirectory(prefix="semalign-scale-", dir=folder) as scratch:
        for count in faces:
            place = Path(scratch) / str(count)
            place.mkdir()
            if set(chosen) - {"store"}:
                provide(place / DATA, count, folder if keep else None)
            for name in chosen:
                (place / name).mkdir()
                for step in track(list(PARTS[name]), f"{name}, {count} faces"):
                    found = measured(name, step, place / name, count)
                    rows[name] = [row for row in rows[name] if (row["step"], int(row["faces"])) != (step, count)]
                    if found:
                        rows[name].append({"step": step, "faces": count} | found)
                        write_results(f"scale-{name}", rows[name])
                shutil.rmtree(place / name)
            shutil.rmtree(place)
    for name in chosen:
        finish(f"scale-{name}", sorted(rows[name], key=lambda row: int(row["faces"])))


def provide(data: Path, count: int, kept: Path | None) -> None:
    """The photographs: drawn by a process of its own, or those that were kept."""
    own = data if kept is None else kept / f"{FACES}-{count}"
    if not own.is_dir():
        drawing = own.with_name(f"{own.name}-unfinished")
        shutil.rmtree(drawing, ignore_errors=True)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(draw, drawing, count).result()
        drawing.rename(own)
    if own != data:
        data.symlink_to(own.absolute(), target_is_directory=True)


def todays(part: str) -> list[Row]:
    """The rows of a file of today, without what every file says."""
    path = harness.FOLDER / f"scale-{part}_{date.today().isoformat()}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as stream:
        return [dict(row) for row in csv.DictReader(stream)]


def measured(part: str, step: str, folder: Path, faces: int) -> Row:
    """What a step took, measured in a process of its own; nothing but a word if it was killed; nothing where it is not done."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            row = pool.submit(measure, part, step, folder, faces).result()
        except BrokenProcessPool:
            return {"note": "killed, as for want of memory"}
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return row | {"folder_mb": sum(sizes) / 1e6} if row else {}


def measure(part: str, step: str, folder: Path, faces: int) -> Row:
    """Prepare a step and do it, in this process."""
    os.environ["SEMALIGN_CACHE"] = str(folder / "cache")
    work = PARTS[part][step](folder, faces)
    if work is None:
        return {}
    before, clock, processor = resident(), time.perf_counter(), spent()
    peaks = work() or []
    seconds, processor = time.perf_counter() - clock, spent() - processor
    return {
        "seconds": seconds,
        "processor": processor,
        "before_mb": before,
        "peak_mb": max([peak(), *peaks]),
        "a_second": faces / processor,
        "ms": 1000 * processor / faces,
    }


def done(work: Callable[[], object]) -> Work:
    """A work in this process alone."""

    def alone() -> None:
        work()

    return alone


def spent() -> float:
    """Seconds of the processor: of this process, and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak() -> float:
    """The most memory that this process has had, MB; where the system says it, without what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def resident() -> float:
    """The memory that this process has now, MB; what it had at most where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / 1e6


# ---- label store -------------------------------------------------------------------------------------------------------


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
    return done(lambda: store.append(ids, annotations, iteration=0))


def append(folder: Path, faces: int) -> Work:
    """Version 1 from arrays."""
    store, ids, found = store_in(folder), names(0, faces), points(0, faces)
    found += 1
    return done(lambda: store.append(ids, found, iteration=1))


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

    return done(lambda: store.append_parts(parts(), iteration=2))


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


# ---- photographs -------------------------------------------------------------------------------------------------------


def pictures_of(folder: Path) -> Path:
    """The data set of a step's folder."""
    return folder.parent / DATA / FACES


def opened(folder: Path) -> Dataset:
    """The same, opened."""
    from semalign.data import open_dataset

    return open_dataset(pictures_of(folder))


def open_folder(folder: Path, faces: int) -> Work:
    """The .pts files are read, and the pictures' sizes."""
    from semalign.data import open_dataset

    return done(lambda: open_dataset(pictures_of(folder)))


def open_document(folder: Path, faces: int) -> Work | None:
    """The same by a COCO document."""
    from semalign.data import open_dataset

    document = folder.parent / DATA / DOCUMENT
    return None if faces > MOST_IN_DOCUMENT else done(lambda: open_dataset(document, images=pictures_of(folder)))


def check(folder: Path, faces: int) -> Work:
    """As `semalign data check`."""
    from semalign.data import check_dataset

    return done(lambda: check_dataset(pictures_of(folder)))


def copies(folder: Path, faces: int) -> Work:
    """Pairs of copies."""
    from semalign.data import find_near_duplicates

    dataset = opened(folder)
    return done(lambda: find_near_duplicates(dataset))


def crops(read: bool) -> Step:
    """Crops from the cache, which are cut if they are not there."""

    def prepared(folder: Path, faces: int) -> Work:
        from semalign.data.crops import build_crops
        from semalign.inference.landmarker import open_model

        dataset, model = opened(folder), open_model(MODEL, exported=True)

        def work() -> None:
            found = build_crops(dataset.samples, model.crop, model.input_size)
            if read:
                for start in range(0, len(found), 32):
                    found.images[np.arange(start, min(start + 32, len(found)))]

        return work

    return prepared


def search(shards: int, out: str) -> Step:
    """`semalign search`; with shards, these processes look at the faces and one searches in what they saw."""

    def prepared(folder: Path, faces: int) -> Work:
        from semalign.pipeline import commands

        def work() -> list[float]:
            peaks = []
            if shards:
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(shards, mp_context=context, max_tasks_per_child=1) as pool:
                    waiting = [pool.submit(shard, folder, out, index + 1, shards) for index in range(shards)]
                    peaks = [done.result() for done in waiting]
            commands.search(MODEL, pictures_of(folder), folder / out)
            return peaks

        return work

    return prepared


def shard(folder: Path, out: str, index: int, count: int) -> float:
    """`semalign search --shard INDEX/COUNT`; the most memory that it had."""
    from semalign.parts import Share
    from semalign.pipeline.commands import search_part

    search_part(MODEL, pictures_of(folder), folder / out, Share(index, count))
    return peak()


def audit(folder: Path, faces: int) -> Work:
    """`semalign audit --quick`."""
    from semalign.auditing.run import audit

    return done(lambda: audit(pictures_of(folder), quick=True, model=MODEL, out=folder / "audit"))


def clean(folder: Path, faces: int) -> Work:
    """`semalign clean --audit`."""
    from semalign.auditing import clean

    return done(lambda: clean(pictures_of(folder), folder / "clean", audit=folder / "audit"))


def predict(folder: Path, faces: int) -> Work:
    """`semalign predict`."""
    from semalign.cli.predict import predict

    def work() -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(typer.Exit):
            predict([str(pictures_of(folder))], folder / "found", model=MODEL)  # exits with 1: in some no face is found

    return work


PARTS: Mapping[str, Mapping[str, Step]] = {
    "store": STORE,
    "open": {"folder": open_folder, "COCO document": open_document},
    "check": {"check": check},
    "copies": {"copies": copies},
    "crop": {"cut": crops(False), "found again": crops(False), "found and read": crops(True)},
    "search": {
        "one process, with cutting": search(0, "first"),
        "one process": search(0, "one"),
        "1 shard": search(1, "shard"),
        "4 shards": search(4, "shards"),
    },
    "clean": {"audit": audit, "clean": clean},
    "predict": {"predict": predict},
}


# ---- the picture -------------------------------------------------------------------------------------------------------


def drawn_measurements(path: Path) -> None:
    """Cost a face and peak memory by the number of faces: of each part its longest step, as measured last."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    cost, memory = figure.subplots(1, 2)
    ends: dict[str, tuple[float, float, float]] = {}
    for (part, step), colour in zip(DRAWN.items(), COLOURS, strict=True):
        newest = max(harness.FOLDER.glob(f"scale-{part}_*.csv"), default=None)
        if newest is None:
            continue
        with newest.open(encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["step"] == step and row["seconds"]]
        faces, processor, most = ([float(row[column]) for row in rows] for column in ("faces", "processor", "peak_mb"))
        ms = [1000 * seconds / count for seconds, count in zip(processor, faces, strict=True)]
        for axes, values in ((cost, ms), (memory, most)):
            axes.plot(faces, values, "o-", ms=4, lw=1.5, color=colour)
        ends[part] = faces[-1], ms[-1], most[-1]
    if not ends:
        raise SemalignError(f"{harness.FOLDER}: holds no measurement yet; measure first.")
    for axes, place, title in ((cost, 1, "milliseconds of the processor a face"), (memory, 2, "most memory, MB")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(700, 1e7)
        axes.set_xticks([1e3, 1e4, 1e5, 1e6], ["1,000", "10,000", "100,000", "1,000,000"], fontsize=8)
        axes.set_xlabel("faces")
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", color="#e6e6e6", lw=0.6)
        axes.yaxis.set_major_formatter("{x:g}")
        low, high = np.log10(axes.get_ylim())
        least, last = (high - low) / 18, -np.inf  # labels are so far apart at least
        for part, end in sorted(ends.items(), key=lambda item: item[1][place]):
            last = max(float(np.log10(end[place])), last + least)
            x = max(one[0] for one in ends.values()) * 1.35
            axes.annotate(
                part, (end[0], end[place]), (x, 10**last), fontsize=9, va="center", color=COLOURS[list(DRAWN).index(part)],
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "#bbbbbb", "shrinkA": 0, "shrinkB": 3},
            )  # fmt: skip
    figure.savefig(path, dpi=110)
    typer.echo(f"drawn: {path}")


if __name__ == "__main__":
    run(main)
