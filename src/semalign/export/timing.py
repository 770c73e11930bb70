"""How long a crop takes from bytes to coordinates, one crop at a time on the CPU: PyTorch, onnxruntime, int8, a yardstick.

The yardstick is a four-stack hourglass of bottleneck blocks with 256×256 crops, 64×64 heatmaps and 256 channels, the shape of
FAN-4 (Bulat and Tzimiropoulos, ICCV 2017), which many programs still use; its own blocks are larger, so that it takes longer
still. The yardstick's weights are random: time does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jaxtyping import UInt8

from semalign.data.crops import CropSettings, crop_maps, cut
from semalign.export.graph import LandmarkGraph
from semalign.export.onnx import broken_by_int8, export_onnx, quantize_onnx
from semalign.inference.onnx import OnnxBackend
from semalign.models.checkpoint import Model
from semalign.models.hourglass import PRESETS, HourglassSettings
from semalign.models.network import NetworkSettings, build_network, count_parameters
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of
from semalign.training.memory import keep_large_blocks

YARDSTICK = HourglassSettings(input_size=256, heatmap_size=64, stacks=4, width=256, depth=4, block="bottleneck")
RUNTIMES = ("PyTorch", "onnxruntime", "onnxruntime int8")
REST = 0.05  # seconds in which the threads of the runtime before end their busy waiting, which takes cores from others
CALIBRATION = 8  # crops: the time of int8 does not depend on how well it is calibrated


@dataclass(frozen=True)
class BenchSettings:
    """How to measure."""

    threads: int = 1
    rounds: int = 20  # each measures every contestant once
    warmup: int = 3  # rounds before those that count


@dataclass(frozen=True)
class Contestant:
    """A model in a runtime: a function of one crop (1, 3, s, s) uint8."""

    model: str
    runtime: str
    parameters: int
    crop: np.ndarray
    run: Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one crop: the median over the rounds and the quartiles around it."""

    model: str
    runtime: str
    parameters: int
    input_size: int
    milliseconds: float
    lower_quartile: float
    upper_quartile: float


def fresh_model(settings: NetworkSettings) -> Model:
    """68 landmarks, random weights."""
    scheme = load_scheme("ibug68")
    network = build_network(settings, scheme.count, seed=0).eval()
    return Model(network, scheme, CropSettings(), sigma=1.5 * settings.heatmap_size / 64)


def fresh_models(yardstick: bool = True) -> dict[str, Model]:
    """The compact preset and, if wanted, the yardstick, with random weights."""
    models = {"compact (random weights)": fresh_model(PRESETS["compact"])}
    return models | ({"FAN-4's shape (random weights)": fresh_model(YARDSTICK)} if yardstick else {})


def synthetic_crops(size: int, count: int, seed: int = 0) -> UInt8[np.ndarray, "b 3 s s"]:
    """Crops of synthetic faces."""
    settings = SynthesisSettings(count=count, seed=seed, face=FaceSettings(size=2 * (size // 2)))
    crops = []
    for index in range(count):
        face = face_of(seed, index, settings)
        box = np.array([[*face.points.min(axis=0), *face.points.max(axis=0)]])
        maps, whole = crop_maps(box, CropSettings(margin=1.0), size)
        crops.append(cut(face.image, maps[0], whole).transpose(2, 0, 1))
    return np.stack(crops)


def contestants(
    models: dict[str, Model], folder: Path, settings: BenchSettings, runtimes: Sequence[str] = RUNTIMES
) -> Iterator[Contestant]:
    """Each model in each runtime, but for int8 where it breaks the network; ONNX files are written into the folder.

    Raises:
        SemalignError: a runtime that is not installed.
    """
    for index, (name, model) in enumerate(models.items()):
        graph = LandmarkGraph(model)
        crops = synthetic_crops(graph.input_size, CALIBRATION)
        plain, int8 = folder / f"{index}.onnx", folder / f"{index}-int8.onnx"
        if set(runtimes) - {"PyTorch"}:
            export_onnx(plain, model)
        for runtime in runtimes:
            if runtime.endswith("int8") and broken_by_int8(model.network.settings):
                continue
            if runtime == "PyTorch":
                run: Callable[[np.ndarray], object] = _in_pytorch(graph)
            elif runtime == "onnxruntime":
                run = OnnxBackend(plain, settings.threads)
            else:
                quantize_onnx(int8, plain, crops)
                run = OnnxBackend(int8, settings.threads)
            yield Contestant(name, runtime, count_parameters(model.network), crops[:1], run)


def measure(
    entered: Sequence[Contestant],
    settings: BenchSettings,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Times of all contestants, in their order; they take turns, so that a busy moment hits all alike.

    Args:
        entered: who takes part.
        settings: how often.
        progress: called with (rounds done, rounds in all).
        clock: seconds.
    """
    seconds: list[list[float]] = [[] for _ in entered]
    keep_large_blocks()
    with _threads(settings.threads):
        turns = settings.warmup + settings.rounds
        for turn in range(turns):
            for contestant, times in zip(entered, seconds, strict=True):
                time.sleep(REST)
                begin = clock()
                contestant.run(contestant.crop)
                if turn >= settings.warmup:
                    times.append(clock() - begin)
            if progress is not None:
                progress(turn + 1, turns)
    return [_timing(contestant, times) for contestant, times in zip(entered, seconds, strict=True)]


def _timing(contestant: Contestant, seconds: Sequence[float]) -> Timing:
    milliseconds = 1000 * np.array(seconds)
    lower, upper = np.quantile(milliseconds, [0.25, 0.75])
    return Timing(
        contestant.model,
        contestant.runtime,
        contestant.parameters,
        contestant.crop.shape[-1],
        median(milliseconds.tolist()),
        float(lower),
        float(upper),
    )


def _in_pytorch(graph: LandmarkGraph) -> Callable[[np.ndarray], object]:
    def run(crop: np.ndarray) -> object:
        with torch.inference_mode():
            decoded = graph(torch.from_numpy(crop))
            return decoded.points.numpy(), decoded.confidence.numpy()

    return run


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
