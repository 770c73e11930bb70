"""Time of one label search for 68 landmarks: fused and in whole tensors, against `unfold` and against the loop.

    python benchmarks/search.py [--threads 2] [--repeats 15]

'search, …' is what `search_labels` does, with numba (the extra `fast`) if the column `numba` names its version; 'search, …,
torch' does the same in operations on whole tensors, which is what runs without numba and on GPUs. 'chi-square, …' are parts and
comparisons: the likelihood alone. All forms get the same heatmaps in the same run, in turn, each when the threads of the one
before have come to rest, and the medians are compared. The network is not part of the time, nor is what numba compiles
once. The loop is the definition in plain Python; it is timed on one landmark and counted 68 times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median

import torch
from results import write_results
from rich.console import Console
from rich.table import Table

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_blocks()  # as training and inference do
    rows = [row for case in CASES for row in measure(*case, options.repeats)]
    table = Table("heatmap", "template", "form", "ms an image", "times the search")
    for row in rows:
        row |= {"threads": options.threads, "numba": version("numba") if find_spec("numba") else ""}
        table.add_row(
            str(row["heatmap"]), str(row["template"]), row["form"], f"{row['ms_per_image']:.3f}", f"{row['ratio']:.1f}"
        )
    Console().print(table)
    Console().print(f"written: {write_results('search', rows)}")


def measure(size: int, sigma: float, template: int, repeats: int) -> list[dict[str, object]]:
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
    forms: dict[str, tuple[Callable[[], object], float]] = {
        "search, sub-pixel": (lambda: search_labels(heatmaps, observations, sigma, settings), 1 / BATCH),
        "search, whole pixels": (lambda: search_labels(heatmaps, observations, sigma, whole), 1 / BATCH),
        "search, sub-pixel, torch": (lambda: search_labels_torch(heatmaps, observations, sigma, settings), 1 / BATCH),
        "search, whole pixels, torch": (lambda: search_labels_torch(heatmaps, observations, sigma, whole), 1 / BATCH),
        "chi-square, separable": (lambda: chi_square(maps, centres, reach, radius, sigma), 1 / BATCH),
        "chi-square, unfold": (lambda: chi_square_unfold(maps, centres, reach, radius, sigma), 1 / BATCH),
        "chi-square, loop": (lambda: chi_square_loop(maps[0], corner, reach, radius, sigma), float(LANDMARKS)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, (form, share) in forms.items():
            if name.endswith("loop") and turn > 3:
                continue
            time.sleep(REST)
            begin = time.perf_counter()
            form()
            if turn:  # the first turn warms up
                seconds[name].append((time.perf_counter() - begin) * share)
    product = median(seconds["search, sub-pixel"])
    return [
        {
            "heatmap": size,
            "template": template,
            "form": name,
            "ms_per_image": 1000 * median(values),
            "ratio": median(values) / product,
        }
        for name, values in seconds.items()
    ]


if __name__ == "__main__":
    main()
