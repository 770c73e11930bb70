"""What all benchmarks share: the command line, timing in turn, progress, the table, dated CSV files, faces and their errors.

A benchmark is a docstring (what is compared, on what, how to call it), a `main` whose parameters are its command line, and the
measurement. It ends with `run(main)`, and its `main` with `finish(name, rows)`. Results go to benchmarks/results, or to the
folder that the environment variable BENCHMARK_RESULTS names.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from semalign.cli.progress import RichProgress
from semalign.errors import SemalignError
from semalign.files import write_text

if TYPE_CHECKING:
    from semalign.data import Dataset
    from semalign.data.crops import CropSettings
    from semalign.detect import Face
    from semalign.inference.backend import Backend
    from semalign.models.checkpoint import Model
    from semalign.pipeline.prepare import Faces

FOLDER = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).resolve().parent / "results")
QUANTISED = ("300w-detector",)  # shipped models whose ONNX file is int8: a wide hourglass
VERSIONS = {"python": "python", "torch": "torch", "numpy": "numpy", "opencv": "opencv-python-headless"}  # by column
FIGURES = (  # of an evaluation, those that are kept
    "count",
    "nme_interpupil",
    "nme_interocular",
    "nme_box",
    "rmse_interocular",
    "auc_interocular_8",
    "failure_rate_interocular_8",
    "auc_interpupil_10",
    "failure_rate_interpupil_10",
)
FOUND = 0.5  # intersection over union of the landmarks' boxes of a face that is taken to be found
BAD_INPUT = 2  # exit status, as of `semalign`

T = TypeVar("T")
Row = dict[str, Any]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)]
DataFolder = Annotated[Path, typer.Option("--data", help="Data set: 300W or another, complete or partial.")]
ModelName = Annotated[str, typer.Option("--model", help="A shipped model or a model file.")]
Photo = Annotated[Path | None, typer.Option("--photo", help="Picture with one face; default: a synthetic one.")]


class _Command(TyperCommand):
    """Its help is the benchmark's docstring as it stands; several numbers may follow one option: --parts 1 2."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write(f"\n{(self.help or '').strip()}\n")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        several = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        given: list[str] = []
        for arg in args:
            if arg.isdecimal() and len(given) > 1 and given[-1].isdecimal() and given[-2] in several:
                given.append(given[-2])
            given.append(arg)
        return super().parse_args(ctx, given)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SemalignError as error:
            typer.echo(f"error: {error}", err=True)
            raise SystemExit(BAD_INPUT) from error


def run(main: Callable[..., None]) -> None:
    """Call a benchmark with the command line; bad input ends with one sentence."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    app.command(cls=_Command, help=main.__globals__["__doc__"], context_settings=settings)(main)
    app()


@dataclass(frozen=True)
class Timing:
    """Seconds of every turn that counts, by the clock and of the processor."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """The median by the clock."""
        return 1000 * median(self.clock)

    @property
    def processor_milliseconds(self) -> float:
        """The median of what the processor spent."""
        return 1000 * median(self.processor)

    def ratio(self, other: Timing) -> float:
        """This median in those of another timing."""
        return self.milliseconds / other.milliseconds


def in_turn(
    forms: Mapping[str, Callable[..., object]],
    turns: int,
    prepare: Callable[[int], Sequence[Any]] = lambda turn: (),
    rest: float = 0.0,
    warm: bool = False,
) -> dict[str, Timing]:
    """Time some forms of a work, one after the other in every turn, so that a busy moment hits all of them alike.

    Args:
        forms: what is compared, by name.
        turns: that count; turn 0, which warms up, comes before them.
        prepare: gives of a turn's number the arguments of all forms, outside the time.
        rest: seconds before each, in which the threads of the one before end their busy waiting.
        warm: each is called once more before its time begins, so that what it needs is in the caches.
    """
    timings = {name: Timing() for name in forms}
    for turn in range(turns + 1):
        arguments = prepare(turn)
        for name, form in forms.items():
            time.sleep(rest)
            if warm:
                form(*arguments)
            clock, processor = time.perf_counter(), time.process_time()
            form(*arguments)
            spent = time.perf_counter() - clock, time.process_time() - processor
            if turn:
                timings[name].clock.append(spent[0])
                timings[name].processor.append(spent[1])
    return timings


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """The items, with progress on the terminal; `total` says how many, where they cannot tell."""
    with RichProgress().stage(title, len(items) if isinstance(items, Sized) else total or 0) as advance:
        for item in items:
            yield item
            advance(1)


def finish(
    name: str,
    rows: Sequence[Row],
    digits: int = 2,
    hardware: str | None = None,
    shown: Sequence[str] = (),
    caption: str | None = None,
) -> None:
    """Print the rows as a table, with all columns or those to be shown, and write them as `write_results` does."""
    columns = shown or list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=name, caption=caption)
    for row in rows:
        values = (row.get(column, "") for column in columns)
        table.add_row(*(f"{value:.{digits}f}" if isinstance(value, float) else str(value) for value in values))
    console = Console(width=200)
    console.print(table)
    console.print(f"written: {write_results(name, rows, hardware)}")


def write_results(name: str, rows: Sequence[Row], hardware: str | None = None) -> Path:
    """Write the rows to <name>_<today>.csv in FOLDER and return its path; a file of the same day is replaced.

    The columns date, hardware, python and versions of libraries come first, then the rows' own in order; what a row
    does not have stays empty. `hardware` defaults to this machine's.
    """
    from semalign.pipeline import summary

    if not rows:
        raise ValueError("there are no rows to write")
    today, versions = date.today().isoformat(), summary.versions()
    common = {"date": today, "hardware": hardware or summary.hardware()}
    common |= {column: versions[name] for column, name in VERSIONS.items()}
    own = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in common]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*common, *own], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**common, **row} for row in rows)
    path = FOLDER / f"{name}_{today}.csv"
    write_text(path, text.getvalue())
    return path


def synthetic_photo(ending: str) -> bytes:
    """A picture of one synthetic face as a file: ".png" or ".jpg"."""
    import cv2

    from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

    face = face_of(0, 3, SynthesisSettings(count=4, seed=0, face=FaceSettings(size=320)))
    return cv2.imencode(ending, cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))[1].tobytes()


def faces_of(dataset: Dataset, crop: CropSettings, input_size: int) -> Faces:
    """A data set's faces with their crops."""
    from semalign.pipeline.prepare import cache_crops

    return cache_crops(dataset, crop, input_size, False, RichProgress(), "crops")


def run_faces(run: Path, data: Path | None = None) -> tuple[Faces, Faces]:
    """Training and test faces of a finished run; without `data`, the synthetic ones in its folder."""
    from semalign.pipeline import load_recipe
    from semalign.pipeline.prepare import split_faces

    recipe = load_recipe(run / "recipe.toml")
    train, test, _ = split_faces(recipe, data or run / "data", keep_going=False)
    size = recipe.network.input_size
    return faces_of(train, recipe.crop, size), faces_of(test, recipe.crop, size)


def predicted(model: Model | Backend, faces: Faces) -> np.ndarray:
    """What a model says of the faces: points (b, n, 2) of the image frames."""
    from semalign.inference import Landmarker

    return Landmarker(model).on_crops(faces.crops).points


def model_errors(model: Model, faces: Faces) -> dict[str, float]:
    """Mean errors of a model in %, against the truth where it is known."""
    from semalign.core.metrics import mean_errors

    return mean_errors(predicted(model, faces), faces.reference, model.scheme)


def annotation_error(points: np.ndarray, faces: Faces, rows: np.ndarray | slice = slice(None)) -> float:
    """nme_interpupil of points (b, n, 2) against the annotations, on some of the faces."""
    from semalign.core.metrics import mean_errors

    return mean_errors(points[rows], faces.dataset.points()[rows], faces.dataset.scheme)["nme_interpupil"]


def difference(points: np.ndarray, others: np.ndarray, dataset: Dataset) -> tuple[float, float, float]:
    """By how much the nme_interpupil of points exceeds that of others, face by face, and its 95 % interval."""
    from semalign.evaluation import compare_predictions

    found = compare_predictions(points, others, dataset)["subsets"]["all"]["nme_interpupil"]
    return found["difference"], found["low"], found["high"]


def face_at(faces: Sequence[Face], box: np.ndarray) -> Face | None:
    """The face whose landmarks' box shares most of the union with this one (4,), if it is enough."""
    from semalign.detect.detector import overlap

    shares = [overlap(face.box, box.tolist()) for face in faces]
    return faces[int(np.argmax(shares))] if shares and max(shares) >= FOUND else None
