"""How fast Semalign is on a GPU: training, search and detection, held against what the card can do.

    python benchmarks/gpu/speed.py training --out speed.json
    python benchmarks/gpu/speed.py profile --out speed.json
    python benchmarks/gpu/speed.py latency --out speed.json
    python benchmarks/gpu/speed.py table speed.json                    # at home: prints and writes the CSV

Each takes under two minutes and adds its rows to the file. `training`: faces a second in an epoch of the product's
trainer and in a pass of its label search, for `300w-compact` and `300w-paper`, and in a step of `learner.py`; the
operations of a step over its time are held against the rate of a large bfloat16 matrix product on the same card.
`profile`: where the time of a training step goes, by kernel. `latency`: `default` on batches of 1 to 256 crops, from
bytes on the card to points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Experiment, Name
from faces import Faces, read_faces
from learner import train_epoch
from pack import FACES
from paper_size import machine, say, say_row, sizes
from settings import Recipe, read_recipe
from state import State
from torch.utils.flop_counter import FlopCounterMode

from semalign.core.heatmaps import decode_heatmaps
from semalign.data.augment import AugmentationSettings
from semalign.errors import SemalignError
from semalign.files import read_json, write_json
from semalign.inference.tta import mean_heatmaps
from semalign.models.network import HeatmapNetwork, build_network
from semalign.models.pretrained import load
from semalign.searches import NetworkEvidence, Observations, make_search
from semalign.training.memory import keep_large_blocks
from semalign.training.task import heatmap_task
from semalign.training.trainer import LOG, train_on

RECIPES = {"300w-compact": 1024, "300w-paper": 320}  # faces to measure with
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
KERNELS = 15  # rows of a profile
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "profile", "latency", "table"))
    parser.add_argument("file", type=Path, nargs="?", help="of rows, for 'table'")
    parser.add_argument("--packed", type=Path, default=FACES)
    parser.add_argument("--out", type=Path, help="JSON file to add the rows to")
    parser.add_argument("--toy", action="store_true", help="sizes for a test on a CPU")
    options = parser.parse_args()
    keep_large_blocks()
    try:
        if options.what == "table":
            finish_table(options.file)
            return
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        measure = {"training": training, "profile": profile, "latency": latency}[options.what]
        rows = [{"what": options.what} | row for row in measure(read_faces(options.packed), device, options.toy)]
    except SemalignError as error:
        sys.exit(f"error: {error}")
    for row in rows:
        say_row(row)
    if options.out:
        before = read_json(options.out, "delete it")["rows"] if options.out.is_file() else []
        write_json(options.out, {"machine": machine(device), "rows": before + rows})


def training(faces: Faces, device: torch.device, toy: bool) -> list[Row]:
    """Faces a second of the product's trainer and search, and of a step of `learner.py`."""
    top = matrix_rate(device, toy)
    rows: list[Row] = [
        {"part": "bfloat16 matrix product", "TFLOP/s": top / 1e12},
        {"part": "copy", "TB/s": copy_rate(device, toy) / 1e12},
    ]
    for name, count in RECIPES.items():
        recipe = for_a_test(read_recipe(name)) if toy else read_recipe(name)
        some = faces.take(np.flatnonzero(~faces.test)[: 32 if toy else count])
        crops, points = some.crops(recipe.network.input_size), some.points
        network = build_network(recipe.network, faces.scheme.count, 0).to(device)
        each = operations(network, device)
        task = heatmap_task(crops, faces.scheme, recipe.network, recipe.heatmap, AugmentationSettings())
        with tempfile.TemporaryDirectory() as folder:
            settings = replace(recipe.start, epochs=2)
            trained = train_on(Path(folder), network, task, crops.to_crop(points), settings, 0)
            log = [json.loads(line) for line in (Path(folder) / LOG).read_text(encoding="utf-8").splitlines()]
        rate = len(points) / log[-1]["seconds"]
        rows.append(reached(f"{name}: an epoch of training", rate, 3 * each, top, settings.precision))
        sigma = recipe.heatmap.pixels(recipe.network.heatmap_size)

        def search() -> None:
            find = make_search(recipe.search, recipe.alternation.adaptation_components)  # noqa: B023
            evidence = NetworkEvidence(trained, crops, sigma, faces.scheme, recipe.alternation.tta)  # noqa: B023
            find(Observations(points, points), evidence)  # noqa: B023

        seconds = timed(search, device, 2)
        looks = recipe.alternation.tta * (1 if recipe.alternation.adaptation_components == -1 else 2)
        rows.append(reached(f"{name}: a search pass", len(points) / seconds, looks * each, top, "fp32"))
    return [*rows, own_step(faces, device, toy, top)]


def own_step(faces: Faces, device: torch.device, toy: bool, top: float) -> Row:
    """A step at the paper's size as `paper_size.py` makes it: crops on the device, one loss for all sizes, a CUDA graph."""
    experiment = an_experiment(faces, device, toy)
    size, steps = experiment.size, 3 if toy else 30
    learner = experiment.learners(1)[0]
    each = operations(learner.network, device)
    learner.maps.clear()
    pictures = experiment.pictures(
        "start", [Name(1, 0)], [learner], [experiment.crops.to_crop(experiment.train.points)], 0
    )
    seconds = timed(lambda: train_epoch(pictures, [0.0] * steps), device, 2) / steps
    way = "a CUDA graph" if learner.graph else "step by step"
    rate = size.start.batch_size / seconds
    return reached(f"{size.name} size, paper_size.py: a step ({way})", rate, 3 * each, top, size.start.precision)


def profile(faces: Faces, device: torch.device, toy: bool) -> list[Row]:
    """The kernels that take the most time in steps of `paper_size.py`."""
    experiment = an_experiment(faces, device, toy)
    steps, names = 2 if toy else 10, [Name(1, 0)]
    learners, labels = experiment.learners(1), [experiment.crops.to_crop(experiment.train.points)]
    pictures = experiment.pictures("start", names, learners, labels, 0)
    train_epoch(pictures, [0.0] * steps)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as seen:
        train_epoch(pictures, [0.0] * steps)
        wait(device)
    on_card = device.type == "cuda"
    each = [
        (
            event.key,
            (event.self_device_time_total if on_card else event.self_cpu_time_total) / steps / 1e3,
            event.count / steps,
        )
        for event in seen.key_averages()
    ]
    total = sum(milliseconds for _, milliseconds, _ in each)
    longest = sorted(each, key=lambda entry: -entry[1])[:KERNELS]
    return [
        {
            "part": f"{experiment.size.name} size, a step",
            "kernel": key[:100],
            "ms": ms,
            "calls": calls,
            "share": ms / total,
        }
        for key, ms, calls in longest
    ]


def latency(faces: Faces, device: torch.device, toy: bool) -> list[Row]:
    """`default` on batches of crops that lie on the device as bytes."""
    model = load("default")
    network = model.network.to(device).eval()
    crops = faces.take(np.arange(min(len(faces.ids), max(BATCHES)))).crops(network.input_size)
    pixels = torch.from_numpy(np.ascontiguousarray(crops.images.transpose(0, 3, 1, 2))).to(device)
    rows = []
    for batch in BATCHES[:3] if toy else BATCHES:
        part = pixels[torch.arange(batch, device=device) % len(pixels)]

        def detect() -> None:
            with torch.inference_mode():
                pictures = part.float().div_(255.0)  # noqa: B023
                maps = mean_heatmaps(network, pictures, crops.crop_to_input, model.tta, model.scheme.flip_index)
                decode_heatmaps(maps, model.sigma)

        seconds = timed(detect, device, 3 if toy else 20)
        rows.append({"part": "default", "batch": batch, "ms": 1e3 * seconds, "faces a second": batch / seconds})
    return rows


def an_experiment(faces: Faces, device: torch.device, toy: bool) -> Experiment:
    """A comparison of which nothing is kept, with as many faces as a measurement needs."""
    some = faces.take(np.concatenate([np.flatnonzero(~faces.test)[:300], np.flatnonzero(faces.test)[:8]]))
    state = State(Path(tempfile.gettempdir()) / "semalign-speed", {})
    return Experiment(some, sizes()["toy" if toy else "paper"], state, device, float("inf"), say)


def for_a_test(recipe: Recipe) -> Recipe:
    toy = sizes()["toy"]
    start = replace(recipe.start, precision="fp32", batch_size=4)
    return replace(recipe, network=toy.network, heatmap=toy.heatmap, start=start)


def reached(part: str, rate: float, each: float, top: float, precision: str) -> Row:
    """Faces a second, and the operations that are in them as a share of the matrix rate."""
    return {
        "part": part,
        "precision": precision,
        "faces a second": rate,
        "GFLOP a face": each / 1e9,
        "TFLOP/s": rate * each / 1e12,
        "share of the matrix rate": rate * each / top,
    }


def operations(network: HeatmapNetwork, device: torch.device) -> float:
    """Multiplications and additions of a forward pass of one face; with its gradients three times as many."""
    size = network.input_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        network(torch.zeros(1, 3, size, size, device=device))
    return float(counted.get_total_flops())


def matrix_rate(device: torch.device, toy: bool) -> float:
    """Operations a second of a large bfloat16 matrix product on random data."""
    side = 256 if toy else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * side**3 / timed(lambda: a @ b, device, 10)


def copy_rate(device: torch.device, toy: bool) -> float:
    """Bytes a second, read and written, of a copy on the device."""
    source = torch.zeros(2**20 if toy else 2**32, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2.0 * len(source) / timed(lambda: target.copy_(source), device, 10)


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds, after one run that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        wait(device)
        begin = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def finish_table(file: Path) -> None:
    """Print the rows of a file and write them to benchmarks/results, with the card's name for hardware."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from harness import finish  # needs libraries that a machine with a GPU may lack

    stored = read_json(file, "measure again")
    versions = {column: stored["machine"][column] for column in ("python", "torch", "numpy")}
    for what in dict.fromkeys(row["what"] for row in stored["rows"]):
        rows = [versions | row for row in stored["rows"] if row["what"] == what]
        finish(f"gpu-{what}", rows, digits=3, hardware=stored["machine"]["device"])


if __name__ == "__main__":
    main()
