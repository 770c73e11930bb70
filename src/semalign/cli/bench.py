"""Measure how long a crop takes on this machine, and which method finds the best labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from semalign.cli.bench_labels import labels
from semalign.cli.options import JsonFile, Overwrite, argument, flag, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semalign.export.timing import Timing


def speed(
    models: Annotated[
        list[str] | None,
        argument("[MODEL]...", "Model files or shipped models; without any, a compact one with random weights."),
    ] = None,
    threads: Annotated[
        int | None, option("--threads", "N", "Threads of one call.", default="one per core", min=1)
    ] = None,
    rounds: Annotated[int, option("--rounds", "N", "How often each is measured.", default=True, min=1)] = 20,
    no_yardstick: Annotated[
        bool, flag("--no-yardstick", "Leave out the large hourglass that the others are compared with.")
    ] = False,
    no_onnx: Annotated[bool, flag("--no-onnx", "Measure PyTorch alone, which needs no further packages.")] = False,
    json_file: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Time from a crop to its landmarks' coordinates, one crop at a time on the CPU.

    PyTorch, onnxruntime and onnxruntime with 8-bit integers take turns with every model; shown are medians. The
    yardstick is a four-stack hourglass of FAN-4's shape (crops of 256×256, heatmaps of 64×64) with random weights.

    Examples:
        semalign bench speed default
        semalign bench speed runs/300w/aligned/model.safetensors --threads 1 --json bench.json
    """
    import os
    import tempfile
    from dataclasses import asdict

    from semalign.cli.output import claim_file, write_or_print_json
    from semalign.cli.progress import stage_of
    from semalign.export.timing import RUNTIMES, BenchSettings, contestants, fresh_models, measure
    from semalign.models import pretrained
    from semalign.pipeline.summary import hardware, versions

    claim_file(json_file, overwrite)
    settings = BenchSettings(threads or os.cpu_count() or 1, rounds)
    fresh = fresh_models(yardstick=not no_yardstick)
    if models:
        fresh.pop(next(iter(fresh)))
    entered_models = {name: pretrained.load(name) for name in models or ()} | fresh
    runtimes = RUNTIMES[:1] if no_onnx else RUNTIMES
    with tempfile.TemporaryDirectory(prefix="semalign-") as folder:
        with stage_of("preparing") as progress:
            entered, whole = [], len(entered_models) * len(runtimes)
            for contestant in contestants(entered_models, Path(folder), settings, runtimes):
                entered.append(contestant)
                progress(len(entered), whole)
        with stage_of("measuring") as progress:
            timings = measure(entered, settings, progress)
    if str(json_file) != "-":
        _print(timings, settings.threads, hardware())
    if json_file is not None:
        figures = {
            **asdict(settings),
            "hardware": hardware(),
            "versions": versions() | ({} if no_onnx else _onnx_versions()),
            "timings": [asdict(timing) for timing in timings],
        }
        write_or_print_json(json_file, figures)


def _print(timings: Sequence[Timing], threads: int, hardware: str) -> None:
    """A row for each model and runtime; the last column compares with the yardstick, the last model, in PyTorch."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(("model", "runtime", "parameters", "crop, px", "ms", "quartiles", "crops/s")):
        table.add_column(name, justify="left" if index < 2 else "right")
    previous = None
    for timing in timings:
        if previous not in (None, timing.model):
            table.add_section()
        shown = "" if timing.model == previous else timing.model
        previous = timing.model
        table.add_row(
            shown,
            timing.runtime,
            f"{timing.parameters / 1e6:.2f} M",
            str(timing.input_size),
            f"{timing.milliseconds:.2f}",
            f"{timing.lower_quartile:.2f} – {timing.upper_quartile:.2f}",
            f"{1000 / timing.milliseconds:.1f}",
        )
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    console.print(f"{threads} thread{'' if threads == 1 else 's'}, {hardware}", soft_wrap=True)


def _onnx_versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("onnx", "onnxruntime")}


COMMANDS: dict[str, Callable[..., None]] = {"speed": speed, "labels": labels}
