"""Where the time of a training step and of a label search goes, on a CPU or a GPU.

    python benchmarks/profile_step.py [--recipe 300w-compact 300w-detector] [--faces 96] [--turns 5] [--threads 1]

Each part of the product's own trainer and search is clocked where it is called; on a GPU each begins and ends when the card has
come to rest. `thread` says who does it: 'main', or 'ahead', the thread that makes the next batches ready meanwhile. 'waiting'
is what the main thread waits for that one. 'the whole' is the same work without these clocks: on a GPU the parts then overlap,
and their sum over the whole says how busy the card is at least. `ms` is for a face, by the clock; `processor ms` is what the
thread itself computed, which other jobs on the machine disturb less (of several threads of PyTorch only the first one's), and
`share %` is of its sum over the main thread's parts.

Then the same step in other forms, in turn ('form'): bfloat16, and channels first in memory. Faces are synthetic, in batches of
16 (training) and 32 (search); the search is the paper's with the mean of two versions of a crop. Medians over turns, after one
that does not count.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from harness import Row, Timing, finish, in_turn, run
from torch.optim.swa_utils import AveragedModel

from semalign.core.search import SearchSettings
from semalign.data import open_dataset
from semalign.data.crops import CropCache, build_crops
from semalign.data.samples import Dataset
from semalign.inference import heatmaps as inference
from semalign.models.network import HeatmapNetwork, build_network
from semalign.pipeline import load_recipe
from semalign.pipeline.recipe import Recipe
from semalign.pipeline.summary import hardware
from semalign.searches import NetworkEvidence, Observations, make_search, semantic_alignment
from semalign.synthetic import SynthesisSettings, write_dataset
from semalign.training import trainer as engine
from semalign.training.task import HeatmapTask, PictureSource, heatmap_task
from semalign.training.trainer import Trainer, make_accelerator

BATCH = 16  # faces of a training step
MAIN, AHEAD = "main", "ahead"
STEP = (  # part, thread, what it is a method of, its name
    ("read and draw", AHEAD, HeatmapTask, "read"),
    ("augment", MAIN, PictureSource, "pictures"),
    ("targets", MAIN, HeatmapTask, "targets"),
    ("loss", MAIN, HeatmapTask, "loss"),
    ("backward", MAIN, Accelerator, "backward"),
    ("clipping", MAIN, Accelerator, "clip_grad_norm_"),
    ("optimizer", MAIN, AcceleratedOptimizer, "step"),
    ("averaged weights", MAIN, AveragedModel, "update_parameters"),
)
SEARCH = (
    ("read", AHEAD, CropCache, "pixels"),
    ("to the device", MAIN, inference, "as_pictures"),
    ("forward", MAIN, inference, "mean_heatmaps"),
    ("predictions", MAIN, inference.Decoding, "take"),
    ("search of the labels", MAIN, semantic_alignment.SemanticAlignment, "_searched"),
    ("a faster copy of the network", MAIN, inference, "folded"),
)
TTA = 2


def main(
    recipe: Annotated[list[str] | None, typer.Option(help="Shipped recipes whose networks draw heatmaps.")] = None,
    faces: int = 96,
    turns: int = 5,
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        dataset = open_dataset(write_dataset(Path(name) / "data", SynthesisSettings(count=faces, test_count=0, seed=0)))
        for chosen in recipe or ["300w-compact", "300w-detector"]:
            settings, load = load_recipe(chosen), os.getloadavg()[0]
            found = [*training(settings, dataset, turns), *search(settings, dataset, turns)]
            common = {"recipe": chosen, "faces": faces, "turns": turns, "threads": threads, "load": load}
            rows += [common | row for row in found]
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else hardware()
    finish("profile-step", rows, digits=3, hardware=card)


class Clocks:
    """How long each part takes, of everything between two `lap`s."""

    def __init__(self) -> None:
        self.turns: list[dict[tuple[str, str], tuple[float, float]]] = [{}]

    def lap(self) -> None:
        """The next turn."""
        self.turns.append({})

    def add(self, part: str, thread: str, clock: float, processor: float) -> None:
        """So many more seconds of a part."""
        before = self.turns[-1].get((part, thread), (0.0, 0.0))
        self.turns[-1][part, thread] = (before[0] + clock, before[1] + processor)

    def rows(self, work: str, faces: int) -> list[Row]:
        """Each part's median over the turns but the first."""
        turns = self.turns[1:]
        made = []
        for part, thread in turns[0]:
            clock, processor = (median(turn[part, thread][index] for turn in turns) for index in (0, 1))
            times = {"ms": 1000 * clock / faces, "processor ms": 1000 * processor / faces}
            made.append({"work": work, "part": part, "thread": thread} | times)
        return made

    @contextmanager
    def on(self, parts: tuple[tuple[str, str, Any, str], ...], *waiting: Any) -> Iterator[None]:
        """Clock these parts while the block runs; `waiting` are the modules that read ahead."""
        with ExitStack() as stack:
            for part, thread, owner, name in parts:
                stack.enter_context(patch.object(owner, name, self.clocked(getattr(owner, name), part, thread)))
            for module in waiting:
                stack.enter_context(patch.object(module, "made_ahead", self.waited(module.made_ahead)))
            yield

    def clocked(self, function: Callable[..., Any], part: str, thread: str) -> Callable[..., Any]:
        """The function, which is timed when it is called."""

        def call(*given: Any, **named: Any) -> Any:
            if thread == MAIN:
                rest()
            clock, processor = time.perf_counter(), time.thread_time()
            result = function(*given, **named)
            if thread == MAIN:
                rest()
            self.add(part, thread, time.perf_counter() - clock, time.thread_time() - processor)
            return result

        return call

    def waited(self, made_ahead: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """`made_ahead`, of which each wait for the next is timed."""

        def ahead(*given: Any, **named: Any) -> Iterator[Any]:
            items = made_ahead(*given, **named)
            following = self.clocked(lambda: next(items, items), "waiting", MAIN)
            while (item := following()) is not items:
                yield item

        return ahead


def rest() -> None:
    """Until a GPU has nothing more to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def with_sums(rows: list[Row], whole: float, processor: float) -> list[Row]:
    """The parts, the largest first, what they are of the main thread's sum, and the whole as it runs without clocks."""
    total = {MAIN: 0.0, AHEAD: 0.0}
    for row in rows:
        total[row["thread"]] += row["processor ms"]
    rows = sorted(rows, key=lambda row: (row["thread"] != MAIN, -row["processor ms"]))
    made = [row | {"share %": 100 * row["processor ms"] / total[MAIN]} for row in rows]
    last = {"work": rows[0]["work"], "part": "the whole", "thread": "both", "ms": whole, "processor ms": processor}
    return [*made, last]


def training(recipe: Recipe, dataset: Dataset, turns: int) -> list[Row]:
    """The parts of a step, then the step in other forms."""
    crops = build_crops(dataset.samples, recipe.crop, recipe.network.input_size)
    labels = crops.to_crop(dataset.points())
    task = heatmap_task(crops, dataset.scheme, recipe.network, recipe.heatmap, recipe.augmentation)
    settings = replace(recipe.start, batch_size=BATCH, epochs=4 * turns + 8, precision="fp32")

    def trainer(precision: str, memory: torch.memory_format = torch.channels_last) -> Unkept:
        network = build_network(recipe.network, dataset.scheme.count, seed=0).to(memory_format=memory)  # type: ignore[call-overload]
        own = task if memory == torch.channels_last else ChannelsFirst(*vars(task).values())
        return Unkept(Path(), network, make_accelerator(), own, replace(settings, precision=precision), seed=0)

    forms = {
        "fp32, channels last": trainer("fp32"),
        "fp32, channels first": trainer("fp32", torch.contiguous_format),
        "bf16, channels last": trainer("bf16"),
    }
    used = forms[f"{recipe.start.precision}, channels last"]
    clocks = Clocks()
    with clocks.on((*STEP, ("forward", MAIN, type(used.network), "forward")), engine):
        for _ in range(turns):
            used.train_epoch(labels)
            clocks.lap()
        used.train_epoch(labels)

    def epoch(form: Unkept) -> Callable[[], None]:
        def call() -> None:
            form.train_epoch(labels)
            rest()

        return call

    timings = in_turn({name: epoch(form) for name, form in forms.items()}, turns)
    count, work = len(crops), f"training step, {recipe.start.precision}"
    whole = timings[f"{recipe.start.precision}, channels last"]
    rows = with_sums(clocks.rows(work, count), whole.milliseconds / count, whole.processor_milliseconds / count)
    return rows + in_other_forms("training step", timings, timings["fp32, channels last"], count)


def in_other_forms(work: str, timings: Mapping[str, Timing], first: Timing, count: int) -> list[Row]:
    """A row for each form of some work, and its share of the first one's time of the processor."""
    return [
        {
            "work": f"{work} in another form",
            "part": name,
            "ms": timing.milliseconds / count,
            "processor ms": timing.processor_milliseconds / count,
            "share %": 100 * timing.processor_milliseconds / first.processor_milliseconds,
        }
        for name, timing in timings.items()
    ]


class Unkept(Trainer[HeatmapNetwork]):
    """A trainer that writes nothing."""

    def save(self) -> None:
        """Nothing."""


class ChannelsFirst(HeatmapTask):
    """The same pictures otherwise in memory."""

    def batch(self, *given: Any) -> Any:
        """As `HeatmapTask`."""
        images, targets = super().batch(*given)
        return images.contiguous(), targets


def search(recipe: Recipe, dataset: Dataset, turns: int) -> list[Row]:
    """The parts of a search, and it as a whole with a network in float32 and in bfloat16."""
    crops = build_crops(dataset.samples, recipe.crop, recipe.network.input_size)
    points = dataset.points()
    device = make_accelerator().device
    network: HeatmapNetwork = build_network(recipe.network, dataset.scheme.count, seed=0).eval().to(device)
    sigma, find = recipe.heatmap.pixels(network.heatmap_size), make_search(SearchSettings())

    def searched(precision: str = "fp32") -> None:
        evidence = NetworkEvidence(network, crops, sigma, dataset.scheme, TTA, precision)
        find(Observations(points, points), evidence)
        rest()

    clocks = Clocks()
    with clocks.on(SEARCH, inference):
        for _ in range(turns):
            searched()
            clocks.lap()
        searched()
    timings = in_turn({"fp32": searched, "bf16": lambda: searched("bf16")}, turns)
    count, whole = len(crops), timings["fp32"]
    rows = clocks.rows("search, fp32", count)
    rows = with_sums(rows, whole.milliseconds / count, whole.processor_milliseconds / count)
    return rows + in_other_forms("search", timings, whole, count)


if __name__ == "__main__":
    run(main)
