"""Time of one label search for 68 landmarks: fused and in whole tensors, against `unfold` and against the loop.

    python benchmarks/search.py [--threads 2] [--repeats 15]
    python benchmarks/search.py --data 300w [--faces 250 500 1000] [--before OTHER/src] [--threads 1] [--model fast]

'search, …' is what `search_labels` does, with numba (the extra `fast`) if the column `numba` names its version; 'search, …,
torch' does the same in operations on whole tensors, which is what runs without numba and on GPUs. 'chi-square, …' are parts and
comparisons: the likelihood alone. All forms get the same heatmaps in the same run, in turn, each when the threads of the one
before have come to rest, and the medians are compared. The network is not part of the time, nor is what numba compiles
once. The loop is the definition in plain Python; it is timed afterwards, on one landmark, and counted 68 times.

With --data, 'search-passes': `semalign search` as a whole on the first so many training faces, each in a process of its own, by
the model's own recipe (calibrated, with the face mesh) and by the paper's search with label adaptation (300w-compact; not with
--no-paper). Where ONNX Runtime gives the network's points, by PyTorch and by it. How often each picture is shown to networks of
PyTorch, milliseconds of the processor and of the clock for a face (crops aside), and the most memory, of which `anonymous` is
the process's own and the rest mapped files; `before` is the source of another version, which is measured in turn, and labels
are compared with the first ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from harness import Row, finish, in_turn, run

import semalign
from semalign.core.heatmaps import render_gaussians
from semalign.core.likelihood import chi_square, chi_square_loop, chi_square_unfold
from semalign.core.search import SearchSettings, scaled_radius, search_labels, search_labels_torch
from semalign.data.labels import LabelStore
from semalign.training.memory import keep_large_blocks

LANDMARKS, BATCH = 68, 32
REST = 0.02  # seconds in which OpenMP's threads end their busy waiting, which takes a core from others
CASES = (
    (256, 3.0, 19),
    (256, 7 / 3, 15),
    (128, 1.5, 19),
    (64, 1.5, 19),
)  # heatmap, sigma in its pixels, template at 256
RECIPES = ("the model's own", "300w-compact")
SEARCH = """
import json, resource, sys, threading, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[5]))
from semalign.data.opening import open_dataset
from semalign.inference import tta
from semalign.pipeline import SilentProgress, commands, load_recipe, search
data, out, count, recipe = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
faces = open_dataset(data).select(split="train")
faces = replace(faces, samples=faces.samples[:count])
shown, own, transformed, spent = [0], [0], tta._transformed, []

class Clock(SilentProgress):
    @contextmanager
    def stage(self, title, total):
        clock, processor = time.perf_counter(), time.process_time()
        with super().stage(title, total) as advance:
            yield advance
        if title == "search":
            spent[:] = time.perf_counter() - clock, time.process_time() - processor

def counted(crops, *rest):
    shown[0] += len(crops)
    return transformed(crops, *rest)

def watch():
    while True:
        with open("/proc/self/status") as status:
            own[0] = max(own[0], *(int(line.split()[1]) for line in status if line.startswith("RssAnon")))
        time.sleep(0.02)

tta._transformed = counted
if sys.argv[7] == "PyTorch":
    commands.graph_of = lambda *_: None
threading.Thread(target=watch, daemon=True).start()
chosen = load_recipe(recipe) if recipe == "300w-compact" else None
search(sys.argv[6], faces, out, recipe=chosen, progress=Clock())
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"shown": shown[0] / count, "clock_ms": 1000 * spent[0] / count, "processor_ms": 1000 * spent[1] / count,
                  "most_mb": most / 1024, "anonymous_mb": own[0] / 1024}))
"""


def main(
    threads: int = 2,
    repeats: int = 15,
    data: Annotated[Path | None, typer.Option(help="Data set: search all of its labels instead.")] = None,
    faces: Annotated[list[int], typer.Option(help="So many training faces, with --data.")] = [250, 500, 1000],  # noqa: B006
    before: Annotated[Path | None, typer.Option(help="Source folder of another version, to measure beside.")] = None,
    paper: Annotated[bool, typer.Option(help="Whether the paper's search is measured, too, with --data.")] = True,
    model: Annotated[str, typer.Option(help="Shipped model that searches, with --data.")] = "default",
) -> None:
    if data is not None:
        sources = {"now": Path(semalign.__file__).parents[1]} | ({} if before is None else {"before": before})
        finish("search-passes", [row for count in faces for row in passes(data, count, sources, threads, model, paper)])
        return
    torch.set_num_threads(threads)
    keep_large_blocks()  # as training and inference do
    common = {"threads": threads, "numba": version("numba") if find_spec("numba") else ""}
    finish("search", [row | common for case in CASES for row in measure(*case, repeats)], digits=3)


def measure(size: int, sigma: float, template: int, repeats: int) -> list[Row]:
    """Median milliseconds an image of each form, for 68 landmarks."""
    generator = torch.Generator().manual_seed(0)
    margin = 20 * size / 256
    peaks = margin + torch.rand(BATCH, LANDMARKS, 2, generator=generator) * (size - 2 * margin)
    heatmaps = render_gaussians(peaks, size, sigma)
    observations = peaks + torch.randn(peaks.shape, generator=generator) * 2 * size / 256
    settings = SearchSettings(template=template)
    whole = replace(settings, precision="integer")
    reach, radius = scaled_radius(settings.region, size), scaled_radius(template, size)
    maps, centres = heatmaps.flatten(0, 1), observations.flatten(0, 1).round().long()
    corner = (int(centres[0, 0]), int(centres[0, 1]))
    forms: dict[str, Callable[[], object]] = {
        "search, sub-pixel": lambda: search_labels(heatmaps, observations, sigma, settings),
        "search, whole pixels": lambda: search_labels(heatmaps, observations, sigma, whole),
        "search, sub-pixel, torch": lambda: search_labels_torch(heatmaps, observations, sigma, settings),
        "search, whole pixels, torch": lambda: search_labels_torch(heatmaps, observations, sigma, whole),
        "chi-square, separable": lambda: chi_square(maps, centres, reach, radius, sigma),
        "chi-square, unfold": lambda: chi_square_unfold(maps, centres, reach, radius, sigma),
    }
    loop = {"chi-square, loop": lambda: chi_square_loop(maps[0], corner, reach, radius, sigma)}
    found = in_turn(forms, repeats, rest=REST) | in_turn(loop, min(repeats, 3), rest=REST)
    images = dict.fromkeys(forms, BATCH) | {name: 1 / LANDMARKS for name in loop}  # that one call is worth
    milliseconds = {name: timing.milliseconds / images[name] for name, timing in found.items()}
    return [
        {
            "heatmap": size,
            "template": template,
            "form": name,
            "ms_per_image": value,
            "ratio": value / milliseconds["search, sub-pixel"],
        }
        for name, value in milliseconds.items()
    ]


def passes(data: Path, count: int, sources: dict[str, Path], threads: int, model: str, paper: bool) -> list[Row]:
    """Whole searches of so many faces by each version, by each recipe."""
    rows: list[Row] = []
    for recipe in RECIPES if paper else RECIPES[:1]:
        labels: list[np.ndarray] = []
        forms = [(name, source, "PyTorch") for name, source in sources.items()]
        if recipe != "300w-compact":
            forms.append(("now", sources["now"], "ONNX Runtime"))
        for name, source, runtime in forms:
            with tempfile.TemporaryDirectory() as out:
                arguments = [str(data.resolve()), out, str(count), recipe, str(threads), model, runtime]
                environment = os.environ | {"PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": str(threads)}
                command = [sys.executable, "-c", SEARCH, *arguments]
                said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
                labels.append(LabelStore(Path(out)).read().points)
            farthest = float(np.abs(labels[-1] - labels[0]).max())
            row = {
                "model": model,
                "recipe": recipe,
                "network_by": runtime,
                "version": name,
                "faces": count,
                "threads": threads,
            }
            rows.append(row | json.loads(said.stdout) | {"farthest_from_now_px": farthest})
    return rows


if __name__ == "__main__":
    run(main)
