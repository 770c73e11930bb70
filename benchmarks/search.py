"""Time of one label search for 68 landmarks: fused and in whole tensors, against `unfold` and against the loop.

    python benchmarks/search.py [--threads 2] [--repeats 15]

'search, …' is what `search_labels` does, with numba (the extra `fast`) if the column `numba` names its version; 'search, …,
torch' does the same in operations on whole tensors, which is what runs without numba and on GPUs. 'chi-square, …' are parts and
comparisons: the likelihood alone. All forms get the same heatmaps in the same run, in turn, each when the threads of the one
before have come to rest, and the medians are compared. The network is not part of the time, nor is what numba compiles
once. The loop is the definition in plain Python; it is timed afterwards, on one landmark, and counted 68 times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec

import torch
from harness import Row, finish, in_turn, run

from semalign.core.heatmaps import render_gaussians
from semalign.core.likelihood import chi_square, chi_square_loop, chi_square_unfold
from semalign.core.search import SearchSettings, scaled_radius, search_labels, search_labels_torch
from semalign.training.memory import keep_large_blocks

LANDMARKS, BATCH = 68, 32
REST = 0.02  # seconds in which OpenMP's threads end their busy waiting, which takes a core from others
CASES = (
    (256, 3.0, 19),
    (256, 7 / 3, 15),
    (128, 1.5, 19),
    (64, 1.5, 19),
)  # heatmap, sigma in its pixels, template at 256


def main(threads: int = 2, repeats: int = 15) -> None:
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


if __name__ == "__main__":
    run(main)
