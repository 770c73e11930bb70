"""Faces by which the ranges of an int8 file are measured, and on which an exported file is compared with its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semalign.data import open_dataset
from semalign.data.crops import CropCache, build_crops
from semalign.errors import SemalignError
from semalign.models.checkpoint import Model


def training_crops(model: Model, data: Path, count: int) -> CropCache:
    """Crops of at most so many training faces, spread evenly over a data set.

    Args:
        model: whose crops they are.
        data: a data set with the model's landmarks.
        count: faces at most.

    Raises:
        SemalignError: the data set cannot be read, or holds no training faces.
    """
    samples = open_dataset(data, model.scheme).select(split="train").samples
    if not samples:
        raise SemalignError(f"{data}: holds no training faces; give a data set that does.")
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return build_crops([samples[row] for row in chosen], model.crop, model.input_size)
