"""The figures of a run: what summary.json and figures.npz hold."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semalign.core.metrics import box_size, interocular, landmark_boxes
from semalign.cores import usable_cores
from semalign.data.labels import LabelStore, LabelVersion
from semalign.evaluation import label_error
from semalign.evaluation.labels import mean_or_none
from semalign.files import atomic_path
from semalign.inference import Landmarker
from semalign.inference.heatmaps import heatmaps_of
from semalign.models.checkpoint import Model
from semalign.pipeline.prepare import Faces
from semalign.pipeline.recipe import Recipe
from semalign.schemes import LandmarkScheme

LIBRARIES = ("semalign", "torch", "numpy", "opencv-python-headless", "accelerate")
SHOWN = 8  # faces of the report


def describe_run(recipe: Recipe, train: Faces, test: Faces, notes: tuple[str, ...]) -> dict[str, Any]:
    """What a run is: its data, seed, settings, versions, hardware."""
    return {
        "recipe": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "data": {
            "name": train.dataset.name,
            "root": train.dataset.root.name,
            "train": train.dataset.subsets(),
            "test": test.dataset.subsets(),
            "notes": list(notes),
            "skipped": [list(item) for item in (*train.dataset.skipped, *test.dataset.skipped)],
            "reference": "annotations" if test.truth is None else "truth",
        },
        "versions": versions(),
        "hardware": hardware(),
        "settings": asdict(recipe),
    }


def versions() -> dict[str, str]:
    """Of Python and the libraries that figures may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def hardware() -> str:
    """Processor, the cores that may be used, and accelerator in words."""
    name = platform.processor() or platform.machine()
    if sys.platform.startswith("linux"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    count = usable_cores()
    cores = f"{name}, {count} core{'' if count == 1 else 's'}"
    return f"{torch.cuda.get_device_name()} ({cores})" if torch.cuda.is_available() else cores


def label_figures(store: LabelStore, faces: Faces) -> dict[str, Any]:
    """Movement of the labels by iteration and, where the truth is known, their error: the keys of summary.json."""
    there, truth = store.versions(), faces.truth  # one version at a time is in memory
    figures: dict[str, Any] = {"label_movement": [_movement(store.read(index), faces) for index in there[1:]]}
    if truth is None:
        return figures
    if faces.dataset.scheme.outer_eyes is None:
        figures["label_error_by"] = "box"
    errors = [label_error(store.read(index).points, truth, faces.dataset.scheme) for index in there]
    contour = [error["regions"].get("contour", {}).get("mean") for error in errors]
    series = {"label_error": [e["all"] for e in errors], "label_error_strong": [e["strong"] for e in errors]}
    if contour[0] is not None:
        series["label_error_contour"] = contour
    for name, values in series.items():
        figures[name] = {"before": values[0], "after": values[-1], "by_iteration": values}
    figures["label_groups"] = {"by_iteration": [error["regions"] for error in errors]}
    figures["label_by_landmark"] = {"before": errors[0]["by_landmark"], "after": errors[-1]["by_landmark"]}
    return figures


def _movement(version: LabelVersion, faces: Faces) -> dict[str, Any]:
    """Mean movement against the version before, in % of `_unit`, over the points that there are."""
    scheme = faces.dataset.scheme
    share = version.movement / _unit(faces, scheme)[:, None] * 100
    by_region = {name: mean_or_none(share[:, list(points)]) for name, points in scheme.regions.items()}
    there = {name: mean for name, mean in by_region.items() if mean is not None}
    return {"iteration": version.iteration, "mean": float(np.nanmean(share)), "by_region": there}


def _unit(faces: Faces, scheme: LandmarkScheme) -> np.ndarray:
    """The outer-eye distances (b,), NaN for a face without the corners; √(w·h) of the boxes where no face has them."""
    if scheme.outer_eyes is not None:
        distances = interocular(faces.dataset.points(), scheme)
        if np.isfinite(distances).any():
            return distances
    return box_size(landmark_boxes(faces.dataset.points()))


def write_predictions(folder: Path, model: Model, faces: Faces, provenance: Mapping[str, str | int | float]) -> Path:
    """The model's own landmarks on some faces, written like a label version: folder/0000.parquet."""
    store = LabelStore(folder)
    if not store.versions():
        found = Landmarker(model).on_crops(faces.crops)
        store.append(
            faces.dataset.ids(), found.points, iteration=0, provenance=provenance, confidence=found.confidence, index=0
        )
    return store.path(0)


def write_figures(path: Path, model: Model, train: Faces, labels: LabelVersion, seed: int) -> None:
    """figures.npz: what the report's pictures need, in the frame of the shown crops.

    The first half of the faces is drawn at random, the second half are those whose labels moved most.
    """
    rng = np.random.default_rng(seed)
    count = min(SHOWN, len(train.dataset))
    annotations = train.dataset.points()
    moved = np.nanmean(np.linalg.norm(labels.points - annotations, axis=2), axis=1) / _unit(train, train.dataset.scheme)
    most = np.argsort(-moved, kind="stable")
    drawn = [int(row) for row in rng.permutation(len(moved)) if row not in set(most[:count].tolist())][
        : (count + 1) // 2
    ]
    rows = np.array([*drawn, *most[: count - len(drawn)].tolist()])
    size = train.crops.images.shape[1]
    drawn_at_random = len(drawn)
    inset = (size - train.crops.input_size) // 4  # half of the margin is shown
    shift = np.array([inset, inset], dtype=np.float64)
    arrays: dict[str, np.ndarray] = {
        "faces": np.ascontiguousarray(train.crops.images[rows][:, inset : size - inset, inset : size - inset]),
        "face_ids": np.array([train.dataset.samples[row].id for row in rows]),
        "face_notes": np.array(
            ["drawn at random"] * drawn_at_random + ["labels moved furthest"] * (len(rows) - drawn_at_random)
        ),
        "annotation": (train.crops.to_crop(annotations)[rows] - shift).astype(np.float32),
        "found": (train.crops.to_crop(labels.points)[rows] - shift).astype(np.float32),
    }
    if train.truth is not None:
        arrays["truth"] = (train.crops.to_crop(train.truth)[rows] - shift).astype(np.float32)
    arrays |= _heatmaps(model, train, rows[:2])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _heatmaps(model: Model, faces: Faces, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Heatmaps of a strong and a weak landmark of some faces (Fig. 2a), over the picture that the network sees."""
    strong, weak = strong_and_weak(model.scheme)
    crops = faces.crops
    some = crops.take(rows)
    (_, maps), *_ = heatmaps_of(model.network, some)
    inset = (crops.images.shape[1] - crops.input_size) // 2
    return {
        "heatmap_faces": np.ascontiguousarray(
            some.images[:, inset : inset + crops.input_size, inset : inset + crops.input_size]
        ),
        "heatmap_strong": maps[:, strong].cpu().numpy(),
        "heatmap_weak": maps[:, weak].cpu().numpy(),
        "heatmap_strong_index": np.full(len(rows), strong),
        "heatmap_weak_index": np.full(len(rows), weak),
    }


def strong_and_weak(scheme: LandmarkScheme) -> tuple[int, int]:
    """A well-defined landmark (an outer eye corner) and an ill-defined one (a quarter along the longest open curve)."""
    strong = scheme.outer_eyes[0] if scheme.outer_eyes else (scheme.strong or (0,))[0]
    longest = max((c for c in scheme.curves if not c.closed), key=lambda c: len(c.landmarks), default=None)
    weak = longest.landmarks[len(longest.landmarks) // 4] if longest else (scheme.weak or (scheme.count - 1,))[0]
    return strong, weak
