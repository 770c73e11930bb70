"""Error and processor time of the shape model on corrupted heatmaps: plain projection of the peaks and the iterative fit.

    python benchmarks/shape_fit.py [--train 1000] [--test 60]

writes benchmarks/results/shape_fit_<date>.csv. Faces are synthetic ones in 256×256 crops, known exactly and not drawn; their
heatmaps are rendered Gaussians. 'noisy' heatmaps peak 1.5 px (of 256; standard deviation in x and in y) off the truth, have
heights of 0.5 to 1 and a floor of noise; of 'corrupted' ones a fifth of the landmarks is empty and a tenth peaks 8 to 30 % of
the side away, besides. Time is that of one image on one thread, from heatmaps to points; the row 'peaks' is the part of it that
decoding takes. 'truth projected' is what the model cannot express; no shape of it is nearer to the truth in least squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from harness import Row, finish, in_turn, run

from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.core.metrics import distances, nme_interocular
from semalign.paper.shape_fit import ShapeFitSettings, fit_to_heatmaps
from semalign.paper.shape_model import ShapeModel
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings
from semalign.synthetic.render import build_geometry, landmarks
from semalign.synthetic.traits import draw_traits

CROP = 256
CASES = ((64, 1.5), (256, 3.0))  # heatmap, sigma in its pixels
NOISE = 1.5  # pixels of the crop
MISSING, DISPLACED = 0.2, 0.1  # shares of the landmarks
WAY = (0.08, 0.3)  # of a displaced peak, in sides


class Corruption(NamedTuple):
    """What is wrong with heatmaps."""

    noise: float  # of the peaks, pixels of the crop
    lowest: float  # height of a peak
    floor: float  # standard deviation of the noise in every pixel
    missing: float
    displaced: float


CORRUPTIONS = {
    "clean": Corruption(0.0, 1.0, 0.0, 0.0, 0.0),
    "noisy": Corruption(NOISE, 0.5, 0.02, 0.0, 0.0),
    "corrupted": Corruption(NOISE, 0.5, 0.02, MISSING, DISPLACED),
}


def main(
    train: Annotated[int, typer.Option(help="Faces that the model is made from.")] = 1000,
    test: Annotated[int, typer.Option(help="Faces that it is fitted to.")] = 60,
    explained: Annotated[float, typer.Option(help="Share of the variance that its modes hold.")] = 0.98,
) -> None:
    torch.set_num_threads(1)
    faces = np.stack([face(index) for index in range(train + test)])
    model = ShapeModel.fit(faces[:train], explained)
    common = {"train_faces": train, "test_faces": test, "explained": explained, "modes": len(model.eigenvalues)}
    cases = [(size, sigma, kind) for size, sigma in CASES for kind in CORRUPTIONS]
    finish("shape_fit", [common | row for case in cases for row in measure(model, faces[train:], *case)], digits=3)


def face(index: int) -> np.ndarray:
    """The exact points (68, 2) of a synthetic face in the crop."""
    settings, rng = FaceSettings(size=CROP), np.random.default_rng([0, index])
    return landmarks(build_geometry(rng, draw_traits(rng, settings), settings))[0]


def measure(model: ShapeModel, faces: np.ndarray, size: int, sigma: float, kind: str) -> list[Row]:
    """Error and time of every method on the same heatmaps."""
    truth = (faces + 0.5) * size / CROP - 0.5
    settings = ShapeFitSettings()

    def peaks(heatmaps: torch.Tensor) -> np.ndarray:
        return decode_heatmaps(heatmaps, sigma).points.double().numpy()

    def projection(heatmaps: torch.Tensor) -> np.ndarray:
        decoded = decode_heatmaps(heatmaps, sigma)
        return model.project(decoded.points.double().numpy(), decoded.confidence.double().numpy()).points

    def iterative(heatmaps: torch.Tensor) -> np.ndarray:
        return fit_to_heatmaps(model, heatmaps, sigma, settings).double().numpy()

    methods = {"peaks": peaks, "plain projection": projection, "iterative fit": iterative}
    found = {name: np.empty_like(truth) for name in methods}

    def form(name: str) -> Callable[[int, torch.Tensor], None]:
        return lambda index, heatmaps: np.copyto(found[name][index], methods[name](heatmaps)[0])

    def one(turn: int) -> tuple[int, torch.Tensor]:
        index = max(turn - 1, 0)  # the first face also warms up
        return index, corrupted(truth[[index]], size, sigma, CORRUPTIONS[kind], index)

    timings = in_turn({name: form(name) for name in methods}, len(truth), one)
    times: Row = {name: round(1000 * median(timing.processor), 2) for name, timing in timings.items()}
    found["truth projected"] = model.project(truth).points
    return [
        {
            "heatmap": size,
            "sigma": sigma,
            "heatmaps": kind,
            "method": name,
            **errors(points, truth, size),
            "cpu_ms_per_image": times.get(name, ""),
        }
        for name, points in found.items()
    ]


def errors(points: np.ndarray, truth: np.ndarray, size: int) -> dict[str, float]:
    """Mean and worst error of a face in % of the outer-eye distance, and the mean in pixels of the crop."""
    apart = distances(points, truth)
    error = nme_interocular(points, truth, load_scheme("ibug68"))
    return {
        "nme_interocular": round(float(error.mean()), 3),
        "worst_face": round(float(error.max()), 2),
        "crop_pixels": round(float(apart.mean()) * CROP / size, 3),
    }


def corrupted(truth: np.ndarray, size: int, sigma: float, kind: Corruption, seed: int) -> torch.Tensor:
    """Heatmaps (1, n, size, size) of one face; the same landmarks are spoilt in the same way at every size."""
    rng = np.random.default_rng([1, seed])
    n = truth.shape[1]
    points = truth + kind.noise * size / CROP * rng.normal(size=truth.shape)
    order = rng.permutation(n)
    missing, displaced = round(kind.missing * n), round(kind.displaced * n)
    turn, way = rng.uniform(0, 2 * math.pi, displaced), rng.uniform(*WAY, (displaced, 1)) * size
    points[0, order[missing : missing + displaced]] += way * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    height = rng.uniform(kind.lowest, 1.0, (1, n))
    height[0, order[:missing]] = 0.0
    heatmaps = render_gaussians(torch.from_numpy(points).float(), size, sigma)
    heatmaps *= torch.from_numpy(height).float()[..., None, None]
    return heatmaps + kind.floor * torch.randn(heatmaps.shape, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    run(main)
