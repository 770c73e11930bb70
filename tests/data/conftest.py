"""Small data sets made for the tests: the official folder layout with plain pictures and plausible faces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from semalign.data import open_dataset, write_pts

LAYOUT = {"afw": 2, "helen/trainset": 3, "lfpw/trainset": 2, "lfpw/testset": 2, "ibug": 1}


def face_points(seed: int, count: int = 68, size: int = 60) -> np.ndarray:
    """Points (count, 2) well inside an image of size × size pixels."""
    return np.random.default_rng(seed).uniform(0.2 * size, 0.8 * size, (count, 2)).round(3)


def write_face(root: Path, name: str, seed: int, size: int = 60, count: int = 68) -> Path:
    """An image of smooth random structure with a .pts beside it; returns the image's path."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
    write_pts(path.with_suffix(".pts"), face_points(seed, count, size))
    return path


@pytest.fixture
def make_300w(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data set with so many faces in each folder and returns its root."""

    def make(counts: Mapping[str, int] = LAYOUT, name: str = "300w", count: int = 68) -> Path:
        root, seed = tmp_path / name, 0
        for folder, faces in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for face in range(faces):
                seed += 1
                ending = "png" if folder.startswith("lfpw") else "jpg"
                write_face(root, f"{folder}/image_{face + 1:04d}.{ending}", seed, count=count)
        return root

    return make


@pytest.fixture
def make_synthetic(make_300w: Callable[..., Path]) -> Callable[..., Path]:
    """Makes a data set that says it is synthetic; its truth is the annotations moved by so many pixels."""

    def make(counts: Mapping[str, int] = LAYOUT, moved: tuple[float, float] = (0.0, 0.0)) -> Path:
        root = make_300w(counts, "synthetic")
        dataset = open_dataset(root)
        points = dataset.points() + moved
        columns = {
            "image": np.repeat(np.array(dataset.ids(), object), 68),
            "landmark": np.tile(np.arange(68, dtype=np.int16), len(dataset)),
            "x": points[..., 0].ravel(),
            "y": points[..., 1].ravel(),
        }
        pd.DataFrame(columns).to_parquet(root / "truth.parquet")
        (root / "synthetic.json").write_text(json.dumps({"scheme": "ibug68", "seed": 0, "count": len(dataset)}))
        return root

    return make


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a crop cache for the test alone; there is none yet."""
    monkeypatch.setenv("SEMALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
