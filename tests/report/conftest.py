"""A small made-up run with real synthetic faces: what a pipeline leaves in a run's folder, with plausible figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semalign.models.checkpoint import save_tensors
from semalign.schemes import LandmarkScheme, load_scheme
from semalign.synthetic import FaceSettings, NoiseSettings, annotate, make_annotators, render_face

STAGES = ("start", "baseline", "aligned")
REGIONS = ("contour", "brows", "nose", "eyes", "mouth")
STRONG, WEAK = 36, 5  # landmarks of the heatmaps
RECIPE = "seed = 7\n\n[start]\nepochs = 24  # a < b & c\n"

BuildRun = Callable[..., Path]


@pytest.fixture(scope="session")
def build_run(tmp_path_factory: pytest.TempPathFactory) -> BuildRun:
    """`build_run(truth=True, stages=("start", "baseline", "aligned"), **more)` writes a run's folder and returns it.

    `truth` False is a run on real data; `more` is laid over summary.json (None deletes a key).
    """
    scheme = load_scheme("ibug68")
    arrays = _arrays(scheme)

    def build(truth: bool = True, stages: tuple[str, ...] = STAGES, figures: bool = True, **more: Any) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "demo"
        folder.mkdir()
        aligned = "aligned" in stages
        chosen = dict(arrays)
        if not truth:
            del chosen["truth"]
        if not aligned:
            del chosen["found"]
        if figures:
            np.savez_compressed(folder / "figures.npz", **chosen)
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        for stage in stages:
            (folder / stage).mkdir()
            (folder / stage / "log.jsonl").write_text(_log(stage), encoding="utf-8")
            save_tensors(folder / stage / "model.safetensors", {"weight": torch.zeros(1)}, {"scheme": scheme.to_dict()})
        summary = _summary(truth, stages) | more
        summary = {key: value for key, value in summary.items() if value is not None}
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        return folder

    return build


@pytest.fixture(scope="session")
def demo_run(build_run: BuildRun) -> Path:
    """A complete run on synthetic faces; read only."""
    return build_run()


@pytest.fixture(scope="session")
def real_run(build_run: BuildRun) -> Path:
    """A complete run on a partial real data set, without truth; read only."""
    return build_run(truth=False)


def _arrays(scheme: LandmarkScheme) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    settings = FaceSettings(size=112, occlusion=0.0, max_yaw=25.0, low_resolution=0.0, blur=0.0)
    faces = [render_face(rng, settings) for _ in range(5)]
    noise = NoiseSettings()
    annotator = make_annotators(1, 3, noise)[0]
    truth = np.stack([face.points for face in faces])
    annotation = np.stack([annotate(face, annotator, rng, noise) for face in faces])
    found = truth + 0.62 * (annotation - truth) + rng.normal(0, 0.12, truth.shape)
    images = np.stack([face.image for face in faces])
    return {
        "faces": images,
        "annotation": annotation.astype(np.float32),
        "found": found.astype(np.float32),
        "truth": truth.astype(np.float32),
        "face_ids": np.array([f"lfpw/testset/synthetic_{index:06d}.jpg" for index in range(1, len(faces) + 1)]),
        "face_notes": np.array(["drawn at random"] * 3 + ["labels moved furthest"] * 2),
        "heatmap_faces": images[:2],
        "heatmap_strong": np.stack([_response(truth[k, STRONG], (0.0, 1.0), 1.5, 1.6, 0.9) for k in range(2)]),
        "heatmap_weak": np.stack(
            [_response(truth[k, WEAK], truth[k, WEAK + 1] - truth[k, WEAK - 1], 3.6, 1.5, 0.45) for k in range(2)]
        ),
        "heatmap_strong_index": np.array([STRONG, STRONG]),
        "heatmap_weak_index": np.array([WEAK, WEAK]),
    }


def _response(point: np.ndarray, direction: Any, long: float, short: float, peak: float, size: int = 64) -> np.ndarray:
    """A heatmap of a face of 112 px: a Gaussian, longer along `direction`, σ in heatmap pixels."""
    x, y = (point + 0.5) * size / 112 - 0.5
    rows, columns = np.indices((size, size))
    along = np.asarray(direction, float) / np.linalg.norm(direction)
    u = (columns - x) * along[0] + (rows - y) * along[1]
    v = -(columns - x) * along[1] + (rows - y) * along[0]
    return (peak * np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))).astype(np.float32)


def _log(stage: str) -> str:
    rng = np.random.default_rng(STAGES.index(stage))
    epochs = np.arange(24 if stage == "start" else 8)
    if stage == "start":
        loss, nme = 0.002 + 0.03 * np.exp(-epochs / 3.5), 2.9 + 30 * np.exp(-epochs / 2.2)
    else:
        gain = {"baseline": 0.03, "aligned": 0.12}[stage]
        loss, nme = 0.00195 - 0.0006 * gain * epochs, 2.88 - gain * (1 - np.exp(-epochs / 3))
    records = []
    for epoch in epochs:
        record = {
            "stage": stage,
            "epoch": int(epoch),
            "loss": float(loss[epoch] * rng.normal(1, 0.01)),
            "learning_rate": 1e-3,
            "seconds": 6.1,
            "nme_interocular": float(nme[epoch] * rng.normal(1, 0.004)),
        }
        if stage == "aligned":
            record |= {"iteration": int(epoch) + 1, "movement": float(0.8 * 0.6**epoch)}
        records.append(json.dumps(record))
    return "\n".join(records) + "\n"


def _summary(truth: bool, stages: tuple[str, ...]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "recipe": "demo" if truth else "300w-compact",
        "description": "A made-up run for the tests of the report.",
        "seed": 7,
        "data": {
            "name": "synthetic" if truth else "300W",
            "root": "data" if truth else "300w",
            "train": {"helen/trainset": 2000} if truth else {"afw": 337, "helen/trainset": 870},
            "test": {"lfpw/testset": 500 if truth else 224},
            "notes": []
            if truth
            else ["helen/trainset: 870 of 2000 images are here.", "ibug: all 135 images are missing."],
            "skipped": [] if truth else [["afw/broken.jpg", "The image is truncated."]],
            "reference": "truth" if truth else "annotations",
        },
        "hardware": "x86_64, 2 cores",
        "versions": {"semalign": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        "settings": {"start": {"epochs": 24, "batch_size": 16}, "search": {"likelihood_weight": 0.1}},
        "seconds": {"data": 25.6, "start": 243.0, "baseline": 61.2, "aligned": 98.7, "evaluation": 9.6},
        "detector": {stage: _evaluation(stage, truth) for stage in stages},
    }
    if truth:
        named = {stage: summary["detector"][stage]["subsets"]["all"]["nme_interocular"] for stage in stages}
        summary["detector_nme"] = named | {"normalisation": "nme_interocular"}
    if "aligned" in stages:
        summary["label_movement"] = [_movement(iteration) for iteration in range(1, 9)]
        if truth:
            summary |= _label_errors()
    return summary


def _movement(iteration: int) -> dict[str, Any]:
    mean = 0.75 * 0.62 ** (iteration - 1) + 0.04
    factors = dict(zip(REGIONS, (2.1, 1.0, 0.6, 0.5, 0.7), strict=True))
    return {
        "iteration": iteration,
        "mean": mean,
        "by_region": {name: mean * factor for name, factor in factors.items()},
    }


def _label_errors() -> dict[str, Any]:
    steps = np.arange(9)
    shape = np.exp(-steps / 1.6) + 0.012 * steps  # falls fast, then rises a little, as labels do in truth

    def curve(before: float, share: float) -> list[float]:
        return [float(before * (1 - share * (1 - value))) for value in shape]

    errors = {}
    for key, before, share in (
        ("label_error", 2.31, 0.36),
        ("label_error_strong", 1.46, 0.45),
        ("label_error_contour", 4.35, 0.27),
    ):
        values = curve(before, share)
        errors[key] = {"before": values[0], "after": values[-1], "by_iteration": values}
    groups = {
        "contour": (3.98, 0.96),
        "brows": (1.6, 1.02),
        "nose": (1.1, 0.83),
        "eyes": (0.92, 0.72),
        "mouth": (1.22, 0.94),
    }
    lines = {name: (curve(along, 0.35), curve(across, 0.42)) for name, (along, across) in groups.items()}
    by_iteration = [
        {
            name: {"mean": float(np.hypot(along[step], across[step])), "along": along[step], "across": across[step]}
            for name, (along, across) in lines.items()
        }
        for step in steps
    ]
    return errors | {"label_groups": {"by_iteration": by_iteration}}


def _evaluation(stage: str, truth: bool) -> dict[str, Any]:
    level = {"start": 2.93, "baseline": 2.87, "aligned": 2.71}[stage]
    subsets = ("lfpw/testset", "all") if truth else ("lfpw/testset", "helen/testset", "common", "full", "all")
    return {"subsets": {name: _subset(level * (1 + 0.05 * index), index) for index, name in enumerate(subsets)}}


def _subset(level: float, index: int) -> dict[str, Any]:
    errors = np.sort(level * np.random.default_rng(index).lognormal(-0.06, 0.35, 400))
    grid = np.linspace(0, 8, 81)
    return {
        "count": 224 + 100 * index,
        "nme_interpupil": 1.4 * level,
        "nme_interocular": level,
        "rmse_interocular": 1.25 * level,
        "nme_box": 0.62 * level,
        "auc_interocular_8": float(np.maximum(0, 1 - errors / 8).mean()),
        "failure_rate_interocular_8": float(100 * (errors > 8).mean()),
        "auc_interpupil_10": float(np.maximum(0, 1 - 1.4 * errors / 10).mean()),
        "failure_rate_interpupil_10": float(100 * (1.4 * errors > 10).mean()),
        "by_region": dict(
            zip(REGIONS, (1.9 * level, 0.95 * level, 0.7 * level, 0.55 * level, 0.72 * level), strict=True)
        ),
        "by_landmark": [level] * 68,
        "cumulative_interocular": {
            "error": grid.tolist(),
            "share": (np.searchsorted(errors, grid, side="right") / len(errors)).tolist(),
        },
    }
